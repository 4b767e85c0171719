package process

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/runtime"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

// Options is what a Manager is made of. A zero duration is the default.
type Options struct {
	HAProxy  string // path, or a name to look up in $PATH; default "haproxy"
	StateDir string // of the configuration; survives the host
	RunDir   string // of sockets, the state file and HAProxy's log; survives the agent
	Log      *slog.Logger
	// Probe is one more sign of life to ask for, through HAProxy's listeners;
	// nil for none. It must end with its context. The error says in words why
	// there is none.
	Probe func(context.Context) (Sign, error)

	ProbeInterval time.Duration // between two probes, and the most that one takes; default 100 ms
	HungAfter     time.Duration // of silence; default 300 ms
	BusyAfter     time.Duration // of silence, while it uses the processor or waits for it; default 5 s
	KillAfter     time.Duration // of being hung; default 3 s
	RestartFirst  time.Duration // pause before the second restart in a row; default 250 ms
	RestartMost   time.Duration // longest pause before a restart; default 5 s
	Stable        time.Duration // of running, after which a restart is a first one; default 10 s
	ReadyTimeout  time.Duration // for a start or a reload; default 10 s
}

// withDefaults fills in what o leaves open.
func (o Options) withDefaults() Options {
	if o.HAProxy == "" {
		o.HAProxy = "haproxy"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		is *time.Duration
		or time.Duration
	}{
		{&o.ProbeInterval, 100 * time.Millisecond},
		{&o.HungAfter, 300 * time.Millisecond},
		{&o.BusyAfter, 5 * time.Second},
		{&o.KillAfter, 3 * time.Second},
		{&o.RestartFirst, 250 * time.Millisecond},
		{&o.RestartMost, 5 * time.Second},
		{&o.Stable, 10 * time.Second},
		{&o.ReadyTimeout, 10 * time.Second},
	} {
		if *d.is <= 0 {
			*d.is = d.or
		}
	}
	return o
}

// A Manager supervises one HAProxy. Its methods may be called by any goroutine.
type Manager struct {
	*runtime.Client

	opt      Options
	log      *slog.Logger
	requests chan request
	applying chan struct{} // holds one token: the right to apply
	logFile  logFile
	closing  closing
	begun    time.Time
	turned   atomic.Int64  // when the supervisor did, last: a time.Duration since begun
	taken    chan struct{} // sent to when clients begin to come in through a VIP

	mu      sync.Mutex // guards following
	state   status.HAProxy
	changed chan struct{}   // closed at the next change of state
	servers chan struct{}   // closed at the next change of a server
	proc    *proc           // nil while none runs
	cfg     *haproxy.Config // that proc runs with, as far as known
	half    bool            // proc is between cfg and another configuration
	// unhealed says why sockets that are lost are so still; empty for nothing.
	unhealed string

	runMode os.FileMode // of the run directory, for one that is made anew; written before all else
}

// NotStarted is the reason of a HAProxy that is down since the Manager has just been made.
const NotStarted = "not started yet"

// New makes a Manager. It touches nothing until Run.
func New(opt Options) *Manager {
	opt = opt.withDefaults()
	m := &Manager{
		Client: runtime.New(opt.RunDir), opt: opt, log: opt.Log, begun: time.Now(), requests: make(chan request), applying: make(chan struct{}, 1), taken: make(chan struct{}, 1),
		state:   status.HAProxy{State: status.HAProxyDown, Reason: NotStarted, Since: time.Now()},
		changed: make(chan struct{}), servers: make(chan struct{}),
	}
	m.logFile.path = filepath.Join(opt.RunDir, "haproxy.log")
	return m
}

// Turned tells when the supervisor began to wait for something to do, last, or when m
// was made. It does so every two seconds, unless it starts or reloads HAProxy just
// now, which takes less than a minute.
func (m *Manager) Turned() time.Time { return m.begun.Add(time.Duration(m.turned.Load())) }

// Taken has HAProxy probed at once: clients come in through a VIP from now on.
func (m *Manager) Taken() {
	tick.Wake(m.taken)
}

// NoFile gives the hard limit of open files, which is what HAProxy may use:
// it raises the soft one by itself. See haproxy.MaxConn.
func NoFile() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return l.Max, nil
}

// State gives the condition of HAProxy at this moment.
func (m *Manager) State() status.HAProxy {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Changes gives a channel that is closed at the next change of the state, the
// reason or the process. Take it before State, so that none is missed.
func (m *Manager) Changes() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// ServerChanges gives a channel that is closed when HAProxy next says that a
// server went up or down: within a probe interval, where "show stat" would
// have to be asked for often.
func (m *Manager) ServerChanges() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.servers
}

func (m *Manager) stateFile() string   { return filepath.Join(m.opt.RunDir, haproxy.StateFile) }
func (m *Manager) pidFile() string     { return filepath.Join(m.opt.RunDir, "haproxy.pid") }
func (m *Manager) runningFile() string { return filepath.Join(m.opt.RunDir, "haproxy.running") }
func (m *Manager) modelFile() string   { return filepath.Join(m.opt.RunDir, "haproxy.running.json") }
func (m *Manager) configFile() string  { return filepath.Join(m.opt.StateDir, haproxy.ConfigFile) }

// digest names a configuration.
func digest(cfg *haproxy.Config) string { return fmt.Sprintf("%x", sha256.Sum256(cfg.Bytes())) }

// set changes the state and tells all who wait for that.
func (m *Manager) set(state status.HAProxyState, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setLocked(state, reason)
}

func (m *Manager) setLocked(state status.HAProxyState, reason string) {
	if m.state.State == state && m.state.Reason == reason {
		return
	}
	if m.state.State != state {
		m.state.Since = time.Now()
	}
	m.state.State, m.state.Reason = state, reason
	m.tellLocked()
}

// tellLocked wakes those who wait for a change of state.
func (m *Manager) tellLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// serversChanged wakes those who wait for a change of a server.
func (m *Manager) serversChanged() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.servers)
	m.servers = make(chan struct{})
}

// current gives the HAProxy that runs, nil for none.
func (m *Manager) current() *proc {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc
}

// config gives the configuration that is in force, nil when not known.
func (m *Manager) config() *haproxy.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cfg
}
