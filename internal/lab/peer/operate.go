package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Operations says what Operate can be told.
const Operations = "stop keepalived, start keepalived, restart keepalived, restart haproxy, reload haproxy, drain NAME, undrain NAME"

// operateTimeout is how long one operation may take.
const operateTimeout = 5 * time.Second

// Operate does what an operator does for planned work to the peer whose run
// directory is runDir. It returns when that is done: what was started again
// runs, and HAProxy answers. What an operator would type is in the comments.
func Operate(ctx context.Context, runDir, verb, what string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, operateTimeout, fmt.Errorf("%s %s: not done within %v", verb, what, operateTimeout))
	defer cancel()
	o := operator{runDir}
	switch verb + " " + what {
	case "stop keepalived": // systemctl stop keepalived
		if err := os.WriteFile(o.path(holdFile("keepalived")), nil, 0o644); err != nil {
			return fmt.Errorf("hold keepalived: %w", err)
		}
		return o.signal("keepalived", unix.SIGTERM)
	case "start keepalived":
		if err := os.Remove(o.path(holdFile("keepalived"))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("let keepalived go: %w", err)
		}
		return nil
	case "restart keepalived": // systemctl restart keepalived, docker restart keepalived
		return o.signal("keepalived", unix.SIGTERM)
	case "restart haproxy": // docker restart haproxy
		return o.renew(ctx, unix.SIGTERM)
	case "reload haproxy": // systemctl reload haproxy
		return o.renew(ctx, unix.SIGUSR2)
	}
	switch verb { // echo "set server …" | socat stdio haproxy.sock
	case "drain":
		return o.setServers(ctx, what, "drain")
	case "undrain":
		return o.setServers(ctx, what, "ready")
	}
	return fmt.Errorf("%q is nothing that can be done to a peer; there are %s", verb+" "+what, Operations)
}

// An operator works on the peer of one controller.
type operator struct{ runDir string }

func (o operator) path(name string) string { return filepath.Join(o.runDir, name) }

func (o operator) socket() string { return o.path(SocketFile) }

// signal sends sig to the first process of a program.
func (o operator) signal(program string, sig unix.Signal) error {
	data, err := os.ReadFile(o.path(pidFile(program)))
	if err != nil {
		return fmt.Errorf("find %s: %w", program, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("find %s: %q is no process", program, data)
	}
	if err := unix.Kill(pid, sig); err != nil {
		return fmt.Errorf("send %v to %s: %w", sig, program, err)
	}
	return nil
}

// renew sends sig to HAProxy's master and waits until another worker answers.
func (o operator) renew(ctx context.Context, sig unix.Signal) error {
	before, err := o.worker(ctx)
	if err != nil {
		return err
	}
	if err := o.signal("haproxy", sig); err != nil {
		return err
	}
	for {
		now, err := o.worker(ctx)
		if err == nil && now != before {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// worker gives the process id of the HAProxy worker that answers.
func (o operator) worker(ctx context.Context) (string, error) {
	info, err := o.ask(ctx, "show info")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(info) {
		if pid, ok := strings.CutPrefix(line, "Pid: "); ok {
			return strings.TrimSpace(pid), nil
		}
	}
	return "", fmt.Errorf("HAProxy does not say which process it is: %q", info)
}

// setServers sets the state of the servers called name in all backends.
func (o operator) setServers(ctx context.Context, name, state string) error {
	states, err := o.ask(ctx, "show servers state")
	if err != nil {
		return err
	}
	done := false
	for line := range strings.Lines(states) { // be_id be_name srv_id srv_name …
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != name {
			continue
		}
		answer, err := o.ask(ctx, fmt.Sprintf("set server %s/%s state %s", fields[1], name, state))
		if err != nil {
			return err
		}
		if answer = strings.TrimSpace(answer); answer != "" {
			return fmt.Errorf("HAProxy says: %s", answer)
		}
		done = true
	}
	if !done {
		return fmt.Errorf("HAProxy has no server called %s", name)
	}
	return nil
}

func (o operator) ask(ctx context.Context, command string) (string, error) {
	return Ask(ctx, o.socket(), command)
}

// Ask gives the answer of the HAProxy whose runtime API is at socket to a
// command.
func Ask(ctx context.Context, socket, command string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("ask HAProxy: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	if err == nil {
		_, err = io.WriteString(conn, command+"\n")
	}
	var answer []byte
	if err == nil {
		answer, err = io.ReadAll(conn)
	}
	if err := errors.Join(err, conn.Close()); err != nil {
		return "", fmt.Errorf("ask HAProxy: %w", err)
	}
	return string(answer), nil
}
