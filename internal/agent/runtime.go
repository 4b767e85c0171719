package agent

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
)

const (
	// sysmonSlack is by how much the Go runtime's monitor may sleep longer than it
	// means to, in nanoseconds.
	sysmonSlack = 10_000_000
	// garbage is how much the heap may grow, in percent of what is in use, before the
	// next collection. In use are some 3 MB, and each answer of HAProxy's to "show
	// stat" is a part of that: with Go's 100, collections were a sixth of the
	// processor time of an agent at rest.
	garbage = 400
)

// tuneRuntime has Go's runtime take less of the processor, which is the services'.
// What GOGC says goes before.
func tuneRuntime() {
	slowSysmon()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
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
