// Package onlyone lets one agent of a controller run on a host, and says of a second
// one which process the first is.
package onlyone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy/ours"
)

// A Lock keeps a second agent away: one from the same run directory, and one
// for the same controller from any other. The kernel drops both parts when the
// process ends, however it ends.
type Lock struct {
	file     *os.File
	listener net.Listener
}

// Acquire takes the lock, or says which process has it.
func Acquire(ctx context.Context, runDir, controller string) (*Lock, error) {
	file, err := lockFile(filepath.Join(runDir, "agent.lock"))
	if err != nil {
		return nil, err
	}
	listener, err := lockName(ctx, controller)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Lock{file, listener}, nil
}

// Release lets another agent run.
func (l *Lock) Release() error {
	return errors.Join(l.listener.Close(), l.file.Close())
}

// lockFile takes an advisory lock on path and writes the own process id there.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the run directory: %w; run it as root, or name another with --run-dir", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(lockedBy(path, err), file.Close())
	}
	if err := errors.Join(file.Truncate(0), writePID(file)); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), file.Close())
	}
	return file, nil
}

func writePID(file *os.File) error {
	_, err := fmt.Fprintf(file, "%d\n", os.Getpid())
	return err
}

func lockedBy(path string, err error) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	pid, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("another agent has locked %s; stop it first", path)
	}
	return fmt.Errorf("another agent runs with this run directory: process %s has %s locked; stop it first",
		strings.TrimSpace(string(pid)), path)
}

// lockName takes a name for the controller among the abstract sockets of the
// network namespace, which a second agent finds whatever its run directory.
func lockName(ctx context.Context, controller string) (net.Listener, error) {
	name := "@holdfast-agent/" + controller
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "unix", name)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another agent for controller %s runs on this host%s; stop it first", controller, ownerOf(ctx, name))
	}
	if err != nil {
		return nil, fmt.Errorf("take the name of controller %s: %w", controller, err)
	}
	return listener, nil
}

// ownerOf names the process that listens on the abstract socket called name:
// ": process 123", or nothing when the kernel doesn't tell.
func ownerOf(ctx context.Context, name string) string {
	if cred := ours.Listener(ctx, name); cred != nil {
		return fmt.Sprintf(": process %d", cred.Pid)
	}
	return ""
}
