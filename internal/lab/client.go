package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// GetStatus asks the lab in d for its Status.
func GetStatus(ctx context.Context, d Dir) (*Status, error) {
	answer, err := call(ctx, d, request{Op: "status"})
	if err != nil {
		return nil, err
	}
	if answer.Status == nil {
		return nil, errors.New("the lab gave no status")
	}
	return answer.Status, nil
}

// Inject does f in the lab in d and gives it back with its time, its node and
// what was done.
func Inject(ctx context.Context, d Dir, f Fault) (Fault, error) {
	answer, err := call(ctx, d, request{Op: "fault", Fault: &f})
	if err != nil {
		return f, err
	}
	if answer.Fault == nil {
		return f, errors.New("the lab did not say what it did")
	}
	return *answer.Fault, nil
}

// Down ends the lab in d and returns when nothing is left of it.
func Down(ctx context.Context, d Dir) error {
	if _, err := call(ctx, d, request{Op: "down"}); err != nil {
		return err
	}
	lock, err := awaitLock(ctx, d.lockFile())
	if err != nil {
		return fmt.Errorf("wait for the lab's end: %w", err)
	}
	if d.isLock(lock) { // else the "lab up" that it was has cleared it away
		err = d.remove()
	}
	return errors.Join(err, lock.Close())
}

// awaitLock waits until no process of the lab has its lock any longer.
func awaitLock(ctx context.Context, path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(err, lock.Close())
		}
		if err := Sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
}

// A Command is one to run in a node of a lab.
type Command struct {
	Node   string
	Args   []string
	Stdin  *os.File // the null device when nil
	Stdout io.Writer
	Stderr io.Writer
}

// Run runs c in the lab in d and gives its exit code. When ctx ends, the
// command gets SIGTERM.
func (c Command) Run(ctx context.Context, d Dir) (int, error) {
	s, err := c.streams()
	if err != nil {
		return 0, err
	}
	code, err := c.exec(ctx, d, s.files, false, nil)
	return code, errors.Join(err, s.finish())
}

// Do runs c in the lab in d. That it ends with another exit code than 0 is an
// error, with what it said on its standard error where that goes nowhere else.
func (c Command) Do(ctx context.Context, d Dir) error {
	var said bytes.Buffer
	if c.Stderr == nil {
		c.Stderr = &said
	}
	code, err := c.Run(ctx, d)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(said.String()))
	}
	return err
}

// Output is Do that gives what c wrote to its standard output.
func (c Command) Output(ctx context.Context, d Dir) ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Do(ctx, d)
	return out.Bytes(), err
}

// Sleep waits for so long, or until ctx ends: then it gives the cause of that.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// streams holds what a command reads and writes as open files, and copies
// what comes out to writers that are none.
type streams struct {
	files  []*os.File
	own    []*os.File // to be closed
	copied []chan error
}

func (c Command) streams() (*streams, error) {
	s := &streams{}
	in := c.Stdin
	if in == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, fmt.Errorf("open the null device: %w", err)
		}
		in, s.own = null, append(s.own, null)
	}
	s.files = append(s.files, in)
	for _, w := range []io.Writer{c.Stdout, c.Stderr} {
		if err := s.add(w); err != nil {
			return nil, errors.Join(err, s.finish())
		}
	}
	return s, nil
}

func (s *streams) add(w io.Writer) error {
	if f, ok := w.(*os.File); ok && f != nil {
		s.files = append(s.files, f)
		return nil
	}
	if w == nil {
		w = io.Discard
	}
	r, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, r)
		done <- errors.Join(err, r.Close())
	}()
	s.files, s.own, s.copied = append(s.files, theirs), append(s.own, theirs), append(s.copied, done)
	return nil
}

// finish waits until all output was copied.
func (s *streams) finish() error {
	var err error
	for _, f := range s.own {
		err = errors.Join(err, f.Close())
	}
	for _, done := range s.copied {
		err = errors.Join(err, <-done)
	}
	return err
}

// exec asks for the command and waits for its end, with the signals from in.
func (c Command) exec(ctx context.Context, d Dir, files []*os.File, tty bool, in <-chan os.Signal) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	w, err := dial(ctx, d)
	if err != nil {
		return 0, err
	}
	req := request{Op: "exec", Exec: &execRequest{Node: c.Node, Args: c.Args, Env: os.Environ(), Dir: dir, TTY: tty}}
	if err := w.send(req, files...); err != nil {
		return 0, errors.Join(err, w.close())
	}
	ended := make(chan struct{})
	go forward(ctx, w, in, ended)
	var answer reply
	err = w.receive(&answer)
	close(ended)
	err = errors.Join(err, w.close())
	switch {
	case err != nil:
		return 0, fmt.Errorf("the lab went away: %w", err)
	case answer.Error != "":
		return exitNotFound, answer.refusal()
	case answer.Exit == nil:
		return 0, errors.New("the lab did not say how the command ended")
	}
	return *answer.Exit, nil
}

// forward passes signals on until the command has ended. A command that is
// gone already takes none, which is no error.
func forward(ctx context.Context, w *wire, in <-chan os.Signal, ended <-chan struct{}) {
	done := ctx.Done()
	for {
		sig := unix.SIGTERM
		select {
		case s := <-in:
			sig, _ = s.(syscall.Signal)
		case <-done:
			done = nil
		case <-ended:
			return
		}
		_ = w.send(request{Op: "signal", Signal: int(sig)}) //nolint:errcheck // see above
	}
}

// RunHere runs c with this process's own streams and signals: on a terminal
// the command gets one of its own, through which this one's is passed.
func (c Command) RunHere(ctx context.Context, d Dir) (int, error) {
	if term.IsTerminal(0) && term.IsTerminal(1) {
		return c.runOnTerminal(ctx, d)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	return c.exec(context.WithoutCancel(ctx), d, []*os.File{os.Stdin, os.Stdout, os.Stderr}, false, signals)
}

// runOnTerminal gives the command a pseudo-terminal of its own. Keys travel as
// bytes: Ctrl-C is for the command to see.
func (c Command) runOnTerminal(ctx context.Context, d Dir) (int, error) {
	outer, inner, err := openPTY()
	if err != nil {
		return 0, err
	}
	defer outer.Close() //nolint:errcheck // all was read from it
	before, err := term.MakeRaw(0)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("set the terminal: %w", err), inner.Close())
	}
	defer term.Restore(0, before) //nolint:errcheck // nothing to be done about it
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	go followSize(resized, outer)
	go io.Copy(outer, os.Stdin) //nolint:errcheck // ends with the terminal
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(os.Stdout, outer) //nolint:errcheck // EIO when the last writer has gone
	}()
	code, err := c.exec(context.WithoutCancel(ctx), d, []*os.File{inner, inner, inner}, true, nil)
	err = errors.Join(err, inner.Close())
	<-shown
	return code, err
}

// openPTY makes a pseudo-terminal (pty(7)) of the size of this one.
func openPTY() (outer, inner *os.File, err error) {
	outer, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a terminal: %w", err)
	}
	number, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a terminal: %w", err), outer.Close())
	}
	copySize(outer)
	return outer, inner, nil
}

func followSize(resized <-chan os.Signal, outer *os.File) {
	for range resized {
		copySize(outer)
	}
}

// copySize gives the pseudo-terminal the size of this one, if that has one.
func copySize(outer *os.File) {
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(int(outer.Fd()), unix.TIOCSWINSZ, size) //nolint:errcheck // it stays as it is
	}
}
