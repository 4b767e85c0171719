package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy/runtime"
)

func TestJudge(t *testing.T) {
	const full, reloading = 1, 2
	for _, c := range []struct {
		runtime, listeners Sign
		also               int
		want               verdict
	}{
		{Answered, NoSign, 0, alive}, // no VIP is held here
		{Answered, Answered, 0, alive},
		{Silent, Answered, 0, alive},   // it serves, whatever its runtime socket does
		{NoSign, Answered, 0, alive},   // and without one
		{Unable, Answered, 0, alive},   // whoever could not ask
		{Silent, NoSign, 0, silent},    // nothing else to go by
		{Silent, Silent, 0, silent},    // hangs
		{NoSign, Silent, 0, silent},    // hangs, and its socket is lost too
		{NoSign, Refused, 0, silent},   // nobody listens where clients come
		{NoSign, NoSign, 0, unsure},    // there was nobody to ask
		{Answered, Silent, 0, silent},  // clients get nothing
		{Answered, Refused, 0, silent}, // nor here
		{Answered, Silent, full, alive},
		{Silent, Silent, full, silent}, // what is known of it is old
		{Answered, NoSign, reloading, alive},
		{Silent, Answered, reloading, alive},
		{Answered, Refused, reloading, unsure},
		{NoSign, Refused, reloading, unsure},
		{Silent, NoSign, reloading, unsure},
		{Silent, Silent, reloading, unsure},
		{Answered, Silent, reloading, unsure},
		{Unable, Silent, 0, unsure},
		{Answered, Unable, 0, unsure},
		{Silent, Unable, 0, unsure},
	} {
		a := asked{runtime: c.runtime, listeners: c.listeners, full: c.also&full != 0, reloading: c.also&reloading != 0}
		if got := a.judge(); got != c.want {
			t.Errorf("%+v: %v, want %v", a, got, c.want)
		}
	}
}

func TestSigns(t *testing.T) {
	op := func(err error) error {
		return fmt.Errorf("ask: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)})
	}
	for _, c := range []struct {
		err          error
		socket, dial Sign
	}{
		{op(syscall.ENOENT), NoSign, NoSign},
		{op(syscall.ECONNREFUSED), NoSign, Refused},
		{op(syscall.EACCES), NoSign, NoSign},
		{op(syscall.ECONNRESET), NoSign, NoSign}, // a listener that was closed
		{op(syscall.EADDRNOTAVAIL), NoSign, NoSign},
		{op(syscall.EHOSTUNREACH), NoSign, NoSign},
		{op(syscall.EAGAIN), Silent, Silent},
		{op(syscall.EMFILE), Unable, Unable},
		{op(syscall.ENFILE), Unable, Unable},
		{op(os.ErrDeadlineExceeded), Silent, Silent},
		{op(syscall.ETIMEDOUT), Silent, Silent},
		{fmt.Errorf("ask: %w", context.DeadlineExceeded), Silent, Silent},
		{fmt.Errorf("ask: %w", runtime.ErrTruncated), Answered, Silent},
		{&runtime.RefusedError{Command: "show info", Reply: "Permission denied"}, Answered, Silent},
		{errors.New("show info: no pid"), Answered, Silent},
	} {
		if got := signOf(c.err); got != c.socket {
			t.Errorf("a socket that gives %v: %v, want %v", c.err, got, c.socket)
		}
		if got := SignOfDial(c.err); got != c.dial {
			t.Errorf("a listener that gives %v: %v, want %v", c.err, got, c.dial)
		}
	}
	if signOf(nil) != Answered {
		t.Error("an answer is none")
	}
	if !Silent.WorseThan(Answered) || Answered.WorseThan(Answered) || NoSign.WorseThan(Answered) {
		t.Error("the worst is not the worst")
	}
}

func TestRespell(t *testing.T) {
	const cfg = "global\n    # stats socket\n    stats socket %s mode 600\nrest haproxy.sock\n"
	for path, want := range map[string][2]string{
		"/run/h/haproxy.sock":               {"/run/h/./haproxy.sock", "/run/h//haproxy.sock"},
		"/haproxy.sock.d/haproxy.sock":      {"/haproxy.sock.d/./haproxy.sock", "/haproxy.sock.d//haproxy.sock"},
		`"/run/with space/haproxy.sock"`:    {`"/run/with space/./haproxy.sock"`, `"/run/with space//haproxy.sock"`},
		"/run/h/somebody-elses-socket.sock": {"/run/h/somebody-elses-socket.sock", "/run/h/somebody-elses-socket.sock"},
	} {
		for n, spelled := range want {
			if got, want := string(respell([]byte(fmt.Sprintf(cfg, path)), n)), fmt.Sprintf(cfg, spelled); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	}
	if got := string(respell([]byte("global\n"), 1)); got != "global\n" {
		t.Errorf("a configuration without a socket: %q", got)
	}
}

// The run directory comes back with the mode that it had.
func TestMakeRunDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for _, mode := range []os.FileMode{0o755, 0o700, 0} {
		if mode != 0 {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
		m := New(Options{RunDir: dir})
		m.runMode = modeOf(dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := m.makeRunDir(); err != nil {
			t.Fatal(err)
		}
		want := mode
		if mode == 0 {
			want = defaultRunMode
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%v, %v; want mode %v", info.Mode(), err, want)
		}
		if err := m.makeRunDir(); err != nil {
			t.Errorf("it is there: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}
