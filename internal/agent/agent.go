// Package agent is the daemon of one controller. It wires the parts that each
// know one thing (HAProxy's supervisor, the leased addresses, the VRRP loops,
// the journal, the page and the sockets), brings a new spec into force in the
// one safe order, and builds the Snapshot that all answers are made from.
//
// It decides nothing that a part can decide for itself: who holds a VIP is
// VRRP's business, whether HAProxy is well is its supervisor's.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/bgp/announcer"
	"holdfast/internal/certificate/keep"
	"holdfast/internal/clocks"
	"holdfast/internal/drain"
	"holdfast/internal/file"
	"holdfast/internal/handover"
	"holdfast/internal/haproxy/client"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/health/watch"
	"holdfast/internal/hearing"
	"holdfast/internal/journal"
	"holdfast/internal/notify/tell"
	"holdfast/internal/onlyone"
	"holdfast/internal/peer"
	"holdfast/internal/reach/paths"
	"holdfast/internal/rollout"
	"holdfast/internal/splitbrain"
	"holdfast/internal/status"
	"holdfast/internal/systemd"
	"holdfast/internal/traffic/history"
	"holdfast/internal/traffic/listen"
	"holdfast/internal/vip"
	"holdfast/internal/vips"
	"holdfast/internal/vrrp/link"
	"holdfast/internal/web"
)

// Options is what an Agent is made of.
type Options struct {
	File       string // of the spec
	Controller string // this one's name in the spec
	StateDir   string // survives a restart
	RunDir     string // sockets; survives the agent, not the host
	HAProxy    string // path, or a name to look up in $PATH
	// KeepAddress is how long an agent that is told to end goes on holding what
	// nobody takes, until somebody does; 0: it ends.
	KeepAddress time.Duration
	// HAProxyUser is what HAProxy's workers become, where the agent is root; default
	// "haproxy". With "root" they stay root, which is a finding.
	HAProxyUser string
	// KeyFile is the file of the controllers' keys; empty: where one is found, if
	// anywhere; see keyfile.Find.
	KeyFile string
	// HAProxyNamed says that somebody has chosen HAProxy: an agent does not begin with
	// one that is not there, unless one runs that it can adopt.
	HAProxyNamed bool
	Version      string
	Log          *slog.Logger
	// Reload asks, with each value, for the file to be read again.
	Reload <-chan os.Signal
}

// An Agent is the daemon of one controller.
type Agent struct {
	opt     Options
	log     *slog.Logger
	started time.Time
	journal *journal.Journal
	haproxy *process.Manager
	systemd *systemd.Manager
	sockets *systemd.Sockets
	check   *peer.Server
	peers   *peer.Client
	web     *web.Server
	// hosts watches how the services fare.
	hosts *watch.Watch
	// rollout brings specs into force, and has the one that is.
	rollout *rollout.Rollout
	// certificates keeps those of the VIPs.
	certificates *keep.Keeper
	// drains has what of this controller is taken out for maintenance.
	drains *drain.Drains
	// vips has this controller's part in each VIP.
	vips *vips.VIPs
	// announcer has the VIPs that are announced by BGP.
	announcer *announcer.Announcer
	// moves has the planned moves of VIPs.
	moves *handover.Moves
	// paths has the ways to other hosts.
	paths *paths.Paths
	// split ends what two controllers hold that do not hear each other.
	split *splitbrain.SplitBrain
	// hearing knows which controllers hear each other.
	hearing *hearing.Hearing
	// keys has those of the controllers.
	keys *keyring
	// teller tells of incidents.
	teller *tell.Teller
	// clients counts what clients get, and history keeps it.
	clients *listen.Listener
	history *history.Keeper
	// clocks compares this controller's with those of the others.
	clocks  *clocks.Clocks
	pings   client.Pings // of HAProxy's supervisor only
	forcing atomic.Bool  // HAProxy is between one spec and the next

	mu          sync.Mutex // guards following
	services    []status.Service
	polled      time.Time // when HAProxy told of services
	connections int
	findings    map[string]status.Finding // of this controller, by what they are about
}

// New makes an Agent. It touches nothing until Run.
func New(opt Options) *Agent {
	opt = absolute(opt)
	a := &Agent{
		opt:      opt,
		started:  time.Now(),
		log:      opt.Log.With("controller", opt.Controller),
		findings: map[string]status.Finding{},
		clocks:   clocks.New(),
	}
	a.systemd = systemd.New(a.log)
	a.sockets = systemd.NewSockets(a.systemd)
	a.paths = paths.New(paths.Options{Controller: opt.Controller, Spec: a.currentSpec})
	a.keys = newKeyring(opt.KeyFile, opt.Controller)
	a.peers = &peer.Client{Controller: opt.Controller, Spec: a.currentSpec, Policy: a.policy, Voice: a.keys.voice}
	a.haproxy = process.New(process.Options{
		HAProxy:  opt.HAProxy,
		StateDir: opt.StateDir,
		RunDir:   opt.RunDir,
		Log:      a.log.With("component", "haproxy"),
		Probe:    a.probeVIPs,
	})
	event := func(e status.Event) { a.journal.Add(e) }
	a.certificates = keep.New(keep.Options{
		StateDir: opt.StateDir, HAProxy: a.haproxy, Spec: a.currentSpec,
		Event: event, Log: a.log.With("component", "certificates"),
	})
	a.vips = vips.New(vips.Options{
		Controller: opt.Controller, Log: a.log, HAProxy: a.haproxy, Spec: a.currentSpec,
		Holder:   func(name string, at *vip.Address) link.Holder { return a.moves.Tenant(name, at) },
		Priority: a.priority, Policy: a.keys.of, Note: func(changed ...*vip.Address) error { return a.moves.Note(changed...) }, Event: event, Report: a.reportOne,
		GivesWay: func() bool { return a.moves.GivesWay() },
		Taken:    func() { a.haproxy.Taken(); a.hosts.Taken(); a.split.Poke() },
		GivenBy:  func(vip string) string { return a.moves.GivenBy(vip) },
	})
	a.announcer = announcer.New(announcer.Options{
		Controller: opt.Controller, Log: a.log, HAProxy: a.haproxy.State, Changes: a.haproxy.Changes, Services: a.seenServices, Drained: func() string { return drainedFor(a.drains) },
		Event: event, Report: a.reportOne,
	})
	a.hosts = watch.New(watch.Options{
		HAProxy: a.haproxy, Log: a.log, Spec: a.currentSpec, Holds: func() bool { return len(a.held()) > 0 },
		Seen: a.seen, Event: event, SetFinding: a.setFinding, Report: a.report,
	})
	a.rollout = rollout.New(rollout.Options{
		File: opt.File, Controller: opt.Controller, StateDir: opt.StateDir, RunDir: opt.RunDir, HAProxyUser: opt.HAProxyUser,
		Log: a.log, Reload: opt.Reload, HAProxy: a.haproxy, Servers: a.hosts.Servers,
		VIPs: a.makeVIPs, Rekey: a.rekey, Held: a.held, Certificates: a.certificates.Prepare, Sweep: a.certificates.Sweep, Applying: a.forcing.Store,
		Event: event, SetFinding: a.setFinding, Report: a.report,
	})
	a.drains = drain.New(drain.Options{
		Controller: opt.Controller, StateDir: opt.StateDir, Log: a.log, Spec: a.currentSpec, Snapshot: a.Snapshot, Gather: a.gather, Ask: a.peers.Ask,
		Holds: a.vips.Holds, Settle: a.vips.Settle, Event: event, Report: a.report,
		Carry: a.hosts.Carry, HAProxy: func() int { return a.haproxy.State().PID },
		HandOver: func(ctx context.Context, req web.HandoverRequest, waits bool) ([]string, error) {
			return a.moves.GiveAll(ctx, req, waits)
		},
	})
	a.hearing = hearing.New(hearing.Options{
		Controller: opt.Controller, Spec: a.currentSpec, VIPs: a.heard, Ask: a.peers.Ask, SetFinding: a.setFinding, Report: a.reportOne,
		Word: func() any { return a.split.Word() }, Told: func(from string, word json.RawMessage) { a.split.Hears(from, word) },
		Clock: a.clocks.Reading, Clocked: a.clocks.Compare,
	})
	a.moves = handover.New(handover.Options{
		Controller: opt.Controller, RunDir: opt.RunDir, Log: a.log, HAProxy: a.haproxy, Spec: a.currentSpec, VIPs: a.parts,
		Ask: a.peers.Ask, Gather: a.gather, Reach: a.reach, Drained: a.drains.Whole, Greet: a.hearing.Greet, Preempt: a.vips.SetPreempt,
		Settle: a.vips.Settle, Closing: a.announcer.Closing, Event: event, SetFinding: a.setFinding, Report: a.reportOne,
	})
	a.split = splitbrain.New(splitbrain.Options{
		Controller: opt.Controller, Log: a.log, Spec: a.currentSpec, VIPs: a.holdings, Ask: a.peers.Ask, GiveWay: a.moves.Concede,
	})
	a.teller = tell.New(tell.Options{
		Controller: opt.Controller, StateDir: opt.StateDir, Log: a.log.With("component", "notify"), Spec: a.currentSpec,
		Follow: func() (<-chan status.Event, func()) { return a.journal.Follow() }, Journals: a.journals, Ask: a.peers.Ask,
		Now: func() time.Time { return time.Now().Add(-a.clocks.Ahead()) }, SetFinding: a.setFinding,
	})
	a.clients = listen.New(listen.Options{
		Spec: a.currentSpec, MayTell: mayBeHAProxy(opt.HAProxyUser), Event: event,
		Follow: func() (<-chan status.Event, func()) { return a.journal.Follow() }, SetFinding: a.setFinding,
		Lives: a.lives, Log: a.log.With("component", "clients"),
	})
	makeServers(a)
	return a
}

// makeServers makes what answers: the page, other agents, and what clients got.
func makeServers(a *Agent) {
	opt := a.opt
	a.history = history.New(history.Options{RunDir: opt.RunDir, StateDir: opt.StateDir, Point: a.clients.Point, Log: a.log.With("component", "clients")})
	a.check = peer.NewServer(peer.Options{
		Version: opt.Version, Answer: func(_, backend string) string { return a.drains.Answer(backend) }, Handlers: a.commands(), Peers: a.peers,
		Log: a.log.With("component", "agent-check"),
	})
	a.web = web.New(web.Options{
		Self:        opt.Controller,
		Snapshot:    a.Snapshot,
		Events:      func(n int) []status.Event { return a.journal.Last(n) },
		ClockAhead:  a.clocks.Ahead,
		Controllers: a.controllers,
		Clients:     a.clients.Account,
		History:     a.history,
		Alive:       a.alive,
		Asker:       asker(a),
		Log:         a.log.With("component", "web"),
	})
}

// absolute gives opt with every path absolute: HAProxy, which runs in "/", is
// given some of them. Where the working directory is gone they stay as they are.
func absolute(opt Options) Options {
	for _, path := range []*string{&opt.File, &opt.StateDir, &opt.RunDir, &opt.KeyFile} {
		if *path == "" {
			continue
		}
		if full, err := filepath.Abs(*path); err == nil {
			*path = full
		}
	}
	return opt
}

// Run is the life of the daemon: it ends with ctx, after the VIPs have been
// handed over and with HAProxy left running, or with an error when it cannot
// begin. A spec that is bad from the start is an error with a method Findings.
func (a *Agent) Run(ctx context.Context) error {
	a.sockets.Take()
	for _, dir := range []string{a.opt.StateDir, a.opt.RunDir} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("make the agent's directories: %w; run it as root, or name others with --state-dir and --run-dir", err)
		}
	}
	held, err := onlyone.Acquire(ctx, a.opt.RunDir, a.opt.Controller)
	if err != nil {
		return err
	}
	for _, dir := range []string{a.opt.StateDir, a.opt.RunDir} {
		if err := file.Sweep(dir); err != nil {
			a.log.Warn("what an earlier agent began to write cannot be removed", "error", err)
		}
	}
	tuneRuntime()
	// What the agent does goes on while it hands its VIPs over.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	left := make(chan struct{})
	leaving := context.AfterFunc(ctx, func() {
		defer close(left)
		a.moves.Leave(work, a.opt.KeepAddress, a.systemd.Tell)
		stop()
	})
	err = a.runLocked(work)
	if !leaving() {
		<-left
	}
	return errors.Join(err, held.Release())
}

func (a *Agent) runLocked(ctx context.Context) error {
	a.journal = journal.Open(journal.Options{
		Path: filepath.Join(a.opt.StateDir, "events.jsonl"), Controller: a.opt.Controller, ClockAhead: a.clocks.Ahead, Log: a.log,
	})
	defer a.journal.Close()
	first, err := a.rollout.Begin()
	if err != nil {
		return err
	}
	if err := a.haproxy.Startable(); err != nil && a.opt.HAProxyNamed {
		return &rollout.UsageError{Err: fmt.Errorf("--haproxy: %w; name HAProxy 2.4 or later, or leave it out for the one in PATH", err)}
	}
	if err := checkCapabilities(); err != nil {
		return err
	}
	socket, err := web.ListenControl(controlSocket(a.opt.RunDir))
	if err != nil {
		return err
	}
	a.drains.Load()
	a.teller.Load()
	a.moves.Resume(ctx, first)
	all, ctx := newTasks(ctx, a.log)
	useVIPs, err := a.makeVIPs(first)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	a.journal.Add(status.Event{Kind: status.EventAgentStarted, Subject: "agent", Text: fmt.Sprintf("agent %s started", a.opt.Version)})
	useVIPs(ctx)
	a.vips.CleanUp(ctx)
	a.serve(ctx, all, socket)
	all.start("HAProxy's supervisor", func() error { return a.haproxy.Run(ctx) })
	for _, part := range []struct {
		name string
		run  func(context.Context)
	}{
		{"who watches HAProxy for VRRP", a.vips.Follow},
		{"who announces vips by BGP", a.announcer.Run},
		{"who watches certificates", a.certificates.Watch},
		{"who watches hosts", a.hosts.Run},
		{"who watches what is scarce", a.watchScarcity},
		{"who watches HAProxy's sockets", a.watchSockets},
		{"who watches drains", a.drains.Watch},
		{"who moves vips", a.moves.Watch},
		{"who asks whether it is heard", a.hearing.Watch},
		{"who ends split brains", a.split.Watch},
		{"who measures paths", a.paths.Watch},
		{"who tells of incidents", a.teller.Watch},
		{"who counts what clients get", a.clients.Run},
		{"who keeps what clients got", a.history.Run},
		{"who tells the service manager", func(ctx context.Context) { a.systemd.Notify(ctx, a.rollout.Tried(), a.alive) }},
		{"who keeps the heap small", tendHeap},
		{"who brings specs into force", a.rollout.Run},
	} {
		all.start(part.name, func() error { part.run(ctx); return nil })
	}
	err = all.wait(ctx)
	a.pings.Keep(nil) // its connections end with it, not with the process
	a.vips.End()
	a.announcer.End()
	a.journal.Add(status.Event{Kind: status.EventAgentEnded, Subject: "agent", Text: "agent ended; HAProxy stays as it is"})
	return err
}
