package web

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
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

// A model is what the page's templates show: words and tones, nothing to decide.
type model struct {
	Title, Stamp, Self, Version string
	Cloud                       cloud.Cloud
	Now                         time.Time
	Verdict, Tone, Calm         string
	Findings                    []findingRow
	VIPs                        []vipRow
	Controllers                 []controllerRow
	Groups                      []groupTable
	Events                      []eventRow
}

type findingRow struct {
	status.Finding
	Tone, Head string
}

type vipRow struct {
	aged
	Name, Hostname           string
	Addresses                []string
	Holder, HeldWord, Reason string
	Tone                     string
	Standby                  []standbyRow
}

type standbyRow struct{ Name, Word, Tone string }

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
	Time                                time.Time
	When, Controller, Text, Cause, Took string
}

// moment writes t as short as it is still clear on the day of the page.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (s *Server) model(v view) model {
	c := v.cloud
	m := model{Self: s.opt.Self, Cloud: c, Now: c.Time, Version: s.opt.Snapshot().Version}
	m.Verdict, m.Tone = verdict(c)
	m.Title = fmt.Sprintf("%s %s: %s", glyph(m.Tone), c.Cloud, m.Verdict)
	m.Calm = calm(c)
	for _, f := range c.Findings {
		m.Findings = append(m.Findings, findingOf(f))
	}
	for _, vip := range c.VIPs {
		m.VIPs = append(m.VIPs, vipOf(c, vip))
	}
	for _, controller := range c.Controllers {
		m.Controllers = append(m.Controllers, controllerOf(c, controller, s.opt.Self))
	}
	m.Groups = groupsOf(c)
	for _, e := range v.events {
		m.Events = append(m.Events, eventOf(c.Time, e))
	}
	return m
}

// steady gives m without ages: a stream's fragment is sent again when it
// changes, and its ages are counted on by the page itself.
func (m model) steady() model {
	m.VIPs, m.Controllers, m.Groups = slices.Clone(m.VIPs), slices.Clone(m.Controllers), slices.Clone(m.Groups)
	for i := range m.VIPs {
		m.VIPs[i].Age = ""
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

// verdict says in a few words how the cloud is.
func verdict(c cloud.Cloud) (words, tone string) {
	if c.Healthy {
		return "healthy", toneOK
	}
	count := map[status.Severity]int{}
	for _, f := range c.Findings {
		if cloud.Degrades(f) {
			count[f.Severity]++
		}
	}
	var parts []string
	for _, s := range []status.Severity{status.Error, status.Warning} {
		if n := count[s]; n > 0 {
			parts = append(parts, status.Count(n, string(s)))
		}
	}
	tone = toneWarn
	if count[status.Error] > 0 {
		tone = toneBad
	}
	return "degraded: " + strings.Join(parts, ", "), tone
}

// calm says what is well when there is nothing to find.
func calm(c cloud.Cloud) string {
	return fmt.Sprintf("All is well: %s held, %s, %s.",
		status.Count(len(c.VIPs), "VIP"), status.Count(len(c.Controllers), "controller")+" well", status.Count(len(c.Services), "service")+" up on every host")
}

func findingOf(f status.Finding) findingRow {
	row := findingRow{Finding: f, Head: f.Subject, Tone: toneInfo}
	if !f.Since.IsZero() {
		row.Text += ", since " + moment(f.Since)
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

func vipOf(c cloud.Cloud, v cloud.VIP) vipRow {
	row := vipRow{
		aged: agedBy(c.Time, v.Since), Name: v.Name, Hostname: v.Hostname, Addresses: v.Addresses,
		Holder: v.Holder, HeldWord: "held by", Reason: v.Reason, Tone: toneOK,
	}
	switch {
	case len(v.Holders) > 1:
		row.Tone, row.HeldWord, row.Holder = toneBad, fmt.Sprintf("held by %d at once", len(v.Holders)), strings.Join(v.Holders, ", ")
	case v.Holder == "":
		row.Tone, row.Holder = toneBad, "nobody"
	case len(v.Holders) == 0:
		row.Tone, row.HeldWord = toneWarn, "held, by its adverts, by"
	}
	for _, controller := range c.Controllers {
		if !slices.Contains(v.Holders, controller.Name) {
			row.Standby = append(row.Standby, standbyOf(controller, v.Name))
		}
	}
	return row
}

// standbyOf says what a controller that does not hold a VIP does about it.
func standbyOf(c cloud.Controller, vip string) standbyRow {
	row := standbyRow{Name: c.Name, Word: "no answer", Tone: toneBad}
	if c.Snapshot == nil {
		return row
	}
	row.Word = "does not know it"
	for _, v := range c.Snapshot.VIPs {
		if v.Name != vip {
			continue
		}
		row.Tone, row.Word = toneOK, fmt.Sprintf("backup, priority %d", v.Priority)
		if v.State != status.Backup {
			row.Tone, row.Word = toneWarn, strings.TrimSpace(fmt.Sprintf("%s %s", v.State, v.Reason))
		}
		if status.DrainedWhole(c.Snapshot.Drains) {
			row.Word += ", drained"
		}
	}
	return row
}

func controllerOf(c cloud.Cloud, cc cloud.Controller, self string) controllerRow {
	row := controllerRow{Name: cc.Name, Address: cc.Address, Self: cc.Name == self, Error: cc.Error}
	if addr, err := netip.ParseAddrPort(cc.Address); err == nil {
		row.Link = "http://" + addr.String() + "/"
	}
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
	row := eventRow{Time: e.Time, Controller: e.Controller, Text: e.Text, Cause: e.Cause}
	layout := "15:04:05.000"
	if e.Time.UTC().Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
		layout = "01-02 15:04:05"
	}
	row.When = e.Time.UTC().Format(layout)
	if e.Took >= 100*time.Microsecond {
		row.Took = status.Brief(e.Took)
	}
	return row
}
