package app

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/catalog"
	"holdfast/internal/cli/tui"
	"holdfast/internal/spec"
)

// maxSpec bounds, in bytes, what is read of a spec file; package spec has a
// lower bound, and says so.
const maxSpec = 16 << 20

// LoadSpec returns the spec for a command that needs one. It says the errors of a
// bad one on stderr, and ends the command with exit code 2; warnings are for
// "holdfast validate".
func (a *App) LoadSpec() (*spec.Spec, error) {
	data, err := a.ReadSpec()
	if err != nil {
		return nil, err
	}
	s, findings := spec.Parse(a.SpecName(), data)
	if s == nil {
		tui.PrintFindings(a.Stdio.Err, findings)
		a.Logf("%s in %s", tui.CountFindings(findings), a.SpecName())
		return nil, Silent(ExitUsage)
	}
	return s, nil
}

// SpecName is what findings call the spec file.
func (a *App) SpecName() string {
	if a.File == "-" {
		return "stdin"
	}
	return a.File
}

// ReadSpec reads the bytes of the spec file, or of stdin for "-".
func (a *App) ReadSpec() ([]byte, error) {
	in := a.Stdio.In
	if a.File != "-" {
		f, err := os.Open(a.File)
		if err != nil {
			return nil, SpecError(a.File, err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSpec))
	if err != nil {
		return nil, Usagef("read the spec: %w", err)
	}
	return data, nil
}

// SpecError says that the spec file called name cannot be read, and what to do.
func SpecError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return Usagef("there is no spec %s; name it with --file, or make one with \"holdfast import\"", name)
	}
	return Usagef("read the spec: %w", err)
}

// NamedSpec returns the spec that -f names, which must be a good one; nil where -f was not
// said. It is for commands that only ask the local agent, which has a spec of its own.
func (a *App) NamedSpec(cmd *cobra.Command) (*spec.Spec, error) {
	if !cmd.Flags().Changed("file") {
		return nil, nil
	}
	return a.LoadSpec()
}

// CheckController says that no controller of the spec that -f names is called controller,
// if one is named; empty is no name.
func (a *App) CheckController(cmd *cobra.Command, controller string) error {
	s, err := a.NamedSpec(cmd)
	if err != nil || s == nil || controller == "" {
		return err
	}
	if _, ok := s.Controller(controller); !ok {
		return UnknownController(s, controller)
	}
	return nil
}

// UnknownController says that no controller of s is called name, and what to
// write instead.
func UnknownController(s *spec.Spec, name string) error {
	names := make([]string, len(s.Controllers))
	for i, c := range s.Controllers {
		names[i] = c.Name
	}
	all := strings.Join(names, ", ")
	if name == "" {
		return Usagef("which controller? write --controller and one of %s", all)
	}
	if near, ok := catalog.Nearest(name, names); ok {
		return Usagef("no controller is called %q; did you mean %q? There are %s", name, near, all)
	}
	return Usagef("no controller is called %q; there are %s", name, all)
}
