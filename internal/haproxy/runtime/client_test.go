package runtime

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve answers each connection to a socket with reply, and then closes it, or
// leaves it open when hold is set. It gives the socket and what was asked.
func serve(t *testing.T, reply string, hold bool) (*Socket, <-chan string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			asked <- string(buf[:n])
			_, _ = c.Write([]byte(reply))
			if !hold {
				c.Close()
			}
		}
	}()
	return &Socket{Path: path}, asked
}

func TestRuntimeClient(t *testing.T) {
	for _, c := range []struct{ name, reply, want, refused string }{
		{"an answer", "\nPid: 1\n\n", "Pid: 1\n", ""},
		{"no answer, done", "\n\n", "", ""},
		{"two answers", "\na\n\nb\n\n", "a\n\nb\n", ""},
		{"a notice", "\n[6]: changed\n\n", "changed\n", ""},
		{"an error", "\n[3]: No such server.\n\n", "", "No such server."},
		{"an error after an answer", "\na\n\n[3]: No such server.\n\n", "", "No such server."},
		{"an unknown command", "\n[6]: Unknown command, but maybe\n  help\n\n", "", "Unknown command, but maybe"},
		{"no rights", "\n[4]: Permission denied\n\n", "", "Permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket, asked := serve(t, c.reply, false)
			got, err := (&Client{WorkerSocket: socket}).Runtime(t.Context(), "show x; show y")
			if q := <-asked; q != "set severity-output number;show x; show y\n" {
				t.Errorf("asked %q", q)
			}
			if c.refused != "" {
				if e, ok := errors.AsType[*RefusedError](err); !ok || e.Reply != c.refused {
					t.Errorf("error %v, want %q", err, c.refused)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// A reply that ends early is never taken for a whole one.
func TestTruncatedReplies(t *testing.T) {
	const whole = "\n# pxname,svname\na,b\n\n"
	for n := range len(whole) - 1 {
		socket, _ := serve(t, whole[:n], false)
		if got, err := (&Client{WorkerSocket: socket}).Runtime(t.Context(), "show stat"); !errors.Is(err, ErrTruncated) {
			t.Errorf("cut after %d: %q, %v", n, got, err)
		}
	}
	socket, _ := serve(t, "#<PID>\n1 master", false)
	if _, err := (&Client{MasterSocket: socket}).Master(t.Context(), "show proc"); !errors.Is(err, ErrTruncated) {
		t.Errorf("master: %v", err)
	}
}

func TestClientGivesUp(t *testing.T) {
	socket, _ := serve(t, "\n# half", true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := (&Client{WorkerSocket: socket}).Runtime(ctx, "show stat"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a HAProxy that hangs: %q, %v", got, err)
	}
	socket, _ = serve(t, "\n"+strings.Repeat("x", maxReply+10)+"\n\n", false)
	if got, err := (&Client{WorkerSocket: socket}).Runtime(t.Context(), "show stat"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an endless reply: %d bytes, %v", len(got), err)
	}
	if _, err := New(t.TempDir()).Runtime(t.Context(), "show info"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	if _, err := (&Client{MasterSocket: socket}).Master(t.Context(), "a\nb"); err == nil {
		t.Error("two lines were taken for a command")
	}
}

func FuzzClientReplies(f *testing.F) {
	f.Add("\n[3]: x\n\n")
	f.Fuzz(func(t *testing.T, reply string) {
		if got, err := withoutSeverities("x", reply); err == nil && len(got) > len(reply) {
			t.Errorf("%q from %q", got, reply)
		}
	})
}

// A name that is taken away, or that is somebody's who has gone, is lost; the
// socket is not.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listen := func() *net.UnixListener {
		t.Helper()
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		t.Cleanup(func() { l.Close() })
		return l
	}
	d := &Socket{Path: path}
	defer d.Close()
	reach := func(want bool) {
		t.Helper()
		conn, err := d.Dial(t.Context())
		if (err == nil) != want {
			t.Fatalf("reached: %v, want %t", err, want)
		}
		if err == nil {
			conn.Close()
		}
	}
	lost := func(want string) {
		t.Helper()
		if _, why := d.LostFor(0); why != want {
			t.Errorf("lost: %q, want %q", why, want)
		}
	}
	reach(false)
	lost("no such file or directory")
	l := listen()
	reach(true)
	lost("")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reach(true) // by what the name led to
	lost("no such file or directory")
	if d.Leads(t.Context()) == nil {
		t.Error("the name leads somewhere, and is gone")
	}
	l.Close()
	reach(false)
	other := listen() // a new name, as after a reload that heals
	reach(true)
	lost("")
	other.Close()
	reach(false)
	lost("connection refused")
	d.Hears(false)
	if since, mute := d.MuteFor(0); !mute || since.IsZero() {
		t.Error("it is mute, and that is not known")
	}
	if _, mute := d.MuteFor(time.Hour); mute {
		t.Error("it is mute for long")
	}
	d.Hears(true)
	if _, mute := d.MuteFor(0); mute {
		t.Error("it is mute, and was heard")
	}
}
