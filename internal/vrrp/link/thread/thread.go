// Package thread has what a loop needs of its OS thread, so that it runs when it has to
// on a host with every core busy: a priority, a second thread with the same one, and
// what wakes one with no help from the Go runtime. It runs on Linux only.
package thread

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A Priority is the scheduling of an OS thread that was raised. The zero value is of one
// that was not.
type Priority struct {
	raised bool
	before unix.SchedAttr
}

// Raise gives the calling thread the lowest real-time priority, which is before
// all that is not real-time, or where that is not allowed a high nice value; it
// says which. It needs CAP_SYS_NICE or an RLIMIT_RTPRIO of 1 (in a systemd
// unit, LimitRTPRIO=1). Threads and processes that this thread starts do not
// inherit it. With no it leaves the thread as it is.
func (t *Priority) Raise(no bool) string {
	const usual = "as the process"
	// An idle thread wakes up when it asked to, not 50µs later.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // cannot fail on Linux 2.6.28 or later
	if no {
		return usual
	}
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return fmt.Sprintf("%s: cannot ask for more: %v", usual, err)
	}
	realtime := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1,
		Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}
	first := unix.SchedSetAttr(0, &realtime, 0)
	if first == nil {
		t.raised, t.before = true, *before
		return "real-time"
	}
	nice := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: -20,
		Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}
	if err := unix.SchedSetAttr(0, &nice, 0); err != nil {
		return fmt.Sprintf("%s: real-time priority: %v; nice -20: %v", usual, first, err)
	}
	t.raised, t.before = true, *before
	return "nice -20"
}

// Restore undoes Raise, for the next goroutine on the thread.
func (t *Priority) Restore() error {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // cannot fail, as above
	if !t.raised {
		return nil
	}
	t.raised = false
	t.before.Size = unix.SizeofSchedAttr
	// Who is not privileged may not clear this flag, and it does no harm.
	t.before.Flags |= unix.SCHED_FLAG_RESET_ON_FORK
	err := unix.SchedSetAttr(0, &t.before, 0)
	if errors.Is(err, unix.EPERM) {
		return nil // a nice value that was lowered for this process, with no right to do so again
	}
	if err != nil {
		return fmt.Errorf("give the thread its former priority: %w", err)
	}
	return nil
}

// SpareProcessors gives the Go runtime some more of what it calls processors,
// which a thread needs to run Go code, than a small host has cores. Else a
// thread with real-time priority waits for one that a thread without it has,
// while that waits for a core: 150ms on two busy cores, against 0.3ms (measured). With
// eight, a crowd of five hundred at the page of a host that was busy besides took all of
// them for up to 80ms.
func SpareProcessors() {
	const enough = 24
	if runtime.GOMAXPROCS(0) < enough {
		runtime.GOMAXPROCS(enough)
	}
}

// Go runs f in a goroutine on a thread of its own, which ends with it, raised unless no
// is true, and in the network namespace of the caller's thread. It returns when f begins,
// or with the reason why that namespace cannot be joined.
func Go(no bool, f func()) error {
	// Without /proc it stays in the process's namespace, which is the loop's
	// but for tests.
	namespace, _ := openNamespace()
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		err := joinNamespace(namespace)
		ready <- err
		if err != nil {
			return
		}
		var p Priority
		p.Raise(no)
		f()
	}()
	return <-ready
}

func openNamespace() (*os.File, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("look for the thread's network namespace: %w", err)
	}
	return f, nil
}

// joinNamespace moves the thread to a namespace, unless it is there, and closes it.
func joinNamespace(to *os.File) error {
	if to == nil {
		return nil
	}
	defer to.Close() //nolint:errcheck // nothing was written
	here, err := openNamespace()
	if err != nil {
		return err
	}
	defer here.Close() //nolint:errcheck // nothing was written
	a, err := to.Stat()
	if err != nil {
		return fmt.Errorf("look at a network namespace: %w", err)
	}
	b, err := here.Stat()
	if err != nil {
		return fmt.Errorf("look at a network namespace: %w", err)
	}
	if os.SameFile(a, b) {
		return nil
	}
	if err := unix.Setns(int(to.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("join the loop's network namespace: %w", err)
	}
	return nil
}

// A Bell wakes another thread up. It is an eventfd(2): the kernel wakes the waiting
// thread itself.
type Bell int

// NewBell gives one that was not rung.
func NewBell() (Bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make an eventfd: %w", err)
	}
	return Bell(fd), nil
}

// Ring has the next Wait, or the one under way, return.
func (b Bell) Ring() {
	// It fails only after Close, and then nobody waits.
	_, _ = unix.Write(int(b), binary.NativeEndian.AppendUint64(nil, 1))
}

// Wait waits for a Ring.
func (b Bell) Wait() {
	var count [8]byte
	// An interrupted wait is one that has returned early, which is allowed.
	_, _ = unix.Read(int(b), count[:])
}

// Close closes it. Nobody may use it afterwards.
func (b Bell) Close() { _ = unix.Close(int(b)) } // nothing was written that could be lost
