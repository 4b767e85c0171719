package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path of a unix socket in bytes (unix(7)).
const maxSocketPath = 107

// ListenControl makes the control socket at path, for its owner only. A socket
// that is there already is replaced if nobody answers on it.
//
// The socket gets its mode before it listens, under a name of its own, and is
// then moved into place: nobody else can connect at any moment, and no umask,
// which all threads share, is changed.
func ListenControl(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path has %d bytes, and a unix socket's may have %d; use a shorter --run-dir", path, len(path), maxSocketPath)
	}
	if err := checkStale(context.Background(), path); err != nil { // bounded by its own timeout
		return nil, err
	}
	listener, err := bindPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return listener, nil
}

// checkStale makes sure that what is at path may be replaced.
func checkStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for an earlier agent's socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen on %s: there is something that is not a socket; move it away", path)
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("listen on %s: another agent answers there already; stop it first", path), conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("listen on %s: is the agent there still alive? %w", path, err)
}

func bindPrivately(path string) (net.Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close() //nolint:errcheck // the listener has a copy of it
	temporary := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%d", os.Getpid()))
	if err := removeSocket(temporary); err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: temporary}); err != nil {
		return nil, err
	}
	err = errors.Join(os.Chmod(temporary, 0o600), unix.Listen(fd, unix.SOMAXCONN))
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return nil, errors.Join(err, removeSocket(temporary))
	}
	return ownedListener(file, path)
}

// ownedListener makes a listener of file that takes its socket at path away
// when it is closed, unless another agent has put its own there.
func ownedListener(file *os.File, path string) (net.Listener, error) {
	own, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, errors.Join(err, removeSocket(path))
	}
	return &controlListener{Listener: listener, path: path, own: own}, nil
}

type controlListener struct {
	net.Listener
	path string
	own  fs.FileInfo
	once sync.Once
	err  error
}

// Close stops listening and removes the socket. It may be called again.
func (l *controlListener) Close() error {
	l.once.Do(func() {
		if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.own) {
			l.err = removeSocket(l.path)
		}
		l.err = errors.Join(l.err, l.Listener.Close())
	})
	return l.err
}

func removeSocket(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// decodeStrictly decodes one JSON value: no unknown field, nothing after it.
func decodeStrictly(data []byte, into any, bad func(string) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return bad("the request's body cannot be used: " + jsonError(err).Error())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad("the request's body goes on after its end")
	}
	return nil
}
