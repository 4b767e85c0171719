package vip

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// A world is two network namespaces joined by a cable: "here", in which the
// test's goroutine runs, has the controller's end eth0, and "there" has peer.
type world struct {
	t     testing.TB
	there netns.NsHandle
	here  netns.NsHandle
}

// newWorld moves the test's goroutine, on a thread of its own that ends with
// the test, into a new network namespace.
func newWorld(t testing.TB) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	runtime.LockOSThread() // never unlocked: the thread is thrown away
	there, err := netns.New()
	if err != nil {
		t.Skipf("cannot make a network namespace: %v", err)
	}
	here, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	w := &world{t: t, here: here, there: there}
	t.Cleanup(func() {
		for _, ns := range []*netns.NsHandle{&w.here, &w.there} {
			if err := ns.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	w.run("ip link set lo up")
	w.run("ip link add eth0 type veth peer name peer")
	w.run(fmt.Sprintf("ip link set peer netns /proc/%d/fd/%d", os.Getpid(), int(there)))
	w.run("ip link set eth0 up")
	w.over(func() {
		w.run("ip link set lo up")
		w.run("ip link set peer up")
		w.run("ip address add 10.0.0.1/24 dev peer")
		w.run("ip address add fd00::1/64 dev peer nodad")
	})
	return w
}

// withOwn gives the controller its own addresses, 10.0.0.13 and fd00::13.
func (w *world) withOwn() *world {
	w.run("ip address add 10.0.0.13/24 dev eth0")
	w.run("ip address add fd00::13/64 dev eth0 nodad")
	return w
}

// over runs f in the namespace at the other end of the cable.
func (w *world) over(f func()) {
	w.t.Helper()
	if err := netns.Set(w.there); err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(w.here); err != nil {
			w.t.Error(err)
		}
	}()
	f()
}

// try runs a command in the current namespace.
func (w *world) try(command string) (string, error) {
	args := strings.Fields(command)
	out, err := exec.CommandContext(w.t.Context(), args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

func (w *world) run(command string) string {
	w.t.Helper()
	out, err := w.try(command)
	if err != nil {
		w.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return out
}

// await waits until true holds.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	for start := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			w.t.Fatalf("still waiting: %s", what)
		}
	}
}

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// A syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// address gives an Address on eth0 and what it logs.
func (w *world) address(o Options) (*Address, *syncBuffer) {
	w.t.Helper()
	var log syncBuffer
	o.Name = "api"
	if o.Interface == "" {
		o.Interface = "eth0"
	}
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	a, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := a.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return a, &log
}

func (w *world) claim(a *Address) {
	w.t.Helper()
	if err := a.Claim(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// present fails the test unless Present says want.
func (w *world) present(a *Address, want bool) {
	w.t.Helper()
	if got, err := a.Present(); err != nil || got != want {
		w.t.Fatalf("Present() = %v, %v; want %v", got, err, want)
	}
}
