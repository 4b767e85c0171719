// Package pidfd holds processes, so that the kernel tells when one ends and no later
// one can be taken for it. It starts none.
package pidfd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is one that is held, whether it is a child or not.
type Process struct {
	PID int
	fd  *os.File
}

// Open takes hold of process pid. A process that is no more is os.ErrProcessDone.
func Open(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fmt.Errorf("watch process %d (pidfd_open, Linux 5.3 and later): %w", pid, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd) // nothing was done with it
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	return &Process{PID: pid, fd: os.NewFile(uintptr(fd), fmt.Sprintf("pidfd:%d", pid))}, nil
}

// Wait returns nil once the process has ended, or why it cannot tell: ctx has
// ended, or p was closed.
func (p *Process) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.fd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool { return ended(int(fd)) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// HasEnded reports whether the process has ended, as far as can be told.
func (p *Process) HasEnded() bool {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return true
	}
	done := false
	if err := raw.Control(func(fd uintptr) { done = ended(int(fd)) }); err != nil {
		return true
	}
	return done
}

// ended reports whether a pidfd is readable, which it is from the process's end.
func ended(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}

// Signal sends sig; to a process that has ended it does nothing.
func (p *Process) Signal(sig syscall.Signal) error {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// Close lets go of the process; nil is none.
func (p *Process) Close() {
	if p != nil {
		_ = p.fd.Close() // a pidfd has nothing to lose
	}
}
