package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Socket is how the agent reaches one of HAProxy's sockets: by its name in the
// run directory or, where that leads to nobody, by what it led to before. The
// kernel finds a socket by its inode, and a Socket keeps hold of that: whoever
// clears a directory takes the names away, and not the sockets.
type Socket struct {
	Path string

	buffers sync.Pool // of *bytes.Buffer: replies of some 100 kB come several times a second

	mu    sync.Mutex // guards following
	held  *os.File   // what the name led to; nil: it was never reached
	lost  error      // why the name led to nobody, when it was last tried; nil: it did not
	since time.Time  // it has been so
	mute  time.Time  // since when nothing comes of it, though HAProxy serves; zero: it answers
}

// buffer gives an empty one to read into.
func (s *Socket) buffer() *bytes.Buffer {
	if b, ok := s.buffers.Get().(*bytes.Buffer); ok {
		return b
	}
	return &bytes.Buffer{}
}

// mostKept is how large a buffer may be that is kept for the next reply.
const mostKept = 1 << 20

func (s *Socket) keep(b *bytes.Buffer) {
	if b.Cap() <= mostKept {
		b.Reset()
		s.buffers.Put(b)
	}
}

// Dial connects to the socket.
func (s *Socket) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := dialUnix(ctx, s.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.lost, s.since = nil, time.Time{}
		s.hold()
		return conn, nil
	case !LeadsNowhere(err):
		return nil, err
	}
	if s.lost == nil {
		s.since = time.Now()
	}
	s.lost = err
	if s.held != nil {
		// A connect(2) to a unix socket does not wait, so the lock may be held.
		if conn, heldErr := dialUnix(ctx, fmt.Sprintf("/proc/self/fd/%d", s.held.Fd())); heldErr == nil || !LeadsNowhere(heldErr) {
			return conn, heldErr
		}
	}
	return nil, err
}

// hold keeps hold of what the name leads to. Where that cannot be, the name is
// all there is.
func (s *Socket) hold() {
	now, err := os.Stat(s.Path)
	if err != nil {
		return
	}
	if s.held != nil {
		if was, err := s.held.Stat(); err == nil && os.SameFile(was, now) {
			return
		}
	}
	held, err := os.OpenFile(s.Path, unix.O_PATH, 0)
	if err != nil {
		return
	}
	if s.held != nil {
		_ = s.held.Close() // nothing was written
	}
	s.held = held
}

// Leads says why the name of the socket leads to nobody; nil when it does not.
func (s *Socket) Leads(ctx context.Context) error {
	conn, err := dialUnix(ctx, s.Path)
	if err == nil {
		return conn.Close()
	}
	if LeadsNowhere(err) {
		return err
	}
	return nil // it is there, and busy
}

// Hears records whether the socket answers, while HAProxy serves.
func (s *Socket) Hears(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case yes:
		s.mute = time.Time{}
	case s.mute.IsZero():
		s.mute = time.Now()
	}
}

// LostFor says since when and why the name has led to nobody, when it has for
// least; "" when it has not.
func (s *Socket) LostFor(least time.Duration) (since time.Time, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil || time.Since(s.since) < least {
		return time.Time{}, ""
	}
	return s.since, cause(s.lost)
}

// cause gives the innermost error of err in the words of the system.
func cause(err error) string {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error()
	}
	return err.Error()
}

// MuteFor says since when the socket has been mute, when it has for least.
func (s *Socket) MuteFor(least time.Duration) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mute, !s.mute.IsZero() && time.Since(s.mute) >= least
}

// Close lets go of the socket.
func (s *Socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		_ = s.held.Close() // nothing was written
		s.held = nil
	}
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// TimedOut reports whether err says that time was up.
func TimedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// LeadsNowhere reports whether err says that the name of a socket has nobody
// behind it, or is not to be used. HAProxy may serve all the same: it has the
// socket, and not the name.
func LeadsNowhere(err error) bool {
	for _, e := range []error{
		syscall.ENOENT, syscall.ECONNREFUSED, syscall.EACCES, syscall.EPERM, syscall.ENOTDIR, syscall.ELOOP, syscall.ENOTSOCK, syscall.EPROTOTYPE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// OutOfFiles reports whether err says that this process, or the whole host,
// has no descriptor to spare.
func OutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
