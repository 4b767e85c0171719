// Package runtime talks to a HAProxy: on the runtime socket to the worker that serves,
// and on the master's. It finds a socket again whose name was taken away, and tells a
// refusal from an answer. It starts no HAProxy, and decides nothing.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
)

const (
	// maxReply bounds a reply of HAProxy, in bytes: "show stat" of 100
	// services on 50 hosts has 4 MB.
	maxReply = 64 << 20
	// defaultTimeout is for callers whose context has no deadline.
	defaultTimeout = 5 * time.Second
)

// ErrTruncated says that a reply ended before its end.
var ErrTruncated = errors.New("the reply is cut short")

// A RefusedError is a reply of HAProxy that says that the command failed.
type RefusedError struct {
	Command string
	Reply   string // HAProxy's words, on one line
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%q: %s", e.Command, e.Reply) }

// A Client asks the HAProxy of one run directory.
type Client struct {
	WorkerSocket, MasterSocket *Socket
}

// New makes the Client of a run directory. It touches nothing.
func New(runDir string) *Client {
	return &Client{
		WorkerSocket: &Socket{Path: filepath.Join(runDir, haproxy.RuntimeSocket)},
		MasterSocket: &Socket{Path: filepath.Join(runDir, haproxy.MasterSocket)},
	}
}

// Runtime has the current worker do a command of the runtime API (management
// guide 9.3), or several with ";" between them, and gives the reply whole: those of
// several one after the other, with an empty line after each.
// What HAProxy refuses is a *RefusedError. Without a deadline, ctx gets one of 5 s.
func (c *Client) Runtime(ctx context.Context, commands string) (string, error) {
	if strings.Contains(commands, "\n") {
		return "", fmt.Errorf("%q: a command is one line", commands)
	}
	// Severities tell an error from an answer (management guide 9.3, "set
	// severity-output").
	reply, err := c.WorkerSocket.Converse(ctx, "set severity-output number;"+commands+"\n")
	if err != nil {
		return "", fmt.Errorf("ask HAProxy %q: %w", commands, err)
	}
	body, ok := strings.CutPrefix(reply, "\n")
	if !ok || !complete(body) {
		return "", fmt.Errorf("ask HAProxy %q: %w", commands, ErrTruncated)
	}
	body, err = withoutSeverities(commands, body)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(body, "\n"), nil
}

// Master has the master do a command (management guide 9.4), as Runtime does.
func (c *Client) Master(ctx context.Context, command string) (string, error) {
	if strings.ContainsAny(command, "\n\r") {
		return "", fmt.Errorf("%q: a command is one line", command)
	}
	reply, err := c.MasterSocket.Converse(ctx, command+";quit\n") // it closes only when it is told to
	if err != nil {
		return "", fmt.Errorf("ask HAProxy's master %q: %w", command, err)
	}
	if !complete(reply) {
		return "", fmt.Errorf("ask HAProxy's master %q: %w", command, ErrTruncated)
	}
	if text := OneLine(reply); isRefusal(text) {
		return "", &RefusedError{command, text}
	}
	return strings.TrimSuffix(reply, "\n"), nil
}

// Info asks the current worker how it is.
func (c *Client) Info(ctx context.Context) (output.Info, error) {
	reply, err := c.Runtime(ctx, "show info")
	if err != nil {
		return output.Info{}, err
	}
	return output.ParseInfo([]byte(reply))
}

// Processes asks the master for its processes.
func (c *Client) Processes(ctx context.Context) (output.Processes, error) {
	reply, err := c.Master(ctx, "show proc")
	if err != nil {
		return output.Processes{}, err
	}
	return output.ParseProc([]byte(reply))
}

// Converse writes request and reads until HAProxy closes.
func (s *Socket) Converse(ctx context.Context, request string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	conn, err := s.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // all was read, or the read has failed
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", because(ctx, err)
	}
	buffer := s.buffer()
	defer s.keep(buffer)
	if _, err := buffer.ReadFrom(io.LimitReader(conn, maxReply+1)); err != nil {
		return "", because(ctx, err)
	}
	if buffer.Len() > maxReply {
		return "", fmt.Errorf("the reply has more than %d bytes", maxReply)
	}
	return buffer.String(), nil
}

// because gives the end of ctx, when that is what err comes from.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// complete reports whether reply is whole: HAProxy ends each with an empty line.
func complete(reply string) bool {
	return reply == "\n" || strings.HasSuffix(reply, "\n\n")
}

// withoutSeverities takes the marks of "set severity-output" off the lines of
// reply. One of an error (0 to 4, as in syslog) makes it an error.
func withoutSeverities(command, reply string) (string, error) {
	if !strings.HasPrefix(reply, "[") && !strings.Contains(reply, "\n[") {
		return reply, nil // no line has one: most replies are long, and come several times a second
	}
	var b strings.Builder
	b.Grow(len(reply))
	for line := range strings.Lines(reply) {
		text, severity := severityOf(line)
		if severity >= 0 && (severity <= 4 || isRefusal(text)) {
			return "", &RefusedError{command, OneLine(text)}
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// severityOf takes "[3]: " off a line; -1 when it has none.
func severityOf(line string) (string, int) {
	if len(line) >= 5 && line[0] == '[' && '0' <= line[1] && line[1] <= '7' && line[2:5] == "]: " {
		return line[5:], int(line[1] - '0')
	}
	return line, -1
}

// isRefusal reports whether text is one of the errors that HAProxy does not
// mark as such.
func isRefusal(text string) bool {
	for _, s := range []string{"Unknown command", "Permission denied", "Can't find the target"} {
		if strings.HasPrefix(text, s) {
			return true
		}
	}
	return false
}

// OneLine gives the first line of text that is not empty.
func OneLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}
