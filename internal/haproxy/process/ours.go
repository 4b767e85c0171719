package process

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

// An identity names a process for as long as this boot lasts: the kernel may give
// its number to another one, which began at another time. Executing another program
// keeps it, which is what a master does in a reload.
type identity struct {
	pid   int
	began uint64 // ticks since the boot (proc(5), stat, field 22)
}

// A found is a process of ours that was found in /proc.
type found struct {
	identity
	parent, session int
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
	known     []identity // masters that were started or adopted
	installed string     // HAProxy's program
}

// findOurs finds the processes, masters and workers, of the HAProxy of a run
// directory, in this network namespace. program is what would be started, and
// started who was, last; zero when that is not known.
func findOurs(runDir, program string, started identity) ([]found, error) {
	l := looker{socket: filepath.Join(runDir, haproxy.MasterSocket), installed: program}
	if path, err := exec.LookPath(program); err == nil {
		l.installed = path
	}
	if started.pid != 0 {
		l.known = append(l.known, started)
	}
	if kept, ok := readIdentity(filepath.Join(runDir, identityFile)); ok {
		l.known = append(l.known, kept)
	}
	return l.find()
}

// find looks for the processes.
func (l looker) find() ([]found, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("find the running HAProxy: %w", err)
	}
	mine, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("find the running HAProxy: %w", err)
	}
	peer := peerOf(l.socket)
	var alike []found
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
		masters[f.pid] = ranByUs(dir) && (f.pid == peer || slices.Contains(l.known, f.identity) || f.session == f.pid && l.isHAProxy(dir))
	}
	return slices.DeleteFunc(alike, func(f found) bool {
		return !masters[f.pid] && !masters[f.parent] && !masters[f.session] && !l.leftBy(f, alike)
	}), nil
}

// leftBy reports whether f is of the session of a master of ours that has ended.
// The number of a session is given to no process while there is one in it.
func (l looker) leftBy(f found, alike []found) bool {
	return slices.ContainsFunc(l.known, func(k identity) bool {
		lives := slices.ContainsFunc(alike, func(a found) bool { return a.pid == k.pid })
		return f.session == k.pid && f.began >= k.began && !lives
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

// lookAt reads who the process of dir is (proc(5), stat). Zombies do not count:
// they are for their parents to reap, and hold nothing.
func lookAt(dir string) (found, bool) {
	const state, parent, session, began = 0, 1, 3, 19 // after the name
	pid, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return found{}, false
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return found{}, false
	}
	_, rest, _ := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), " ")
	fields := strings.Fields(rest)
	if len(fields) <= began || fields[state] == "Z" || fields[state] == "X" {
		return found{}, false
	}
	f := found{identity: identity{pid: pid}}
	var errs [3]error
	f.parent, errs[0] = strconv.Atoi(fields[parent])
	f.session, errs[1] = strconv.Atoi(fields[session])
	f.began, errs[2] = strconv.ParseUint(fields[began], 10, 64)
	return f, errors.Join(errs[:]...) == nil
}

// peerOf gives the process that listens on the socket, as the kernel knows it: the
// one that called listen(2). 0 where nobody of our user does, or it cannot be told.
func peerOf(socket string) int {
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

// masters gives those of all that are masters: they have the socket, or lead a
// session. A worker whose master has ended is none.
func masters(all []found, peer int) []found {
	return slices.DeleteFunc(slices.Clone(all), func(f found) bool {
		return f.pid != peer && (f.session != f.pid || slices.ContainsFunc(all, func(q found) bool { return q.pid == f.parent }))
	})
}

// belongs reports whether f is master, or one of its workers.
func (f found) belongs(master int) bool {
	return f.pid == master || f.parent == master || f.session == master
}

// identityFile has the identity of the last HAProxy's master, in the run directory.
const identityFile = "haproxy.master"

// readIdentity reads what identify wrote.
func readIdentity(file string) (identity, bool) {
	text, err := readIfThere(file)
	if err != nil {
		return identity{}, false
	}
	var i identity
	_, err = fmt.Sscan(string(text), &i.pid, &i.began)
	return i, err == nil
}

// identify keeps who the master is, for when its socket leads nowhere, and for
// the next agent.
func (s *supervisor) identify(master *watched) {
	f, ok := lookAt(fmt.Sprintf("/proc/%d", master.pid))
	if !ok {
		return // it has ended
	}
	s.masterID = f.identity
	if err := replace(filepath.Join(s.opt.RunDir, identityFile), fmt.Appendf(nil, "%d %d\n", f.pid, f.began)); err != nil {
		s.log.Warn("which process HAProxy is is not written down", "error", err)
	}
}

// ours finds the processes of our HAProxy.
func (s *supervisor) ours() ([]found, error) {
	return findOurs(s.opt.RunDir, s.opt.HAProxy, s.masterID)
}
