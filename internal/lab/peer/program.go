package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/internal/haproxy/output"

	"golang.org/x/sys/unix"
)

// A program is one that is started again whenever it ends.
type program struct {
	name    string
	args    []string
	log     *slog.Logger
	restart restart
	dir     string // of its pid file, and of the file that holds it back
	// line reads a state from a line that the program printed, if there is
	// one in it; nil: none ever.
	line func(string) (string, bool)

	mu   sync.Mutex // guards following
	last string     // state
}

// run is the program's life; it ends with ctx.
func (p *program) run(ctx context.Context) {
	pause := time.Duration(0)
	for ctx.Err() == nil {
		if !p.await(ctx) {
			return
		}
		began := time.Now()
		err := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		pause = p.restart.next(pause, time.Since(began))
		p.log.Warn("ended, starting it again", "program", p.name, "how", err, "after", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// await waits as long as an operator holds the program back, and reports
// whether ctx goes on.
func (p *program) await(ctx context.Context) bool {
	for ctx.Err() == nil {
		if _, err := os.Stat(filepath.Join(p.dir, holdFile(p.name))); errors.Is(err, fs.ErrNotExist) {
			return true
		}
		p.setState("stopped")
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return false
}

// pidFile names the file with the process id of a program, and holdFile the one
// that keeps it from being started as long as it is there.
func pidFile(program string) string  { return program + ".main.pid" } // keepalived has one of its own
func holdFile(program string) string { return program + ".hold" }

// once runs the program until it ends.
func (p *program) once(ctx context.Context) error {
	p.setState("starting")
	out, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = theirs, theirs
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	err = cmd.Start()
	if err := errors.Join(err, theirs.Close()); err != nil {
		return errors.Join(err, out.Close())
	}
	p.log.Info("started", "program", p.name, "pid", cmd.Process.Pid)
	if err := os.WriteFile(filepath.Join(p.dir, pidFile(p.name)), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		p.log.Warn("write down the process id", "program", p.name, "error", err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.follow(out)
	}()
	err = cmd.Wait()
	// A child of it that lives on keeps the pipe open.
	if closeErr := out.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); closeErr != nil {
		p.log.Debug("read the output", "program", p.name, "error", closeErr)
	}
	<-read
	return errors.Join(err, out.Close())
}

// follow passes on what the program prints, and reads its state from it.
func (p *program) follow(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p.log.Info(lines.Text(), "program", p.name)
		if p.line == nil {
			continue
		}
		if state, ok := p.line(lines.Text()); ok {
			p.setState(state)
		}
	}
}

func (p *program) setState(state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = state
}

func (p *program) state() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// keepalivedState reads a state from a line of keepalived's log:
// "(api) Entering BACKUP STATE (init)".
func keepalivedState(line string) (string, bool) {
	_, after, found := strings.Cut(line, ") Entering ")
	state, _, ends := strings.Cut(after, " STATE")
	return state, found && ends
}

// counts is how many of HAProxy's servers are up.
type counts struct{ up, all int }

// serverStates asks HAProxy at socket for its servers.
func serverStates(ctx context.Context, socket string) (counts, error) {
	reply, err := Ask(ctx, socket, "show stat -1 4 -1")
	if err != nil {
		return counts{}, err
	}
	return countServers([]byte(reply))
}

func countServers(reply []byte) (counts, error) {
	var c counts
	rows, err := output.ParseStat(reply)
	for _, row := range rows {
		c.all++
		if strings.HasPrefix(row.Status, "UP") {
			c.up++
		}
	}
	return c, err
}
