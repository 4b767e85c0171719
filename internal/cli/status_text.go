package cli

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// viewport is where text is shown.
type viewport struct {
	width  int // columns; 0 is defaultWidth
	height int // lines, of a terminal
	colour bool
	// brief says that there is no room for all: findings come first, tables
	// lose what does not fit, and services that are well are only counted.
	brief bool
	// narrow says that tables lose the columns that do not fit.
	narrow bool
}

// statusText is "holdfast status" for people: the VIPs, the controllers, every
// service on every host, and then the findings, one line each.
func statusText(c cloud.Cloud, v viewport) string {
	if v.width <= 0 {
		v.width = tui.DefaultWidth
	}
	s := statusWriter{c: c, v: v}
	s.title()
	if v.brief {
		s.findings(c.Findings)
	} else {
		s.findings(leading(c.Findings, true))
	}
	s.vips()
	s.controllers()
	s.services()
	if !v.brief {
		s.findings(leading(c.Findings, false))
	}
	return s.out.String()
}

type statusWriter struct {
	c   cloud.Cloud
	v   viewport
	out strings.Builder
}

// line writes one line of plain text.
func (s *statusWriter) line(text string) { s.out.WriteString(strings.TrimRight(text, " ") + "\n") }

// table writes t, after an empty line.
func (s *statusWriter) table(t *tui.Table) {
	if s.v.narrow || s.v.brief {
		t.Narrow(s.v.width)
	}
	for i, line := range t.Lines(s.v.colour) {
		if i == 0 {
			s.line("")
		}
		s.line(line)
	}
}

func (s *statusWriter) title() {
	word, tone := "healthy", tui.Good
	if !s.c.Healthy {
		word, tone = "DEGRADED", tui.Bad
	}
	name, at := tui.Printable(s.c.Cloud), s.c.Time.UTC().Format("2006-01-02 15:04:05 UTC")
	pad := max(2, min(s.v.width, tui.DefaultWidth)-len(name)-2-len(word)-len(at))
	s.line(name + "  " + tui.Paint(word, tone, s.v.colour) + strings.Repeat(" ", pad) + at)
}

func (s *statusWriter) vips() {
	t := &tui.Table{Head: tui.Words("VIP", "ADDRESS", "HELD BY", "SINCE", "HOSTNAME")}
	for _, vip := range s.c.VIPs {
		addresses := append(slices.Clone(vip.Addresses), "")
		t.Add(tui.Plain(vip.Name), tui.Plain(addresses[0]), holder(vip), tui.Plain(s.since(vip.Since)), tui.Plain(vip.Hostname))
		for _, more := range addresses[1:max(1, len(addresses)-1)] {
			t.Add(tui.Plain(""), tui.Plain(more))
		}
	}
	s.table(t)
}

func holder(v cloud.VIP) tui.Cell {
	switch {
	case len(v.Holders) > 1:
		return tui.Marked("TWO: "+strings.Join(v.Holders, ", "), tui.Bad)
	case v.Holder == "":
		return tui.Marked("NOBODY", tui.Bad)
	case len(v.Holders) == 0:
		return tui.Marked(v.Holder+" (no answer)", tui.Warn)
	}
	return tui.Marked(v.Holder, tui.Good)
}

// since gives the time, with the date when it was another day, and its age.
func (s *statusWriter) since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	layout := "15:04:05"
	if t.UTC().Format(time.DateOnly) != s.c.Time.UTC().Format(time.DateOnly) {
		layout = "01-02 15:04"
	}
	return t.UTC().Format(layout) + " (" + status.Age(s.c.Time, t) + ")"
}

func (s *statusWriter) controllers() {
	t := &tui.Table{Head: tui.Words("CONTROLLER", "ADDRESS", "AGENT", "HAPROXY", "CLIENTS", "VIPS", "SPEC")}
	for _, c := range s.c.Controllers {
		snap, address := c.Snapshot, c.Address
		if addr, err := netip.ParseAddrPort(address); err == nil {
			address = addr.Addr().String()
		}
		if snap == nil {
			t.Add(tui.Plain(c.Name), tui.Plain(address), tui.Cell{Text: tui.Printable("NO ANSWER: " + c.Error), Tone: tui.Bad, Spans: true})
			continue
		}
		t.Add(tui.Plain(c.Name), tui.Plain(address), tui.Plain(shortVersion(snap.Version)+" "+status.Age(s.c.Time, snap.Started)), s.haproxy(snap.HAProxy),
			tui.Plain(strconv.Itoa(snap.HAProxy.Connections)), vipStates(snap), specCell(snap.Config))
	}
	s.table(t)
}

// pseudoVersion is the version of a build between two tags, as Go writes it
// (go.dev/ref/mod): base, time and commit.
var pseudoVersion = regexp.MustCompile(`^v.*[-.][0-9]{14}-([0-9a-f]{12})(\+dirty)?$`) //nolint:gochecknoglobals // a pattern, never changed

// shortVersion gives what tells one version from others: of a build between two
// tags the commit.
func shortVersion(v string) string {
	if m := pseudoVersion.FindStringSubmatch(v); m != nil {
		return m[1] + m[2]
	}
	return v
}

// upstream gives HAProxy's version without what a distribution adds, as in
// "2.6.12-1+deb12u3".
func upstream(v string) string {
	v, _, _ = strings.Cut(v, "-")
	return v
}

func (s *statusWriter) haproxy(h status.HAProxy) tui.Cell {
	c := tui.Marked(string(h.State), tui.Good)
	if h.State != status.HAProxyRunning {
		c = tui.Marked(strings.ToUpper(string(h.State)), tui.Bad)
	}
	return tui.Marked(strings.Join(strings.Fields(c.Text+" "+upstream(h.Version)+" "+status.Age(s.c.Time, h.Since)), " "), c.Tone)
}

// vipStates gives the VRRP state of each VIP, with its name when there are
// several, and says when the whole controller is drained.
func vipStates(s *status.Snapshot) tui.Cell {
	var all []string
	for _, v := range s.VIPs {
		word := string(v.State)
		if len(s.VIPs) > 1 {
			word = v.Name + ":" + word
		}
		all = append(all, word)
	}
	if status.DrainedWhole(s.Drains) {
		all = append(all, "drained")
	}
	return tui.Plain(tui.Dash(strings.Join(all, " ")))
}

func specCell(c status.Config) tui.Cell {
	if len(c.Rejected) > 0 {
		return tui.Marked("file REFUSED", tui.Warn)
	}
	if !c.TrialUntil.IsZero() {
		return tui.Plain(c.Digest + " on trial")
	}
	return tui.Plain(c.Digest)
}

// leading gives the findings that explain others, or the rest.
func leading(all []status.Finding, leads bool) []status.Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f status.Finding) bool { return cloud.Leads(f) != leads })
}

func (s *statusWriter) findings(all []status.Finding) {
	for i, f := range all {
		if i == 0 {
			s.line("")
		}
		word, t := string(f.Severity), tui.Calm
		if f.Severity == status.Warning {
			t = tui.Warn
		}
		if f.Severity == status.Error {
			word, t = "ERROR", tui.Bad
		}
		f.Severity = "" // said already
		s.line(tui.Paint(fmt.Sprintf("%-7s", tui.Printable(word)), t, s.v.colour) + "  " + tui.Printable(f.String()))
	}
}
