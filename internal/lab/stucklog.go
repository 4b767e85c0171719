package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A gate holds up those who take a node's log, as a journald does that stands still.
type gate struct {
	mu    sync.Mutex
	shut  chan struct{}     // closed when it opens again; nil: it is open
	pipes map[*os.File]bool // reading ends of those that agents write their log to
}

// wait returns once the gate is open, or ctx has ended.
func (g *gate) wait(ctx context.Context) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return
	}
	select {
	case <-shut:
	case <-ctx.Done():
	}
}

// close shuts the gate, with every pipe filled: the next line that is written to one
// waits.
func (g *gate) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
	var errs []error
	for r := range g.pipes {
		errs = append(errs, stopPipe(r))
	}
	return errors.Join(errs...)
}

// stopPipe has nobody read from r any more, and fills it; and again, since a read
// that had begun may still take some of that.
func stopPipe(r *os.File) error {
	err := errors.Join(r.SetReadDeadline(time.Unix(1, 0)), fillPipe(r))
	time.Sleep(readTime)
	return errors.Join(err, fillPipe(r))
}

// readTime is for how long a read of what is there may go on at the most.
const readTime = 50 * time.Millisecond

// open lets those go on who wait.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		for r := range g.pipes {
			_ = r.SetReadDeadline(time.Time{}) // it is a pipe, which has them
		}
		close(g.shut)
		g.shut = nil
	}
}

// filler is what a pipe is filled with; no log has it.
const filler = 0

// fillPipe fills the pipe that r reads from.
func fillPipe(r *os.File) error {
	raw, err := r.SyscallConn()
	if err != nil {
		return err
	}
	var opened error
	w := -1
	if err := raw.Control(func(fd uintptr) {
		w, opened = unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}); err != nil {
		return err
	}
	if opened != nil {
		return fmt.Errorf("fill the pipe of a log: %w", opened)
	}
	for chunk := bytes.Repeat([]byte{filler}, 4096); len(chunk) > 0; {
		if _, err = unix.Write(w, chunk); errors.Is(err, unix.EAGAIN) {
			chunk, err = chunk[:len(chunk)/2], nil
		} else if err != nil {
			break
		}
	}
	if err := errors.Join(err, unix.Close(w)); err != nil {
		return fmt.Errorf("fill the pipe of a log: %w", err)
	}
	return nil
}

// pipe gives what a process is to write its log to, as it would to journald: what
// comes is added to the file at path, while the gate is open, until ctx ends or
// nobody has the pipe open to write.
func (g *gate) pipe(ctx context.Context, path string) (*os.File, error) {
	file, err := openLog(path)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a log: %w", err), file.Close())
	}
	g.mu.Lock()
	if g.pipes == nil {
		g.pipes = map[*os.File]bool{}
	}
	g.pipes[r] = true
	stuck := g.shut != nil
	g.mu.Unlock()
	go func() {
		g.copy(ctx, r, file)
		g.mu.Lock()
		delete(g.pipes, r)
		g.mu.Unlock()
		_ = errors.Join(r.Close(), file.Close()) // it is over, however
	}()
	if stuck {
		if err := stopPipe(r); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

// copy adds what comes through r to file.
func (g *gate) copy(ctx context.Context, r io.Reader, file io.Writer) {
	buf := make([]byte, 64<<10)
	for {
		g.wait(ctx)
		n, err := r.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			continue // the gate was shut meanwhile
		}
		if _, writeErr := file.Write(bytes.ReplaceAll(buf[:n], []byte{filler}, nil)); writeErr != nil || err != nil {
			return
		}
	}
}

// logStuck has nobody take the node's log: the agent's lines wait in a pipe that is
// full, and HAProxy's in a socket.
func logStuck(_ context.Context, n *node, _ Fault) (string, error) {
	if _, err := n.needAgent(); err != nil {
		return "", err
	}
	n.setSlow("log-stuck", func() error { n.gate.open(); return nil })
	return "nobody takes the log of " + n.plan.name, n.gate.close()
}
