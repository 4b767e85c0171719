package rollout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// maxSpec is the largest spec file that is read, in bytes.
const maxSpec = 16 << 20

// A rejectedError says why a spec file cannot be used: all its findings.
type rejectedError struct {
	file     string
	findings []status.Finding
}

func (e *rejectedError) Error() string {
	if len(e.findings) == 0 {
		return e.file + " cannot be used"
	}
	first := e.findings[0].String()
	if more := len(e.findings) - 1; more > 0 && e.findings[0].Where.Line > 0 {
		return fmt.Sprintf("%s (and %d more; holdfast validate -f %s lists them)", first, more, e.file)
	}
	return first
}

// Findings gives what is wrong with the file.
func (e *rejectedError) Findings() []status.Finding { return e.findings }

// A UsageError says that an agent cannot begin with what it was told on its command line.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives what is wrong.
func (e *UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// readSpec reads and parses the spec in file, for controller. Its bytes come
// with it, since what is kept as last good is what was read, and the warnings.
func readSpec(file, controller string) (*spec.Spec, []byte, []status.Finding, error) {
	data, err := readBounded(file)
	if err != nil {
		return nil, nil, nil, err
	}
	s, findings := spec.Parse(file, data)
	if s == nil {
		return nil, nil, nil, &rejectedError{file, status.Errors(findings)}
	}
	if _, ok := s.Controller(controller); !ok {
		return nil, nil, nil, &rejectedError{file, []status.Finding{{
			Severity: status.Error,
			Code:     status.CodeUnknownController,
			Where:    status.Position{File: file},
			Text:     fmt.Sprintf("no controller is called %q", controller),
			Remedy:   "name one of " + strings.Join(s.ControllerNames(), ", ") + " with --controller, or add it to the file",
		}}}
	}
	return s, data, findings, nil
}

func readBounded(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("there is no spec %s; name it with --file, or make one with \"holdfast import\"", file)
	}
	if err != nil {
		return nil, usagef("read the spec: %w", err)
	}
	if info.Size() > maxSpec {
		return nil, fmt.Errorf("read the spec: %s has %d bytes, more than the %d that are read", file, info.Size(), maxSpec)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("read the spec: %w", err)
	}
	return data, nil
}

// asFindings turns why a file was refused into findings, one a line, as everybody may read
// them: without the file's own lines, which may have a secret.
func asFindings(file string, err error) []status.Finding {
	if rejected, ok := errors.AsType[interface {
		error
		Findings() []status.Finding
	}](err); ok {
		found := slices.Clone(rejected.Findings())
		for i := range found {
			found[i].Line = ""
		}
		return found
	}
	return []status.Finding{{
		Severity: status.Error,
		Code:     status.CodeConfigNotApplied,
		Where:    status.Position{File: file},
		Text:     public(err),
		Remedy:   "mend it and reload; the configuration before it stays in force",
	}}
}

// public gives the text of err as everybody may read it: without raw lines of the file.
func public(err error) string {
	if check, is := errors.AsType[*process.CheckError](err); is {
		return strings.Replace(err.Error(), check.Error(), check.Public(), 1)
	}
	return err.Error()
}
