package bench

import (
	"cmp"
	"time"
)

// A Report is all that was measured. Its JSON form is a contract: fields are
// added, never renamed or removed.
type Report struct {
	Schema  int           `json:"schema"` // always 1
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	// Interrupted says why not all was measured; empty when it was.
	Interrupted string       `json:"interrupted,omitempty"`
	Machine     Machine      `json:"machine"`
	Load        Load         `json:"load"`
	Planned     *PlannedLoad `json:"planned_load,omitempty"` // of planned work, when some was measured
	Systems     []SystemInfo `json:"systems"`
	Rows        []Row        `json:"rows"`
	// Problems tells of what went wrong with the benchmark itself: a lab that
	// did not become whole again and was built anew.
	Problems []string `json:"problems,omitempty"`
}

// A Load tells what was sent.
type Load struct {
	Rate    float64       `json:"rate"` // requests a second
	Service string        `json:"service"`
	Posts   float64       `json:"posts"`           // share of the requests
	New     float64       `json:"new_connections"` // share of the requests
	Clients int           `json:"clients"`         // addresses
	Timeout time.Duration `json:"timeout_ns"`
	Seed    uint64        `json:"seed"` // of the order of the faults
}

// spacing is the time between two requests on new connections in the load of
// s; in that of faults when s is nil.
func (l Load) spacing(s scenario) time.Duration {
	if len(s) > 0 && s.planned() {
		return time.Second / plannedNew
	}
	return time.Duration(float64(time.Second) / (l.Rate * l.New))
}

// A PlannedLoad tells what was sent while work was planned, to the same service.
type PlannedLoad struct {
	Rate      float64       `json:"rate"`            // requests a second on connections that are kept alive
	New       float64       `json:"new_connections"` // a second, each with a request
	Posts     float64       `json:"posts"`           // share of the requests
	Clients   int           `json:"clients"`         // addresses
	Downloads int           `json:"downloads"`       // at a time
	Bytes     int           `json:"download_bytes"`
	Time      time.Duration `json:"download_ns"`
	Connects  time.Duration `json:"connects_every_ns"` // attempts to connect, without a request
}

func plannedLoad() *PlannedLoad {
	return &PlannedLoad{
		Rate: plannedRate, New: plannedNew, Posts: 1.0 / methods, Clients: plannedClients, Downloads: downloads,
		Bytes: downloadBytes, Time: plannedLead + downloadTail, Connects: plannedConnects,
	}
}

// A SystemInfo tells of one of the systems.
type SystemInfo struct {
	Name System `json:"name"`
	Text string `json:"text"`
	Runs int    `json:"runs"`
	// PlannedRuns is how often planned work was measured, BusyRuns how often each
	// row in which a service is busy, and SweepRuns each load of the sweep.
	PlannedRuns int `json:"planned_runs,omitempty"`
	BusyRuns    int `json:"busy_runs,omitempty"`
	SweepRuns   int `json:"sweep_runs,omitempty"`
}

// A Row is a fault with what it cost each system.
type Row struct {
	Fault   string `json:"fault"`
	Name    string `json:"name"`
	Promise string `json:"promise"`
	Group   Group  `json:"group"`
	Planned bool   `json:"planned,omitempty"` // work, and no fault
	// Load is there for a row that has one of its own.
	Load  *FaultLoad `json:"load,omitempty"`
	Cells []Cell     `json:"cells"` // in the order of the systems; of those that were measured
}

// A Cell is one fault in one system.
type Cell struct {
	System System  `json:"system"`
	Median Measure `json:"median"`
	// Missed says in what the medians are not as promised; for holdfast only.
	Missed []string `json:"missed,omitempty"`
	// TimesGap and TimesFailed are how many times those of holdfast a peer's
	// are; left out where one of both is none to speak of.
	TimesGap    float64  `json:"times_gap,omitempty"`
	TimesFailed float64  `json:"times_failed,omitempty"`
	Runs        []Sample `json:"runs"`
}

// A Sample is one fault in one system, once.
type Sample struct {
	Measure
	Node   string   `json:"node,omitempty"` // that the fault was done to
	Done   string   `json:"done"`           // what was done, for a person
	Missed []string `json:"missed,omitempty"`
	// Error says why planned work was not done.
	Error string `json:"error,omitempty"`
	// Timeline is what happened, for a picture.
	Timeline Timeline `json:"timeline"`
}

// cell gives row's cell of system, if it was measured.
func (r Row) cell(system System) (Cell, bool) {
	for _, c := range r.Cells {
		if c.System == system {
			return c, true
		}
	}
	return Cell{}, false
}

// has reports whether row was measured in system.
func (r Row) has(system System) bool {
	_, ok := r.cell(system)
	return ok
}

// runsMissed counts the runs of c in which something was not as promised.
func (c Cell) runsMissed() int {
	n := 0
	for _, r := range c.Runs {
		if len(r.Missed) > 0 {
			n++
		}
	}
	return n
}

// undone says why work was not done in more than half of the runs of c; empty
// when it was.
func (c Cell) undone() string {
	n, why := 0, ""
	for _, r := range c.Runs {
		if r.Error != "" {
			n, why = n+1, r.Error
		}
	}
	if 2*n <= len(c.Runs) {
		return ""
	}
	return why
}

// outcome is what one run of a scenario gave: a Sample for each of its rows.
type outcome struct {
	system System
	rows   []Fault
	runs   []Sample
}

// report puts outcomes together into the rows of the table.
func (b *bench) report(took time.Duration) *Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &Report{Schema: 1, Started: b.started, Took: took, Machine: b.machine, Load: b.load, Problems: b.problems}
	for _, s := range b.opt.Only {
		info := SystemInfo{Name: s, Text: s.Text(cmp.Or(b.opt.Interval, benchInterval)), Runs: b.runsOf(s, GroupFaults)}
		for group, runs := range map[Group]*int{GroupPlanned: &info.PlannedRuns, GroupBusy: &info.BusyRuns, GroupSweep: &info.SweepRuns} {
			if b.chosen(group) {
				*runs = b.runsOf(s, group)
			}
		}
		r.Systems = append(r.Systems, info)
	}
	if b.chosen(GroupPlanned) {
		r.Planned = plannedLoad()
	}
	for _, f := range Faults() {
		if b.opt.Interval > 0 {
			f.Promise = Promise{Text: "-", Planned: f.Promise.Planned}
		}
		row := Row{Fault: f.ID, Name: f.Name, Promise: f.Promise.Text, Group: f.Group(), Planned: f.Promise.Planned, Load: f.Load}
		for _, s := range b.opt.Only {
			if c := b.cell(f, s); len(c.Runs) > 0 {
				row.Cells = append(row.Cells, c)
			}
		}
		row.judgeBeside(f.Promise)
		row.compare(b.load.spacing(scenario{f}))
		if len(row.Cells) > 0 {
			r.Rows = append(r.Rows, row)
		}
	}
	return r
}

// cell collects the runs of f in system.
func (b *bench) cell(f Fault, system System) Cell {
	c := Cell{System: system}
	var all []Measure
	for _, o := range b.outcomes {
		for i, row := range o.rows {
			if o.system == system && row.ID == f.ID && i < len(o.runs) {
				c.Runs = append(c.Runs, o.runs[i])
				all = append(all, o.runs[i].Measure)
			}
		}
	}
	c.Median = medians(system, all)
	if system != Holdfast {
		return c
	}
	for i := range c.Runs {
		c.Runs[i].Missed = c.Runs[i].judge(f, b.load)
	}
	if len(c.Runs) > 0 {
		c.Missed = f.Promise.judge(c.Median, b.load.spacing(scenario{f}))
	}
	if undone := c.undone(); undone != "" {
		c.Missed = append([]string{undone}, c.Missed...)
	}
	return c
}

// judge says in what s is not as f promises; that the work was not done comes
// first.
func (s Sample) judge(f Fault, l Load) []string {
	missed := f.Promise.judge(s.Measure, l.spacing(scenario{f}))
	if s.Error != "" {
		missed = append([]string{s.Error}, missed...)
	}
	return missed
}

// judgeBeside adds to what holdfast missed what it did beside kolla-ansible's
// settings, if both were measured.
func (r Row) judgeBeside(p Promise) {
	kolla, ok := r.cell(Kolla)
	for i := range r.Cells {
		if c := &r.Cells[i]; ok && c.System == Holdfast {
			c.Missed = append(c.Missed, p.besides(c.Median, kolla.Median)...)
		}
	}
}

// compare fills in how many times holdfast's figures those of the peers are.
func (r Row) compare(spacing time.Duration) {
	own, ok := r.cell(Holdfast)
	if !ok {
		return
	}
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.System == Holdfast {
			continue
		}
		theirs, ours, least := c.Median.Gap, own.Median.Gap, 3*spacing
		if r.Planned {
			theirs, ours, least = c.Median.Work.ConnectGap, own.Median.Work.ConnectGap, connectGap
		}
		if max(theirs, ours) >= least && ours > 0 && (r.Group == GroupFaults || r.Planned) {
			c.TimesGap = float64(theirs) / float64(ours)
		}
		if own.Median.Failed > 0 {
			c.TimesFailed = float64(c.Median.Failed) / float64(own.Median.Failed)
		}
	}
}
