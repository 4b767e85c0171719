package process

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/ours"
	"holdfast/internal/status"
)

// A namesake is a process that is none of ours, with the words on its command
// line that HAProxy has there. The program is a copy of sh, called name.
func (b *bench) namesake(name string, uid uint32) int {
	b.t.Helper()
	shell, err := exec.LookPath("sh")
	if err != nil {
		b.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "hf") // which another user can look into
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	program := filepath.Join(dir, name)
	data, err := os.ReadFile(shell)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", "echo here; read x", program, "-S", filepath.Join(b.run, haproxy.MasterSocket)+",mode,600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	hold, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil { // it is itself by now
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := errors.Join(hold.Close(), cmd.Wait()); err != nil && !b.t.Failed() {
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || !exit.Exited() { // read fails at the end
				b.t.Errorf("the namesake of uid %d, %s: %v", uid, name, err)
			}
		}
	})
	return cmd.Process.Pid
}

// Processes that look like our HAProxy neither have it killed at the next start of
// an agent, nor keep one from being started, nor are killed.
func TestNamesakes(t *testing.T) {
	b := newBench(t)
	m, stop := b.manager()
	b.apply(m, Started)
	pid := m.State().PID
	stop()
	var namesakes []int
	for _, n := range []struct {
		name string
		uid  uint32
	}{{"sh", 65534}, {"haproxy", 65534}, {"sh", 0}} {
		namesakes = append(namesakes, b.namesake(n.name, n.uid))
	}
	alive := func() {
		t.Helper()
		for _, n := range namesakes {
			if f, ok := ours.Look(n); !ok {
				t.Errorf("a namesake was killed: %+v", f)
			}
		}
	}
	m, stop = b.manager()
	b.apply(m, Unchanged)
	if s := m.State(); s.PID != pid || !s.Adopted {
		t.Errorf("it is %+v, want pid %d adopted", s, pid)
	}
	alive()
	b.spec.Services[0].Timeout.Server = time.Minute
	b.apply(m, Reloaded)
	stop()
	b.powerCut()
	m, _ = b.manager()
	b.apply(m, Started)
	if code, _ := b.get("/"); code != 200 {
		t.Errorf("GET / = %d", code)
	}
	alive()
}

// A worker that hangs when its master dies, and no agent sees it, is ended by the
// next one: it has the ports.
func TestOrphanIsEnded(t *testing.T) {
	for _, user := range []string{"", "haproxy"} {
		t.Run("user "+user, func(t *testing.T) {
			b := newBench(t)
			b.user = user
			m, stop := b.manager()
			b.apply(m, Started)
			master, worker := m.State().PID, m.current().serving().PID
			stop()
			for _, end := range []struct {
				pid int
				sig syscall.Signal
			}{{worker, syscall.SIGSTOP}, {master, syscall.SIGKILL}} {
				if err := syscall.Kill(end.pid, end.sig); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the master is gone", func() bool { _, lives := ours.Look(master); return !lives })
			m, _ = b.manager()
			awaitState(t, m, status.HAProxyRunning)
			if f, lives := ours.Look(worker); lives {
				t.Errorf("the old worker is there: %+v", f)
			}
			if code, _ := b.get("/"); code != 200 {
				t.Errorf("GET / = %d", code)
			}
		})
	}
}

// Of two of ours the one with the socket is adopted, and the other one ended.
func TestTwoMasters(t *testing.T) {
	b := newBench(t)
	m, stop := b.manager()
	b.apply(m, Started)
	first := m.State().PID
	stop()
	second := exec.Command("haproxy", "-W", "-S", filepath.Join(b.run, haproxy.MasterSocket)+",mode,600,level,admin", "-f", m.configFile())
	second.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = second.Process.Kill() // it may have ended
		_ = second.Wait()
	})
	has := 0
	eventually(t, "the second one has the socket, and keeps it", func() bool { // it makes it twice
		has++
		if reply, err := m.Master(t.Context(), "show proc"); err != nil || !strings.Contains(reply, "worker") || ours.Peer(m.MasterSocket.Path) != second.Process.Pid {
			has = 0
		}
		return has > 10
	})
	m, _ = b.manager()
	b.apply(m, Reloaded)
	if s := m.State(); s.PID != second.Process.Pid || !s.Adopted {
		t.Errorf("it is %+v, want pid %d adopted", s, second.Process.Pid)
	}
	if _, lives := ours.Look(first); lives {
		t.Error("the first one is there still")
	}
}
