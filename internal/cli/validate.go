package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/tui"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// maxSpec bounds, in bytes, what is read of a spec file; package spec has a
// lower bound, and says so.
const maxSpec = 16 << 20

// validation is the answer of "holdfast validate -o json".
type validation struct {
	File     string           `json:"file"`
	Valid    bool             `json:"valid"`
	Findings []status.Finding `json:"findings"`
}

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the spec",
		Long: `validate checks the spec file and says all that is wrong with it at once: where,
what, and what to write instead. Warnings are worth a look, but do not make a spec
invalid. It looks at the file only, and needs no root and no network.

The exit code is 0 when the spec is valid, and 2 when it is not or cannot be read.
"-f -" reads stdin.`,
		Example: `  holdfast validate -f holdfast.yaml
  holdfast import endpoints.txt | holdfast validate -f -`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.validate() },
	}
}

func (a *app) validate() error {
	data, err := a.readSpec()
	if err != nil {
		return err
	}
	s, findings := spec.Parse(a.specName(), data)
	if a.asJSON() {
		if findings == nil {
			findings = []status.Finding{}
		}
		if err := a.printJSON(validation{a.specName(), s != nil, findings}); err != nil {
			return err
		}
	} else {
		tui.PrintFindings(a.stdio.Out, findings)
		if s != nil {
			fmt.Fprintf(a.stdio.Out, "%s: valid: %s, %s, %s\n", a.specName(),
				status.Count(len(s.Controllers), "controller"), status.Count(len(s.VIPs), "VIP"), status.Count(len(s.Services), "service"))
		}
	}
	if len(findings) > 0 {
		a.logf("%s in %s", tui.CountFindings(findings), a.specName())
	}
	if s == nil {
		return silent(exitUsage)
	}
	return nil
}

// loadSpec gives the spec for a command that needs one. It says the errors of a
// bad one on stderr, and ends the command with exit code 2; warnings are for
// "holdfast validate".
func (a *app) loadSpec() (*spec.Spec, error) {
	data, err := a.readSpec()
	if err != nil {
		return nil, err
	}
	s, findings := spec.Parse(a.specName(), data)
	if s == nil {
		tui.PrintFindings(a.stdio.Err, findings)
		a.logf("%s in %s", tui.CountFindings(findings), a.specName())
		return nil, silent(exitUsage)
	}
	return s, nil
}

// specName is what findings call the spec file.
func (a *app) specName() string {
	if a.file == "-" {
		return "stdin"
	}
	return a.file
}

// readSpec reads the bytes of the spec file, or of stdin for "-".
func (a *app) readSpec() ([]byte, error) {
	in := a.stdio.In
	if a.file != "-" {
		f, err := os.Open(a.file)
		if err != nil {
			return nil, specError(a.file, err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSpec))
	if err != nil {
		return nil, usagef("read the spec: %w", err)
	}
	return data, nil
}

// specError says that the spec file called name cannot be read, and what to do.
func specError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("there is no spec %s; name it with -f, or make one with \"holdfast import\"", name)
	}
	return usagef("read the spec: %w", err)
}

// namedSpec gives the spec that -f names, which must be a good one; nil where -f was not
// said. It is for commands that only ask the local agent, which has a spec of its own.
func (a *app) namedSpec(cmd *cobra.Command) (*spec.Spec, error) {
	if !cmd.Flags().Changed("file") {
		return nil, nil
	}
	return a.loadSpec()
}

// knows says that no controller of the spec that -f names is called controller, if one is
// named; empty is no name.
func (a *app) knows(cmd *cobra.Command, controller string) error {
	s, err := a.namedSpec(cmd)
	if err != nil || s == nil || controller == "" {
		return err
	}
	if _, ok := s.Controller(controller); !ok {
		return unknownController(s, controller)
	}
	return nil
}
