package agent

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"time"

	"holdfast/internal/tick"
)

const (
	// sysmonSlack is by how much the Go runtime's monitor may sleep longer than it
	// means to, in nanoseconds.
	sysmonSlack = 10_000_000
	// headroom is how much is allocated between two collections, in octets: at rest ten
	// seconds' worth. A collection takes more of the processor than so small a heap should:
	// the runtime wakes a thread for each of the processors that it believes to have, which are
	// many more than there are (see link/thread). With 8 MB an agent at rest took an eighth
	// more. A share of what is in use, as Go has it, is either too little for one at rest (with
	// Go's 100, collections were a sixth of its processor time) or too much after its start,
	// when most is in use: with 400 the heap grew to 60 MB.
	headroom = 16 << 20
	// leastGarbage and mostGarbage bound it in percent of what is in use: a heap of many
	// times the usual is not collected all the time.
	leastGarbage, mostGarbage = 40, 400
	// sweepInterval is how often it is seen how much is in use.
	sweepInterval = 10 * time.Second
)

// tuneRuntime has Go's runtime take less of the processor, which is the services'.
func tuneRuntime() {
	slowSysmon()
}

// tendHeap keeps the heap at what is in use and headroom, until ctx ends. What GOGC or
// GOMEMLIMIT say goes before. What the start took, Go's runtime gives back to the kernel little
// by little once it is above that.
func tendHeap(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent := 100
	debug.SetGCPercent(percent)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		metrics.Read(live)
		if live[0].Value.Kind() != metrics.KindUint64 {
			return // a Go that does not tell
		}
		// Each change stops all goroutines for a moment.
		if next := garbageOf(live[0].Value.Uint64()); next*4 < percent*3 || next*3 > percent*4 {
			debug.SetGCPercent(next)
			percent = next
		}
	}
}

// garbageOf gives how much the heap may grow before the next collection, in percent of what is
// in use.
func garbageOf(live uint64) int {
	return int(max(leastGarbage, min(mostGarbage, headroom*100/max(live, 1))))
}

// slowSysmon lets the thread that watches over the Go scheduler wake up less often.
// It looks every 20µs, at a millisecond's length, whenever a thread waits in a
// system call for more than that, as the VRRP loop's does between two
// advertisements; that was a third of the processor time of an agent at rest.
// What it does there, to hand a processor on for which something waits, may come
// ten milliseconds later. It is the second thread of a Go process (proc.go,
// main). Without CAP_SYS_NICE, or /proc, all stays as it is.
func slowSysmon() {
	tasks, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil || len(tasks) < 2 {
		return
	}
	var ids []int
	for _, task := range tasks {
		if id, err := strconv.Atoi(filepath.Base(task)); err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	_ = os.WriteFile(filepath.Join("/proc", strconv.Itoa(ids[1]), "timerslack_ns"), []byte(strconv.Itoa(sysmonSlack)), 0) // see above
}
