package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// An activity tells whether a process uses the processor, or waits for it: one
// that does and does not answer is slow, and one that does neither hangs.
type activity struct {
	spent    uint64 // nanoseconds that its threads ran, or waited to run
	runnable bool   // a thread runs, or waits to
}

// activityOf looks at all threads of process pid. What cannot be read counts
// as nothing: a kernel without CONFIG_SCHED_INFO, a process that has ended.
func activityOf(pid int) activity {
	var a activity
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/[0-9]*")
	if err != nil {
		return a
	}
	for _, dir := range threads {
		if stat, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
			a.runnable = a.runnable || threadState(stat) == 'R'
		}
		if times, err := os.ReadFile(filepath.Join(dir, "schedstat")); err == nil {
			a.spent += ranAndWaited(times)
		}
	}
	return a
}

// threadState gives the state of proc(5)'s stat: the field after the name, which
// is in parentheses and may have any character in it. 0 for none.
func threadState(stat []byte) byte {
	_, rest, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	if !ok || len(rest) == 0 {
		return 0
	}
	return rest[0]
}

// ranAndWaited adds up the first two of schedstat's numbers, nanoseconds.
func ranAndWaited(schedstat []byte) uint64 {
	var sum uint64
	for _, field := range bytes.Fields(schedstat)[:min(2, len(bytes.Fields(schedstat)))] {
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0
		}
		sum += n
	}
	return sum
}

// since gives how long the process ran, or waited to run, between before and a:
// all its threads together. A thread that has ended meanwhile counts for nothing.
func (a activity) since(before activity) time.Duration {
	if a.spent < before.spent {
		return 0
	}
	return time.Duration(a.spent - before.spent)
}

// busySince reports whether a process did anything between before and a.
func (a activity) busySince(before activity) bool { return a.runnable || a.spent > before.spent }
