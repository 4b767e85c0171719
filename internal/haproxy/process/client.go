package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
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

// askRuntime has socket, of a worker, do commands: one, or several with ";"
// between them, whose replies then come one after the other, with an empty
// line after each. A reply that is an error to HAProxy is a *RefusedError.
func askRuntime(ctx context.Context, socket *door, commands string) (string, error) {
	if strings.Contains(commands, "\n") {
		return "", fmt.Errorf("%q: a command is one line", commands)
	}
	// Severities tell an error from an answer (management guide 9.3, "set
	// severity-output").
	reply, err := converse(ctx, socket, "set severity-output number;"+commands+"\n")
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

// askMaster has socket, of a master, do one command. The master closes the
// connection only when it is told to.
func askMaster(ctx context.Context, socket *door, command string) (string, error) {
	if strings.ContainsAny(command, "\n\r") {
		return "", fmt.Errorf("%q: a command is one line", command)
	}
	reply, err := converse(ctx, socket, command+";quit\n")
	if err != nil {
		return "", fmt.Errorf("ask HAProxy's master %q: %w", command, err)
	}
	if !complete(reply) {
		return "", fmt.Errorf("ask HAProxy's master %q: %w", command, ErrTruncated)
	}
	if text := oneLine(reply); isRefusal(text) {
		return "", &RefusedError{command, text}
	}
	return strings.TrimSuffix(reply, "\n"), nil
}

// converse writes request to socket and reads until HAProxy closes.
func converse(ctx context.Context, socket *door, request string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	conn, err := socket.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // all was read, or the read has failed
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", because(ctx, err)
	}
	reply, err := io.ReadAll(io.LimitReader(conn, maxReply+1))
	if err != nil {
		return "", because(ctx, err)
	}
	if len(reply) > maxReply {
		return "", fmt.Errorf("the reply has more than %d bytes", maxReply)
	}
	return string(reply), nil
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
	var b strings.Builder
	b.Grow(len(reply))
	for line := range strings.Lines(reply) {
		text, severity := severityOf(line)
		if severity >= 0 && (severity <= 4 || isRefusal(text)) {
			return "", &RefusedError{command, oneLine(text)}
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

// oneLine gives the first line of text that is not empty.
func oneLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}
