package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// maxSyslog is how much of a node's log is kept, in bytes; HAProxy logs every
// request.
const maxSyslog = 64 << 20

// takeSyslog takes what the node's processes send to /dev/log into a file of
// the lab's, until ctx ends: without, it would go to this machine's own log.
func (n *node) takeSyslog(ctx context.Context) error {
	conn, err := listenNotify(ctx, n.dir.syslogSocket(n.plan.name))
	if err != nil {
		return fmt.Errorf("log of node %s: %w", n.plan.name, err)
	}
	// HAProxy logs as a user of its own.
	if err := os.Chmod(n.dir.syslogSocket(n.plan.name), 0o666); err != nil {
		return errors.Join(fmt.Errorf("log of node %s: %w", n.plan.name, err), conn.Close())
	}
	file, err := os.OpenFile(n.dir.syslog(n.plan.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return errors.Join(fmt.Errorf("log of node %s: %w", n.plan.name, err), conn.Close())
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) //nolint:errcheck // it wakes the reader
	n.running.Go(func() {
		if err := copyLog(ctx, conn, file, &n.gate); err != nil {
			n.log.Error("log of a node", "node", n.plan.name, "error", err)
		}
	})
	return nil
}

// copyLog writes each message from conn to file, a line each, until conn is
// closed; the file begins anew when it has grown too long.
func copyLog(ctx context.Context, conn *net.UnixConn, file *os.File, g *gate) error {
	buf := make([]byte, 16<<10)
	for written := 0; ; {
		g.wait(ctx)
		n, err := conn.Read(buf[:len(buf)-1])
		if errors.Is(err, net.ErrClosed) {
			return file.Close()
		}
		if err == nil && written+n > maxSyslog {
			written, err = 0, file.Truncate(0)
		}
		if err == nil {
			if n == 0 || buf[n-1] != '\n' {
				buf[n] = '\n'
				n++
			}
			n, err = file.Write(buf[:n])
			written += n
		}
		if err != nil {
			return errors.Join(err, file.Close())
		}
	}
}

// takeDevLog puts socket in the place of /dev/log for this process's mounts. Where this
// machine has none, it gets a /dev that has.
func takeDevLog(socket string) error {
	if _, err := os.Stat("/dev/log"); err != nil {
		if err := ownDev("log"); err != nil {
			return fmt.Errorf("keep the node's log, which goes to a /dev/log that there is not: %w", err)
		}
	}
	if err := unix.Mount(socket, "/dev/log", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("keep the node's log from this machine's: %w", err)
	}
	return nil
}

// ownDev puts another /dev in the place of this machine's, for this process's mounts: all
// that is in that, and the empty file extra.
func ownDev(extra string) error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep the mounts apart: %w", err)
	}
	entries, err := os.ReadDir("/dev")
	if err != nil {
		return err
	}
	// What is covered can be reached from a descriptor still.
	fd, err := unix.Open("/dev", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	covered := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755"); err != nil {
		return fmt.Errorf("mount a /dev: %w", err)
	}
	errs := []error{os.WriteFile("/dev/"+extra, nil, 0o666)}
	for _, e := range entries {
		errs = append(errs, moveIn(covered+"/"+e.Name(), "/dev/"+e.Name(), e.Type()))
	}
	return errors.Join(errs...)
}

// moveIn makes the file at from, of that type, one at to as well.
func moveIn(from, to string, kind fs.FileMode) error {
	switch kind {
	case fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case fs.ModeDir:
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(to, nil, 0o600); err != nil {
			return err
		}
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("keep %s: %w", to, err)
	}
	return nil
}
