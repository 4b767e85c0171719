package process

import (
	"cmp"
	"context"
	"slices"
	"syscall"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/pidfd"
)

// maxOldWorkers is how many workers may finish, beside each other, what they had
// before a reload. HAProxy's own bound, mworker-max-reloads, is of another kind: it counts
// reloads that failed, too, and then cuts what the worker has that served all the while.
const maxOldWorkers = 25

// boundOldWorkers ends the oldest of the workers that finish what they have since a
// reload, when they are too many.
func (s *supervisor) boundOldWorkers(ctx context.Context) {
	procs, err := s.Processes(ctx)
	if err != nil {
		s.log.Warn("not known how many workers finish what they have", "error", err)
		return
	}
	for _, old := range surplus(procs.Old) {
		w, err := pidfd.Open(old.PID)
		if err != nil {
			continue // it has ended
		}
		// Held, it is still the process that the master spoke of: else the pid is another's.
		again, err := s.Processes(ctx)
		if err == nil && slices.ContainsFunc(again.Old, func(p output.Process) bool { return p.PID == old.PID }) {
			s.log.Warn("ending the oldest worker, which had not finished since a reload: there are too many", "pid", old.PID, "age", old.Uptime, "limit", maxOldWorkers)
			err = w.Signal(syscall.SIGTERM)
		}
		if err != nil {
			s.log.Warn("an old worker is not ended", "pid", old.PID, "error", err)
		}
		w.Close()
	}
}

// surplus gives the oldest of old that are more than may be.
func surplus(old []output.Process) []output.Process {
	byAge := slices.SortedStableFunc(slices.Values(old), func(a, b output.Process) int {
		return cmp.Or(cmp.Compare(b.Uptime, a.Uptime), cmp.Compare(b.Reloads, a.Reloads))
	})
	return byAge[:max(len(byAge)-maxOldWorkers, 0)]
}
