package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// services writes one table for each set of hosts: a row for each service, a
// column for each host. Hosts are named in the head where that fits, by number
// where that fits, and where nothing does only those that are not up are.
func (s *statusWriter) services() {
	services := s.c.Services
	if s.v.less >= well {
		services = slices.DeleteFunc(slices.Clone(services), allUp)
	}
	if s.v.less >= counted {
		s.countServices()
		return
	}
	groups := cloud.Group(services)
	name := len("SERVICE")
	for _, svc := range services {
		name = max(name, len(svc.Name))
	}
	for _, g := range groups {
		var hosts []string
		for _, h := range g.Hosts {
			hosts = append(hosts, s.names(h))
		}
		full := s.hostTable(g, name, s.fullCell, hosts)
		if full.Width() <= s.v.width {
			s.table(full)
			continue
		}
		numbered := s.hostTable(g, name, shortCell, numbers(len(g.Hosts)))
		if numbered.Width() <= s.v.width {
			s.table(numbered)
			s.legend(g.Hosts)
			continue
		}
		s.summary(g, name)
	}
	if n := len(s.c.Services) - len(services); n > 0 {
		s.line("")
		s.line(status.Count(n, "more service") + " up on every host")
	}
}

// countServices tells of services in one line.
func (s *statusWriter) countServices() {
	s.line("")
	var parts []string
	for _, state := range []status.ServiceState{status.Down, status.Degraded, status.Unknown, status.Up} {
		var names []string
		for _, svc := range s.c.Services {
			if svc.State == state {
				names = append(names, svc.Name)
			}
		}
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(names), stateCell(state).Text, status.Few(names)))
		}
	}
	s.line("services: " + strings.Join(parts, ", "))
}

func allUp(s cloud.Service) bool {
	return s.State == status.Up && !slices.ContainsFunc(s.Hosts, func(h cloud.Host) bool { return h.State != status.Up || isLate(h) || len(h.Views) > 0 })
}

// hostTable makes the table of a group with cells and column heads of some form.
func (s *statusWriter) hostTable(g cloud.ServiceGroup, name int, form func(cloud.Host) tui.Cell, heads []string) *tui.Table {
	t := &tui.Table{Head: s.serviceHead(name, heads...)}
	for _, svc := range g.Services {
		row := s.serviceCells(svc)
		for _, h := range svc.Hosts {
			row = append(row, form(h))
		}
		t.Add(row...)
	}
	return t
}

// serviceHead gives the heads of a table of services. All of these have the same first columns.
func (s *statusWriter) serviceHead(name int, more ...string) []tui.Cell {
	all := head(column(fmt.Sprintf("%-*s", name, "SERVICE"), 12, 0), column("PORT ", 0, 0), column("STATE   ", 0, 0))
	if n := s.clientsWidth(); n > 0 {
		all = append(all, tui.Words(fmt.Sprintf("%-*s", n, clientsHead))...)
	}
	return append(all, tui.Words(more...)...)
}

// clientsHead is over what clients got of the last minute: requests a second, how many failed, and the time to
// the first byte of 99 %.
const clientsHead = "REQUESTS"

// clientsWidth is how wide that column is, in all tables of services alike; 0 where no
// service has clients, and there is none.
func (s *statusWriter) clientsWidth() int {
	n := 0
	for _, svc := range s.c.Services {
		if c, any := s.c.Clients(svc.Name); any {
			n = max(n, len(c.Words()), len(clientsHead))
		}
	}
	return n
}

// serviceCells gives the first cells of a row of a service.
func (s *statusWriter) serviceCells(svc cloud.Service) []tui.Cell {
	row := []tui.Cell{tui.Plain(svc.Name), tui.Plain(strconv.Itoa(svc.Port)), stateCell(svc.State)}
	if s.clientsWidth() == 0 {
		return row
	}
	c, any := s.c.Clients(svc.Name)
	switch {
	case !any:
		return append(row, tui.Plain(""))
	case c.Failed*100 > c.Requests: // more than a hundredth
		return append(row, tui.Marked(c.Words(), tui.Bad))
	}
	return append(row, tui.Plain(c.Words()))
}

func stateCell(state status.ServiceState) tui.Cell {
	switch state {
	case status.Up:
		return tui.Marked("up", tui.Good)
	case status.Down:
		return tui.Marked("DOWN", tui.Bad)
	default:
		return tui.Marked(string(state), tui.Warn)
	}
}

// fullCell tells a host's state and, if it is not up, for how long.
func (s *statusWriter) fullCell(h cloud.Host) tui.Cell {
	c := shortCell(h)
	switch {
	case len(h.Views) > 0:
	case isLate(h):
		c.Text = strings.TrimSpace(c.Text + " " + status.Age(s.c.Time, h.ConditionSince))
	case h.State != status.Up:
		c.Text = strings.TrimSpace(c.Text + " " + status.Age(s.c.Time, h.Since))
	}
	return c
}

// isLate reports whether h serves, and answers over the time of its check.
func isLate(h cloud.Host) bool { return h.State == status.Up && h.Condition == status.Late }

// shortCell tells a host's state: "up", "late", "DOWN", "drain", or "up/DOWN" when
// HAProxys see it differently.
func shortCell(h cloud.Host) tui.Cell {
	c := stateCell(h.State)
	switch {
	case isLate(h):
		c = tui.Marked("late", tui.Warn)
	case h.State == status.Drain:
		c.Tone = tui.Calm
	}
	for _, v := range h.Views {
		if word := stateCell(v.State).Text; v.State != status.Unknown && !slices.Contains(strings.Split(c.Text, "/"), word) {
			c = tui.Marked(c.Text+"/"+word, tui.Warn)
		}
	}
	return c
}

func numbers(n int) []string {
	var all []string
	for i := range n {
		all = append(all, "#"+strconv.Itoa(i+1))
	}
	return all
}

// legend says which host has which number.
func (s *statusWriter) legend(hosts []string) {
	text := "hosts:"
	for i, h := range hosts {
		word := fmt.Sprintf(" #%d %s", i+1, tui.Shorten(tui.Printable(s.names(h)), 30))
		if len(text)+len(word) > s.v.width {
			s.line(text)
			text = "      "
		}
		text += word
	}
	s.line(text)
}

// summary tells of a group with more hosts than there are columns for.
func (s *statusWriter) summary(g cloud.ServiceGroup, name int) {
	t := &tui.Table{Head: s.serviceHead(name, "HOSTS")}
	t.Head[len(t.Head)-1].Least = 20
	room := s.v.width - name - len("  PORT   STATE     ")
	if n := s.clientsWidth(); n > 0 {
		room -= n + len("  ")
	}
	for _, svc := range g.Services {
		up, troubled := 0, []string{}
		for _, h := range svc.Hosts {
			if h.State == status.Up {
				up++
			}
			if c := s.fullCell(h); c.Text != "up" {
				troubled = append(troubled, s.names(h.Name)+" "+c.Text)
			}
		}
		t.Add(append(s.serviceCells(svc), tui.Cell{
			Text: tui.Printable(fewWords(fmt.Sprintf("%d of %d up", up, len(svc.Hosts)), troubled, room)), Spans: true,
		})...)
	}
	s.table(t)
}

// fewWords gives head and as many of words as fit into width, and how many more there are.
func fewWords(head string, words []string, width int) string {
	for i, w := range words {
		left := len(words) - i
		if room := width - len(head) - len(", ") - len(w); room < 0 || left > 1 && room < len(" and 99 more") {
			return fmt.Sprintf("%s and %d more", head, left)
		}
		head += ", " + w
	}
	return head
}
