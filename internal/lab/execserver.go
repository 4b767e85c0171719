package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// exitNotFound is what a shell ends with for a command that is not there.
const exitNotFound = 127

// hangupGrace is how long a command whose user went away has, after SIGHUP.
const hangupGrace = 2 * time.Second

// exec runs a command in a node with the streams that came over w, passes on
// the signals that come after them, and gives its exit code.
func (s *server) exec(req execRequest, w *wire) (int, error) {
	files := w.handOver()
	defer closeAll(files)
	cmd, b, err := s.command(req, files)
	if err != nil {
		return exitNotFound, err
	}
	if err := b.start(cmd); err != nil {
		return exitNotFound, fmt.Errorf("run %s in %s: %w", req.Args[0], req.Node, err)
	}
	closeAll(files) // the command has them now: its readers must see its end
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		passSignals(w, cmd)
	}()
	select {
	case err = <-ended:
	case <-gone:
		err = hangUp(cmd, ended)
	}
	return exitCode(cmd, err)
}

// command builds the command of req with the streams files.
func (s *server) command(req execRequest, files []*os.File) (*exec.Cmd, *box, error) {
	if len(req.Args) == 0 || len(files) != maxFiles {
		return nil, nil, errors.New("a request to run a command without the command or its streams")
	}
	n, err := s.node(req.Node)
	if err != nil {
		return nil, nil, err
	}
	b, err := n.boxOn()
	if err != nil {
		return nil, nil, err
	}
	cmd := &exec.Cmd{Args: req.Args, Env: n.env(req.Env), Dir: req.Dir}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: req.TTY}
	if cmd.Path, err = lookPath(req.Args[0], cmd.Env, req.Dir); err != nil {
		return nil, nil, err
	}
	return cmd, b, nil
}

// lookPath finds a command by the PATH in env, not by the server's own.
func lookPath(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	for _, v := range env {
		path, ok := strings.CutPrefix(v, "PATH=")
		for _, d := range filepath.SplitList(path) {
			full := filepath.Join(d, name)
			info, err := os.Stat(full)
			if ok && err == nil && !info.IsDir() && unix.Access(full, unix.X_OK) == nil {
				return full, nil
			}
		}
	}
	return "", fmt.Errorf("command %q is not there", name)
}

// passSignals sends what comes over w to the command's process group, until
// the other side is gone.
func passSignals(w *wire, cmd *exec.Cmd) {
	for {
		var req request
		if err := w.receive(&req); err != nil {
			return
		}
		if req.Op == "signal" {
			signalGroup(cmd, syscall.Signal(req.Signal))
		}
	}
}

// signalGroup sends sig to the command and its children, which may be gone.
func signalGroup(cmd *exec.Cmd, sig syscall.Signal) {
	_ = unix.Kill(-cmd.Process.Pid, sig) //nolint:errcheck // see above
}

// hangUp ends a command whose user is gone.
func hangUp(cmd *exec.Cmd, ended <-chan error) error {
	signalGroup(cmd, unix.SIGHUP)
	select {
	case err := <-ended:
		return err
	case <-time.After(hangupGrace):
	}
	signalGroup(cmd, unix.SIGKILL)
	return <-ended
}

// exitCode gives how the command ended, as a shell tells it.
func exitCode(cmd *exec.Cmd, err error) (int, error) {
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return exitNotFound, fmt.Errorf("wait for the command: %w", err)
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// closeAll closes files; to close one again does nothing.
func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() //nolint:errcheck // the streams of somebody else
	}
}
