package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What the agent's systemd unit says, done here in its place.
const (
	restartDelay    = 100 * time.Millisecond // RestartSec
	maxRestartDelay = 2 * time.Second        // when it dies again and again at its start
	watchdogTimeout = 5 * time.Second        // WatchdogSec
)

// A unit runs a service of Type=notify as systemd does: it starts it again when
// it dies, and kills it when its watchdog's pings stop.
type unit struct {
	name   string
	start  starter
	env    []string
	log    string
	notify string
	logger *slog.Logger
	// openLog opens what the service writes to, at the path log.
	openLog func(ctx context.Context, path string) (*os.File, error)

	commands chan unitCommand
	ended    chan struct{} // closed when run returns

	mu   sync.Mutex // guards following
	args []string
	proc *proc
	unitState
}

// unitState is what a unit tells of itself.
type unitState struct {
	wanted    bool // to run
	ready     bool
	text      string // STATUS= of sd_notify(3)
	restarts  int
	failures  int // in a row, without ever having been ready
	lastEnd   string
	pinged    time.Time
	watchdogs int // times the watchdog killed it
}

// unitCommand asks the unit's loop to run the service, or to stop it with a signal.
type unitCommand struct {
	run  bool
	done chan struct{}
}

func newUnit(name string, start starter, args, env []string, log, notify string, logger *slog.Logger) *unit {
	return &unit{
		name: name, start: start, args: args, log: log, notify: notify, logger: logger,
		env: append(env, "NOTIFY_SOCKET="+notify,
			fmt.Sprintf("WATCHDOG_USEC=%d", watchdogTimeout.Microseconds())),
		openLog:   func(_ context.Context, path string) (*os.File, error) { return openLog(path) },
		commands:  make(chan unitCommand),
		ended:     make(chan struct{}),
		unitState: unitState{wanted: true},
	}
}

// run is the unit's life; when ctx ends, the service is left to who ends the node.
func (u *unit) run(ctx context.Context) error {
	defer close(u.ended)
	conn, err := listenNotify(ctx, u.notify)
	if err != nil {
		return err
	}
	var listening sync.WaitGroup
	listening.Go(func() { u.listen(conn) })
	defer listening.Wait()
	defer conn.Close() //nolint:errcheck // nothing was written
	for ctx.Err() == nil {
		u.serve(ctx)
	}
	return nil
}

// serve starts the service if it is wanted and looks after it until it ends or
// something else is asked for.
func (u *unit) serve(ctx context.Context) {
	if !u.state().wanted {
		select {
		case c := <-u.commands:
			u.obey(c)
		case <-ctx.Done():
		}
		return
	}
	p, err := u.spawn(ctx)
	if err != nil {
		u.failed(err.Error())
	} else {
		u.began(p)
		u.watch(ctx, p)
	}
	select {
	case <-time.After(u.delay()):
	case c := <-u.commands:
		u.obey(c)
	case <-ctx.Done():
	}
}

// spawn starts the service.
func (u *unit) spawn(ctx context.Context) (*proc, error) {
	out, err := u.openLog(ctx, u.log)
	if err != nil {
		return nil, err
	}
	return u.start.spawnTo(u.argv(), u.env, out)
}

// argv is the command that the unit runs.
func (u *unit) argv() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.args
}

// setArgs gives another command, which the unit runs from its next start on: what
// it was and how often it failed says nothing of that one.
func (u *unit) setArgs(args []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.args, u.failures, u.ready = args, 0, false
}

// watch returns when p has ended.
func (u *unit) watch(ctx context.Context, p *proc) {
	tick := time.NewTicker(watchdogTimeout / 10)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-p.done:
			u.failed(p.ending())
			return
		case c := <-u.commands:
			u.obey(c)
		case <-tick.C:
			now := time.Now()
			if now.Sub(last) > watchdogTimeout/2 {
				u.stoodStill()
			}
			u.checkWatchdog(p)
			last = now
		case <-ctx.Done():
			<-p.done // with the node
			return
		}
	}
}

// stoodStill lets the watchdog's time begin anew: this process did not run
// either, and nothing could be told to it.
func (u *unit) stoodStill() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.pinged.IsZero() {
		u.pinged = time.Now()
	}
}

func (u *unit) checkWatchdog(p *proc) {
	u.mu.Lock()
	late := u.ready && !u.pinged.IsZero() && time.Since(u.pinged) > watchdogTimeout
	if late {
		u.watchdogs++
		u.pinged = time.Time{}
	}
	u.mu.Unlock()
	if !late {
		return
	}
	u.logger.Info("watchdog: no ping, killing", "unit", u.name, "pid", p.pid())
	if err := p.signal(unix.SIGKILL); err != nil {
		u.logger.Error("watchdog", "unit", u.name, "error", err)
	}
}

func (u *unit) obey(c unitCommand) {
	u.mu.Lock()
	u.wanted = c.run
	p := u.proc
	u.mu.Unlock()
	if !c.run && p != nil {
		if err := p.signal(unix.SIGTERM); err != nil {
			u.logger.Error("stop", "unit", u.name, "error", err)
		}
	}
	close(c.done)
}

// command hands c to the unit's loop.
func (u *unit) command(ctx context.Context, run bool) error {
	c := unitCommand{run, make(chan struct{})}
	select {
	case u.commands <- c:
		<-c.done
		return nil
	case <-u.ended:
		return fmt.Errorf("unit %s is looked after no longer", u.name)
	case <-ctx.Done():
		return fmt.Errorf("unit %s: %w", u.name, ctx.Err())
	}
}

// stopTimeout is how long a service may take to end, as TimeoutStopSec.
const stopTimeout = 60 * time.Second

// stop stops the service and waits until it has ended, as systemctl stop does.
func (u *unit) stop(ctx context.Context) error {
	p, _ := u.current()
	if err := u.command(ctx, false); err != nil || p == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("unit %s does not stop: %w", u.name, ctx.Err())
	}
}

func (u *unit) began(p *proc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.proc != nil {
		u.restarts++
	}
	u.proc = p
	u.ready, u.text, u.pinged = false, "", time.Time{}
}

func (u *unit) failed(how string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lastEnd = how
	u.failures++
	if u.ready {
		u.failures = 0
	}
	u.ready = false
	u.logger.Info("unit ended", "unit", u.name, "how", how, "wanted", u.wanted)
}

// delay is the pause before the next start.
func (u *unit) delay() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return min(maxRestartDelay, restartDelay<<min(u.failures, 10))
}

func (u *unit) state() unitState {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unitState
}

// current gives the service's process, if it runs.
func (u *unit) current() (*proc, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.proc, u.proc != nil && u.proc.running()
}

func listenNotify(ctx context.Context, path string) (*net.UnixConn, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make the socket for sd_notify: %w", err)
	}
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "unixgram", path)
	if err != nil {
		return nil, fmt.Errorf("make the socket for sd_notify: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

// listen takes the messages of sd_notify(3) until conn is closed.
func (u *unit) listen(conn *net.UnixConn) {
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		u.told(string(buf[:n]))
	}
}

func (u *unit) told(message string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	lines := bufio.NewScanner(strings.NewReader(message))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch key {
		case "READY":
			u.ready, u.failures = true, 0
		case "STATUS":
			u.text = value
		case "WATCHDOG":
			u.pinged = time.Now()
		}
	}
}
