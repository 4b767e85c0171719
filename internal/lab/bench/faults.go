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

// Allowed says which requests of a safe method a row may cost.
type Allowed string

// What may fail.
const (
	// AllowNone: no request.
	AllowNone Allowed = "none"
	// AllowOld: those under way, and those sent on a connection that was opened
	// before the address had moved. No new connection.
	AllowOld Allowed = "old"
	// AllowGap: these, and new connections made before the gap had ended, which
	// is bounded itself.
	AllowGap Allowed = "gap"
	// AllowBeside: as many as behind kolla-ansible's settings in the same run,
	// and some more: see Beside.
	AllowBeside Allowed = "beside"
	// AllowAny: nothing is promised of requests.
	AllowAny Allowed = "any"
)

// A Promise is what a row may cost: the bounds that holdfast was built for. A
// duration of none is not promised.
type Promise struct {
	Text string // for people
	// Planned says that this is of planned work: nothing fails, whatever its
	// method, no connection is reset and no download is cut.
	Planned bool
	Failed  Allowed
	Gap     time.Duration // longest time without an answer on a new connection
	Slowest time.Duration // of the requests that succeed
	Two     time.Duration // for which more than one node has the address
	Connect time.Duration // longest time in which new connections find nobody; of planned work only
	Reset   bool          // what fails, fails at once: nothing runs into its timeout

	// Of a service that is busy, and its hosts. Beside is nil, and Ratio 0, where
	// that is not promised.
	Beside   *Beside
	NoneDown bool    // no host is marked down
	Ratio    float64 // of the requests that hosts see to those that clients sent
	Uploads  bool    // none is cut
}

// A Beside is a promise that is held against what kolla-ansible's settings cost
// in the same run.
type Beside struct {
	Failed int     // so many more may fail
	P99    float64 // so many times as long; 0: not promised
}

// none marks a bound that is not promised.
const none time.Duration = -1

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
	nothing := Promise{Text: "0 failed, no gap", Failed: AllowNone, Gap: 0, Slowest: none, Two: none}
	// Until a host that fell silent is found out its own clients wait, several
	// of them in a row as they take turns: that is no gap of the service.
	quick := Promise{Text: "0 failed, slowest < 1 s", Failed: AllowNone, Gap: 50 * time.Millisecond, Slowest: time.Second, Two: none}
	const ms, second = time.Millisecond, time.Second
	return []Fault{
		{
			ID: "service-kill", Name: "a service is killed", Watch: 2 * second, Slow: 3 * second,
			Action: Action{On: OnBusiest, Kind: "service-kill"}, Promise: nothing,
		},
		{
			ID: "service-hang", Name: "a service hangs", Watch: 3 * second, Slow: 6 * second,
			Action: Action{On: OnBusiest, Kind: "service-hang"}, Promise: quick,
		},
		{
			ID: "service-errors", Name: "a service answers 5xx", Watch: 2500 * ms, Slow: 6 * second,
			Action: Action{On: OnBusiest, Kind: "service-errors"}, Promise: nothing,
		},
		{
			ID: "other-lost", Name: "another host is lost", Watch: 2500 * ms, Slow: 6 * second,
			Action: Action{On: OnOther, Kind: "power-off"}, Promise: quick,
		},
		{
			ID: "haproxy-kill", Name: "HAProxy is killed", Watch: 2 * second, Slow: 5 * second,
			Action: Action{On: OnHolder, Kind: "haproxy-kill"},
			Promise: Promise{
				Text: "only in flight, gap 50 ms", Failed: AllowGap, Gap: 50 * ms, Slowest: none, Two: none,
			},
		},
		{
			ID: "haproxy-hang", Name: "HAProxy hangs", Watch: 3 * second, Slow: 6 * second,
			Action: Action{On: OnHolder, Kind: "haproxy-hang"},
			Promise: Promise{
				Text: "those of the gap, 500 ms", Failed: AllowGap, Gap: 500 * ms, Slowest: none, Two: none,
			},
		},
		{
			ID: "agent-kill", Name: "the agent is killed", Watch: 3500 * ms, Slow: 5 * second,
			Action: Action{On: OnHolder, Kind: "agent-kill"}, Promise: agentPromise(),
		},
		{
			ID: "agent-hang", Name: "the agent hangs", Watch: 4500 * ms, Slow: 6 * second,
			Action: Action{On: OnHolder, Kind: "agent-hang"}, Promise: agentPromise(),
		},
		{
			ID: "holder-lost", Name: "the holder is lost", Watch: 2500 * ms, Slow: 6 * second,
			Action: Action{On: OnHolder, Kind: "power-off"},
			Promise: Promise{
				Text: "only in flight, gap 100 ms", Failed: AllowGap, Gap: 100 * ms,
				Slowest: none, Two: none, Reset: true,
			},
		},
		{
			ID: "host-back", Name: "the lost host is back", Watch: 2500 * ms, Slow: 3 * second, Then: true,
			Action: Action{On: OnSame, Kind: "back"}, Promise: nothing,
		},
		{
			ID: "partition", Name: "the holder is cut off", Watch: 2 * second, Slow: 6 * second,
			Action:  Action{On: OnWire, Kind: "partition"},
			Promise: Promise{Text: "-", Failed: AllowAny, Gap: none, Slowest: none, Two: none},
		},
		{
			ID: "healing", Name: "the partition heals", Watch: 2 * second, Slow: 3500 * ms, Then: true,
			Action: Action{On: OnWire, Kind: "heal"},
			Promise: Promise{
				Text: "two holders <= 1 interval", Failed: AllowAny, Gap: none, Slowest: none, Two: 20 * ms,
			},
		},
	}
}

func agentPromise() Promise {
	return Promise{
		Text: "0 new ones, two <= 2.5 s", Failed: AllowOld, Gap: 0, Slowest: none, Two: 2500 * time.Millisecond,
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
