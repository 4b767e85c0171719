package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// slowFaultKinds gives the faults that let a node go on, but badly.
func slowFaultKinds() []FaultKind {
	const ofNode = "NODE"
	return []FaultKind{
		{Name: "loss", Args: "PERCENT NODE", Text: "lose PERCENT of all frames from the node, and as many of those to it; 0 ends it", onNode: lose},
		{Name: "delay", Args: "DURATION NODE", Text: "hold every frame from the node, and every one to it, for DURATION; 0 ends it", onNode: delay},
		{Name: "one-way", Args: "FROM TO", Text: "no frame passes from node FROM to node TO; the other way all do", onLab: (*server).oneWay},
		{Name: "blind", Args: ofNode, Text: "the controller reaches no service on another node; adverts, other agents and clients do get through", onLab: (*server).blind},
		{Name: "flap", Args: "NODE [PERIOD]", Text: "take the carrier from the node and give it back, again and again; PERIOD of both, 2s if not said", onNode: flap},
		{Name: "disk-full", Args: ofNode, Text: "not one octet more fits on the disk that has the agent's state", onNode: diskFull},
		{Name: "read-only", Args: ofNode, Text: "the disk that has the agent's state is read-only", onNode: readOnly},
		{Name: "no-run-dir", Args: ofNode, Text: "remove the agent's run directory, with every socket in it; the agent makes it anew", onNode: noRunDir},
		{Name: "log-stuck", Args: ofNode, Text: "nobody takes the log of the agent and of HAProxy, as with a journald that stands still", onNode: logStuck},
		{Name: "clock", Args: "NODE OFFSET", Text: "start the agent again, with a wall clock that is OFFSET off, such as +3h; back and heal give it the right one", onNode: wrongClock},
		{Name: "no-files", Args: ofNode, Text: "the agent can open no file and no socket beside those that it has", onNode: agentNoFiles},
		{Name: "haproxy-no-files", Args: ofNode, Text: "HAProxy can open no file and no socket beside those that it has", onNode: haproxyNoFiles},
	}
}

// slowFaults are those of a node that last, by their names, each with what ends
// it. They are guarded by the server's lock of faults.
type slowFaults map[string]func() error

// endSlow ends one of the node's lasting faults, if there is one.
func (n *node) endSlow(name string) error {
	end, ok := n.slow[name]
	if !ok {
		return nil
	}
	delete(n.slow, name)
	return end()
}

// endAllSlow ends each of the names; all with none.
func (n *node) endAllSlow(names ...string) error {
	if len(names) == 0 {
		for name := range n.slow {
			names = append(names, name)
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, n.endSlow(name))
	}
	return errors.Join(errs...)
}

func (n *node) setSlow(name string, end func() error) {
	if n.slow == nil {
		n.slow = slowFaults{}
	}
	n.slow[name] = end
}

// repeat does something at once and then again and again until it is ended.
func repeat(ctx context.Context, every time.Duration, do func()) (end func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for ctx.Err() == nil {
			do()
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	})
	return func() error {
		cancel()
		wg.Wait()
		return nil
	}
}

// lose loses a part of what a node sends and receives.
func lose(_ context.Context, n *node, f Fault) (string, error) {
	percent, err := strconv.ParseFloat(strings.TrimSuffix(f.Value, "%"), 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return "", wrongf("%q is not a percentage from 0 to 100", f.Value)
	}
	return fmt.Sprintf("%g %% of the frames of %s are lost", percent, n.plan.name), n.wire.setLoss(n, percent)
}

// oneWay loses all that one node sends to another.
func (s *server) oneWay(f *Fault) (string, error) {
	from, err := s.node(f.Node)
	if err != nil {
		return "", err
	}
	to, err := s.node(f.To)
	if err != nil {
		return "", err
	}
	if from == to {
		return "", wrongf("%s would be both ends; name two nodes", from.plan.name)
	}
	f.Node, f.To = from.plan.name, to.plan.name
	return fmt.Sprintf("nothing passes from %s to %s", f.Node, f.To), s.wire.addOneWay(from, to)
}

// blind loses all that a controller sends to services on other nodes.
func (s *server) blind(f *Fault) (string, error) {
	n, err := s.node(f.Node)
	if err != nil {
		return "", err
	}
	if n.plan.role != roleController {
		return "", wrongf("no HAProxy runs on %s: it is not a controller", n.plan.name)
	}
	f.Node = n.plan.name
	var others []netip.AddrPort
	for _, o := range s.nodes {
		for _, at := range o.plan.services {
			if o != n {
				others = append(others, at.service.At(at.host))
			}
		}
	}
	if len(others) == 0 {
		return "", fmt.Errorf("every service is on %s: there is none that it could not reach", n.plan.name)
	}
	return fmt.Sprintf("nothing passes from %s to %d services on other nodes", f.Node, len(others)), s.wire.setBlind(n, others)
}

// healWire ends what is done to the wires of all nodes.
func (s *server) healWire() error {
	errs := []error{s.wire.mend(nil)}
	for _, n := range s.nodes {
		errs = append(errs, n.endAllSlow("delay", "flap", "clock"))
	}
	return errors.Join(errs...)
}

func delay(_ context.Context, n *node, f Fault) (string, error) {
	d, err := time.ParseDuration(f.Value)
	if err != nil || d < 0 || d > maxDelay {
		return "", wrongf("%q is not a delay from 0 to %v; write one such as 200ms", f.Value, maxDelay)
	}
	if err := n.needOn(); err != nil {
		return "", err
	}
	if err := n.endSlow("delay"); err != nil || d == 0 {
		return "the frames of " + n.plan.name + " are not held", err
	}
	var relays []*relay
	end := func() error {
		var errs []error
		for i, r := range relays {
			errs = append(errs, r.close(n.index, i))
		}
		return errors.Join(errs...)
	}
	for i := range n.plan.links {
		r, err := newRelay(n.index, i, d)
		if err != nil {
			return "", errors.Join(err, end())
		}
		relays = append(relays, r)
	}
	n.setSlow("delay", end)
	return fmt.Sprintf("every frame of %s is held for %v", n.plan.name, d), nil
}

// flap takes the carrier and gives it back until it is ended, and then gives it.
func flap(ctx context.Context, n *node, f Fault) (string, error) {
	const least = 20 * time.Millisecond
	period, err := time.ParseDuration(cmp.Or(f.Value, "2s"))
	if err != nil || period < least || period > time.Hour {
		return "", wrongf("%q is not a period from %v to an hour; write one such as 2s", f.Value, least)
	}
	if err := errors.Join(n.needOn(), n.endSlow("flap")); err != nil {
		return "", err
	}
	plugged := true
	stop := repeat(ctx, period/2, func() {
		plugged = !plugged
		if err := n.plug(plugged); err != nil {
			n.log.Warn("flap", "node", n.plan.name, "error", err)
		}
	})
	n.setSlow("flap", func() error { return errors.Join(stop(), n.plug(true)) })
	return fmt.Sprintf("the link of %s is down and up again every %v", n.plan.name, period), nil
}

func (n *node) needOn() error {
	_, err := n.boxOn()
	return err
}
