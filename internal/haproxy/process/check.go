package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/runtime"
)

// checkTimeout is how long "haproxy -c" may take.
const checkTimeout = 30 * time.Second

// A CheckError says why HAProxy does not take a configuration: it refused it,
// or warned of something in it.
type CheckError struct {
	Messages []output.Message
	// Lines has the line of the configuration that each message is about;
	// empty where it names none.
	Lines []string
	// Spec has the line of the spec that each message is about, where that has it as a
	// raw line; 0 where not.
	Spec []int
}

func (e *CheckError) Error() string { return e.text(true) }

// Public is Error for everybody: without what HAProxy says of raw lines of the spec, which
// may have a secret.
func (e *CheckError) Public() string { return e.text(false) }

func (e *CheckError) text(raw bool) string {
	var b strings.Builder
	b.WriteString("haproxy -c: ")
	for i, m := range e.Messages {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more", len(e.Messages)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		if e.Spec[i] > 0 && !raw {
			fmt.Fprintf(&b, "line %d of the spec is refused; holdfast reload says why", e.Spec[i])
			continue
		}
		b.WriteString(m.String())
		switch {
		case e.Lines[i] != "" && e.Spec[i] > 0:
			fmt.Fprintf(&b, " (line %d of the spec: %s)", e.Spec[i], e.Lines[i])
		case e.Lines[i] != "":
			fmt.Fprintf(&b, " (%s)", e.Lines[i])
		}
	}
	return b.String()
}

// check has HAProxy check cfg. A warning is an error: what HAProxy ignores is
// a promise that would not be kept.
func (m *Manager) check(ctx context.Context, cfg *haproxy.Config) error {
	if err := m.makeRunDir(); err != nil {
		return err
	}
	if err := m.makeStateDir(); err != nil {
		return err
	}
	if err := m.keepClosing(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(m.opt.RunDir, "check-")
	if err != nil {
		return fmt.Errorf("check the configuration: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left of it is in the way of nothing
	file, state := filepath.Join(dir, haproxy.ConfigFile), filepath.Join(dir, haproxy.StateFile)
	if err := os.WriteFile(state, []byte(haproxy.EmptyState), 0o600); err != nil {
		return fmt.Errorf("check the configuration: %w", err)
	}
	if err := os.WriteFile(file, cfg.WithStateFile(state), 0o600); err != nil {
		return fmt.Errorf("check the configuration: %w", err)
	}
	said, err := m.runCheck(ctx, file)
	said = strings.ReplaceAll(said, file, m.configFile())
	if ctx.Err() != nil {
		return fmt.Errorf("haproxy -c: %w", ctx.Err())
	}
	if bad := output.Complaints(output.ParseMessages(said)); len(bad) > 0 {
		return newCheckError(bad, cfg)
	}
	if err != nil && said == "" { // it was not started
		return fmt.Errorf("haproxy -c: %w", err)
	}
	if err != nil {
		return fmt.Errorf("haproxy -c: %w: %s", err, runtime.OneLine(said))
	}
	return nil
}

// runCheck runs "haproxy -c" on file and gives its standard error.
func (m *Manager) runCheck(ctx context.Context, file string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.opt.HAProxy, "-c", "-f", file)
	cmd.Env = environment(os.Environ())
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w; install HAProxy 2.4 or later, or say where it is with --haproxy", err)
	}
	return stderr.String(), err
}

func newCheckError(bad []output.Message, cfg *haproxy.Config) *CheckError {
	e := &CheckError{Messages: bad, Lines: make([]string, len(bad)), Spec: make([]int, len(bad))}
	for i, m := range bad {
		if m.Line > 0 {
			e.Lines[i], e.Spec[i] = cfg.Line(m.Line), cfg.SpecLine(m.Line)
		}
	}
	return e
}

// environment gives env without what is meant for the agent alone: HAProxy
// must not tell systemd that the agent is ready, or take its sockets.
func environment(env []string) []string {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		switch {
		case strings.HasPrefix(name, "LISTEN_"), strings.HasPrefix(name, "WATCHDOG_"), strings.HasPrefix(name, "HAPROXY_"),
			name == "NOTIFY_SOCKET", name == "JOURNAL_STREAM", name == "INVOCATION_ID":
		default:
			out = append(out, e)
		}
	}
	return out
}
