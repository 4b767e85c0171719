package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdfast/internal/spec"
)

// Options is what a peer on one controller needs.
type Options struct {
	Kind       Kind
	Spec       *spec.Spec
	Controller string
	RunDir     string // of the configurations and the socket
	Log        *slog.Logger
}

// A peer is HAProxy and keepalived on one controller.
type peer struct {
	opt        Options
	controller spec.Controller
	haproxy    *program
	keepalived *program
}

// Run runs HAProxy and keepalived until ctx ends, and tells the unit that it
// was started by (sd_notify(3)) when they are up and how they are.
func Run(ctx context.Context, opt Options) error {
	p, err := newPeer(opt)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { p.haproxy.run(ctx) })
	if err := p.awaitHAProxy(ctx); err != nil {
		return err
	}
	running.Go(func() { p.keepalived.run(ctx) })
	p.tellHealth(ctx)
	return nil
}

// newPeer writes the configurations of both programs.
func newPeer(opt Options) (*peer, error) {
	p := &peer{opt: opt}
	var ok bool
	if p.controller, ok = opt.Spec.Controller(opt.Controller); !ok {
		return nil, fmt.Errorf("the spec has no controller %q", opt.Controller)
	}
	config, err := haproxyConfig(opt.Kind, opt.Spec, p.socket())
	if err != nil {
		return nil, err
	}
	script, _ := opt.Kind.check()
	files := map[string]string{
		"haproxy.cfg":     config,
		"check_alive.sh":  script,
		"keepalived.conf": keepalivedConfig(opt.Kind, opt.Spec, p.controller, p.path("check_alive.sh")),
	}
	for name, text := range files {
		mode := os.FileMode(0o644) // keepalived refuses one that can be executed
		if filepath.Ext(name) == ".sh" {
			mode = 0o755
		}
		if err := os.WriteFile(p.path(name), []byte(text), mode); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
	}
	if err := allowForeignBind(); err != nil {
		return nil, err
	}
	policy := opt.Kind.restart()
	p.haproxy = &program{
		name: "haproxy", log: opt.Log, restart: policy, dir: opt.RunDir,
		args: []string{"haproxy", "-W", "-db", "-f", p.path("haproxy.cfg")},
	}
	p.keepalived = &program{
		name: "keepalived", log: opt.Log, restart: policy, dir: opt.RunDir, line: keepalivedState,
		args: []string{
			"keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", p.path("keepalived.conf"),
			"--pid", p.path("keepalived.pid"), "--vrrp_pid", p.path("vrrp.pid"),
		},
	}
	return p, nil
}

func (p *peer) path(name string) string { return filepath.Join(p.opt.RunDir, name) }

// SocketFile is HAProxy's runtime API, in the run directory; the agent's has the
// same name.
const SocketFile = "haproxy.sock"

func (p *peer) socket() string { return p.path(SocketFile) }

// allowForeignBind lets HAProxy bind addresses that this host does not have at
// the moment, as these installations set it.
func allowForeignBind() error {
	for _, family := range []string{"ipv4", "ipv6"} {
		path := "/proc/sys/net/" + family + "/ip_nonlocal_bind"
		if err := os.WriteFile(path, []byte("1"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("let HAProxy bind the virtual IP: %w", err)
		}
	}
	return nil
}

const (
	startTimeout = 10 * time.Second
	healthPoll   = time.Second // how often a peer looks at itself
)

func (p *peer) awaitHAProxy(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("HAProxy did not start; its messages are above"))
	defer cancel()
	for {
		if _, err := serverStates(ctx, p.socket()); err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tellHealth tells the unit what has changed until ctx ends.
func (p *peer) tellHealth(ctx context.Context) {
	p.notify("READY=1")
	last := ""
	for {
		if now := p.health(ctx); now != last && p.notify("STATUS="+now) {
			last = now
		}
		select {
		case <-time.After(healthPoll):
		case <-ctx.Done():
			return
		}
	}
}

// Healthy is how the status of a peer begins that has nothing to complain of.
const Healthy = "healthy"

// health says how the peer is, in a line.
func (p *peer) health(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, healthPoll)
	defer cancel()
	state := p.keepalived.state()
	servers, err := serverStates(ctx, p.socket())
	if err != nil {
		return fmt.Sprintf("HAProxy does not answer; keepalived %s", state)
	}
	word := Healthy
	if servers.up < servers.all || (state != "MASTER" && state != "BACKUP") {
		word = "degraded"
	}
	return fmt.Sprintf("%s: HAProxy has %d of %d servers up; keepalived %s", word, servers.up, servers.all, state)
}

// notify sends message to the unit, and reports whether it could.
func (p *peer) notify(message string) bool {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return true
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(message))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		p.opt.Log.Warn("notify the unit", "error", err)
	}
	return err == nil
}
