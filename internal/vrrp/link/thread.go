package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A thread is the scheduling of the OS thread of a loop.
type thread struct {
	raised bool
	before unix.SchedAttr
}

// raise gives the calling thread the lowest real-time priority, which is before
// all that is not real-time, or where that is not allowed a high nice value; it
// says which. It needs CAP_SYS_NICE or an RLIMIT_RTPRIO of 1 (in a systemd
// unit, LimitRTPRIO=1). Threads and processes that this thread starts do not
// inherit it.
func (t *thread) raise(no bool) string {
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

// restore undoes raise, for the next goroutine on the thread.
func (t *thread) restore() error {
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
