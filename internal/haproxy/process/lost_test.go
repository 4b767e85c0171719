package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/status"
)

// A loss takes sockets of HAProxy's away.
type loss struct {
	name string
	take func(b *bench)
}

func losses() []loss {
	remove := func(names ...string) func(*bench) {
		return func(b *bench) {
			for _, name := range names {
				if err := os.Remove(filepath.Join(b.run, name)); err != nil {
					b.t.Fatal(err)
				}
			}
		}
	}
	return []loss{
		{"runtime socket", remove(haproxy.RuntimeSocket)},
		{"master socket", remove(haproxy.MasterSocket)},
		{"both", remove(haproxy.RuntimeSocket, haproxy.MasterSocket)},
		{"refused", func(b *bench) {
			for _, name := range []string{haproxy.RuntimeSocket, haproxy.MasterSocket} {
				remove(name)(b)
				l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(b.run, name)})
				if err != nil {
					b.t.Fatal(err)
				}
				l.SetUnlinkOnClose(false)
				l.Close()
			}
		}},
		{"run directory", func(b *bench) {
			eventually(b.t, "the directory is gone", func() bool { return os.RemoveAll(b.run) == nil }) // while others write there
		}},
	}
}

// probe pings the VIP's listener, as the agent does.
func (b *bench) probe(o *Options) {
	o.Probe = func(ctx context.Context) (Sign, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url(haproxy.PingPath), nil)
		if err != nil {
			return Unable, err
		}
		r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			return SignOfDial(err), err
		}
		return Answered, r.Body.Close()
	}
}

// running gives a HAProxy that runs, and its process id. The agent's ping is its probe.
func running(t *testing.T, change ...func(*Options)) (*bench, *Manager, int) {
	t.Helper()
	b := newBench(t)
	m, _ := b.manager(append([]func(*Options){b.probe}, change...)...)
	b.apply(m, Started)
	return b, m, m.State().PID
}

// same fails the test unless m's HAProxy is the one that had pid, and never ended.
func same(t *testing.T, m *Manager, pid int) {
	t.Helper()
	if s := m.State(); s.PID != pid || s.Restarts != 0 {
		t.Errorf("it is %+v, want pid %d", s, pid)
	}
}

// wasRunning fails the test unless those are the only states that there were.
func wasRunning(t *testing.T, states []status.HAProxyState) {
	t.Helper()
	if !slices.Equal(states, []status.HAProxyState{status.HAProxyRunning}) {
		t.Errorf("it was %v", states)
	}
}

// follow collects the states that m goes through, until the function it gives.
func (b *bench) follow(m *Manager) func() []status.HAProxyState {
	ctx, cancel := context.WithCancel(b.t.Context())
	var states []status.HAProxyState
	var wg sync.WaitGroup
	first := make(chan struct{})
	wg.Go(func() {
		once := sync.OnceFunc(func() { close(first) })
		for ctx.Err() == nil {
			changed := m.Changes()
			if s := m.State().State; len(states) == 0 || states[len(states)-1] != s {
				states = append(states, s)
			}
			once()
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	})
	<-first
	return func() []status.HAProxyState {
		cancel()
		wg.Wait()
		return states
	}
}

// awaitSockets waits until both sockets can be reached by name, and no reload is
// under way that makes them anew. A reload may take long on a busy machine.
func (b *bench) awaitSockets(m *Manager) {
	b.t.Helper()
	back := func() bool {
		p := m.current()
		return p != nil && !p.isReloading() && m.WorkerSocket.Leads(b.t.Context()) == nil && m.MasterSocket.Leads(b.t.Context()) == nil && m.LostSocket() == nil
	}
	for deadline := time.Now().Add(3 * patience); !back() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if !back() {
		b.t.Fatalf("the sockets are not back: %+v", m.LostSocket())
	}
	if info, err := os.Stat(filepath.Join(b.run, haproxy.RuntimeSocket)); err != nil || info.Mode().Perm() != 0o600 {
		b.t.Errorf("the socket is %v, %v; want mode 600", info.Mode(), err)
	}
}

// Whatever somebody does to the names of its sockets, a HAProxy that serves is
// left alone: no request fails, and the sockets come back, also twice in a row.
func TestSocketsLost(t *testing.T) {
	for _, l := range losses() {
		t.Run(l.name, func(t *testing.T) {
			b, m, pid := running(t)
			b.backends["b"].health.Store(503)
			eventually(t, "b down", func() bool { return b.states(m)["b"] == status.Down })
			states := b.follow(m)
			clients := b.load(4, b.url("/"))
			times := 1
			if strings.HasPrefix(l.name, "r") { // whatever the worker has from the one before
				times = 2
			}
			for range times {
				taken := time.Now()
				l.take(b)
				var lost *LostSocket
				eventually(t, "the loss is known", func() bool { lost = m.LostSocket(); return lost != nil })
				t.Logf("known after %v: %+v", time.Since(taken), lost)
				b.awaitSockets(m)
				t.Logf("healed after %v", time.Since(taken))
			}
			clients.stop()
			if s := b.states(m); s["a"] != status.Up || s["b"] != status.Down {
				t.Errorf("the hosts are %v", s)
			}
			wasRunning(t, states())
			same(t, m, pid)
			eventually(t, "the configuration what it was", func() bool {
				on, err := os.ReadFile(m.configFile())
				return err == nil && string(on) == string(b.cfg().Bytes())
			})
			b.apply(m, Unchanged)
			b.spec.Services[0].Timeout.Server = time.Minute
			b.apply(m, Reloaded)
			b.awaitSockets(m)
		})
	}
}

// An agent that starts beside a HAProxy whose sockets are lost adopts it.
func TestAdoptsWithoutSockets(t *testing.T) {
	for _, l := range losses() {
		t.Run(l.name, func(t *testing.T) {
			b := newBench(t)
			m, stop := b.manager(b.probe)
			b.apply(m, Started)
			pid := m.State().PID
			stop()
			clients := b.load(4, b.url("/"))
			l.take(b)
			m, _ = b.manager(b.probe)
			if s := awaitState(t, m, status.HAProxyRunning); s.PID != pid || !s.Adopted {
				t.Errorf("runs as %+v, want pid %d", s, pid)
			}
			b.awaitSockets(m)
			if _, err := m.Apply(t.Context(), b.cfg()); err != nil { // after the directory was lost it takes a reload
				t.Fatal(err)
			}
			clients.stop()
			same(t, m, pid)
		})
	}
}

// A change of the configuration does not wait for lost sockets to be healed.
func TestReloadWithoutSockets(t *testing.T) {
	for _, l := range losses() {
		t.Run(l.name, func(t *testing.T) {
			b, m, pid := running(t)
			clients := b.load(4, b.url("/"))
			l.take(b)
			if l.name == "both" || l.name == "refused" { // as after a start of the agent
				m.WorkerSocket.Close()
				m.MasterSocket.Close()
			}
			b.spec.Services[0].Timeout.Server = time.Minute
			b.apply(m, Reloaded)
			b.awaitSockets(m)
			clients.stop()
			same(t, m, pid)
		})
	}
}

// One that hangs is found and replaced, also when its sockets are lost.
func TestHangWithoutSockets(t *testing.T) {
	for _, l := range losses() {
		t.Run(l.name, func(t *testing.T) {
			b, m, pid := running(t, func(o *Options) { o.KillAfter = 30 * time.Millisecond })
			stopped := time.Now()
			b.signalAll(syscall.SIGSTOP)
			l.take(b)
			s := awaitState(t, m, status.HAProxyHung)
			t.Logf("hung after %v: %s", time.Since(stopped), s.Reason)
			if s := awaitState(t, m, status.HAProxyRunning); s.PID == pid {
				t.Errorf("it was not replaced: %+v", s)
			}
			b.awaitSockets(m)
			if code, _ := b.get("/"); code != 200 {
				t.Errorf("GET / = %d", code)
			}
		})
	}
}

// Its listeners alone tell of one that cannot be asked in another way.
func TestHangWithNoOtherWay(t *testing.T) {
	b, m, pid := running(t, func(o *Options) { o.KillAfter = 30 * time.Millisecond })
	b.signalAll(syscall.SIGSTOP)
	for _, l := range losses() {
		if l.name == "both" {
			l.take(b)
		}
	}
	m.WorkerSocket.Close()
	m.MasterSocket.Close()
	if s := awaitState(t, m, status.HAProxyHung); !strings.Contains(s.Reason, "listeners") {
		t.Errorf("reason %q", s.Reason)
	}
	if s := awaitState(t, m, status.HAProxyRunning); s.PID == pid {
		t.Errorf("it was not replaced: %+v", s)
	}
}

// A HAProxy that serves and does not answer on its runtime socket is not killed,
// nor reloaded: it would not hand its listeners on.
func TestMute(t *testing.T) {
	b, m, pid := running(t, func(o *Options) { o.BusyAfter = 300 * time.Millisecond })
	states := b.follow(m)
	var conns []net.Conn
	for range 50 { // stats maxconn
		c, err := net.Dial("unix", m.WorkerSocket.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintln(c, "prompt")
		conns = append(conns, c)
	}
	eventually(t, "it is mute", func() bool { l := m.LostSocket(); return l != nil && l.Mute })
	time.Sleep(2 * maintainInterval) // in which it would be healed
	if _, err := m.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "would not hand its listeners on") {
		t.Errorf("Reload: %v", err)
	}
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "it answers", func() bool { return m.LostSocket() == nil })
	wasRunning(t, states())
	if s := m.State(); s.PID != pid || s.Reloads != 0 {
		t.Errorf("it was replaced, or reloaded: %+v", s)
	}
}

// A master that cannot bind its socket ends in a reload, and all connections with
// it: there is none then.
func TestNoReloadThatWouldEndIt(t *testing.T) {
	b, m, pid := running(t)
	in := filepath.Join(b.run, haproxy.MasterSocket)
	if err := errors.Join(os.Remove(in), os.MkdirAll(filepath.Join(in, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	b.spec.Services[0].Timeout.Server = time.Minute
	_, err := m.Apply(t.Context(), b.cfg())
	if err == nil || !strings.Contains(err.Error(), "is a directory; remove it") {
		t.Errorf("Apply: %v", err)
	}
	eventually(t, "the trouble is told", func() bool {
		l := m.LostSocket()
		return l != nil && strings.Contains(l.Trouble, "is a directory")
	})
	if err := os.RemoveAll(in); err != nil {
		t.Fatal(err)
	}
	b.apply(m, Reloaded)
	b.awaitSockets(m)
	same(t, m, pid)
}

// A reload that fails right after a healing one leaves the name of the socket
// with the worker that did not come up.
func TestFailedReloadAfterHealing(t *testing.T) {
	b, m, pid := running(t)
	if err := os.Remove(filepath.Join(b.run, haproxy.RuntimeSocket)); err != nil {
		t.Fatal(err)
	}
	b.awaitSockets(m)
	states := b.follow(m)
	bad := b.edited(fmt.Sprintf("bind %v:%d transparent", b.addr(1), b.port), fmt.Sprintf("bind 192.0.2.1:%d", b.port))
	if _, err := m.Apply(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Fatalf("Apply: %v; want HAProxy's words", err)
	}
	b.awaitSockets(m)
	b.apply(m, Unchanged)
	wasRunning(t, states())
	same(t, m, pid)
}

// The VIPs whose clients are to come anew are not forgotten with the directory.
func TestClosingListLost(t *testing.T) {
	b, m, _ := running(t)
	b.setClosing(m, b.addr(1))
	eventually(t, "the directory is gone", func() bool { return os.RemoveAll(b.run) == nil })
	b.awaitSockets(m)
	if !b.closes("/") {
		t.Error("what was listed before does not close")
	}
	if list, err := os.ReadFile(m.closingList()); err != nil || string(list) != b.addr(1).String()+"\n" {
		t.Errorf("the list is %q, %v", list, err)
	}
}

// The master may have another view of the run directory than the agent: that of
// a unit with ProtectSystem, say, in which it is gone, or cannot be written to.
func TestCanBind(t *testing.T) {
	m := New(Options{RunDir: t.TempDir()})
	s := &supervisor{Manager: m, ctx: t.Context()}
	if err := s.canBind(os.Getpid()); err != nil {
		t.Errorf("in its own view: %v", err)
	}
	if left, err := os.ReadDir(m.opt.RunDir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-c", `mount -t tmpfs -o ro none "$1" && echo ready && exec sleep 100`, "sh", m.opt.RunDir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("no unshare here: ", err)
	}
	t.Cleanup(func() { _ = errors.Join(cmd.Process.Kill(), cmd.Wait()) }) // it was killed
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Skip("nothing can be mounted here")
	}
	if err := s.canBind(cmd.Process.Pid); !errors.Is(err, syscall.EROFS) {
		t.Errorf("where it cannot be written: %v", err)
	}
}
