package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxOffset is how far off a clock may be.
const maxOffset = 10 * 365 * 24 * time.Hour

// wrongClock has the node's agent see a wall clock that is off, from its next
// start on, which comes at once. Namespaces do not move that clock, and the agent
// has nothing in it for this: the kernel asks the lab for the time.
func wrongClock(_ context.Context, n *node, f Fault) (string, error) {
	offset, err := time.ParseDuration(f.Value)
	if err != nil || offset == 0 || offset.Abs() > maxOffset {
		return "", fmt.Errorf("%q is not how far off a clock is, such as +3h or -90s", f.Value)
	}
	if _, err := n.needAgent(); err != nil {
		return "", err
	}
	if kind := n.peerKind(); kind != "" {
		return "", fmt.Errorf("%s runs in the place of the agent of %s; only an agent's clock can be off", kind, n.plan.name)
	}
	set := func(offset time.Duration) error {
		n.clock.Store(int64(offset))
		u, err := n.needAgent()
		if err != nil {
			return nil // the node is off
		}
		if p, runs := u.current(); runs {
			return p.signal(unix.SIGTERM)
		}
		return nil
	}
	n.setSlow("clock", func() error { return set(0) })
	return fmt.Sprintf("the agent of %s is started again, with a clock that is %v off", n.plan.name, offset), set(offset)
}

// startAgent starts the node's agent in its box, with a clock that may be off.
func (n *node) startAgent(cmd *exec.Cmd) error {
	offset := time.Duration(n.clock.Load())
	if offset == 0 {
		return n.box.startUnit(cmd)
	}
	return enter(n.box.pidfd, nodeNamespaces, func() error {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, unitNice) //nolint:errcheck // see startUnit
		return startWrong(cmd, offset)
	})
}

// startWrong starts cmd with a clock that is off. It is called on a thread that is
// thrown away, since what it starts later would ask for the time, too.
func startWrong(cmd *exec.Cmd, offset time.Duration) error {
	asked, err := askForTime()
	if err != nil {
		return fmt.Errorf("have the kernel ask for the time: %w", err)
	}
	cmd.SysProcAttr.Ptrace = true // it stops when it has executed its program
	if err := cmd.Start(); err != nil {
		return errors.Join(err, unix.Close(asked))
	}
	go tellTime(asked, offset)
	pid := cmd.Process.Pid
	_, err = unix.Wait4(pid, nil, 0, nil)
	if err == nil {
		err = elsewhere(func() error { return hideVDSO(pid) })
	}
	if err = errors.Join(err, unix.PtraceDetach(pid)); err != nil {
		return errors.Join(fmt.Errorf("give process %d another clock: %w", pid, err), cmd.Process.Kill(), cmd.Wait())
	}
	return nil
}

// elsewhere runs f on another thread, one that is in no node.
func elsewhere(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// hideVDSO has a process that has just executed its program ask the kernel for the
// time, not the page of memory that the kernel gives it for that. HAProxy, which it
// starts, has that page.
func hideVDSO(pid int) error {
	const atIgnore, atVDSO = 1, 33 // of the auxiliary vector
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	const startStack = 28 - 3 // in proc_pid_stat(5), of what follows the name
	if len(fields) <= startStack {
		return fmt.Errorf("process %d has no stack", pid)
	}
	at, err := strconv.ParseInt(fields[startStack], 10, 64)
	if err != nil {
		return fmt.Errorf("find the stack of process %d: %w", pid, err)
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close() //nolint:errcheck // what was written is there
	word := make([]byte, 8)
	next := func() (uint64, error) {
		_, err := memory.ReadAt(word, at)
		at += int64(len(word))
		return binary.NativeEndian.Uint64(word), err
	}
	args, err := next()
	at += int64(args+1) * int64(len(word))
	for value := uint64(1); value != 0 && err == nil; { // the environment
		value, err = next()
	}
	for kind := uint64(1); kind != 0 && err == nil; at += int64(len(word)) {
		if kind, err = next(); kind == atVDSO {
			binary.NativeEndian.PutUint64(word, atIgnore)
			_, err = memory.WriteAt(word, at-int64(len(word)))
		}
	}
	if err != nil {
		return fmt.Errorf("look through the stack of process %d: %w", pid, err)
	}
	return nil
}

// askForTime has the kernel ask for the wall clock's time, whenever this thread or
// what it starts wants it, through the descriptor that it gives.
func askForTime() (int, error) {
	const number, firstArg = 0, 16 // in struct seccomp_data
	low := uint32(firstArg)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		low += 4
	}
	const load, equal, give = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	program := []unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_CLOCK_GETTIME, Jf: 4},
		{Code: load, K: low},
		{Code: equal, K: unix.CLOCK_REALTIME, Jt: 1},
		{Code: equal, K: unix.CLOCK_REALTIME_COARSE, Jf: 1},
		{Code: give, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: give, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// A signal, of which the Go runtime sends itself many, does not end the wait.
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&filter)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// The forms of linux/seccomp.h.
type (
	timeQuestion struct {
		id         uint64
		pid, flags uint32
		number     int32
		arch       uint32
		pointer    uint64
		args       [6]uint64
	}
	timeAnswer struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
)

// tellTime answers who asks through fd, with a time that is off, until all have ended.
func tellTime(fd int, offset time.Duration) {
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	for {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, err := unix.Poll(polled, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return
		case polled[0].Revents&unix.POLLIN != 0:
			tellOne(fd, offset)
		case polled[0].Revents != 0:
			return
		}
	}
}

// tellOne answers one question, if who asked is still there.
func tellOne(fd int, offset time.Duration) {
	var q timeQuestion
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&q))); errno != 0 {
		return
	}
	now := unix.NsecToTimespec(time.Now().Add(offset).UnixNano())
	data := unsafe.Slice((*byte)(unsafe.Pointer(&now)), unsafe.Sizeof(now))
	a := timeAnswer{id: q.id}
	if _, err := unix.ProcessVMWritev(int(q.pid), []unix.Iovec{{Base: &data[0], Len: uint64(len(data))}},
		[]unix.RemoteIovec{{Base: uintptr(q.args[1]), Len: len(data)}}, 0); err != nil {
		a.errno = -int32(unix.EFAULT)
	}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a))) // it may have ended
}
