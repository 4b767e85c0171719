package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/lab/busy"
	"holdfast/internal/lab/openstack"
	"holdfast/internal/spec"
)

// A node is one host of the lab while the lab runs: switched on, it has a box.
type node struct {
	plan    nodePlan
	index   int // counts from 1
	dir     Dir
	log     *slog.Logger
	holder  *holderLog
	workers string           // of every stand-in from its start on, as "8x100ms"; empty: enough
	real    *openstack.Cloud // nil: all services are stand-ins
	wire    *lossyWire
	spec    *spec.Spec
	slow    slowFaults
	gate    gate     // of its log
	disk    *os.Root // of its own, since it was full
	// clock is how far off the agent's wall clock is, in nanoseconds.
	clock atomic.Int64

	mu        sync.Mutex // guards following
	box       *box       // nil: powered off
	unplugged bool
	peer      string // the kind of peer that runs in the place of the agent
	routes    bool   // FRR was started since the node was powered on
	agent     *unit  // nil where there is none
	services  []*standin
	stop      context.CancelFunc
	running   *sync.WaitGroup
}

// A standin is one host of a service in a node. The service's own process
// manager is not played: one that was killed stays dead until it is put back.
type standin struct {
	at            serviceAt
	real          bool // it is none, but a real service
	proc          *proc
	failFile      string // there while it answers 503 on command
	behaviourFile string
	behaviour     busy.Behaviour
	stall         *time.Timer // ends a stall; nil: there is none
	finishing     *proc       // to be started again when that has ended
}

// powerOn makes the node's namespaces and its wires. Nothing runs in it yet.
func (n *node) powerOn(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box != nil {
		return nil
	}
	ctx, n.stop = context.WithCancel(ctx)
	n.running = &sync.WaitGroup{}
	b, err := n.build(ctx)
	if err != nil {
		n.stop()
		return err
	}
	n.box, n.unplugged = b, false
	n.running.Go(func() { n.holder.follow(ctx, n.plan.name, b) })
	return nil
}

// build makes the node's box, plugged in, and what takes its log until ctx ends.
func (n *node) build(ctx context.Context) (*box, error) {
	if err := n.makeFiles(); err != nil {
		return nil, err
	}
	if err := n.takeSyslog(ctx); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(n.dir.nodeLog(n.plan.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of node %s: %w", n.plan.name, err)
	}
	b, err := newBox(n.dir.binary(), n.plan.name, n.dir.syslogSocket(n.plan.name), log)
	if err := errors.Join(err, log.Close()); err != nil {
		return nil, err
	}
	if err := b.plug(n.index, &n.plan); err != nil {
		return nil, errors.Join(err, b.destroy())
	}
	return b, nil
}

// makeFiles makes the node's directories. Its run directory is empty, as after
// every boot; its state directory is as it was.
func (n *node) makeFiles() error {
	if err := os.RemoveAll(n.runDir()); err != nil {
		return fmt.Errorf("clear the run directory of node %s: %w", n.plan.name, err)
	}
	for _, dir := range []string{n.dir.node(n.plan.name), n.dir.stateDir(n.plan.name), n.runDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the files of node %s: %w", n.plan.name, err)
		}
	}
	if _, err := os.Stat(n.dir.nodeSpec(n.plan.name)); err == nil {
		return nil // it may have been edited since
	}
	data, err := os.ReadFile(n.dir.specFile())
	if err == nil {
		err = os.WriteFile(n.dir.nodeSpec(n.plan.name), data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("give node %s its spec: %w", n.plan.name, err)
	}
	return nil
}

// launch starts what runs on the node: its services, then its agent.
func (n *node) launch(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil || len(n.services) > 0 || n.agent != nil {
		return nil
	}
	for _, at := range n.plan.services {
		s := &standin{
			at: at, failFile: n.dir.path("nodes", n.plan.name, at.service.Name+".fail"),
			behaviourFile: n.dir.path("nodes", n.plan.name, at.service.Name+".behaviour"),
		}
		if err := errors.Join(s.behave(busy.Behaviour{}), n.startService(s)); err != nil {
			return err
		}
		n.services = append(n.services, s)
	}
	if n.plan.role == roleRouter && !n.routes {
		n.routes = true
		return n.launchRouter(n.spec)
	}
	if n.plan.role != roleController {
		return nil
	}
	n.agent = n.newAgent()
	ctx, stop := context.WithCancel(ctx)
	before := n.stop
	n.stop = func() { stop(); before() }
	n.running.Go(func() {
		if err := n.agent.run(ctx); err != nil {
			n.log.Error("unit", "error", err)
		}
	})
	return nil
}

func (n *node) newAgent() *unit {
	name := n.plan.name
	u := newUnit("agent of "+name, n.startAgent, n.unitArgs(), n.env(os.Environ()), n.dir.agentLog(name), n.dir.notify(name), n.log)
	u.openLog = n.gate.pipe
	return u
}

func (n *node) startService(s *standin) error {
	args := []string{
		n.dir.binary(), "lab", "standin", "-f", n.dir.specFile(),
		"--service", s.at.service.Name, "--host", s.at.host.Name, "--fail-file", s.failFile,
		"--arrivals", n.dir.arrivals(n.plan.name, s.at.service.Name), "--counts", n.dir.counts(n.plan.name, s.at.service.Name),
		"--behaviour", s.behaviourFile, "--workers", n.workers,
	}
	if err := s.setFailing(false); err != nil {
		return err
	}
	// One thread is enough for each of many.
	env := append(n.env(os.Environ()), "GOMAXPROCS=1")
	args, env, err := n.realService(s, args, env)
	if err != nil {
		return err
	}
	p, err := starter(n.box.start).spawn(args, env, n.dir.ServiceLog(n.plan.name, s.at.service.Name))
	if err != nil {
		return fmt.Errorf("service %s on %s: %w", s.at.service.Name, n.plan.name, err)
	}
	s.proc = p
	return nil
}

// powerOff is a power cut: the node leaves the wire, then all its processes
// die, then what its kernel knew is forgotten.
func (n *node) powerOff() error {
	err := n.endAllSlow()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return err
	}
	err = errors.Join(err, setPorts(n.index, len(n.plan.links), false))
	n.holder.gone(n.plan.name)
	err = errors.Join(err, n.box.kill())
	n.stop()
	n.running.Wait()
	for _, s := range n.services {
		<-s.proc.done
	}
	err = errors.Join(err, removePorts(n.index, len(n.plan.links)), n.box.destroy(), n.keepDisk())
	n.box, n.agent, n.services, n.unplugged, n.routes = nil, nil, nil, false, false
	return err
}

// plug takes the carrier from the node's links, or gives it back.
func (n *node) plug(plugged bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return n.offError()
	}
	n.unplugged = !plugged
	return setPorts(n.index, len(n.plan.links), plugged)
}

func (n *node) offError() error {
	return fmt.Errorf("node %s is powered off; bring it back with \"holdfast lab fault back %s\"", n.plan.name, n.plan.name)
}

// bringBack undoes what was done to the node, and says what that was.
func (n *node) bringBack(ctx context.Context) (string, error) {
	n.mu.Lock()
	off := n.box == nil
	n.mu.Unlock()
	if off {
		if err := n.wire.mend(n); err != nil {
			return "", err
		}
		return "powered on", errors.Join(n.powerOn(ctx), n.launch(ctx))
	}
	err := errors.Join(n.wire.mend(n), n.endAllSlow(), n.plug(true))
	if n.plan.role == roleController {
		_, goErr := n.signalAll("haproxy", unix.SIGCONT)
		err = errors.Join(err, goErr)
	}
	n.mu.Lock()
	services := slices.Clone(n.services)
	n.mu.Unlock()
	for _, s := range services {
		err = errors.Join(err, n.serviceBack(s))
	}
	return "plugged in, everything on it running again", errors.Join(err, n.agentBack(ctx))
}

// serviceBack ends every fault of a service: it starts it if it is dead.
func (n *node) serviceBack(s *standin) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return n.offError()
	}
	s.endStall()
	if err := s.behave(busy.Behaviour{}); err != nil {
		return err
	}
	if !s.proc.running() {
		s.finishing = nil
		return n.startService(s)
	}
	return errors.Join(s.setFailing(false), s.proc.signal(unix.SIGCONT))
}

// restartService restarts a service as its own process manager does.
func (n *node) restartService(s *standin) error {
	p := n.leaveAlone(s)
	if err := errors.Join(p.signal(unix.SIGCONT), p.signal(unix.SIGTERM)); err != nil {
		return err
	}
	<-p.done
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.startService(s)
}

// setFailing makes the service answer 503 to everything, or not.
func (s *standin) setFailing(failing bool) error {
	var err error
	if failing {
		err = os.WriteFile(s.failFile, nil, 0o644)
	} else if err = os.Remove(s.failFile); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("tell service %s to fail, or not to: %w", s.at.service.Name, err)
	}
	return nil
}

func (s *standin) isFailing() bool {
	_, err := os.Stat(s.failFile)
	return err == nil
}

func (n *node) agentBack(ctx context.Context) error {
	u, err := n.agentUnit()
	if err != nil || u == nil {
		return err
	}
	if n.peerKind() != "" {
		if _, err := n.signalAll("keepalived", unix.SIGCONT); err != nil {
			return err
		}
	}
	if p, runs := u.current(); runs {
		if err := p.signal(unix.SIGCONT); err != nil {
			return err
		}
	}
	return u.command(ctx, true)
}

// agentUnit gives the node's agent; nil where there is none.
func (n *node) agentUnit() (*unit, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return nil, n.offError()
	}
	return n.agent, nil
}

// signalAll sends sig to every process on the node that is called comm, and tells
// how many there were.
func (n *node) signalAll(comm string, sig unix.Signal) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return 0, n.offError()
	}
	pids, err := n.box.processes(comm)
	for _, pid := range pids {
		err = errors.Join(err, ignoreGone(unix.Kill(pid, sig)))
	}
	return len(pids), err
}

// service gives the node's stand-in for the service called name.
func (n *node) service(name string) (*standin, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return nil, n.offError()
	}
	var names []string
	for _, s := range n.services {
		if s.at.service.Name == name {
			return s, nil
		}
		names = append(names, s.at.service.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no service runs on %s", n.plan.name)
	}
	return nil, wrongf("no service %q runs on %s; there are %s", name, n.plan.name, strings.Join(names, ", "))
}

func (n *node) runDir() string { return n.dir.runDir(n.index, n.plan.name) }

// env gives the environment of a command in the node: what it was, with the
// lab's binary found first and the local agent's file and sockets preset.
func (n *node) env(outer []string) []string {
	return append(nodeEnv(outer, n.dir.path("bin"), n.dir.nodeSpec(n.plan.name), n.runDir()), n.real.Env()...)
}
