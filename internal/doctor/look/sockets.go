package look

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/doctor"
	"holdfast/internal/haproxy/ports"
)

// listeners reads the listening TCP sockets of this network namespace, and whose they are.
func (l *looker) listeners(context.Context) {
	owners := l.owners()
	for _, file := range []string{"proc/thread-self/net/tcp", "proc/thread-self/net/tcp6"} {
		for _, is := range ports.ParseListeners(l.read(file)) {
			o := owners[is.Inode]
			l.facts.Listeners = append(l.facts.Listeners, doctor.Listener{At: is.At, PID: o.pid, Command: o.command, Ours: o.ours})
		}
	}
}

type owner struct {
	pid     int
	command string
	ours    bool
}

// owners gives whose each socket is, by its inode: of several, ours, or the one that began
// first, by its process id, which has the others as its children.
func (l *looker) owners() map[uint64]owner {
	var pids []int
	for _, dir := range l.glob("proc/[0-9]*") {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	all := map[uint64]owner{}
	for _, pid := range pids {
		dir := "proc/" + strconv.Itoa(pid)
		o := owner{pid, l.read(dir + "/comm"), isOurs(strings.Split(l.read(dir+"/cmdline"), "\x00"))}
		inodes, _ := ports.SocketsOf(l.path(dir)) // it has ended, or is another user's
		for _, inode := range inodes {
			if _, known := all[inode]; !known || o.ours {
				all[inode] = o
			}
		}
	}
	return all
}

// isOurs reports whether a process with this command line is an agent, or the HAProxy of one.
func isOurs(line []string) bool {
	if filepath.Base(line[0]) == "holdfast" && slices.Contains(line, "agent") {
		return true
	}
	return slices.ContainsFunc(line, func(word string) bool { return strings.HasSuffix(word, "/master.sock,mode,600,level,admin") })
}
