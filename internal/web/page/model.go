package page

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

// maxColumns is the number of hosts up to which a table of services has a
// column for each; of more, only those in trouble are shown.
const maxColumns = 12

// tones are how the page looks at things; each has a glyph, so that no meaning
// is in a colour alone.
const (
	toneOK   = "ok"
	toneInfo = "info"
	toneWarn = "warn"
	toneBad  = "bad"
)

func glyph(tone string) string {
	switch tone {
	case toneOK:
		return "✓"
	case toneWarn:
		return "▲"
	case toneBad:
		return "✕"
	}
	return "◇"
}

// A View is one look at the cloud, as a page is made of it.
type View struct {
	// Self is the controller whose page it is, and Version that of its agent.
	Self, Version string
	Cloud         cloud.Cloud
	Events        []status.Event // of all controllers, newest first
	// Incidents are of all controllers, oldest first.
	Incidents []incident.Incident
	// Hours and Days are what clients got in the last one, as each controller tells.
	Hours, Days []traffic.History
}

// A Model is what the page's templates show: words and tones, nothing to decide.
type Model struct {
	Title, Stamp, Self, Version string
	Cloud                       cloud.Cloud
	Now                         time.Time
	Verdict, Tone, Calm         string
	Findings                    []findingRow
	Map                         topology
	Work                        []workRow
	Incidents                   []incidentRow
	Pictures                    []pictureRow
	Same                        string // what all controllers run, where it is the same
	Controllers                 []controllerRow
	Groups                      []groupTable
	Events                      []eventRow
}

type findingRow struct {
	status.Finding
	Tone, Head, Urgency string
	Age                 string // of Since, for a page without script
	More                string // the command, where the remedy does not have it
}

// aged has a time and, for a page without script, the age that it has.
type aged struct {
	Since time.Time
	Age   string
}

type controllerRow struct {
	aged                       // of the agent
	Name, Address, Link, Error string
	Self                       bool
	Version                    string
	HAProxy                    haproxyCell
	Connections                int
	Digest, SpecWord, SpecTone string
}

type haproxyCell struct {
	aged
	State, Version, Tone, More string
}

type eventRow struct {
	Time                                    time.Time
	When, Controller, Text, Cause, By, Took string
}

// moment writes t as short as it is still clear on the day of the page.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// ModelOf says v in words.
func ModelOf(v View) Model {
	c := v.Cloud
	m := Model{Self: v.Self, Cloud: c, Now: c.Time, Version: v.Version}
	m.Verdict, m.Tone = c.Verdict.Text, toneOfCloud(c)
	m.Title = fmt.Sprintf("%s %s: %s", glyph(m.Tone), c.Cloud, m.Verdict)
	m.Calm = calm(c)
	for _, f := range c.Findings {
		m.Findings = append(m.Findings, findingOf(c.Time, f))
	}
	m.Map, m.Work, m.Incidents = topologyOf(c), workOf(c), incidentsOf(c.Time, v.Incidents)
	for _, controller := range c.Controllers {
		m.Controllers = append(m.Controllers, controllerOf(c, controller, v.Self))
	}
	m.Same = hideSame(m.Controllers)
	m.Groups, m.Pictures = groupsOf(c), picturesOf(c.Time, v.Hours, v.Days, v.Incidents)
	for _, e := range v.Events {
		m.Events = append(m.Events, eventOf(c.Time, e))
	}
	return m
}

// Steady gives m without ages: a stream's fragment is sent again when it
// changes, and its ages are counted on by the page itself.
func (m Model) Steady() Model {
	m.Map.VIPs, m.Work, m.Incidents = slices.Clone(m.Map.VIPs), slices.Clone(m.Work), slices.Clone(m.Incidents)
	m.Controllers, m.Groups, m.Findings = slices.Clone(m.Controllers), slices.Clone(m.Groups), slices.Clone(m.Findings)
	for i := range m.Findings {
		m.Findings[i].Age = ""
	}
	for i := range m.Map.VIPs {
		m.Map.VIPs[i].Age = ""
	}
	for i := range m.Work {
		m.Work[i].Age = ""
	}
	for i := range m.Incidents {
		m.Incidents[i].Age = ""
	}
	for i := range m.Controllers {
		m.Controllers[i].Age, m.Controllers[i].HAProxy.Age = "", ""
	}
	for i := range m.Groups {
		m.Groups[i].Services = slices.Clone(m.Groups[i].Services)
		for j := range m.Groups[i].Services {
			row := &m.Groups[i].Services[j]
			row.Cells, row.Troubled = ageless(row.Cells), ageless(row.Troubled)
		}
	}
	return m
}

func ageless(cells []hostCell) []hostCell {
	cells = slices.Clone(cells)
	for i := range cells {
		cells[i].Age = ""
	}
	return cells
}

func agedBy(now, since time.Time) aged { return aged{since, status.Age(now, since)} }

// toneOfCloud gives how the page looks at c as a whole.
func toneOfCloud(c cloud.Cloud) string {
	tone := toneOK
	for _, f := range c.Findings {
		if cloud.Degrades(f) {
			tone = worse(tone, findingOf(c.Time, f).Tone)
		}
	}
	if c.Verdict.Serving == cloud.ServesNot || c.Verdict.Serving == cloud.ServesPartly {
		tone = toneBad
	}
	return tone
}

// calm says what is well when there is nothing to find.
func calm(c cloud.Cloud) string {
	return fmt.Sprintf("All is well: %s held, %s, %s.",
		status.Count(len(c.VIPs), "VIP"), status.Count(len(c.Controllers), "controller")+" well", status.Count(len(c.Services), "service")+" up on every host")
}

func findingOf(now time.Time, f status.Finding) findingRow {
	row := findingRow{Finding: f, Head: f.Subject, Tone: toneInfo, Age: status.Age(now, f.Since), Urgency: urgencyOf(f)}
	if !strings.Contains(f.Remedy, f.Command) {
		row.More = f.Command
	}
	if !f.Where.IsZero() {
		row.Head = f.Where.String()
	}
	if f.Severity == status.Error {
		row.Tone = toneBad
	}
	if f.Severity == status.Warning {
		row.Tone = toneWarn
	}
	return row
}

// urgencyOf says how soon a person must act, where one must.
func urgencyOf(f status.Finding) string {
	switch f.Action {
	case status.ActNow:
		return "act now"
	case status.ActSoon:
		return "act soon"
	}
	return ""
}

// linkTo gives the URL of the page at address, address:port; "" where that is none.
func linkTo(address string) string {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return "http://" + at.String() + "/"
	}
	return ""
}

func controllerOf(c cloud.Cloud, cc cloud.Controller, self string) controllerRow {
	row := controllerRow{Name: cc.Name, Address: cc.Address, Link: linkTo(cc.Address), Self: cc.Name == self, Error: cc.Error}
	s := cc.Snapshot
	if s == nil {
		if row.Error == "" {
			row.Error = "unknown"
		}
		return row
	}
	row.aged, row.Version = agedBy(c.Time, s.Started), s.Version
	row.Connections, row.Digest = s.HAProxy.Connections, s.Config.Digest
	row.SpecWord = "in use since " + s.Config.Loaded.UTC().Format("2006-01-02 15:04")
	if row.Digest != usualDigest(c) {
		row.SpecTone, row.SpecWord = toneWarn, glyph(toneWarn)+" not the spec of the others"
	}
	if n := len(s.Config.Rejected); n > 0 {
		row.SpecTone, row.SpecWord = toneWarn, glyph(toneWarn)+" the file is refused: "+status.Count(n, "finding")
	}
	row.HAProxy = haproxyOf(c.Time, s.HAProxy)
	return row
}

// hideSame takes from rows what all of them have: versions, and the spec's digest. It says
// what that is.
func hideSame(rows []controllerRow) string {
	var known []*controllerRow
	for i := range rows {
		if rows[i].Error == "" {
			known = append(known, &rows[i])
		}
	}
	if len(known) < 2 {
		return ""
	}
	var same []string
	for _, f := range []struct {
		of   func(*controllerRow) *string
		what string
	}{
		{func(r *controllerRow) *string { return &r.Version }, "holdfast "},
		{func(r *controllerRow) *string { return &r.HAProxy.Version }, "HAProxy "},
		{func(r *controllerRow) *string { return &r.Digest }, "spec "},
	} {
		first := *f.of(known[0])
		if first == "" || slices.ContainsFunc(known, func(r *controllerRow) bool { return *f.of(r) != first }) {
			continue
		}
		same = append(same, f.what+first)
		for _, r := range known {
			*f.of(r) = ""
		}
	}
	if len(same) == 0 {
		return ""
	}
	return "all have " + status.And(same)
}

// usualDigest gives the digest that most controllers have, the first of equals.
func usualDigest(c cloud.Cloud) string {
	count, usual := map[string]int{}, ""
	for _, cc := range c.Controllers {
		if cc.Snapshot != nil {
			count[cc.Snapshot.Config.Digest]++
		}
	}
	for _, cc := range c.Controllers {
		if cc.Snapshot != nil && count[cc.Snapshot.Config.Digest] > count[usual] {
			usual = cc.Snapshot.Config.Digest
		}
	}
	return usual
}

func haproxyOf(now time.Time, h status.HAProxy) haproxyCell {
	cell := haproxyCell{aged: agedBy(now, h.Since), State: string(h.State), Version: h.Version, Tone: toneBad}
	if h.State == status.HAProxyRunning {
		cell.Tone = toneOK
	}
	if h.State == status.HAProxyStarting {
		cell.Tone = toneWarn
	}
	var more []string
	if h.Reason != "" {
		more = append(more, h.Reason)
	}
	if h.Restarts > 0 {
		more = append(more, status.Count(h.Restarts, "restart"))
	}
	if h.Reloads > 0 {
		more = append(more, status.Count(h.Reloads, "reload"))
	}
	cell.More = strings.Join(more, ", ")
	return cell
}

func toneOf(s status.ServiceState) string {
	switch s {
	case status.Up:
		return toneOK
	case status.Degraded:
		return toneWarn
	case status.Down:
		return toneBad
	default:
		return toneInfo
	}
}

func eventOf(now time.Time, e status.Event) eventRow {
	row := eventRow{Time: e.Time, When: short(now, e.Time, "15:04:05.000"), Controller: e.Controller, Text: e.Text, Cause: e.Cause, By: e.By}
	if e.Took >= 100*time.Microsecond {
		row.Took = status.Brief(e.Took)
	}
	return row
}

// short writes t by layout, with its day and without less than seconds where that is not today.
func short(now, t time.Time, layout string) string {
	if t.UTC().Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
		layout = "01-02 15:04:05"
	}
	return t.UTC().Format(layout)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
