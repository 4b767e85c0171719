package process

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/ours"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/ports"
	"holdfast/internal/status"
)

func TestStartsDetached(t *testing.T) {
	b := newBench(t)
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("LISTEN_FDS", "1")
	m, _ := b.manager()
	b.apply(m, Started)
	s := m.State()
	if s.State != status.HAProxyRunning || s.Adopted || s.Version == "" {
		t.Errorf("state %+v", s)
	}
	if code, body := b.get("/"); code != 200 || !strings.Contains("abc", body) {
		t.Errorf("GET / = %d %q", code, body)
	}
	if code, body := b.get(haproxy.PingPath); code != 200 || body != haproxy.PingBody {
		t.Errorf("ping = %d %q", code, body)
	}
	if sid, err := unix.Getsid(s.PID); err != nil || sid != s.PID {
		t.Errorf("session %d of pid %d, %v; want one of its own", sid, s.PID, err)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"} {
		if strings.Contains(string(env), name) {
			t.Errorf("HAProxy has %s", name)
		}
	}
	b.apply(m, Unchanged)
}

func TestAdopts(t *testing.T) {
	b := newBench(t)
	m, stop := b.manager()
	b.apply(m, Started)
	pid := m.State().PID
	stop()
	if code, _ := b.get("/"); code != 200 {
		t.Fatalf("with the agent gone, GET / = %d", code)
	}

	m, _ = b.manager()
	s := awaitState(t, m, status.HAProxyRunning)
	if s.PID != pid || !s.Adopted {
		t.Errorf("adopted %+v, want pid %d", s, pid)
	}
	b.apply(m, Unchanged)
	b.spec.Services[0].Timeout.Server = time.Minute
	b.apply(m, Reloaded)
	if got := m.State(); got.PID != pid || got.Reloads != 1 {
		t.Errorf("after a reload: %+v, want pid %d", got, pid)
	}
}

// A process that is no child, killed: known as soon as a child's death.
func TestDeath(t *testing.T) {
	for _, adopted := range []bool{false, true} {
		for _, victim := range []string{"worker", "master"} {
			t.Run(fmt.Sprintf("%s adopted=%t", victim, adopted), func(t *testing.T) {
				b := newBench(t)
				m, stop := b.manager()
				b.apply(m, Started)
				if adopted {
					stop()
					m, _ = b.manager()
					awaitState(t, m, status.HAProxyRunning)
				}
				before := m.State()
				pid := before.PID
				if victim == "worker" {
					pid = m.current().serving().PID
				}
				changed := m.Changes()
				killed := time.Now()
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				<-changed
				s := m.State()
				t.Logf("known after %v: %s", time.Since(killed), s.Reason)
				// Down, or starting again already.
				if s.State == status.HAProxyRunning || !strings.Contains(s.Reason, "ended") {
					t.Errorf("first change is to %+v", s)
				}
				s = awaitState(t, m, status.HAProxyRunning)
				t.Logf("runs again after %v", time.Since(killed))
				if s.PID == before.PID || s.Restarts != 1 {
					t.Errorf("runs again as %+v, was pid %d", s, before.PID)
				}
				if code, _ := b.get("/"); code != 200 {
					t.Errorf("GET / = %d", code)
				}
			})
		}
	}
}

func TestRefusesBadConfiguration(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	b.apply(m, Started)
	good := string(b.cfg().Bytes())
	for name, bad := range map[string]*haproxy.Config{
		"error":   b.edited("balance leastconn", "balance sideways"),
		"warning": b.edited("option httpchk", ""),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := m.Apply(t.Context(), bad)
			e, ok := errors.AsType[*CheckError](err)
			if !ok {
				t.Fatalf("Apply: %v, want a CheckError", err)
			}
			t.Log(err)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if name == "error" && (e.Messages[0].Line == 0 || e.Lines[0] != "balance sideways") {
				t.Errorf("place: line %d, %q", e.Messages[0].Line, e.Lines[0])
			}
			if on, err := os.ReadFile(m.configFile()); err != nil || string(on) != good {
				t.Errorf("the good file is not in place: %v", err)
			}
			if code, _ := b.get("/"); code != 200 {
				t.Errorf("GET / = %d", code)
			}
		})
	}
}

// A configuration that "haproxy -c" takes, and that cannot be loaded: the old
// worker goes on, the old file is back, and the next good one works.
func TestReloadThatFails(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	b.apply(m, Started)
	good := string(b.cfg().Bytes())
	bad := b.edited(fmt.Sprintf("bind %v:%d transparent", b.addr(1), b.port), fmt.Sprintf("bind 192.0.2.1:%d", b.port))
	_, err := m.Apply(t.Context(), bad)
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Fatalf("Apply: %v; want HAProxy's words", err)
	}
	t.Log(err)
	if on, err := os.ReadFile(m.configFile()); err != nil || string(on) != good {
		t.Errorf("the good file is not in place: %v", err)
	}
	if code, _ := b.get("/"); code != 200 {
		t.Errorf("GET / = %d", code)
	}
	b.apply(m, Unchanged)
	b.spec.Services[0].Timeout.Server = time.Minute
	b.apply(m, Reloaded)
	if s := m.State(); s.State != status.HAProxyRunning || s.Restarts != 0 {
		t.Errorf("state %+v", s)
	}
}

// A certificate or a program that changed, with the same configuration.
func TestReloadOfTheSame(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	if _, err := m.Reload(t.Context()); err == nil {
		t.Error("there is nothing to reload, and no error")
	}
	b.apply(m, Started)
	pid, worker := m.State().PID, m.current().serving().PID
	r, err := m.Reload(t.Context())
	if err != nil || r.Action != Reloaded {
		t.Fatalf("Reload: %v, %v", r, err)
	}
	if s := m.State(); s.PID != pid || s.Reloads != 1 || m.current().serving().PID == worker {
		t.Errorf("state %+v, worker %d", s, worker)
	}
	b.apply(m, Unchanged)
}

func TestReloadsUnderLoad(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	b.apply(m, Started)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var done int
	var failed []string
	for range 8 {
		wg.Go(func() {
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				r, err := client.Post(b.url("/"), "text/plain", nil) // Go does not repeat a POST by itself
				if err == nil {
					body, _ := io.ReadAll(r.Body)
					r.Body.Close()
					if r.StatusCode != 200 {
						err = fmt.Errorf("%s: %s", r.Status, body)
					}
				}
				mu.Lock()
				done++
				if err != nil {
					failed = append(failed, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	for i := range 6 {
		b.spec.Services[0].Timeout.Server = time.Duration(i+30) * time.Second
		b.apply(m, Reloaded)
		time.Sleep(100 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	t.Logf("%d requests over 6 reloads", done)
	if len(failed) > 0 {
		t.Errorf("%d of %d failed: %v", len(failed), done, failed[:min(5, len(failed))])
	}
}

// What was up stays up, what was down stays down, with no request to it.
func TestReloadKeepsStates(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	b.apply(m, Started)
	b.backends["b"].health.Store(503)
	eventually(t, "b down", func() bool { return b.states(m)["b"] == status.Down })
	eventually(t, "a up", func() bool { return b.states(m)["a"] == status.Up })
	for i := range 3 {
		seen := b.backends["b"].seen.Load()
		b.spec.Services[0].Timeout.Server = time.Duration(i+30) * time.Second
		b.apply(m, Reloaded)
		if s := b.states(m); s["a"] != status.Up || s["b"] != status.Down || s["c"] != status.Up {
			t.Errorf("right after reload %d: %v", i, s)
		}
		for range 9 {
			b.get("/")
		}
		if n := b.backends["b"].seen.Load() - seen; n > 0 {
			t.Errorf("%d requests went to a host that is down", n)
		}
	}
	// A port that the spec changes must not come back from the saved states.
	b.spec.Services[0].Hosts[2].Address = b.addr(99)
	b.spec.Services[0].Timeout.Server = time.Hour
	b.apply(m, Reloaded)
	reply, err := m.Runtime(t.Context(), "show servers state")
	if err != nil || !strings.Contains(reply, b.addr(99).String()) {
		t.Errorf("the new address is not in use: %v\n%s", err, reply)
	}
}

func (b *bench) states(m *Manager) map[string]status.ServiceState {
	b.t.Helper()
	reply, err := m.Runtime(b.t.Context(), "show stat")
	if err != nil {
		b.t.Fatal(err)
	}
	rows, err := output.ParseStat([]byte(reply))
	if err != nil {
		b.t.Fatal(err)
	}
	states := make(map[string]status.ServiceState)
	for _, h := range haproxy.Services(b.spec, rows, time.Now())[0].Hosts {
		states[h.Name] = h.State
	}
	return states
}

// A HAProxy that is started again after a crash knows who was down.
func TestCrashKeepsStates(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	b.apply(m, Started)
	b.backends["b"].health.Store(503)
	eventually(t, "b down", func() bool { return b.states(m)["b"] == status.Down })
	if err := m.SaveServerState(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed := m.Changes()
	if err := syscall.Kill(m.State().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-changed
	awaitState(t, m, status.HAProxyRunning)
	if s := b.states(m); s["b"] != status.Down {
		t.Errorf("right after the crash: %v", s)
	}
}

func TestPortTaken(t *testing.T) {
	b := newBench(t)
	for _, s := range b.backends { // they would be in the way of 0.0.0.0 too
		s.listener.Close()
	}
	l, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", b.port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, _ := b.manager()
	_, err = m.Apply(t.Context(), b.cfg())
	e, ok := errors.AsType[*ports.TakenError](err)
	if !ok {
		t.Fatalf("Apply: %v, want a TakenError", err)
	}
	t.Log(err)
	if c := e.Conflicts[0]; c.PID != os.Getpid() || c.Bind.Addr() != b.addr(1) || !c.Taken.Addr().IsUnspecified() {
		t.Errorf("conflict %+v; want pid %d", c, os.Getpid())
	}
	if s := m.State(); s.State != status.HAProxyFailed || !strings.Contains(s.Reason, "cannot bind") {
		t.Errorf("state %+v", s)
	}
	l.Close()
	awaitState(t, m, status.HAProxyRunning)
}

// With SO_REUSEPORT on both sides the kernel does not object: clients would
// reach either.
func TestPortShared(t *testing.T) {
	b := newBench(t)
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				t.Error(err)
			}
		})
	}}
	l, err := lc.Listen(t.Context(), "tcp4", fmt.Sprintf("%v:%d", b.addr(1), b.port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, _ := b.manager()
	_, err = m.Apply(t.Context(), b.cfg())
	if e, ok := errors.AsType[*ports.TakenError](err); !ok || e.Conflicts[0].PID != os.Getpid() {
		t.Fatalf("Apply: %v, want a TakenError with pid %d", err, os.Getpid())
	}
	t.Log(err)
}

// A worker with a user of its own is started, adopted, reloaded and replaced
// as one without.
func TestOwnUser(t *testing.T) {
	b := newBench(t)
	if _, err := user.Lookup("haproxy"); err != nil {
		t.Skipf("no user to become: %v", err)
	}
	b.user = "haproxy"
	m, stop := b.manager()
	b.apply(m, Started)
	info, err := os.Stat(fmt.Sprintf("/proc/%d", m.current().serving().PID))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("the worker is root's, or: %v", err)
	}
	stop()
	m, _ = b.manager()
	b.apply(m, Unchanged)
	b.spec.Services[0].Timeout.Server = time.Minute
	b.apply(m, Reloaded)
	changed := m.Changes()
	if err := syscall.Kill(m.State().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-changed
	awaitState(t, m, status.HAProxyRunning)
	if code, _ := b.get("/"); code != 200 {
		t.Errorf("GET / = %d", code)
	}
}

// Someone reloads HAProxy behind the agent's back: that is no death.
func TestForeignReload(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	b.apply(m, Started)
	pid, worker := m.State().PID, m.current().serving().PID
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another worker", func() bool { return m.current() != nil && m.current().serving().PID != worker })
	if s := m.State(); s.State != status.HAProxyRunning || s.PID != pid || s.Restarts != 0 {
		t.Errorf("state %+v", s)
	}
}

func TestServerChangesAreTold(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	b.apply(m, Started)
	eventually(t, "a up", func() bool { return b.states(m)["a"] == status.Up })
	changed := m.ServerChanges()
	at := time.Now()
	b.backends["a"].health.Store(500)
	select {
	case <-changed:
		t.Logf("told after %v", time.Since(at))
	case <-time.After(patience):
		t.Fatal("not told")
	}
}

// powerCut ends all of HAProxy with no agent to see it.
func (b *bench) powerCut() {
	b.t.Helper()
	b.signalAll(syscall.SIGKILL)
	eventually(b.t, "gone", func() bool {
		all, err := ours.Find(b.run, "haproxy", ours.Identity{})
		if err != nil {
			b.t.Fatal(err)
		}
		return len(all) == 0
	})
}

// TestStartsOnADiskThatTakesNothing starts HAProxy after a power cut where nothing
// can be written: with what is on disk, and where that is older than what is to
// run, with that, which is said.
func TestStartsOnADiskThatTakesNothing(t *testing.T) {
	b := newBench(t)
	m, stop := b.manager()
	b.apply(m, Started)
	stop()
	b.powerCut()
	readOnly(t, b.state)
	m, stop = b.manager()
	b.apply(m, Started)
	if code, _ := b.get("/"); code != 200 {
		t.Errorf("GET / = %d", code)
	}
	stop()
	b.powerCut()
	m, _ = b.manager()
	b.spec.Services[0].Timeout.Server = time.Minute
	if _, err := m.Apply(t.Context(), b.cfg()); err == nil || !strings.Contains(err.Error(), "started with the configuration of before") {
		t.Errorf("Apply: %v", err)
	}
	if code, _ := b.get("/"); code != 200 || m.State().State != status.HAProxyRunning {
		t.Errorf("GET / = %d, state %+v", code, m.State())
	}
}

// readOnly has the disk take nothing in dir until the test ends.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	err := unix.Mount(dir, dir, "", unix.MS_BIND, "")
	if err == nil {
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		err = unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	if err != nil {
		t.Skip("cannot make a directory read-only here: ", err)
	}
}
