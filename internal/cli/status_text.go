package cli

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// defaultWidth is how many columns are used when there is no terminal to ask.
const defaultWidth = 100

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
		v.width = defaultWidth
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
func (s *statusWriter) table(t *table) {
	if s.v.narrow || s.v.brief {
		t.narrow(s.v.width)
	}
	for i, line := range t.lines(s.v.colour) {
		if i == 0 {
			s.line("")
		}
		s.line(line)
	}
}

func (s *statusWriter) title() {
	word, tone := "healthy", good
	if !s.c.Healthy {
		word, tone = "DEGRADED", bad
	}
	name, at := printable(s.c.Cloud), s.c.Time.UTC().Format("2006-01-02 15:04:05 UTC")
	pad := max(2, min(s.v.width, defaultWidth)-len(name)-2-len(word)-len(at))
	s.line(name + "  " + paint(word, tone, s.v.colour) + strings.Repeat(" ", pad) + at)
}

func (s *statusWriter) vips() {
	t := &table{head: words("VIP", "ADDRESS", "HELD BY", "SINCE", "HOSTNAME")}
	for _, vip := range s.c.VIPs {
		addresses := append(slices.Clone(vip.Addresses), "")
		t.add(plain(vip.Name), plain(addresses[0]), holder(vip), plain(s.since(vip.Since)), plain(vip.Hostname))
		for _, more := range addresses[1:max(1, len(addresses)-1)] {
			t.add(plain(""), plain(more))
		}
	}
	s.table(t)
}

func holder(v cloud.VIP) cell {
	switch {
	case len(v.Holders) > 1:
		return marked("TWO: "+strings.Join(v.Holders, ", "), bad)
	case v.Holder == "":
		return marked("NOBODY", bad)
	case len(v.Holders) == 0:
		return marked(v.Holder+" (no answer)", warn)
	}
	return marked(v.Holder, good)
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
	t := &table{head: words("CONTROLLER", "ADDRESS", "AGENT", "HAPROXY", "CLIENTS", "VIPS", "SPEC")}
	for _, c := range s.c.Controllers {
		snap, address := c.Snapshot, c.Address
		if addr, err := netip.ParseAddrPort(address); err == nil {
			address = addr.Addr().String()
		}
		if snap == nil {
			t.add(plain(c.Name), plain(address), cell{text: printable("NO ANSWER: " + c.Error), tone: bad, spans: true})
			continue
		}
		t.add(plain(c.Name), plain(address), plain(shortVersion(snap.Version)+" "+status.Age(s.c.Time, snap.Started)), s.haproxy(snap.HAProxy),
			plain(strconv.Itoa(snap.HAProxy.Connections)), vipStates(snap), specCell(snap.Config))
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

func (s *statusWriter) haproxy(h status.HAProxy) cell {
	c := marked(string(h.State), good)
	if h.State != status.HAProxyRunning {
		c = marked(strings.ToUpper(string(h.State)), bad)
	}
	return marked(strings.Join(strings.Fields(c.text+" "+upstream(h.Version)+" "+status.Age(s.c.Time, h.Since)), " "), c.tone)
}

// vipStates gives the VRRP state of each VIP, with its name when there are
// several, and says when the whole controller is drained.
func vipStates(s *status.Snapshot) cell {
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
	return plain(dash(strings.Join(all, " ")))
}

func specCell(c status.Config) cell {
	if len(c.Rejected) > 0 {
		return marked("file REFUSED", warn)
	}
	if !c.TrialUntil.IsZero() {
		return plain(c.Digest + " on trial")
	}
	return plain(c.Digest)
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
		word, t := string(f.Severity), calm
		if f.Severity == status.Warning {
			t = warn
		}
		if f.Severity == status.Error {
			word, t = "ERROR", bad
		}
		f.Severity = "" // said already
		s.line(paint(fmt.Sprintf("%-7s", printable(word)), t, s.v.colour) + "  " + printable(f.String()))
	}
}
