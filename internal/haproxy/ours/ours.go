// Package ours finds the HAProxy of a run directory among all processes, so that none
// but it is adopted, or ended. It ends none itself.
package ours

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy"
)

// An Identity names a process for as long as this boot lasts: the kernel may give
// its number to another one, which began at another time. Executing another program
// keeps it, which is what a master does in a reload.
type Identity struct {
	PID   int
	Began uint64 // ticks since the boot (proc(5), stat, field 22)
}

// String gives i as it is kept in IdentityFile.
func (i Identity) String() string { return fmt.Sprintf("%d %d", i.PID, i.Began) }

// A Process is one that was found in /proc.
type Process struct {
	Identity
	Parent, Session int // the processes that it is a child of, and in the session of
}

// A looker finds the HAProxy of one run directory among all processes.
//
// Any local user can have its command line say what ours does. So that is only
// what a process must have; that a master is ours the kernel says: it listens on
// the master socket, which is in a directory of root's, or it is the process that was started
// from here, or else it is HAProxy's program, run by the user of the agent in a
// session of its own. Its workers are those that it is the parent of, and those
// of its session, which nobody else can join.
type looker struct {
	socket    string     // the master's
	known     []Identity // masters that were started or adopted
	installed string     // HAProxy's program
}

// Find finds the processes, masters and workers, of the HAProxy of a run
// directory, in this network namespace. program is what would be started, and
// started who was, last; zero when that is not known.
func Find(runDir, program string, started Identity) ([]Process, error) {
	l := looker{socket: filepath.Join(runDir, haproxy.MasterSocket), installed: program}
	if path, err := exec.LookPath(program); err == nil {
		l.installed = path
	}
	if started.PID != 0 {
		l.known = append(l.known, started)
	}
	if kept, ok := readIdentity(filepath.Join(runDir, IdentityFile)); ok {
		l.known = append(l.known, kept)
	}
	return l.find()
}

// find looks for the processes.
func (l looker) find() ([]Process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("find the running HAProxy: %w", err)
	}
	mine, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("find the running HAProxy: %w", err)
	}
	peer := Peer(l.socket)
	var alike []Process
	masters := map[int]bool{}
	for _, dir := range dirs {
		f, ok := lookAt(dir)
		if !ok || !namesSocket(dir, l.socket) {
			continue
		}
		// A worker with a user of its own may hide where it is: it is with its master.
		if ns, err := os.Readlink(dir + "/ns/net"); err == nil && ns != mine {
			continue
		}
		alike = append(alike, f)
		masters[f.PID] = ranByUs(dir) && (f.PID == peer || slices.Contains(l.known, f.Identity) || f.Session == f.PID && l.isHAProxy(dir))
	}
	return slices.DeleteFunc(alike, func(f Process) bool {
		return !masters[f.PID] && !masters[f.Parent] && !masters[f.Session] && !l.leftBy(f, alike)
	}), nil
}

// leftBy reports whether f is of the session of a master of ours that has ended.
// The number of a session is given to no process while there is one in it.
func (l looker) leftBy(f Process, alike []Process) bool {
	return slices.ContainsFunc(l.known, func(k Identity) bool {
		lives := slices.ContainsFunc(alike, func(a Process) bool { return a.PID == k.PID })
		return f.Session == k.PID && f.Began >= k.Began && !lives
	})
}

// isHAProxy reports whether the process of dir runs HAProxy: the program that is
// installed or, as that may have been replaced, one called so.
func (l looker) isHAProxy(dir string) bool {
	if path, err := os.Readlink(dir + "/exe"); err == nil && strings.HasPrefix(filepath.Base(path), "haproxy") {
		return true
	}
	runs, err := os.Stat(dir + "/exe")
	if err != nil {
		return false
	}
	installed, err := os.Stat(l.installed)
	return err == nil && os.SameFile(runs, installed)
}

// namesSocket reports whether the process of dir has "-S MASTERSOCKET,…" among its
// arguments, as HAProxy has over reloads, and nothing else that the agent starts:
// "haproxy -c" of our file included. One that has just ended has none.
func namesSocket(dir, masterSocket string) bool {
	cmdline, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return false
	}
	args := bytes.Split(cmdline, []byte{0})
	i := slices.IndexFunc(args, func(a []byte) bool { return string(a) == "-S" })
	return i >= 0 && i+1 < len(args) && bytes.HasPrefix(args[i+1], []byte(masterSocket+","))
}

// ranByUs reports whether the user of the agent runs the process of dir: its
// real, effective and saved user are that one.
func ranByUs(dir string) bool {
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(text), "\nUid:")
	line, _, _ := strings.Cut(rest, "\n")
	ids := strings.Fields(line)
	mine := strconv.Itoa(os.Getuid())
	return ok && len(ids) >= 3 && !slices.ContainsFunc(ids[:3], func(id string) bool { return id != mine })
}

// Look reads who process pid is; false where there is none, or none that lives.
func Look(pid int) (Process, bool) { return lookAt("/proc/" + strconv.Itoa(pid)) }

// lookAt reads who the process of dir is (proc(5), stat). Zombies do not count:
// they are for their parents to reap, and hold nothing.
func lookAt(dir string) (Process, bool) {
	const state, parent, session, began = 0, 1, 3, 19 // after the name
	pid, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return Process{}, false
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Process{}, false
	}
	_, rest, _ := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), " ")
	fields := strings.Fields(rest)
	if len(fields) <= began || fields[state] == "Z" || fields[state] == "X" {
		return Process{}, false
	}
	f := Process{Identity: Identity{PID: pid}}
	var errs [3]error
	f.Parent, errs[0] = strconv.Atoi(fields[parent])
	f.Session, errs[1] = strconv.Atoi(fields[session])
	f.Began, errs[2] = strconv.ParseUint(fields[began], 10, 64)
	return f, errors.Join(errs[:]...) == nil
}

// Peer gives the process that listens on the socket, as the kernel knows it: the
// one that called listen(2). 0 where nobody of our user does, or it cannot be told.
func Peer(socket string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // it does not wait
	defer cancel()
	if cred := Listener(ctx, socket); cred != nil && int(cred.Uid) == os.Getuid() {
		return int(cred.Pid)
	}
	return 0
}

// Listener gives who listens on a unix socket, by its path or, with "@" before it, its
// abstract name; nil where nobody does, or the kernel does not tell.
func Listener(ctx context.Context, socket string) *unix.Ucred {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return nil
	}
	return cred
}

// Masters gives those of all that are masters: they have the socket, or lead a
// session. A worker whose master has ended is none.
func Masters(all []Process, peer int) []Process {
	return slices.DeleteFunc(slices.Clone(all), func(f Process) bool {
		return f.PID != peer && (f.Session != f.PID || slices.ContainsFunc(all, func(q Process) bool { return q.PID == f.Parent }))
	})
}

// Belongs reports whether f is master, or one of its workers.
func (f Process) Belongs(master int) bool {
	return f.PID == master || f.Parent == master || f.Session == master
}

// IdentityFile has the Identity of the last HAProxy's master, in the run directory.
const IdentityFile = "haproxy.master"

// readIdentity reads what is kept there.
func readIdentity(file string) (Identity, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Identity{}, false
	}
	var i Identity
	_, err = fmt.Sscan(string(text), &i.PID, &i.Began)
	return i, err == nil
}

// Choose gives the master that is to be adopted: the only one or, of several,
// the one that has the socket.
func Choose(masters []Process, peer int) (int, error) {
	if len(masters) == 1 {
		return masters[0].PID, nil
	}
	var pids []int
	for _, f := range masters {
		if f.PID == peer {
			return peer, nil
		}
		pids = append(pids, f.PID)
	}
	if len(pids) == 0 {
		return 0, errors.New("its master has ended")
	}
	return 0, fmt.Errorf("there are %d of them, and none has the socket: pids %v", len(pids), pids)
}
