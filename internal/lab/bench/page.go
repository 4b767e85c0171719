package bench

import (
	"bytes"
	"cmp"
	_ "embed" // for the page
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// Page gives r as a page of HTML that needs nothing else.
func (r *Report) Page() ([]byte, error) {
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	var out bytes.Buffer
	if err := page.Execute(&out, r.view()); err != nil {
		return nil, fmt.Errorf("make the page: %w", err)
	}
	return out.Bytes(), nil
}

// A view is what the page's template reads.
type view struct {
	*Report
	Title   string
	Rate    float64 // that the first paragraph names; 0: none
	Kept    string  // how many promises
	Methods int
	Timeout string
	Spacing string
	PTime   string // of the downloads of planned work
	Tables  []viewTable
	Picture template.HTML // of the sweep
	Details [][]string
	Data    []viewRow
}

// Has reports whether rows of a group were measured.
func (v view) Has(of Group) bool { return len(v.rows(of)) > 0 }

// A viewTable is the table of a group.
type viewTable struct {
	Group       Group
	Title, Head string // the second of the first column
	Style       string
	Promised    bool // each row tells its promise
	Columns     int
	Heads       []string // of each system's figures
	Lines       []viewLine
}

// Span is how many columns a system has.
func (t viewTable) Span(system System) int {
	if system == Holdfast { // with its verdict
		return len(t.Heads) + 1
	}
	return len(t.Heads)
}

// A viewLine is a row of such a table.
type viewLine struct {
	ID, Name, Promise string
	Notes             []string // what was missed, and what is to be said beside
	Results           []viewResult
}

// A viewResult is what a row cost one system.
type viewResult struct {
	Own                   bool // holdfast's
	Figures               []viewFigure
	Verdict, VerdictClass string
}

// A viewFigure is one of these.
type viewFigure struct{ Text, Class, Ratio string }

// A viewRow is what the page's script draws of a fault. Times are in
// milliseconds.
type viewRow struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Promise string     `json:"promise"`
	Verdict string     `json:"verdict"`
	Group   Group      `json:"group"`
	Planned bool       `json:"planned"`
	Zero    string     `json:"zero"` // what happens at the time 0
	Rate    float64    `json:"rate"`
	Cells   []viewCell `json:"cells"`
}

type viewCell struct {
	System System    `json:"system"`
	Middle int       `json:"middle"` // index of the run that is nearest to the median
	Runs   []viewRun `json:"runs"`
}

type viewRun struct {
	Failed   int        `json:"failed"`
	Requests int        `json:"requests"`
	Gap      float64    `json:"gap"`
	Slowest  float64    `json:"slowest"`
	P99      float64    `json:"p99"`
	Down     int        `json:"down"` // hosts, where a service is busy
	From     float64    `json:"from"`
	Step     float64    `json:"step"`
	OK       string     `json:"ok"`
	Bad      string     `json:"bad"`
	Posts    string     `json:"posts"`
	Marks    []viewMark `json:"marks"`
	// Of planned work only.
	Resets    int            `json:"resets"`
	Cut       int            `json:"cut"`
	Connects  string         `json:"connects,omitempty"`
	Downloads []viewTransfer `json:"downloads,omitempty"`
	Error     string         `json:"error,omitempty"`
}

type viewTransfer struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Cut  bool    `json:"cut"`
}

type viewMark struct {
	At   float64 `json:"at"`
	Kind string  `json:"kind"`
	Who  string  `json:"who"`
	Text string  `json:"text"`
}

func (r *Report) view() view {
	v := view{
		Report: r, Kept: r.kept(), Methods: methods, Timeout: short(r.Load.Timeout), Spacing: short(r.Load.spacing(nil)),
		Details: r.details(), Data: []viewRow{},
	}
	if r.Planned != nil {
		v.PTime = short(r.Planned.Time)
	}
	v.Title, v.Rate = r.title()
	v.Picture = template.HTML(r.SweepPicture()) // of our own making, with no text from elsewhere
	for _, group := range []Group{GroupFaults, GroupBusy, GroupSweep, GroupPlanned} {
		if t := r.viewTable(group); len(t.Lines) > 0 {
			v.Tables = append(v.Tables, t)
		}
	}
	for _, row := range r.Rows {
		data := viewRow{
			ID: row.Fault, Name: row.Name, Promise: row.Promise, Verdict: row.verdict(), Group: row.Group, Planned: row.Planned,
			Zero: "fault", Rate: r.Load.Rate,
		}
		switch row.Group {
		case GroupPlanned:
			data.Zero = "work"
			data.Rate = r.Planned.Rate + r.Planned.New
		case GroupFaults:
		case GroupBusy:
			data.Rate = row.Load.most(r.Load.Rate)
			if row.Load.length() > 0 {
				data.Zero = "load"
			}
		case GroupSweep:
			continue // it has a picture of its own
		}
		for _, c := range row.Cells {
			data.Cells = append(data.Cells, viewCellOf(c))
		}
		v.Data = append(v.Data, data)
	}
	return v
}

// kept says how many of the promises were held.
func (r *Report) kept() string {
	held, all := 0, 0
	for _, row := range r.Rows {
		verdict := row.verdict()
		if verdict == "" {
			continue
		}
		all++
		if strings.HasPrefix(verdict, "held") {
			held++
		}
	}
	if all == 0 {
		return "no promise of holdfast measured"
	}
	return fmt.Sprintf("%d of %d promises held", held, all)
}

// title gives the page's, and the rate that is worth telling at its beginning.
func (r *Report) title() (string, float64) {
	faults, work := len(r.rows(GroupFaults)) > 0, len(r.rows(GroupPlanned)) > 0
	switch {
	case faults && work:
		return "What each fault costs, and what is planned", r.Load.Rate
	case faults:
		return "What each fault costs", r.Load.Rate
	case work:
		return "What planned work costs", r.Planned.Rate
	}
	return "What a busy service costs", 0
}

func (r *Report) viewTable(of Group) viewTable {
	l := layoutOf(of)
	t := viewTable{Group: of, Title: l.title, Head: l.pageHead, Style: l.style, Promised: l.promised, Columns: 1 + len(l.columns)*len(r.Systems)}
	if l.promised {
		t.Columns++
	}
	if len(r.Systems) > 0 && r.Systems[0].Name == Holdfast { // with its verdict
		t.Columns++
	}
	for _, c := range l.columns {
		t.Heads = append(t.Heads, cmp.Or(c.page, c.head))
	}
	for _, row := range r.rows(of) {
		line := viewLine{ID: row.Fault, Name: row.Name, Promise: row.Promise, Notes: row.worst()}
		if of != GroupPlanned { // which peer could not do its work is told in a text
			line.Notes = append(line.Notes, l.beside(row)...)
		}
		for _, s := range r.Systems {
			line.Results = append(line.Results, r.viewResult(l, row, s.Name))
		}
		t.Lines = append(t.Lines, line)
	}
	return t
}

func (r *Report) viewResult(l layout, row Row, system System) viewResult {
	out := viewResult{Own: system == Holdfast}
	cell, _ := row.cell(system)
	for _, c := range l.columns {
		f := viewFigure{Text: c.figure(row, system)}
		if c.class != nil {
			f.Class = c.class(r, row, cell.Median)
		}
		out.Figures = append(out.Figures, f)
	}
	if row.Group == GroupFaults {
		out.Figures[len(out.Figures)-1].Ratio = row.ratio(system)
	}
	if out.Own {
		out.Verdict, out.VerdictClass = row.verdict(), "missed"
		if strings.HasPrefix(out.Verdict, "held") {
			out.VerdictClass = "held"
		}
	}
	return out
}

// worst says what holdfast did not keep in the median, else in its runs.
func (r Row) worst() []string {
	missed := r.missed()
	return missed[:min(1, len(missed))]
}

func viewCellOf(c Cell) viewCell {
	out := viewCell{System: c.System, Middle: c.middle()}
	for _, run := range c.Runs {
		t := run.Timeline
		v := viewRun{
			Failed: run.Failed, Requests: run.Requests, Gap: ms(run.Gap), Slowest: ms(run.Slowest), P99: ms(run.P99), Down: run.Hosts.Down,
			From: ms(t.From), Step: ms(t.Step), OK: t.OK, Bad: t.Bad, Posts: t.Posts,
			Resets: run.Work.Resets, Cut: run.Work.Cut, Connects: t.Connects, Error: run.Error,
		}
		if len(t.Downloads) > 0 {
			v.Gap, v.Failed = ms(run.Work.ConnectGap), run.Failed+run.PostsFailed
		}
		for _, d := range t.Downloads {
			v.Downloads = append(v.Downloads, viewTransfer{ms(d.From), ms(d.To), d.Cut})
		}
		for _, m := range t.Marks {
			v.Marks = append(v.Marks, viewMark{At: ms(m.At), Kind: m.Kind, Who: m.Node, Text: m.Text})
		}
		out.Runs = append(out.Runs, v)
	}
	return out
}

// middle gives the index of the run that is in the middle by what it cost.
func (c Cell) middle() int {
	order := make([]int, len(c.Runs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := c.Runs[a], c.Runs[b]
		if x.Work.Connects > 0 {
			return cmp.Or(cmp.Compare(x.Failed+x.PostsFailed, y.Failed+y.PostsFailed), cmp.Compare(x.Work.ConnectGap, y.Work.ConnectGap))
		}
		return cmp.Or(cmp.Compare(x.Gap.Round(5*time.Millisecond), y.Gap.Round(5*time.Millisecond)), cmp.Compare(x.Failed, y.Failed))
	})
	return order[len(order)/2]
}

// ms gives d in milliseconds, to a tenth.
func ms(d time.Duration) float64 { return float64(d.Round(100*time.Microsecond)) / 1e6 }
