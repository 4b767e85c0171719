package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A proc is a process that the lab runs in a node.
type proc struct {
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{} // closed when it has ended

	mu   sync.Mutex // guards following
	hung bool       // by SIGSTOP of ours
	end  string     // how it ended
}

// A starter starts a command: box.start in a node.
type starter func(*exec.Cmd) error

// spawn starts the command args, its output added to the file at log.
func (start starter) spawn(args, env []string, log string) (*proc, error) {
	out, err := openLog(log)
	if err != nil {
		return nil, err
	}
	return start.spawnTo(args, env, out)
}

func openLog(path string) (*os.File, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	return out, nil
}

// spawnTo starts the command args with its output going to out, which it closes.
func (start starter) spawnTo(args, env []string, out *os.File) (*proc, error) {
	p := &proc{cmd: exec.Command(args[0], args[1:]...), started: time.Now(), done: make(chan struct{})} //nolint:noctx // no context ends it: powerOff or the lab does
	p.cmd.Env, p.cmd.Dir = env, "/"
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := start(p.cmd)
	if err := errors.Join(err, out.Close()); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	go p.wait()
	return p, nil
}

func (p *proc) wait() {
	err := p.cmd.Wait()
	end := "ended"
	if err != nil {
		end = err.Error()
	}
	p.mu.Lock()
	p.end = end
	p.mu.Unlock()
	close(p.done)
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

// running reports whether p has not ended.
func (p *proc) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ending says how p ended: "signal: killed", "exit status 2".
func (p *proc) ending() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

func (p *proc) isHung() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hung && p.running()
}

// signal sends sig to p, which may have ended.
func (p *proc) signal(sig syscall.Signal) error {
	p.mu.Lock()
	switch sig {
	case unix.SIGSTOP:
		p.hung = true
	case unix.SIGCONT:
		p.hung = false
	}
	p.mu.Unlock()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to process %d: %w", sig, p.pid(), err)
	}
	return nil
}

// kill ends p for certain and waits until it is gone.
func (p *proc) kill() error {
	err := p.signal(unix.SIGKILL)
	if err == nil {
		<-p.done
	}
	return err
}
