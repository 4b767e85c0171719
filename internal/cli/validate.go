package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// validation is the answer of "holdfast validate -o json".
type validation struct {
	File     string           `json:"file"`
	Valid    bool             `json:"valid"`
	Findings []status.Finding `json:"findings"`
}

func (a commands) validateCommand() *cobra.Command {
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
		Args: app.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.validate() },
	}
}

func (a commands) validate() error {
	data, err := a.ReadSpec()
	if err != nil {
		return err
	}
	s, findings := spec.Parse(a.SpecName(), data)
	if a.AsJSON() {
		if findings == nil {
			findings = []status.Finding{}
		}
		if err := a.PrintJSON(validation{a.SpecName(), s != nil, findings}); err != nil {
			return err
		}
	} else {
		tui.PrintFindings(a.Stdio.Out, findings)
		if s != nil {
			fmt.Fprintf(a.Stdio.Out, "%s: valid: %s, %s, %s\n", a.SpecName(),
				status.Count(len(s.Controllers), "controller"), status.Count(len(s.VIPs), "VIP"), status.Count(len(s.Services), "service"))
		}
	}
	if len(findings) > 0 {
		a.Logf("%s in %s", tui.CountFindings(findings), a.SpecName())
	}
	if s == nil {
		return app.Silent(app.ExitUsage)
	}
	return nil
}
