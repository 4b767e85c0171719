package bench

import (
	"slices"
	"strings"
	"time"

	"holdfast/internal/lab"
)

// A Target says on which node an Action is done.
type Target string

// The targets.
const (
	OnHolder  Target = "holder"  // the controller that has the address
	OnBusiest Target = "busiest" // the controller whose host of the service answers most
	OnOther   Target = "other"   // the one that answers most of those without the address
	OnSame    Target = "same"    // that of the row before
	OnWire    Target = "wire"    // none: the holder is cut off from all others, or that is healed
	OnAll     Target = "all"     // each controller, one after the other
	// OnEveryHost is none: the fault is of all hosts of the service together.
	OnEveryHost Target = "every host"
)

// An Action is what a row does to the lab.
type Action struct {
	On Target
	// Kind is that of the lab's fault. One of a service is done to that which is
	// under load, and to no other.
	Kind  string
	Value string // of the fault, where it has one
}

// fault gives the lab's fault of a on node.
func (a Action) fault(node string) lab.Fault {
	f := lab.Fault{Kind: a.Kind, Node: node, Value: a.Value}
	for _, k := range lab.FaultKinds() {
		if k.Name == a.Kind && strings.Contains(k.Args, "SERVICE") {
			f.Service = service
		}
	}
	return f
}

// A Fault is a row of the table: something that is done to a lab under load,
// and what it may cost.
type Fault struct {
	ID   string // as --faults takes it
	Name string
	// Then says that this row goes on from the one before it, in one and the
	// same load.
	Then   bool
	Action Action
	// Work is what each system does in the place of an Action, for planned
	// work. A system that has none is not measured.
	Work map[System][]Step
	TLS  bool // measured in a lab whose VIP terminates TLS
	// Load is there for a row that has one of its own, and Before what is done to
	// the lab before that begins.
	Load   *FaultLoad
	Before []Action
	// Watch is how long clients are watched afterwards, and Slow the same for
	// a system that takes seconds.
	Watch, Slow time.Duration
	Promise     Promise
}

// Faults gives the rows in the order of the table: what breaks, what is busy, what
// is planned, and the sweep.
func Faults() []Fault { return slices.Concat(unplanned(), busyRows(), planned(), sweepRows()) }

func unplanned() []Fault {
	const ms, second = time.Millisecond, time.Second
	nothing := promise("0 failed, no gap", AllowNone, 0)
	// Until a host that fell silent is found out its own clients wait, several
	// of them in a row as they take turns: that is no gap of the service.
	quick := promise("0 failed, slowest < 1 s", AllowNone, 50*ms)
	quick.Slowest = second
	leased := promise("0 new ones, two <= 2.5 s", AllowOld, 0)
	leased.Two = 2500 * ms
	moved := promise("only in flight, gap 100 ms", AllowGap, 100*ms)
	moved.Reset = true
	healed := promise("two holders <= 1 interval", AllowAny, none)
	healed.Two = 20 * ms
	row := func(id, name string, on Target, kind string, watch, slow time.Duration, p Promise) Fault {
		return Fault{ID: id, Name: name, Action: Action{On: on, Kind: kind}, Watch: watch, Slow: slow, Promise: p}
	}
	then := func(f Fault) Fault { f.Then = true; return f }
	return []Fault{
		row("service-kill", "a service is killed", OnBusiest, "service-kill", 2*second, 3*second, nothing),
		row("service-hang", "a service hangs", OnBusiest, "service-hang", 3*second, 6*second, quick),
		row("service-errors", "a service answers 5xx", OnBusiest, "service-errors", 2500*ms, 6*second, nothing),
		row("other-lost", "another host is lost", OnOther, "power-off", 2500*ms, 6*second, quick),
		row("haproxy-kill", "HAProxy is killed", OnHolder, "haproxy-kill", 2*second, 5*second,
			promise("only in flight, gap 50 ms", AllowGap, 50*ms)),
		row("haproxy-hang", "HAProxy hangs", OnHolder, "haproxy-hang", 3*second, 6*second,
			promise("those of the gap, 500 ms", AllowGap, 500*ms)),
		row("agent-kill", "the agent is killed", OnHolder, "agent-kill", 3500*ms, 5*second, leased),
		row("agent-hang", "the agent hangs", OnHolder, "agent-hang", 4500*ms, 6*second, leased),
		row("holder-lost", "the holder is lost", OnHolder, "power-off", 2500*ms, 6*second, moved),
		then(row("host-back", "the lost host is back", OnSame, "back", 2500*ms, 3*second, nothing)),
		row("partition", "the holder is cut off", OnWire, "partition", 2*second, 6*second, promise("-", AllowAny, none)),
		then(row("healing", "the partition heals", OnWire, "heal", 2*second, 3500*ms, healed)),
	}
}

// A scenario is one or more rows that are measured in one load.
type scenario []Fault

// scenarios puts those of rows together that go on from one another. A row
// that goes on from one that is not chosen takes that with it.
func scenarios(chosen func(Fault) bool) []scenario {
	var all []scenario
	for _, f := range Faults() {
		if f.Then {
			last := len(all) - 1
			all[last] = append(all[last], f)
			continue
		}
		all = append(all, scenario{f})
	}
	var out []scenario
	for _, s := range all {
		if slices.ContainsFunc(s, chosen) {
			out = append(out, s)
		}
	}
	return out
}

// watch gives how long clients of system are watched after f.
func (f Fault) watch(system System) time.Duration {
	switch {
	case f.Load.length() > 0:
		return f.Load.length()
	case system == Kolla:
		return f.Slow
	}
	return f.Watch
}

// does reports whether system can do f.
func (f Fault) does(system System) bool {
	return f.Action.Kind != "" || f.Load.length() > 0 || len(f.Work[system]) > 0
}

// planned reports whether s is planned work, with the load that goes with it.
func (s scenario) planned() bool { return s[0].Promise.Planned }

// A Group is rows that can be chosen by one name.
type Group string

// The groups.
const (
	GroupFaults  Group = "faults"
	GroupBusy    Group = "busy"    // a service is well, but late, or busy, or stands still
	GroupPlanned Group = "planned" // work, and no fault
	GroupSweep   Group = "sweep"   // one load after the other
)

// Groups gives all groups, in the order of their tables.
func Groups() []Group { return []Group{GroupFaults, GroupBusy, GroupPlanned, GroupSweep} }

// Choices names for a person all that Options.Faults may have: faults, and groups.
func Choices() string {
	var ids, groups []string
	for _, f := range Faults() {
		ids = append(ids, f.ID)
	}
	for _, g := range Groups() {
		groups = append(groups, string(g))
	}
	return strings.Join(ids, ", ") + "; or all of a kind: " + strings.Join(groups, ", ")
}

// Group gives the one that f is in.
func (f Fault) Group() Group {
	switch {
	case f.Promise.Planned:
		return GroupPlanned
	case f.Load != nil && f.Load.Percent > 0:
		return GroupSweep
	case slices.ContainsFunc(busyRows(), func(o Fault) bool { return o.ID == f.ID }):
		return GroupBusy
	}
	return GroupFaults
}

// in reports whether f is called name, or in the group of that name.
func (f Fault) in(name string) bool { return f.ID == name || string(f.Group()) == name }

// phased reports whether the load of s is all that is done.
func (s scenario) phased() bool { return s[0].Load.length() > 0 }
