package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nodeNamespaces is what every node has of its own.
const nodeNamespaces = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// onThread runs f on a thread that is thrown away afterwards, with whatever f
// did to it. It is never the process's first one, which cannot end.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // another thread, since this one is taken
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

// enter runs f on a thread inside those namespaces of the process behind pidfd
// that flags names (CLONE_NEW...). What f starts is born in them.
func enter(pidfd, flags int, f func() error) error {
	return onThread(func() error {
		if flags&unix.CLONE_NEWNS != 0 {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("prepare to enter a node: %w", err)
			}
		}
		if err := unix.Setns(pidfd, flags); err != nil {
			return fmt.Errorf("enter a node: %w", err)
		}
		return f()
	})
}

// A box is the namespaces of one node, alive as long as its first process is.
type box struct {
	init  *exec.Cmd
	pidfd int
	nl    *netlink.Handle // in the node's network namespace
}

// newBox makes the namespaces of the node called name, whose /dev/log is the
// socket at syslog. RunNode is what the first process in them runs.
func newBox(binary, name, syslog string, log *os.File) (*box, error) {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start node %s: %w", name, err)
	}
	defer ready.Close() //nolint:errcheck // only read
	b := &box{pidfd: -1}
	b.init = exec.Command(binary, "lab", "node", name, syslog) //nolint:noctx // no context ends it: powerOff or the lab does
	b.init.Stdout, b.init.Stderr = log, log
	b.init.ExtraFiles = []*os.File{theirs}
	b.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: nodeNamespaces, Setsid: true, PidFD: &b.pidfd}
	err = b.init.Start()
	if err := errors.Join(err, theirs.Close()); err != nil {
		return nil, fmt.Errorf("start node %s: %w", name, err)
	}
	if n, err := ready.Read(make([]byte, 1)); n != 1 {
		return nil, errors.Join(fmt.Errorf("node %s did not start: %w", name, err), b.destroy())
	}
	err = enter(b.pidfd, unix.CLONE_NEWNET, func() error {
		b.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start node %s: %w", name, err), b.destroy())
	}
	return b, nil
}

// kill ends every process in the box at once, as a power cut does.
func (b *box) kill() error {
	if err := b.init.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill a node: %w", err)
	}
	return nil
}

// destroy kills the box and gives back all that keeps its namespaces. Whatever
// was started in it by start must be waited for by somebody else.
func (b *box) destroy() error {
	err := b.kill()
	if waitErr := b.init.Wait(); waitErr != nil {
		if _, killed := errors.AsType[*exec.ExitError](waitErr); !killed {
			err = errors.Join(err, waitErr)
		}
	}
	if b.nl != nil {
		b.nl.Close()
	}
	return errors.Join(err, unix.Close(b.pidfd))
}

// start starts cmd inside the box.
func (b *box) start(cmd *exec.Cmd) error {
	return enter(b.pidfd, nodeNamespaces, cmd.Start)
}

// unitNice is the nice value that gives a process about ten times the share of
// others, as CPUWeight=1000 in the agent's unit does.
const unitNice = -10

// startUnit starts cmd inside the box with the share of the processor that its
// unit gives it, where the user may do that.
func (b *box) startUnit(cmd *exec.Cmd) error {
	return enter(b.pidfd, nodeNamespaces, func() error {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, unitNice) //nolint:errcheck // see above
		return cmd.Start()
	})
}

// RunNode is the life of a node's first process: it names the host, shows it
// its own processes, gives it its own log, says on descriptor 3 that it is
// there, and then buries what is left to it. It ends by being killed.
func RunNode(name, syslog string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("name the host: %w", err)
	}
	if err := errors.Join(mountProc(), takeDevLog(syslog)); err != nil {
		fmt.Fprintf(os.Stderr, "node %s: %v\n", name, err) // it does without
	}
	ready := os.NewFile(3, "ready")
	if _, err := ready.Write([]byte{1}); err != nil {
		return fmt.Errorf("say that the node is there: %w", err)
	}
	if err := ready.Close(); err != nil {
		return fmt.Errorf("say that the node is there: %w", err)
	}
	return reap()
}

// mountProc shows the processes of the own PID namespace in /proc. Inside some
// containers that is not allowed.
func mountProc() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep the mounts apart: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// reap waits for children, for ever: as the first process of a PID namespace
// this one inherits every orphan.
func reap() error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil && !errors.Is(err, unix.ECHILD) {
				return fmt.Errorf("wait for orphans: %w", err)
			}
			if pid <= 0 {
				break
			}
		}
		<-children
	}
}
