package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A door is how the agent reaches one of HAProxy's sockets: by its name in the
// run directory or, where that leads to nobody, by what it led to before. The
// kernel finds a socket by its inode, and the door keeps hold of that: whoever
// clears a directory takes the names away, and not the sockets.
type door struct {
	path string

	mu    sync.Mutex // guards following
	held  *os.File   // what the name led to; nil: it was never reached
	lost  error      // why the name led to nobody, when it was last tried; nil: it did not
	since time.Time  // it has been so
	mute  time.Time  // since when nothing comes of it, though HAProxy serves; zero: it answers
}

// dial connects to the socket.
func (d *door) dial(ctx context.Context) (net.Conn, error) {
	conn, err := dialUnix(ctx, d.path)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		d.lost, d.since = nil, time.Time{}
		d.hold()
		return conn, nil
	case !leadsNowhere(err):
		return nil, err
	}
	if d.lost == nil {
		d.since = time.Now()
	}
	d.lost = err
	if d.held != nil {
		// A connect(2) to a unix socket does not wait, so the lock may be held.
		if conn, heldErr := dialUnix(ctx, fmt.Sprintf("/proc/self/fd/%d", d.held.Fd())); heldErr == nil || !leadsNowhere(heldErr) {
			return conn, heldErr
		}
	}
	return nil, err
}

// hold keeps hold of what the name leads to. Where that cannot be, the name is
// all there is.
func (d *door) hold() {
	now, err := os.Stat(d.path)
	if err != nil {
		return
	}
	if d.held != nil {
		if was, err := d.held.Stat(); err == nil && os.SameFile(was, now) {
			return
		}
	}
	held, err := os.OpenFile(d.path, unix.O_PATH, 0)
	if err != nil {
		return
	}
	if d.held != nil {
		_ = d.held.Close() // nothing was written
	}
	d.held = held
}

// leads says why the name of the socket leads to nobody; nil when it does not.
func (d *door) leads(ctx context.Context) error {
	conn, err := dialUnix(ctx, d.path)
	if err == nil {
		return conn.Close()
	}
	if leadsNowhere(err) {
		return err
	}
	return nil // it is there, and busy
}

// hears records whether the socket answers, while HAProxy serves.
func (d *door) hears(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case yes:
		d.mute = time.Time{}
	case d.mute.IsZero():
		d.mute = time.Now()
	}
}

// lostFor says since when and why the name has led to nobody, when it has for
// least.
func (d *door) lostFor(least time.Duration) (time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost == nil || time.Since(d.since) < least {
		return time.Time{}, nil
	}
	return d.since, d.lost
}

// muteFor says since when the socket has been mute, when it has for least.
func (d *door) muteFor(least time.Duration) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mute, !d.mute.IsZero() && time.Since(d.mute) >= least
}

// close lets go of the socket.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		_ = d.held.Close() // nothing was written
		d.held = nil
	}
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
