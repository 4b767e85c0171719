package speccmd

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
	// Authentication is what the spec's withstands, where that was asked for.
	Authentication *authentication `json:"authentication,omitempty"`
}

func (a commands) validateCommand() *cobra.Command {
	var look authenticationFlags
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check the spec",
		Long: `validate checks the spec file and says all that is wrong with it at once: where,
what, and what to write instead. Warnings are worth a look, but do not make a spec
invalid. It looks at the file only, and needs no root and no network. With
--authentication it also looks at the controllers' key, and says whom what the
spec does with it withstands.

The exit code is 0 when the spec is valid, and 2 when it is not or cannot be read.
"-f -" reads stdin.`,
		Example: `  holdfast validate -f holdfast.yaml
  holdfast import endpoints.txt | holdfast validate -f -`,
		Args: app.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.validate(look) },
	}
	cmd.Flags().BoolVar(&look.wanted, "authentication", false, "say whom the spec's authentication withstands, with the key here")
	cmd.Flags().StringVar(&look.keyFile, "key-file", "", "file of keys, as the agent's flag; says what is wrong with it")
	return cmd
}

func (a commands) validate(look authenticationFlags) error {
	data, err := a.ReadSpec()
	if err != nil {
		return err
	}
	s, findings := spec.Parse(a.SpecName(), data)
	says, more, err := look.look(s)
	if err != nil {
		return err
	}
	findings = append(findings, more...)
	if a.AsJSON() {
		if findings == nil {
			findings = []status.Finding{}
		}
		if err := a.PrintJSON(validation{a.SpecName(), s != nil, findings, says}); err != nil {
			return err
		}
	} else {
		tui.PrintFindings(a.Stdio.Out, findings)
		if s != nil {
			fmt.Fprintf(a.Stdio.Out, "%s: valid: %s, %s, %s\n", a.SpecName(),
				status.Count(len(s.Controllers), "controller"), status.Count(len(s.VIPs), "VIP"), status.Count(len(s.Services), "service"))
			fmt.Fprint(a.Stdio.Out, says)
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
