// Package netnstest gives tests network namespaces: of their own, gone with the
// test, and joined by cables and bridges. It is for tests only.
package netnstest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A Namespace is a network namespace without a name: it goes with its last user.
type Namespace struct {
	t      testing.TB
	handle netns.NsHandle
}

// New makes a Namespace that is closed with the test, which is skipped where none can
// be made. Its lo is up.
func New(t testing.TB) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	n := &Namespace{t: t}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		var err error
		n.handle, err = netns.New()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skipf("cannot make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := n.handle.Close(); err != nil {
			t.Error(err)
		}
	})
	n.Run("ip link set lo up")
	return n
}

// Path gives a name for ip link's netns.
func (n *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.handle))
}

// Do runs f on a thread that is in n and ends with it.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		err := netns.Set(n.handle)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// Run runs a command in n, or one a line.
func (n *Namespace) Run(commands string) {
	n.t.Helper()
	for command := range strings.Lines(commands) {
		err := n.Do(func() error {
			if out, err := Try(n.t, command); err != nil {
				return fmt.Errorf("%s: %w: %s", strings.TrimSpace(command), err, out)
			}
			return nil
		})
		if err != nil {
			n.t.Fatal(err)
		}
	}
}

// Write writes a setting of the kernel's in n.
func (n *Namespace) Write(path, value string) {
	n.t.Helper()
	if err := n.Do(func() error { return os.WriteFile(path, []byte(value), 0o644) }); err != nil {
		n.t.Fatal(err)
	}
}

// Enter moves the calling goroutine, the test's, into n for good, on a thread of its
// own that ends with the test.
func (n *Namespace) Enter() {
	n.t.Helper()
	runtime.LockOSThread() // never unlocked: the thread is thrown away
	if err := netns.Set(n.handle); err != nil {
		n.t.Fatal(err)
	}
}

// In runs f in n, on the goroutine of a test that has entered a Namespace, and goes
// back to where that was.
func (n *Namespace) In(f func()) {
	n.t.Helper()
	before, err := netns.Get()
	if err == nil {
		err = netns.Set(n.handle)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() {
		n.t.Helper()
		if err := netns.Set(before); err != nil {
			n.t.Error(err)
		}
		if err := before.Close(); err != nil {
			n.t.Error(err)
		}
	}()
	f()
}

// Try runs a command in the namespace of the calling thread, and gives what it says.
func Try(t testing.TB, command string) (string, error) {
	args := strings.Fields(command)
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

// Run is Try of a command that must not fail.
func Run(t testing.TB, command string) string {
	t.Helper()
	out, err := Try(t, command)
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return out
}

// MAC gives the MAC address of a device in the namespace of the calling thread.
func MAC(t testing.TB, device string) string {
	t.Helper()
	l, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().HardwareAddr.String()
}

// Await waits until true holds.
func Await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// A Log is one that several goroutines write.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Log) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Log) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
