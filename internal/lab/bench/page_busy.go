package bench

// A viewTable is the table of a busy service, or of the sweep.
type viewTable struct {
	Group   Group
	Title   string
	Head    string // of the first column
	Columns int
	Lines   []viewBusy
}

// A viewBusy is a row of such a table.
type viewBusy struct {
	ID, Name, Promise string
	Notes             []string // what was missed, and what became of uploads
	Results           []viewBusyResult
}

// A viewBusyResult is what a row cost one system.
type viewBusyResult struct {
	Own                              bool // holdfast's
	Failed, P99, Slowest, Down, Seen string
	FailedClass, DownClass           string
	SeenClass                        string
	Verdict, VerdictClass            string
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
	t := viewTable{Group: of, Title: "A busy service", Head: "case", Columns: 2 + 5*len(r.Systems)}
	if of == GroupSweep {
		t.Title, t.Head = "From idle to twice what the hosts can do", "load"
	}
	if len(r.Systems) > 0 && r.Systems[0].Name == Holdfast { // with its verdict
		t.Columns++
	}
	for _, row := range r.rows(of) {
		t.Lines = append(t.Lines, r.viewBusy(row))
	}
	return t
}

func (r *Report) viewBusy(row Row) viewBusy {
	line := viewBusy{ID: row.Fault, Name: row.Name, Promise: row.Promise, Notes: append(row.worst(), row.uploads()...)}
	class := func(hot, zero bool) string {
		switch {
		case hot:
			return "hot"
		case zero:
			return "zero"
		}
		return ""
	}
	for _, s := range r.Systems {
		text := row.busyResult(s.Name)
		c, ok := row.cell(s.Name)
		m := c.Median
		result := viewBusyResult{
			Own: s.Name == Holdfast, Failed: text.failed, P99: text.p99, Slowest: text.slowest, Down: text.down, Seen: text.seen,
			FailedClass: class(m.Failed > 0 && m.Failed >= m.Requests/20, m.Failed == 0), DownClass: class(m.Hosts.Down > 0 && row.Fault != "hang-idle", m.Hosts.Down == 0),
			SeenClass: class(m.Hosts.ratio() > mostSeen, ok && m.Hosts.ratio() <= 1),
		}
		if result.Own {
			judged := viewResult{}
			judged.judge(row)
			result.Verdict, result.VerdictClass = judged.Verdict, judged.VerdictClass
		}
		line.Results = append(line.Results, result)
	}
	return line
}
