// Package app is one call of the command line: its streams, the flags that all
// commands share, how an answer is printed for people and for programs, and the
// errors that end a command with an exit code of their own. It has no command.
//
// Rules for all that is printed: the answer goes to stdout, all else to stderr
// behind "holdfast:". One line an error, lower case, no period, with what to do.
package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdfast/internal/web"
)

// The exit codes of every command.
const (
	ExitDone   = 0
	ExitFailed = 1 // failed, or unhealthy
	ExitUsage  = 2 // usage, or a bad spec
	ExitDiffer = 3 // of "holdfast diff": the specs do
)

// Defaults of the flags that most commands take.
const (
	DefaultFile     = "/etc/holdfast/holdfast.yaml"
	DefaultRunDir   = "/run/holdfast"
	DefaultStateDir = "/var/lib/holdfast"
)

// Environment variables that stand for a flag which is not given; the unit of systemd and a
// lab's shell set them.
const (
	EnvFile       = "HOLDFAST_FILE"
	EnvRunDir     = "HOLDFAST_RUN_DIR"
	EnvController = "HOLDFAST_CONTROLLER"
)

// Stdio is where a command reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// An App is one run of the command: its streams and the flags that all commands share.
type App struct {
	Stdio  Stdio
	File   string // -f: the spec
	RunDir string // --run-dir
	Output string // -o: "" for people, or "json"
}

// An ExitError carries an exit code with an error. An Err of nil says that all
// was said already.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// Usagef makes an error that ends the command with exit code 2.
func Usagef(format string, args ...any) error {
	return &ExitError{ExitUsage, fmt.Errorf(format, args...)}
}

// ReadError makes an error that ends the command with exit code 2, of what was named to
// be read and cannot be; what is what it is called.
func ReadError(what, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return Usagef("there is no %s %s", what, name)
	}
	return Usagef("read the %s: %w", what, err)
}

// Silent ends the command with code; what there was to say has been said.
func Silent(code int) error { return &ExitError{code, nil} }

// WithRunDir gives cmd the flag of the commands that talk to the local agent.
func (a *App) WithRunDir(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&a.RunDir, "run-dir", EnvOr(EnvRunDir, DefaultRunDir), "directory of the local agent's sockets, else $"+EnvRunDir)
	return cmd
}

// Control returns the client of the local agent.
func (a *App) Control() *web.Control {
	return web.NewControl(filepath.Join(a.RunDir, "agent.sock"))
}

// AsJSON reports whether the answer is for a program.
func (a *App) AsJSON() bool { return a.Output == "json" }

// PrintJSON prints v, indented, on stdout.
func (a *App) PrintJSON(v any) error { return a.encode(v, "  ") }

// PrintLine prints v as JSON on one line.
func (a *App) PrintLine(v any) error { return a.encode(v, "") }

func (a *App) encode(v any, indent string) error {
	enc := json.NewEncoder(a.Stdio.Out)
	enc.SetIndent("", indent)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// Print prints an answer for people on stdout.
func (a *App) Print(text string) error {
	if _, err := io.WriteString(a.Stdio.Out, text); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// Answer prints value for programs, or text for people.
func (a *App) Answer(value any, text string) error {
	if a.AsJSON() {
		return a.PrintJSON(value)
	}
	return a.Print(text)
}

// Logf says something beside the answer, on stderr.
func (a *App) Logf(format string, args ...any) {
	fmt.Fprintf(a.Stdio.Err, "holdfast: "+format+"\n", args...)
}

// EnvOr returns the environment variable called name, or otherwise where it is empty.
func EnvOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
