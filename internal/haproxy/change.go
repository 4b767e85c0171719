package haproxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/haproxy/output"
)

// maxSteps is how many commands a change may take: more take longer than a reload.
const maxSteps = 400

// A Change is how a running worker comes from one configuration to another:
// by commands of its runtime API, or by a reload.
type Change struct {
	// Reload says in words why it takes a reload; empty where it does not.
	Reload string
	// Done says in words what the steps do; empty where there are none.
	Done  string
	Steps []Step
	// Fresh are the servers, as "backend/server", that the steps bring into
	// use; see Worker.Differs.
	Fresh []string
}

// Unknown is why it takes a reload where the configuration before is not known.
const Unknown = "the configuration that it ran with is not known"

// A Step is one step of a Change.
type Step struct {
	Command string // of the runtime API, or several with ";" between them
	// Quiet, in place of a command, is a server to wait for: until no agent
	// check of it is under way.
	Quiet *ServerState
}

// PlanChange gives the change of w, which runs with the configuration from, to
// the configuration to; both made by Render. Without a reload a host can come,
// go and get another weight. Whatever else differs, and whatever HAProxy may not
// do well while it runs, takes a reload:
//
//   - A host that goes is put into maintenance, and stays there until the next
//     reload: a server that another one tracks cannot be deleted, and HAProxy
//     before 2.8.4 can crash when a request still has the server that is
//     deleted (haproxy/haproxy#2323). Of a TCP service that would end its
//     connections, which a reload does not.
//   - A host that comes, to a service with two backends, is checked in both
//     until the next reload: no server can track one that was added.
//   - A host that moves: "set server addr" leaves connections to the address
//     before in use for as long as there are always requests for them.
//   - What the worker runs with may be known by its text only, as an agent of an
//     earlier release leaves it.
func PlanChange(from, to *Config, w Worker) Change {
	if !from.Known() || !to.Known() {
		return Change{Reload: Unknown}
	}
	if differ := differences(from.proper(), to.proper()); len(differ) > 0 {
		return Change{Reload: someOf(differ)}
	}
	if why := w.Differs(from); why != "" {
		return Change{Reload: "HAProxy's servers are not as they were configured: " + why}
	}
	old, now := from.servers(), to.servers()
	p := planner{old: byPath(old), now: byPath(now), worker: w, rawDefaults: to.rawDefaults()}
	p.plan(old, now)
	if p.why != "" {
		return Change{Reload: p.why}
	}
	if len(p.steps) > maxSteps {
		return Change{Reload: "there are many changes: " + p.done()}
	}
	return Change{Done: p.done(), Steps: p.steps, Fresh: p.fresh}
}

// A planner collects the steps of a change of servers.
type planner struct {
	old, now map[string]server
	worker   Worker
	// rawDefaults has the backends whose servers get something by a raw line, which
	// HAProxy gives to none that is added.
	rawDefaults map[string]bool

	why   string // a reload is needed
	steps []Step
	fresh []string
	tells []tell
}

// A tell is something that was done, in words, for the services that it was done to.
type tell struct {
	what, link string // "added host ctl4", "to"
	services   []string
}

// plan collects the steps, as long as it needs no reload: hosts come before
// others go, so that there is always one.
func (p *planner) plan(old, now []server) {
	left := map[string]bool{} // backends that have a host
	for _, s := range now {
		left[s.backend] = true
		if was, ok := p.old[s.path()]; ok {
			p.alter(was, s)
		} else {
			p.add(s)
		}
	}
	for _, s := range old {
		if _, ok := p.now[s.path()]; !ok {
			p.remove(s, left[s.backend])
		}
	}
}

// reload records why a reload is needed: the first reason.
func (p *planner) reload(format string, args ...any) {
	if p.why == "" {
		p.why = fmt.Sprintf(format, args...)
	}
}

func (p *planner) do(command string) {
	if strings.Contains(command, "\n") {
		p.reload("%q cannot be said in a command", command)
	}
	p.steps = append(p.steps, Step{Command: command})
}

// tell records what was done to a service, once for both of its backends.
func (p *planner) tell(s server, what, link string) {
	i := slices.IndexFunc(p.tells, func(t tell) bool { return t.what == what && t.link == link })
	if i < 0 {
		p.tells, i = append(p.tells, tell{what: what, link: link}), len(p.tells)
	}
	if !slices.Contains(p.tells[i].services, s.service()) {
		p.tells[i].services = append(p.tells[i].services, s.service())
	}
}

// done says what was done.
func (p *planner) done() string {
	words := make([]string, len(p.tells))
	for i, t := range p.tells {
		words[i] = t.what + " " + t.link + " " + someOf(t.services)
	}
	return someOf(words)
}

// alter has server was become s.
func (p *planner) alter(was, s server) {
	switch {
	case was.At != s.At:
		p.reload("host %s of %s moved from %v to %v", s.Name, s.service(), was.At, s.At)
	case !slices.Equal(fixed(was), fixed(s)):
		p.reload("the line of server %s of %s changed", s.Name, s.backend)
	}
	if was.weight() != s.weight() {
		p.do("set server " + s.path() + " weight " + strconv.Itoa(s.weight()))
		p.tell(s, "gave host "+s.host()+" weight "+strconv.Itoa(s.weight()), "in")
	}
}

// fixed gives the settings of s that cannot change without a reload.
func fixed(s server) []Setting {
	return slices.DeleteFunc(slices.Clone(s.Settings), func(one Setting) bool { return one.Name == "weight" })
}

// asks reports whether a server of the worker asks an agent: that of a second
// backend does when it was added while the worker ran.
func (p *planner) asks(backend, name string) bool {
	return slices.ContainsFunc(p.worker.Servers, func(s ServerState) bool {
		return s.Backend == backend && s.Name == name && s.AgentAddress.IsValid()
	})
}

// add adds server s. It gets no request before its check finds it up.
func (p *planner) add(s server) {
	args := p.arguments(s)
	if p.why != "" {
		return
	}
	path := s.path()
	_, checks := s.get("check")
	_, asks := p.checked(s).get("agent-check")
	p.do("add server " + path + " " + args)
	var on []string
	if checks {
		on = append(on, "enable health "+path)
	}
	if asks {
		// A server that was added is down until its agent answers, where one
		// of the configuration is up until its agent says otherwise.
		on = append(on, "enable agent "+path, "set server "+path+" agent up")
	}
	if checks {
		// Out of maintenance it is up at once; drained, it can be put down first.
		on = append(on, "set server "+path+" state drain", "set server "+path+" health down")
	}
	p.do(strings.Join(append(on, "set server "+path+" state ready"), ";"))
	p.fresh = append(p.fresh, path)
	p.tell(s, "added host "+s.host(), "to")
}

// checked gives the server whose checks tell of s: s, or the one that it
// tracks, which must be new as well.
func (p *planner) checked(s server) server {
	path, ok := s.get("track")
	if !ok {
		return s
	}
	tracked, there := p.now[path]
	if _, before := p.old[path]; !there || before {
		p.reload("server %s of %s is new, and %s is not", s.Name, s.backend, path)
	}
	return tracked
}

// arguments gives those of "add server": the address, and all settings, since
// HAProxy gives a server that is added no default ones.
func (p *planner) arguments(s server) string {
	p.addable(s)
	checked := p.checked(s)
	settings := slices.Concat(checked.defaults, s.Settings)
	if checked.path() != s.path() {
		settings = slices.DeleteFunc(settings, func(one Setting) bool { return one.Name == "track" || one.Name == "no-check" })
		for _, one := range checked.Settings {
			if strings.HasPrefix(one.Name, "agent-") {
				settings = append(settings, one)
			}
		}
	}
	// What HAProxy before 2.6.17 leaves at 0, and then reuses no connection.
	words := []string{s.At.String(), "pool-max-conn", "-1", "pool-purge-delay", "5s"}
	for _, one := range settings {
		if !isTaken(one.Name) {
			p.reload("host %s is new in %s, and HAProxy takes %q of a server in a reload only", s.Name, s.service(), one.Name)
			return ""
		}
		if one.Name == "id" {
			continue
		}
		words = append(words, one.Name)
		if one.Value != "" {
			words = append(words, p.argument(one.Value))
		}
	}
	// Last, so that no line ends in what the value of agent-send ends in.
	return strings.Join(append(words, "id", strconv.Itoa(s.id())), " ")
}

// isTaken reports whether "add server" takes a keyword (HAProxy 2.6 and later). TLS it
// takes too, but only where another server has loaded the same files before.
func isTaken(keyword string) bool {
	switch keyword {
	case "check", "inter", "fastinter", "downinter", "fall", "rise", "observe", "error-limit", "on-error", "on-marked-down",
		"slowstart", "weight", "maxconn", "id", "backup", "agent-check", "agent-addr", "agent-port", "agent-inter", "agent-send":
		return true
	}
	return false
}

// argument gives value as one word of a command. No command can have a line
// feed, with which a question to an agent ends; agents take a carriage return
// for one.
func (p *planner) argument(value string) string {
	if text, ok := strings.CutSuffix(value, "\n"); ok {
		value = text + "\r"
	}
	if strings.ContainsFunc(strings.TrimSuffix(value, "\r"), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		p.reload("%q cannot be said in a command", value)
	}
	return CLIWord(value)
}

// addable sees to it that the worker can have server s added.
func (p *planner) addable(s server) {
	if p.rawDefaults[s.backend] {
		p.reload("host %s is new in %s, whose raw lines say something of all hosts", s.Name, s.service())
	}
	major, minor := version(p.worker.Version)
	newer := func(a, b int) bool { return major > a || major == a && minor >= b }
	if !newer(2, 6) {
		p.reload("host %s is new in %s, and HAProxy %s takes a new host in a reload only", s.Name, s.service(), p.worker.Version)
	}
	// Its list of servers with few connections can break over servers that
	// were added (haproxy/haproxy#3360), which have slowstart here.
	if _, least := s.get("slowstart"); least && newer(3, 2) {
		p.reload("host %s is new in %s, which balances by connections", s.Name, s.service())
	}
	for _, there := range p.worker.Servers {
		switch {
		case there.Backend != s.backend:
		case there.Name == s.Name:
			p.reload("host %s was removed from %s since the last reload, and comes back", s.Name, s.service())
		case there.ID == s.id() && p.old[s.backend+"/"+there.Name].Name == "":
			p.reload("host %s of %s has the id of %s, which was removed since the last reload", s.Name, s.service(), there.Name)
		}
	}
}

// version reads the first two numbers of HAProxy's version; 0 for what is none.
func version(s string) (major, minor int) {
	parts := strings.SplitN(s, ".", 3)
	if len(parts) < 2 {
		return 0, 0
	}
	digits, _, _ := strings.Cut(parts[1], "-")
	return output.Number(parts[0]), output.Number(digits)
}

// remove takes server s out of use, whose backend may have others. What it has goes on.
func (p *planner) remove(s server, others bool) {
	if value, ok := s.get("on-marked-down"); ok {
		p.reload("host %s of %s is gone, and its connections are to go on (on-marked-down %s)", s.Name, s.service(), value)
		return
	}
	path := s.path()
	if p.asks(s.backend, s.Name) {
		p.do("disable agent " + path)
		p.steps = append(p.steps, Step{Quiet: &ServerState{Backend: s.backend, Name: s.Name}})
	}
	p.do("set server " + path + " state maint")
	p.tell(s, "removed host "+s.host(), "from")
	if !others {
		p.reload("host %s of %s is gone, and there is no other", s.Name, s.service())
	}
}
