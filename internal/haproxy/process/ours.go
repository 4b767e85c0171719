package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A found is a process of ours that was found in /proc.
type found struct {
	pid, parent int
}

// findOurs finds the processes, masters and workers, that run with the master
// socket of this run directory in this network namespace. That argument stays
// on the command line over reloads, and nothing else has it, "haproxy -c" of
// our file included.
func findOurs(masterSocket string) ([]found, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("find the running HAProxy: %w", err)
	}
	mine, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("find the running HAProxy: %w", err)
	}
	var all, hidden []found
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || !isOurs(dir, masterSocket) {
			continue
		}
		parent, ok := parentOf(dir)
		if !ok {
			continue
		}
		switch ns, err := os.Readlink(dir + "/ns/net"); {
		case err != nil:
			hidden = append(hidden, found{pid, parent})
		case ns == mine:
			all = append(all, found{pid, parent})
		}
	}
	// A worker with a user of its own may hide where it is: it is with its master.
	for _, f := range hidden {
		if slices.ContainsFunc(all, func(m found) bool { return m.pid == f.parent }) {
			all = append(all, f)
		}
	}
	return all, nil
}

// isOurs reports whether the process of dir has "-S MASTERSOCKET,…" among its
// arguments. One that has just ended has none.
func isOurs(dir, masterSocket string) bool {
	cmdline, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return false
	}
	args := bytes.Split(cmdline, []byte{0})
	i := slices.IndexFunc(args, func(a []byte) bool { return string(a) == "-S" })
	return i >= 0 && i+1 < len(args) && bytes.HasPrefix(args[i+1], []byte(masterSocket+","))
}

// parentOf reads the parent's pid (proc(5), stat). Zombies do not count: they
// are for their parents to reap, and hold nothing.
func parentOf(dir string) (int, bool) {
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), " ")
	if !ok {
		return 0, false
	}
	f := strings.Fields(rest)
	if len(f) < 2 || f[0] == "Z" || f[0] == "X" {
		return 0, false
	}
	parent, err := strconv.Atoi(f[1])
	return parent, err == nil
}

// masters gives those of all whose parent is not one of all.
func masters(all []found) []int {
	var pids []int
	for _, p := range all {
		if !slices.ContainsFunc(all, func(q found) bool { return q.pid == p.parent }) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}
