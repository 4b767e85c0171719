package sim

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/vrrp"
)

// MaxNodes is how many nodes a schedule has at most.
const MaxNodes = 9

// maxSteps and maxTime bound what Parse reads.
const (
	maxSteps = 10000
	maxTime  = time.Hour // the clocks count nanoseconds times a million
)

// A Schedule is a whole run: who takes part, and what happens when.
type Schedule struct {
	Seed     uint64        // of the chances of the network and of delays
	Interval time.Duration // Advertisement_Interval of all, at first
	Preempt  bool
	Group    bool // adverts go to a multicast group, not to each peer
	// Key has a forger without the key of the controllers: what it makes up is
	// not believed, nor what it recorded and sends again.
	Key bool
	// Least and Most are the bounds of how long a packet travels.
	Least, Most time.Duration
	Nodes       []Node
	Steps       []Step        // in the order of At
	Quiet       time.Duration // that is looked at after the last step, once all has settled
}

// A Node is one controller.
type Node struct {
	Priority uint8
	Drift    int // of its clock, in parts per million: more is faster; -100000 to 100000
}

// A Step is one thing that happens.
type Step struct {
	At    time.Duration // since the beginning
	Verb  Verb
	Node  Who           // whom it happens to
	Other int           // 1 to MaxNodes
	For   time.Duration // how long
	Value int           // percent, or a priority
}

// Who is a node: 1 to MaxNodes, or one of the others here.
type Who int

// Holder is who has the address, All are all nodes.
const (
	Holder Who = 0
	All    Who = -1
)

// A Verb is a kind of Step.
type Verb uint8

// The verbs.
const (
	Kill        Verb = iota + 1 // the agent ends at once; its kernel keeps the address until the lease ends
	PowerOff                    // the host ends
	Boot                        // agent and host run again, if they do not
	ShutDown                    // the agent ends in order
	Stop                        // the agent does not run for a while (SIGSTOP, a collection of garbage)
	Freeze                      // the whole machine stands still for a while, and its clock
	ServiceDown                 // HAProxy dies
	ServiceUp                   // and is there again
	Unplug                      // no carrier
	Plug                        // the carrier is back
	Cut                         // nothing of Node arrives at Other
	Join                        // it does again
	Isolate                     // nothing comes from Node nor gets there
	Rejoin                      // it does again
	Deaf                        // the channel between agents is cut between Node and Other
	Filter                      // adverts of Node do not arrive at Other, all else does
	Heal                        // the network is whole, and the channel
	Loss                        // Value percent of all packets are lost
	Double                      // Value percent of all packets arrive twice
	Jitter                      // each packet takes up to For longer, and may be overtaken
	Handover                    // Node hands over to Other within For, which the two agree on by the channel
	Give                        // Node hands over within For to whoever takes over first
	Stay                        // a handover of Node is called off
	Limp                        // Node is to be the last to have the address, as its link is bad
	Sound                       // no longer
	SetInterval                 // Node advertises with another interval
	SetPriority                 // Node has another priority
	Slow                        // the kernel of Node changes no address for a while
	Forge                       // a forger tells Node that Other has priority Value
	Replay                      // a forger tells Node again what Other sent For ago
)

// forms has for each Verb its word and what follows it: n is a node, o another,
// d a duration, p a percentage, v a priority.
func forms(v Verb) (word, arguments string) {
	table := [...][2]string{
		Kill: {"kill", "n"}, PowerOff: {"poweroff", "n"}, Boot: {"boot", "n"}, ShutDown: {"shutdown", "n"},
		Stop: {"stop", "nd"}, Freeze: {"freeze", "nd"},
		ServiceDown: {"service-down", "n"}, ServiceUp: {"service-up", "n"},
		Unplug: {"unplug", "n"}, Plug: {"plug", "n"},
		Cut: {"cut", "no"}, Join: {"join", "no"}, Isolate: {"isolate", "n"}, Rejoin: {"rejoin", "n"}, Deaf: {"deaf", "no"},
		Filter: {"filter", "no"},
		Heal:   {"heal", ""}, Loss: {"loss", "p"}, Double: {"double", "p"}, Jitter: {"jitter", "d"},
		Handover: {"handover", "nod"}, Give: {"give", "nd"}, Stay: {"stay", "n"},
		Limp: {"limp", "n"}, Sound: {"sound", "n"},
		SetInterval: {"interval", "nd"}, SetPriority: {"priority", "nv"}, Slow: {"slow", "nd"},
		Forge: {"forge", "nov"}, Replay: {"replay", "nod"},
	}
	if int(v) >= len(table) {
		return "", ""
	}
	return table[v][0], table[v][1]
}

func (v Verb) String() string {
	word, _ := forms(v)
	return word
}

func (w Who) String() string {
	switch w {
	case Holder:
		return "holder"
	case All:
		return "all"
	}
	return strconv.Itoa(int(w))
}

// String gives s as a line that Parse reads.
func (s Step) String() string {
	word, arguments := forms(s.Verb)
	b := fmt.Appendf(nil, "%v %s", s.At, word)
	for _, a := range arguments {
		switch a {
		case 'n':
			b = fmt.Appendf(b, " %v", s.Node)
		case 'o':
			b = fmt.Appendf(b, " %d", s.Other)
		case 'd':
			b = fmt.Appendf(b, " %v", s.For)
		case 'p':
			b = fmt.Appendf(b, " %d%%", s.Value)
		case 'v':
			b = fmt.Appendf(b, " %d", s.Value)
		}
	}
	return string(b)
}

// String gives s as a text that Parse reads.
func (s Schedule) String() string {
	var b strings.Builder
	yes := func(on bool, what string) {
		if on {
			fmt.Fprintln(&b, what)
		}
	}
	fmt.Fprintf(&b, "seed %d\ninterval %v\n", s.Seed, s.Interval)
	yes(s.Preempt, "preempt")
	yes(s.Group, "multicast")
	yes(s.Key, "key")
	fmt.Fprintf(&b, "travel %v %v\nquiet %v\n", s.Least, s.Most, s.Quiet)
	for _, n := range s.Nodes {
		fmt.Fprintf(&b, "node %d %d\n", n.Priority, n.Drift)
	}
	for _, step := range s.Steps {
		fmt.Fprintln(&b, step)
	}
	return b.String()
}

// Parse reads a schedule: a line for each thing, in any order but that of the
// steps. Empty lines, and what follows a #, say nothing.
//
//	seed 7               of the chances
//	interval 20ms        the Advertisement_Interval
//	preempt              } if it is so
//	multicast            }
//	key                  }
//	travel 50µs 550µs    how long packets travel, at least and at most
//	quiet 5s             that must be well at the end
//	node 254 -100        priority, and drift of the clock in parts per million
//	1.5s poweroff 1      a step: see the verbs; for a node stands its number, holder, or all
func Parse(text string) (Schedule, error) {
	s := Schedule{Interval: 100 * time.Millisecond, Least: 50 * time.Microsecond, Most: 550 * time.Microsecond, Quiet: 3 * time.Second}
	lines := bufio.NewScanner(strings.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := s.read(words); err != nil {
			return Schedule{}, fmt.Errorf("line %d, %q: %w", number, strings.TrimSpace(line), err)
		}
	}
	if err := lines.Err(); err != nil {
		return Schedule{}, fmt.Errorf("read a schedule: %w", err)
	}
	return s, s.check()
}

// read takes in one line.
func (s *Schedule) read(words []string) error {
	var err error
	switch args := words[1:]; {
	case words[0] == "preempt" && len(args) == 0:
		s.Preempt = true
	case words[0] == "multicast" && len(args) == 0:
		s.Group = true
	case words[0] == "key" && len(args) == 0:
		s.Key = true
	case words[0] == "seed" && len(args) == 1:
		s.Seed, err = strconv.ParseUint(args[0], 10, 64)
	case words[0] == "interval" && len(args) == 1:
		s.Interval, err = time.ParseDuration(args[0])
	case words[0] == "quiet" && len(args) == 1:
		s.Quiet, err = time.ParseDuration(args[0])
	case words[0] == "travel" && len(args) == 2:
		if s.Least, err = time.ParseDuration(args[0]); err == nil {
			s.Most, err = time.ParseDuration(args[1])
		}
	case words[0] == "node" && len(args) == 2:
		var n Node
		var priority uint64
		if priority, err = strconv.ParseUint(args[0], 10, 8); err == nil {
			n.Priority = uint8(priority)
			n.Drift, err = strconv.Atoi(args[1])
		}
		s.Nodes = append(s.Nodes, n)
	case len(args) > 0:
		var step Step
		step, err = parseStep(words)
		s.Steps = append(s.Steps, step)
	default:
		err = fmt.Errorf("it is neither a setting nor a step")
	}
	return err
}

func parseStep(words []string) (Step, error) {
	at, err := time.ParseDuration(words[0])
	if err != nil {
		return Step{}, fmt.Errorf("it is neither a setting nor a step, which begins with its time: %w", err)
	}
	s := Step{At: at}
	for v := Kill; v <= Replay; v++ {
		word, arguments := forms(v)
		if word != words[1] {
			continue
		}
		s.Verb = v
		if len(arguments) != len(words)-2 {
			return Step{}, fmt.Errorf("%s has %d arguments, not %d", word, len(arguments), len(words)-2)
		}
		for i, a := range arguments {
			if err := s.argument(a, words[2+i]); err != nil {
				return Step{}, err
			}
		}
		return s, nil
	}
	return Step{}, fmt.Errorf("there is no step %q", words[1])
}

// argument takes in one argument of the kind a.
func (s *Step) argument(a rune, word string) error {
	var err error
	n := 0
	if a == 'd' {
		s.For, err = time.ParseDuration(word)
		return err
	}
	if a == 'n' && (word == "holder" || word == "all") {
		s.Node = Holder
		if word == "all" {
			s.Node = All
		}
		return nil
	}
	if n, err = strconv.Atoi(strings.TrimSuffix(word, "%")); err != nil {
		return err
	}
	switch {
	case (a == 'n' || a == 'o') && (n < 1 || n > MaxNodes):
		return fmt.Errorf("there is no node %d", n)
	case a == 'n':
		s.Node = Who(n)
	case a == 'o':
		s.Other = n
	case a == 'p' && (n < 0 || n > 100):
		return fmt.Errorf("%d%% is not 0%% to 100%%", n)
	case a == 'v' && (n < 0 || n > 255):
		return fmt.Errorf("priority %d is not 0 to 255", n)
	default:
		s.Value = n
	}
	return nil
}

// check gives the first thing that cannot be run.
func (s Schedule) check() error {
	last := time.Duration(0)
	for _, step := range s.Steps {
		switch {
		case step.At < last:
			return fmt.Errorf("step %q is before the one before it", step)
		case step.For < 0 || step.For > maxTime:
			return fmt.Errorf("step %q: %v is not 0 to %v", step, step.For, maxTime)
		case step.Verb == SetInterval && (step.For < vrrp.MinInterval || step.For > vrrp.MaxInterval):
			return fmt.Errorf("step %q: the interval is not %v to %v", step, vrrp.MinInterval, vrrp.MaxInterval)
		}
		last = step.At
	}
	for _, n := range s.Nodes {
		if n.Priority < 1 || n.Priority > 254 || n.Drift < -100000 || n.Drift > 100000 {
			return fmt.Errorf("node %d %d: the priority is not 1 to 254, or the drift not -100000 to 100000", n.Priority, n.Drift)
		}
	}
	switch {
	case len(s.Nodes) < 1 || len(s.Nodes) > MaxNodes:
		return fmt.Errorf("%d nodes are not 1 to %d", len(s.Nodes), MaxNodes)
	case s.Interval < vrrp.MinInterval || s.Interval > vrrp.MaxInterval:
		return fmt.Errorf("interval %v is not %v to %v", s.Interval, vrrp.MinInterval, vrrp.MaxInterval)
	case s.Least < 0 || s.Most < s.Least || s.Most > time.Minute:
		return fmt.Errorf("packets cannot travel for %v to %v", s.Least, s.Most)
	case s.Quiet < 0 || last > maxTime || s.Quiet > maxTime:
		return fmt.Errorf("it is longer than %v", maxTime)
	case len(s.Steps) > maxSteps:
		return fmt.Errorf("%d steps are more than %d", len(s.Steps), maxSteps)
	}
	return nil
}
