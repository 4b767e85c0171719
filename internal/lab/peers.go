package lab

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"slices"

	"golang.org/x/sys/unix"
)

// A lab of peers has on its controllers, in the place of agents, what the
// package peer plays: HAProxy and keepalived with a supervisor. Its faults are
// the same: whatever is done to an agent is done to keepalived, which has the
// agent's part in it.

// Switch has the controllers of the lab in d run the peer of kind, or agents when
// that is empty, and returns when all services answer through them. What runs now
// is stopped first, as by systemctl stop; services go on. With nodes, only these
// controllers are switched.
func Switch(ctx context.Context, d Dir, kind string, nodes ...string) error {
	_, err := call(ctx, d, request{Op: "switch", Peer: kind, Nodes: nodes})
	return err
}

// switchTo does what Switch asks for. On no controller are two systems at once, as
// both would take the address.
func (s *server) switchTo(ctx context.Context, kind string, nodes []string) error {
	s.faulting.Lock()
	defer s.faulting.Unlock()
	others := func(n *node) bool { return len(nodes) > 0 && !slices.Contains(nodes, n.plan.name) }
	stop := func(n *node) error {
		if others(n) {
			return nil
		}
		u, err := n.agentUnit()
		if err != nil || u == nil {
			return err
		}
		if err := u.stop(ctx); err != nil {
			return err
		}
		return n.endHAProxy(ctx)
	}
	start := func(n *node) error {
		if others(n) {
			return nil
		}
		if u := n.become(kind); u != nil {
			return u.command(ctx, true)
		}
		return nil
	}
	if err := s.each(stop); err != nil {
		return err
	}
	if err := s.each(start); err != nil {
		return err
	}
	return s.awaitReady(ctx, func(progress) {})
}

// endHAProxy ends the node's HAProxy, which an agent leaves to the next one.
func (n *node) endHAProxy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for {
		found, err := n.signalAll("haproxy", unix.SIGTERM)
		if err != nil {
			return fmt.Errorf("end HAProxy of %s: %w", n.plan.name, err)
		}
		if found == 0 {
			return nil
		}
		if err := Sleep(ctx, readyPoll); err != nil {
			return fmt.Errorf("HAProxy of %s does not end: %w", n.plan.name, err)
		}
	}
}

// become has the node's unit run the peer of kind from its next start on, or the
// agent; nil where there is none.
func (n *node) become(kind string) *unit {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peer = kind
	if n.agent != nil {
		n.agent.setArgs(n.unitArgs())
	}
	return n.agent
}

// peerKind gives the kind of peer that runs in the place of the agent; empty: none.
func (n *node) peerKind() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peer
}

// unitArgs is the command that the node's unit runs; n.mu is held.
func (n *node) unitArgs() []string {
	name := n.plan.name
	if n.peer != "" {
		return []string{n.dir.binary(), "lab", "peer", "-f", n.dir.nodeSpec(name), "--kind", n.peer, "--controller", name, "--run-dir", n.runDir()}
	}
	args := []string{
		n.dir.binary(), "agent", "-f", n.dir.nodeSpec(name), "--controller", name,
		"--state-dir", n.dir.stateDir(name), "--run-dir", n.runDir(),
	}
	if _, err := user.Lookup("haproxy"); err != nil { // as where HAProxy is from no package
		args = append(args, "--haproxy-user", "nobody")
	}
	if _, err := os.Stat(n.dir.keyFile()); err == nil {
		args = append(args, "--key-file", n.dir.keyFile())
	}
	return args
}
