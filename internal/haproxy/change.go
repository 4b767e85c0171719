package haproxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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

// A Step is one step of a Change.
type Step struct {
	Command string // of the runtime API, or several with ";" between them
	// Any says that HAProxy may refuse the command: the outcome is looked at later.
	Any bool
	// Quiet, in place of a command, is a server to wait for: until no agent
	// check of it is under way.
	Quiet *ServerState
}

// PlanChange gives the change of w, which runs with the configuration from, to
// the configuration to; both made by Render. Without a reload a host can come
// or go and get another weight or address. Whatever else differs, and whatever
// HAProxy may not do well while it runs, takes a reload:
//
//   - A host that goes is put into maintenance, and stays there until the next
//     reload: a server that another one tracks cannot be deleted, and HAProxy
//     before 2.8.4 can crash when a request still has the server that is
//     deleted (haproxy/haproxy#2323). Of a TCP service that would end its
//     connections, which a reload does not.
//   - A host that comes, to a service with two backends, is checked in both
//     until the next reload: no server can track one that was added.
//   - An address changes from IPv4 to IPv4 only: HAProxy before 3.0 reads it
//     while it is written, and more than four bytes not at once.
func PlanChange(from, to []byte, w Worker) Change {
	old, err := sections(from)
	if err != nil {
		return Change{Reload: "the configuration before is not understood: " + err.Error()}
	}
	now, err := sections(to)
	if err != nil {
		return Change{Reload: "the configuration is not understood: " + err.Error()}
	}
	if differ := differences(old, now); len(differ) > 0 {
		return Change{Reload: someOf(differ)}
	}
	if why := w.Differs(from); why != "" {
		return Change{Reload: "HAProxy's servers are not as they were configured: " + why}
	}
	p := planner{old: serversOf(old), now: serversOf(now), worker: w}
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
func (p *planner) plan(old, now []section) {
	for i := range now {
		for _, s := range now[i].servers {
			if was, ok := p.old[s.path()]; ok {
				p.alter(was, s)
			} else {
				p.add(s)
			}
		}
	}
	for i := range old {
		for _, s := range old[i].servers {
			if _, ok := p.now[s.path()]; !ok {
				p.remove(s, now[i])
			}
		}
	}
}

// reload records why a reload is needed: the first reason.
func (p *planner) reload(format string, args ...any) {
	if p.why == "" {
		p.why = fmt.Sprintf(format, args...)
	}
}

func (p *planner) do(command string) { p.steps = append(p.steps, Step{Command: command}) }
func (p *planner) try(command string) {
	p.steps = append(p.steps, Step{Command: command, Any: true})
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
	if !slices.Equal(fixed(was), fixed(s)) {
		p.reload("the line of server %s of %s changed", s.name, s.backend)
		return
	}
	if was.weight() != s.weight() {
		p.do("set server " + s.path() + " weight " + strconv.Itoa(s.weight()))
		p.tell(s, "gave host "+s.name+" weight "+strconv.Itoa(s.weight()), "in")
	}
	if was.at != s.at {
		p.move(was, s)
	}
	before, _ := was.get("agent-addr")
	if agent, ok := s.get("agent-addr"); ok && agent != before {
		p.do("set server " + s.path() + " agent-addr " + agent)
		// Where the second backend checks for itself, since it was added so.
		p.try("set server " + s.service() + onceSuffix + "/" + s.name + " agent-addr " + agent)
	}
}

// move gives server s another address.
func (p *planner) move(was, s server) {
	if was.at.Port() != s.at.Port() || !was.at.Addr().Is4() || !s.at.Addr().Is4() {
		p.reload("server %s of %s moved from %v to %v", s.name, s.backend, was.at, s.at)
		return
	}
	// HAProxy answers with a warning.
	p.try("set server " + s.path() + " addr " + s.at.Addr().String() + " port " + strconv.Itoa(int(s.at.Port())))
	p.tell(s, "moved host "+s.name+" to "+s.at.Addr().String(), "in")
}

// fixed gives the settings of s that cannot change without a reload.
func fixed(s server) []setting {
	return slices.DeleteFunc(slices.Clone(s.settings), func(one setting) bool {
		return one.name == "weight" || one.name == "agent-addr"
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
	p.tell(s, "added host "+s.name, "to")
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
		p.reload("server %s of %s is new, and %s is not", s.name, s.backend, path)
	}
	return tracked
}

// arguments gives those of "add server": the address, and all settings, since
// HAProxy gives a server that is added no default ones.
func (p *planner) arguments(s server) string {
	p.addable(s)
	settings := append(slices.Clone(s.defaults), s.settings...)
	if checked := p.checked(s); checked.path() != s.path() {
		settings = slices.DeleteFunc(settings, func(one setting) bool { return one.name == "track" || one.name == "no-check" })
		for _, one := range checked.settings {
			if strings.HasPrefix(one.name, "agent-") {
				settings = append(settings, one)
			}
		}
	}
	// What HAProxy before 2.6.17 leaves at 0, and then reuses no connection.
	words := []string{s.at.String(), "pool-max-conn", "-1", "pool-purge-delay", "5s"}
	for _, one := range settings {
		if !keywordOf(one.name).runtime {
			p.reload("host %s is new in %s, and HAProxy takes %q of a server in a reload only", s.name, s.service(), one.name)
			return ""
		}
		if one.name == "id" {
			continue
		}
		words = append(words, one.name)
		if one.value != "" {
			words = append(words, p.argument(one.value))
		}
	}
	// Last, so that no line ends in what the value of agent-send ends in.
	return strings.Join(append(words, "id", strconv.Itoa(s.id())), " ")
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
	major, minor := version(p.worker.Version)
	newer := func(a, b int) bool { return major > a || major == a && minor >= b }
	if !newer(2, 6) {
		p.reload("host %s is new in %s, and HAProxy %s takes a new host in a reload only", s.name, s.service(), p.worker.Version)
	}
	// Its list of servers with few connections can break over servers that
	// were added (haproxy/haproxy#3360), which have slowstart here.
	if _, least := s.get("slowstart"); least && newer(3, 2) {
		p.reload("host %s is new in %s, which balances by connections", s.name, s.service())
	}
	for _, there := range p.worker.Servers {
		switch {
		case there.Backend != s.backend:
		case there.Name == s.name:
			p.reload("host %s was removed from %s since the last reload, and comes back", s.name, s.service())
		case there.ID == s.id() && p.old[s.backend+"/"+there.Name].name == "":
			p.reload("host %s of %s has the id of %s, which was removed since the last reload", s.name, s.service(), there.Name)
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
	return number(parts[0]), number(digits)
}

// remove takes server s out of use. What it has goes on.
func (p *planner) remove(s server, in section) {
	if value, ok := s.get("on-marked-down"); ok {
		p.reload("host %s of %s is gone, and its connections are to go on (on-marked-down %s)", s.name, s.service(), value)
		return
	}
	path := s.path()
	if _, asks := s.get("agent-check"); asks {
		p.do("disable agent " + path)
	} else {
		p.try("disable agent " + path) // as it has one where it was added
	}
	p.steps = append(p.steps, Step{Quiet: &ServerState{Backend: s.backend, Name: s.name}})
	p.do("set server " + path + " state maint")
	p.tell(s, "removed host "+s.name, "from")
	if len(in.servers) == 0 {
		p.reload("host %s of %s is gone, and there is no other", s.name, s.service())
	}
}
