package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// diskSize is that of the disk which disk-full gives a node, in octets: more
	// than an agent ever has there.
	diskSize = 16 << 20
	ballast  = "ballast" // what fills it
)

// diskFull puts the node's state on a disk of its own, and fills it. The disk
// stays until the node's end, when what it has goes back to where it was.
func diskFull(_ context.Context, n *node, _ Fault) (string, error) {
	if _, err := n.needAgent(); err != nil {
		return "", err
	}
	if err := n.endSlow("read-only"); err != nil { // it is on top of what is mounted here
		return "", err
	}
	if n.disk == nil {
		disk, err := n.mountDisk()
		if err != nil {
			return "", fmt.Errorf("give %s a disk of its own: %w", n.plan.name, err)
		}
		n.disk = disk
	}
	if err := fill(n.disk); err != nil {
		return "", fmt.Errorf("fill the disk of %s: %w", n.plan.name, err)
	}
	n.setSlow("disk-full", func() error { return n.disk.Remove(ballast) })
	return "the disk with the state of " + n.plan.name + " is full", nil
}

// mountDisk mounts a tmpfs over the state directory, as the node sees it, with
// what was there.
func (n *node) mountDisk() (*os.Root, error) {
	b, err := n.boxOn()
	if err != nil {
		return nil, err
	}
	state := n.dir.stateDir(n.plan.name)
	was := os.DirFS(state)
	var disk *os.Root
	err = enter(b.pidfd, unix.CLONE_NEWNS, func() error {
		if err := unix.Mount("tmpfs", state, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d,mode=0755", diskSize)); err != nil {
			return fmt.Errorf("mount a tmpfs: %w", err)
		}
		var err error
		disk, err = os.OpenRoot(state)
		return err
	})
	if err != nil {
		return nil, err
	}
	return disk, copyAll(disk, was)
}

// readOnly lets nothing be written to the node's state.
func readOnly(_ context.Context, n *node, _ Fault) (string, error) {
	if _, err := n.needAgent(); err != nil {
		return "", err
	}
	if err := n.endSlow("read-only"); err != nil {
		return "", err
	}
	b, err := n.boxOn()
	if err != nil {
		return "", err
	}
	state := n.dir.stateDir(n.plan.name)
	if err := enter(b.pidfd, unix.CLONE_NEWNS, func() error { return mountReadOnly(state) }); err != nil {
		return "", fmt.Errorf("make the disk of %s read-only: %w", n.plan.name, err)
	}
	n.setSlow("read-only", func() error {
		return enter(b.pidfd, unix.CLONE_NEWNS, func() error { return unix.Unmount(state, unix.MNT_DETACH) })
	})
	return "the disk with the state of " + n.plan.name + " is read-only", nil
}

// mountReadOnly puts dir in its own place, read-only.
func mountReadOnly(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	// In a user namespace what was forbidden stays so, and must be said again.
	kept := uintptr(fs.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|kept, ""); err != nil {
		return errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	return nil
}

// noRunDir removes the run directory, as somebody does who cleans /run. What is in it
// may be written to meanwhile.
func noRunDir(_ context.Context, n *node, _ Fault) (string, error) {
	if _, err := n.needAgent(); err != nil {
		return "", err
	}
	const tries = 10
	var err error
	for range tries {
		if err = os.RemoveAll(n.runDir()); err == nil {
			return "the run directory of " + n.plan.name + " is gone", nil
		}
	}
	return "", fmt.Errorf("remove the run directory of %s: %w", n.plan.name, err)
}

// keepDisk writes what is on the node's disk to where it was, when the node is
// off and its mounts are gone.
func (n *node) keepDisk() error {
	if n.disk == nil {
		return nil
	}
	disk := n.disk
	n.disk = nil
	state, err := os.OpenRoot(n.dir.stateDir(n.plan.name))
	if err != nil {
		return errors.Join(fmt.Errorf("keep the state of %s: %w", n.plan.name, err), disk.Close())
	}
	return errors.Join(copyAll(state, disk.FS()), state.Close(), disk.Close())
}

// copyAll copies every directory and regular file of from.
func copyAll(to *os.Root, from fs.FS) error {
	return fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." || path == ballast {
			return err
		}
		if d.IsDir() {
			return to.MkdirAll(path, 0o750)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return to.WriteFile(path, data, 0o640)
	})
}

// fill writes until nothing more fits, not even into the last page of a file.
func fill(disk *os.Root) error {
	file, err := disk.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for chunk := make([]byte, 1<<20); len(chunk) > 0; {
		if _, err = file.Write(chunk); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				return errors.Join(err, file.Close())
			}
			chunk = chunk[:len(chunk)/2]
		}
	}
	return file.Close()
}

func agentNoFiles(ctx context.Context, n *node, _ Fault) (string, error) {
	u, err := n.needAgent()
	if err != nil {
		return "", err
	}
	p, runs := u.current()
	if !runs {
		return "", fmt.Errorf("the agent of %s does not run at the moment", n.plan.name)
	}
	return "the agent of " + n.plan.name + " can open nothing more", n.noFiles(ctx, "no-files", []int{p.pid()})
}

func haproxyNoFiles(ctx context.Context, n *node, _ Fault) (string, error) {
	b, err := n.boxOn()
	if err != nil {
		return "", err
	}
	pids, err := b.processes("haproxy")
	if err == nil && len(pids) == 0 {
		err = fmt.Errorf("no HAProxy runs on %s", n.plan.name)
	}
	if err != nil {
		return "", err
	}
	return "HAProxy of " + n.plan.name + " can open nothing more", n.noFiles(ctx, "haproxy-no-files", pids)
}

// noFiles lets processes open nothing more, not even in the place of what they
// close, as when something else takes each descriptor that comes free.
func (n *node) noFiles(ctx context.Context, name string, pids []int) error {
	const often = 20 * time.Millisecond
	if err := n.endSlow(name); err != nil {
		return err
	}
	before := map[int]unix.Rlimit{}
	for _, pid := range pids {
		var limit unix.Rlimit
		if err := limitFiles(pid, nil, &limit); err != nil {
			return fmt.Errorf("ask for the limit of process %d: %w", pid, err)
		}
		if err := closeIn(pid, limit); err != nil {
			return fmt.Errorf("limit the open files of process %d: %w", pid, err)
		}
		before[pid] = limit
	}
	stop := repeat(ctx, often, func() {
		for pid, limit := range before {
			_ = closeIn(pid, limit) // it may have ended
		}
	})
	n.setSlow(name, func() error {
		err := stop()
		for pid, limit := range before {
			err = errors.Join(err, ignoreGone(limitFiles(pid, &limit, nil)))
		}
		return err
	})
	return nil
}

// closeIn sets the limit of the process to the first descriptor that is free.
func closeIn(pid int, limit unix.Rlimit) error {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return err
	}
	open := map[int]bool{}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		open[fd] = true
	}
	free := 0
	for open[free] {
		free++
	}
	limit.Cur = min(limit.Max, uint64(free))
	return limitFiles(pid, &limit, nil)
}

// limitFiles sets or gets the limit of a process's open files. Without
// CAP_SYS_RESOURCE only the process's own user may: so it is done as that one,
// on a thread that ends with it.
func limitFiles(pid int, set, get *unix.Rlimit) error {
	err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, set, get)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return unix.ESRCH
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return unix.EPERM
	}
	return onThread(func() error {
		gid, uid := uintptr(owner.Gid), uintptr(owner.Uid)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
			return errno
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
			return errno
		}
		return unix.Prlimit(pid, unix.RLIMIT_NOFILE, set, get)
	})
}
