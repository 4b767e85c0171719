package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// reloadCommand is "holdfast reload".
func (a commands) reloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have this controller's agent read its spec again",
		Long: `reload has the agent of this controller read its spec file again, waits until that is in
force, and says what was done to HAProxy and why. A file that is wrong changes nothing:
all that is wrong with it is said, and the exit code is 2. It is 1 when the file is right
and could not be brought into force; then the spec before stays, too.

A spec that takes a service down within some seconds is taken back by the agent after
that: "holdfast status" and "holdfast events" say so.`,
		Example: `  holdfast reload
  holdfast validate && holdfast reload`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.reload(cmd.Context()) },
	}
	return a.WithRunDir(cmd)
}

func (a commands) reload(ctx context.Context) error {
	done, err := a.Control().Reload(ctx)
	if e, ok := errors.AsType[*web.ControlError](err); ok && e.Status == http.StatusUnprocessableEntity {
		return a.refused(e)
	}
	if err != nil {
		return err
	}
	if a.AsJSON() {
		return a.PrintJSON(done)
	}
	tui.PrintFindings(a.Stdio.Err, done.Findings)
	if !done.Changed {
		return a.Print(fmt.Sprintf("the file is spec %s, which is in force already; %s\n", done.Digest, done.HAProxy))
	}
	text := fmt.Sprintf("spec %s is in force, after %s; %s\n", done.Digest, status.Brief(done.Took), done.HAProxy)
	if done.Trial > 0 {
		text += fmt.Sprintf("it is taken back if it takes a service down within %s\n", status.Brief(done.Trial))
	}
	return a.Print(text)
}

// refused tells why a file is not in force.
func (a commands) refused(e *web.ControlError) error {
	if a.AsJSON() {
		if err := a.PrintJSON(e); err != nil {
			return err
		}
		return app.Silent(app.ExitUsage)
	}
	tui.PrintFindings(a.Stdio.Out, e.Findings)
	a.Logf("the spec stays as it was: %s in the file", tui.CountFindings(e.Findings))
	return app.Silent(app.ExitUsage)
}
