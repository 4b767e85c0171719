package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Holder is the name, among those of nodes, of whichever holds the first VIP at
// the moment.
const Holder = "holder"

// A Fault is one thing done to the lab, and a line of faults.jsonl.
type Fault struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"fault"`
	Node    string    `json:"node,omitempty"`
	Service string    `json:"service,omitempty"` // empty: all on the node
	To      string    `json:"to,omitempty"`      // the second node, of one-way
	// Value is how much: a percentage, a delay, a period.
	Value string `json:"value,omitempty"`
	// Sets are those that a partition keeps apart.
	Sets [][]string `json:"sets,omitempty"`
	// Done tells what was done, for a person.
	Done string `json:"done,omitempty"`
}

// A FaultKind is one that "holdfast lab fault" knows.
type FaultKind struct {
	Name string `json:"fault"`
	Args string `json:"arguments"` // "NODE [SERVICE]", "PERCENT NODE", "SET SET...", ""
	Text string `json:"does"`

	onNode func(context.Context, *node, Fault) (string, error)
	onLab  func(*server, *Fault) (string, error)
}

// FaultKinds gives every fault, in the order of "lab fault --list".
func FaultKinds() []FaultKind {
	const ofService, ofNode = "NODE [SERVICE]", "NODE"
	return slices.Concat([]FaultKind{
		{Name: "service-kill", Args: ofService, Text: "kill the service; it stays dead until service-back", onNode: eachService("killed", (*node).killService)},
		{Name: "service-hang", Args: ofService, Text: "stop the process where it is: it takes connections and never answers", onNode: eachService("hung", (*node).hangService)},
		{Name: "service-errors", Args: ofService, Text: "answer 503 to everything", onNode: eachService("failing", (*node).failService)},
		{Name: "service-restart", Args: ofService, Text: "stop the service with SIGTERM and start it again", onNode: servicesRestart},
	}, busyFaultKinds(), []FaultKind{
		{Name: "service-back", Args: ofService, Text: "end any of these", onNode: servicesBack},
		{Name: "haproxy-kill", Args: ofNode, Text: "kill every HAProxy process of the controller", onNode: haproxyFault(unix.SIGKILL, "killed")},
		{Name: "haproxy-hang", Args: ofNode, Text: "stop every HAProxy process of the controller where it is", onNode: haproxyFault(unix.SIGSTOP, "hung")},
		{Name: "haproxy-back", Args: ofNode, Text: "let a hung HAProxy go on", onNode: haproxyFault(unix.SIGCONT, "going on")},
		{Name: "agent-kill", Args: ofNode, Text: "kill the agent; its unit starts it again after 100 ms", onNode: agentSignal(unix.SIGKILL, "killed")},
		{Name: "agent-hang", Args: ofNode, Text: "stop the agent where it is; the unit's watchdog kills it after 5 s", onNode: agentSignal(unix.SIGSTOP, "hung")},
		{Name: "agent-stop", Args: ofNode, Text: "stop the agent as its unit does, with SIGTERM, and leave it stopped", onNode: agentStop},
		{Name: "agent-restart", Args: ofNode, Text: "stop the agent with SIGTERM; its unit starts it again", onNode: agentSignal(unix.SIGTERM, "restarted")},
		{Name: "agent-reload", Args: ofNode, Text: "send SIGHUP: the agent reads its spec again", onNode: agentSignal(unix.SIGHUP, "told to reload")},
		{Name: "agent-back", Args: ofNode, Text: "start a stopped agent, let a hung one go on", onNode: agentBack},
		{Name: "power-off", Args: ofNode, Text: "cut the power: off the wire at once, every process dead, all memory lost", onNode: powerOff},
		{Name: "unplug", Args: ofNode, Text: "pull the network cable; everything goes on running", onNode: unplug},
	}, slowFaultKinds(), addressFaultKinds(), filterFaultKinds(), []FaultKind{
		{Name: "back", Args: ofNode, Text: "undo whatever was done to the node", onNode: back},
		{Name: "partition", Args: "SET SET...", Text: "no frame passes between the sets (nodes joined by commas); a node in none reaches all", onLab: (*server).partition},
		{Name: "heal", Args: "", Text: "make every wire whole: end partitions, loss, delay, one-way, blind, source-guard and flap of all; and give each agent the right clock", onLab: (*server).heal},
	})
}

// inject does f and writes it down with its time. One fault at a time. What it
// starts lives as long as ctx.
func (s *server) inject(ctx context.Context, f Fault) (Fault, error) {
	s.faulting.Lock()
	defer s.faulting.Unlock()
	kinds := FaultKinds()
	i := slices.IndexFunc(kinds, func(k FaultKind) bool { return k.Name == f.Kind })
	if i < 0 {
		return f, wrongf("unknown fault %q; \"holdfast lab fault --list\" has them", f.Kind)
	}
	var n *node
	if kinds[i].onNode != nil {
		var err error
		if n, err = s.node(f.Node); err != nil {
			return f, err
		}
		f.Node = n.plan.name
	}
	f.Time = time.Now()
	var err error
	if n != nil {
		f.Done, err = kinds[i].onNode(ctx, n, f)
	} else {
		f.Done, err = kinds[i].onLab(s, &f)
	}
	if err != nil {
		return f, err
	}
	return f, s.record(f)
}

func (s *server) record(f Fault) error {
	s.log.Info("fault", "fault", f.Kind, "node", f.Node, "service", f.Service, "done", f.Done)
	data, err := json.Marshal(f)
	if err == nil {
		err = appendLine(s.dir.faultsFile(), data)
	}
	if err != nil {
		return fmt.Errorf("record the fault: %w", err)
	}
	return nil
}

func appendLine(path string, line []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// eachService makes a fault of the service that is named, or of all on the node.
func eachService(word string, do func(*node, *standin) error) func(context.Context, *node, Fault) (string, error) {
	return func(_ context.Context, n *node, f Fault) (string, error) {
		return n.overServices(f, word, func(s *standin) error { return do(n, s) })
	}
}

func servicesBack(_ context.Context, n *node, f Fault) (string, error) {
	return n.overServices(f, "back", n.serviceBack)
}

func servicesRestart(_ context.Context, n *node, f Fault) (string, error) {
	return n.overServices(f, "restarted", n.restartService)
}

func (n *node) overServices(f Fault, word string, do func(*standin) error) (string, error) {
	chosen, err := n.chosenServices(f.Service)
	if err != nil {
		return "", err
	}
	var names []string
	for _, s := range chosen {
		err = errors.Join(err, do(s))
		names = append(names, s.at.service.Name)
	}
	return strings.Join(names, ", ") + " on " + n.plan.name + " " + word, err
}

func (n *node) chosenServices(name string) ([]*standin, error) {
	if name != "" {
		s, err := n.service(name)
		return []*standin{s}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return nil, n.offError()
	}
	if len(n.services) == 0 {
		return nil, fmt.Errorf("no service runs on %s", n.plan.name)
	}
	return slices.Clone(n.services), nil
}

func (n *node) killService(s *standin) error { return n.leaveAlone(s).kill() }

func (n *node) hangService(s *standin) error { return n.leaveAlone(s).signal(unix.SIGSTOP) }

func (n *node) failService(s *standin) error { return s.setFailing(true) }

func haproxyFault(sig unix.Signal, word string) func(context.Context, *node, Fault) (string, error) {
	return func(_ context.Context, n *node, _ Fault) (string, error) {
		found, err := n.signalAll("haproxy", sig)
		if err == nil && found == 0 {
			err = fmt.Errorf("no HAProxy runs on %s", n.plan.name)
		}
		return "HAProxy of " + n.plan.name + " " + word, err
	}
}

func agentSignal(sig unix.Signal, word string) func(context.Context, *node, Fault) (string, error) {
	return func(_ context.Context, n *node, _ Fault) (string, error) {
		u, err := n.needAgent()
		if err != nil {
			return "", err
		}
		if n.peerKind() != "" {
			_, err := n.signalAll("keepalived", sig)
			return "keepalived of " + n.plan.name + " " + word, err
		}
		p, runs := u.current()
		if !runs {
			return "", fmt.Errorf("the agent of %s does not run at the moment", n.plan.name)
		}
		return "agent of " + n.plan.name + " " + word, p.signal(sig)
	}
}

func agentStop(ctx context.Context, n *node, _ Fault) (string, error) {
	u, err := n.needAgent()
	if err != nil {
		return "", err
	}
	return "agent of " + n.plan.name + " stopped", u.stop(ctx)
}

func agentBack(ctx context.Context, n *node, _ Fault) (string, error) {
	if _, err := n.needAgent(); err != nil {
		return "", err
	}
	return "agent of " + n.plan.name + " back", n.agentBack(ctx)
}

func (n *node) needAgent() (*unit, error) {
	u, err := n.agentUnit()
	if err == nil && u == nil {
		err = wrongf("no agent runs on %s: it is not a controller", n.plan.name)
	}
	return u, err
}

func powerOff(_ context.Context, n *node, _ Fault) (string, error) {
	return n.plan.name + " powered off", n.powerOff()
}

func unplug(_ context.Context, n *node, _ Fault) (string, error) {
	return n.plan.name + " unplugged", n.plug(false)
}

func back(ctx context.Context, n *node, _ Fault) (string, error) {
	done, err := n.bringBack(ctx)
	return n.plan.name + " " + done, err
}

// partition cuts the wire between the sets of f, whose nodes it checks.
func (s *server) partition(f *Fault) (string, error) {
	if len(f.Sets) < 2 {
		return "", wrongf(`a partition needs two sets of nodes or more: "lab fault partition A,B C"`)
	}
	seen := map[string]bool{}
	var ports [][]string
	for i, set := range f.Sets {
		var of []string
		for j, name := range set {
			n, err := s.node(name)
			if err != nil {
				return "", err
			}
			if seen[n.plan.name] {
				return "", wrongf("node %s stands twice in the partition", n.plan.name)
			}
			seen[n.plan.name] = true
			f.Sets[i][j] = n.plan.name
			of = append(of, n.ports()...)
		}
		ports = append(ports, of)
	}
	if err := cut(ports); err != nil {
		return "", err
	}
	s.setPartition(f.Sets)
	return describe(f.Sets), nil
}

func describe(sets [][]string) string {
	var words []string
	for _, set := range sets {
		words = append(words, strings.Join(set, ","))
	}
	return strings.Join(words, " | ")
}

func (s *server) heal(*Fault) (string, error) {
	if err := cut(nil); err != nil {
		return "", err
	}
	s.setPartition(nil)
	return "healed", s.healWire()
}
