package cli

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/status"
)

// viewport is where text is shown.
type viewport struct {
	width  int // columns; 0 is defaultWidth
	height int // lines, of a terminal
	colour bool
	less   less
}

// less says what is left out for want of room.
type less int

// Each leaves out what those before it do, too.
const (
	nothing  less = iota
	well          // services that are well are only counted, and hostnames of VIPs are left out
	remedies      // remedies are their commands only, and of what happened of late only the newest is told
	counted       // services are only counted, by their state
	texts         // only what a person must act on is told, each in two lines at most
)

// A sight is what "holdfast status" shows: the cloud as it is, and what has happened of late.
type sight struct {
	cloud.Cloud
	lately []incident.Incident // the newest first
}

// statusText is "holdfast status" for people: the verdict, who holds the VIPs, what is wrong and
// what to do, in that order, what happened of late, the controllers, and every service on every host.
// No line is wider than the viewport.
func statusText(c sight, v viewport) string {
	if v.width <= 0 {
		v.width = tui.DefaultWidth
	}
	s := statusWriter{c: c, v: v, names: shortNames(c.Cloud)}
	s.verdict()
	s.title()
	s.vips()
	s.findings(c.Findings)
	s.lately()
	s.controllers()
	s.services()
	return s.out.String()
}

type statusWriter struct {
	c     sight
	v     viewport
	names func(string) string // of hosts, without the domain that all have
	out   strings.Builder
}

// line writes text on as many lines as it needs.
func (s *statusWriter) line(text string) {
	for _, part := range tui.Fold(strings.TrimRight(text, " "), s.v.width, min(foldIndent, s.v.width/3)) {
		s.out.WriteString(part + "\n")
	}
}

// table writes t, after an empty line.
func (s *statusWriter) table(t *tui.Table) {
	t.Fit(s.v.width)
	for i, line := range t.Lines(s.v.colour) {
		if i == 0 {
			s.line("")
		}
		s.line(line)
	}
}

func (s *statusWriter) verdict() {
	tone := map[cloud.Serving]tui.Tone{cloud.Serves: tui.Good, cloud.ServesNot: tui.Bad}[s.c.Verdict.Serving]
	switch {
	case s.c.Verdict.Action == status.ActNow:
		tone = tui.Bad
	case tone == tui.Calm || s.c.Verdict.Action == status.ActSoon:
		tone = tui.Warn
	}
	for _, part := range tui.Fold(tui.Printable(s.c.Verdict.Text), s.v.width, 2) {
		s.out.WriteString(tui.Paint(part, tone, s.v.colour) + "\n")
	}
}

func (s *statusWriter) title() {
	word, tone := "healthy", tui.Good
	if !s.c.Healthy {
		word, tone = "DEGRADED", tui.Bad
	}
	at := s.c.Time.UTC().Format("2006-01-02 15:04:05 UTC")
	name := tui.Cut(tui.Printable(s.c.Cloud.Cloud), max(8, s.v.width-len(word)-len(at)-4))
	pad := max(2, min(s.v.width, tui.DefaultWidth)-len([]rune(name))-2-len(word)-len(at))
	s.line(name + "  " + tui.Paint(word, tone, s.v.colour) + strings.Repeat(" ", pad) + at)
}

// head gives the heads of a table's columns; see tui.Cell.
func head(cells ...tui.Cell) []tui.Cell { return cells }

// column is a head that stays as it is, may be shortened to so many columns, or left out.
func column(text string, least, drop int) tui.Cell {
	c := tui.Marked(text, tui.Dim)
	c.Least, c.Drop = least, drop
	return c
}

// vips tells who holds each VIP. Its addresses are below each other, and its hostname below these:
// side by side they are wider than a terminal.
func (s *statusWriter) vips() {
	t := &tui.Table{Head: head(column("VIP", 8, 0), column("HELD BY", 12, 0), column("SINCE", 0, 0), column("ADDRESS, HOSTNAME", 16, 0))}
	for _, vip := range s.c.VIPs {
		where := slices.Clone(vip.Addresses)
		if s.v.less < well && vip.Hostname != "" || len(where) == 0 {
			where = append(where, vip.Hostname)
		}
		t.Add(tui.Plain(vip.Name), s.holder(vip), tui.Plain(s.since(vip.Since)), tui.Plain(where[0]))
		for _, more := range where[1:] {
			t.Add(tui.Plain(""), tui.Plain(""), tui.Plain(""), tui.Plain(more))
		}
	}
	s.table(t)
}

func (s *statusWriter) holder(v cloud.VIP) tui.Cell {
	var all []string
	for _, h := range v.Holders {
		all = append(all, s.names(h))
	}
	switch {
	case v.Announce != "" && len(all) > 0:
		return tui.Marked(strings.Join(all, ", "), tui.Good)
	case len(all) > 1:
		return tui.Marked("TWO: "+strings.Join(all, ", "), tui.Bad)
	case v.Holder == "":
		return tui.Marked("NOBODY", tui.Bad)
	case len(all) == 0:
		return tui.Marked(s.names(v.Holder)+" (no answer)", tui.Warn)
	}
	return tui.Marked(s.names(v.Holder), tui.Good)
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

// controllers tells of each controller. Versions and digests are told only where they differ.
func (s *statusWriter) controllers() {
	var agents, proxys, specs []string
	for _, c := range s.c.Controllers {
		if c.Snapshot != nil {
			agents, proxys, specs = append(agents, c.Snapshot.Version), append(proxys, c.Snapshot.HAProxy.Version), append(specs, c.Snapshot.Config.Digest)
		}
	}
	t := &tui.Table{Head: head(column("CONTROLLER", 10, 0), column("ADDRESS", 15, 2), column("AGENT", 9, 0), column("HAPROXY", 14, 0),
		column("CLIENTS", 0, 1), column("VIPS", 7, 0))}
	tellSpec := differ(specs) || slices.ContainsFunc(s.c.Controllers, func(c cloud.Controller) bool {
		return c.Snapshot != nil && specCell(c.Snapshot.Config, false).Text != ""
	})
	if tellSpec {
		t.Head = append(t.Head, column("SPEC", 12, 0))
	}
	for _, c := range s.c.Controllers {
		snap := c.Snapshot
		if snap == nil {
			t.Add(tui.Plain(s.names(c.Name)), tui.Plain(withoutPort(c.Address)), tui.Cell{Text: tui.Printable("NO ANSWER: " + c.Error), Tone: tui.Bad, Spans: true})
			continue
		}
		row := []tui.Cell{
			tui.Plain(s.names(c.Name)), tui.Plain(withoutPort(c.Address)), tui.Plain(s.agentWords(snap, differ(agents))), s.haproxy(snap.HAProxy, differ(proxys)),
			tui.Plain(strconv.Itoa(snap.HAProxy.Connections)), vipStates(snap),
		}
		if tellSpec {
			row = append(row, specCell(snap.Config, differ(specs)))
		}
		t.Add(row...)
	}
	s.table(t)
}

// differ reports whether two of values are not the same.
func differ(values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return v != values[0] })
}

func withoutPort(address string) string {
	if addr, err := netip.ParseAddrPort(address); err == nil {
		return addr.Addr().String()
	}
	return address
}

// agentWords gives how long the agent runs, and its version where that tells it from others.
func (s *statusWriter) agentWords(snap *status.Snapshot, version bool) string {
	age := status.Age(s.c.Time, snap.Started)
	if version {
		return tui.Cut(shortVersion(snap.Version), 20) + " " + age
	}
	return "up " + age
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

func (s *statusWriter) haproxy(h status.HAProxy, version bool) tui.Cell {
	c := tui.Marked(string(h.State), tui.Good)
	if h.State != status.HAProxyRunning {
		c = tui.Marked(strings.ToUpper(string(h.State)), tui.Bad)
	}
	words := c.Text
	if version {
		words += " " + tui.Cut(h.Version, 20)
	}
	return tui.Marked(strings.Join(strings.Fields(words+" "+status.Age(s.c.Time, h.Since)), " "), c.Tone)
}

// vipStates gives the VRRP state of each VIP, with its name when there are
// several, and says when the whole controller is drained.
func vipStates(s *status.Snapshot) tui.Cell {
	var all []string
	for _, v := range s.VIPs {
		word := string(v.State)
		if v.Announce != "" {
			word = string(v.Announced)
		}
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

// specCell tells what is to be told of a controller's spec: "" for nothing, unless its digest is wanted.
func specCell(c status.Config, digest bool) tui.Cell {
	word := ""
	if digest {
		word = c.Digest
	}
	switch {
	case len(c.Rejected) > 0:
		return tui.Marked("file REFUSED", tui.Warn)
	case !c.TrialUntil.IsZero():
		return tui.Plain(strings.TrimSpace(word + " on trial"))
	}
	return tui.Plain(word)
}

// shortNames gives what leaves the domain out of names of hosts, if all have the same.
func shortNames(c cloud.Cloud) func(string) string {
	var all []string
	for _, controller := range c.Controllers {
		all = append(all, controller.Name)
	}
	for _, s := range c.Services {
		for _, h := range s.Hosts {
			all = append(all, h.Name)
		}
	}
	var domains []string
	for _, name := range all {
		_, domain, _ := strings.Cut(name, ".")
		domains = append(domains, domain)
	}
	if len(domains) == 0 || domains[0] == "" || differ(domains) {
		return func(name string) string { return name }
	}
	return func(name string) string { return strings.TrimSuffix(name, "."+domains[0]) }
}
