package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A lab of peers has on its controllers, in the place of agents, what the
// package peer plays: HAProxy and keepalived with a supervisor. Its faults are
// the same: whatever is done to an agent is done to keepalived, which has the
// agent's part in it.

func (d Dir) peerFile() string { return d.path("peer") }

// writePeer tells the lab's server which kind of peer its controllers run;
// empty: none, but agents.
func (d Dir) writePeer(kind string) error { return d.writeWord(d.peerFile(), kind) }

func (d Dir) readPeer() (string, error) { return d.readWord(d.peerFile()) }

// writeWord tells the lab's server one thing of how it is to be built.
func (d Dir) writeWord(path, word string) error {
	if word == "" {
		return nil
	}
	if err := os.WriteFile(path, []byte(word), 0o644); err != nil {
		return fmt.Errorf("write how the lab is to be: %w", err)
	}
	return nil
}

// readWord gives what writeWord wrote; empty if it was nothing.
func (d Dir) readWord(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read how the lab is to be: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// unitArgs is the command that the node's unit runs.
func (n *node) unitArgs() []string {
	name := n.plan.name
	if n.peer != "" {
		return []string{n.dir.binary(), "lab", "peer", "-f", n.dir.nodeSpec(name), "--kind", n.peer, "--controller", name, "--run-dir", n.runDir()}
	}
	return []string{
		n.dir.binary(), "agent", "-f", n.dir.nodeSpec(name), "--controller", name,
		"--state-dir", n.dir.stateDir(name), "--run-dir", n.runDir(),
	}
}

// signalKeepalived sends sig to every process of the node's keepalived.
func (n *node) signalKeepalived(sig unix.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return n.offError()
	}
	pids, err := n.box.processes("keepalived")
	for _, pid := range pids {
		err = errors.Join(err, ignoreGone(unix.Kill(pid, sig)))
	}
	return err
}
