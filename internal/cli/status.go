package cli

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cloud"
	"holdfast/internal/spec"
	"holdfast/internal/web"
)

// look asks for the cloud as it is now.
type look func(context.Context) (cloud.Cloud, error)

// statusCommand is "holdfast status".
func (a commands) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status [--watch]",
		Short: "Show every controller, VIP and service, and what is degraded and why",
		Long: `status asks every controller of the spec, and shows who holds each virtual IP and
since when, every service on every host, and one line for each thing that is wrong:
what, why, and what to do. A controller that does not answer is shown as such.

Without a readable spec it shows what the local agent knows of the cloud, unless
-f names the file.

The exit code is 0 when all is well, 1 when something is degraded, and 2 when the
spec is bad. A host drained on purpose is not degraded.`,
		Example: `  holdfast status
  holdfast status --watch
  holdfast status -o json | jq -r '.vips[].holder'`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			look, err := a.cloudSource(cmd)
			if err != nil {
				return err
			}
			if watch {
				return a.watchStatus(cmd.Context(), look)
			}
			return a.status(cmd.Context(), look)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every second, until Ctrl-C")
	return a.WithRunDir(cmd)
}

// status shows the cloud once.
func (a commands) status(ctx context.Context, look look) error {
	all, err := look(ctx)
	if err != nil {
		return err
	}
	if a.AsJSON() {
		err = a.PrintJSON(all)
	} else {
		err = a.Print(statusText(all, a.view()))
	}
	if err == nil && !all.Healthy {
		return app.Silent(app.ExitFailed)
	}
	return err
}

// cloudSource gives whom to ask: the controllers of the spec or, when the spec
// at its usual place cannot be used, the local agent, which has a good one.
func (a commands) cloudSource(cmd *cobra.Command) (look, error) {
	s, agent, err := a.specOrAgent(cmd, "knows")
	switch {
	case err != nil:
		return nil, err
	case s != nil:
		return askControllers(s), nil
	}
	return agent.Cloud, nil
}

// specOrAgent gives the spec or, when that at its usual place cannot be used, the local
// agent, and says that what follows is what that one "knows".
func (a commands) specOrAgent(cmd *cobra.Command, knows string) (*spec.Spec, *web.Control, error) {
	s, err := a.LoadSpec()
	if err == nil {
		return s, nil, nil
	}
	if cmd.Flags().Changed("file") {
		return nil, nil, err
	}
	agent := a.Control()
	if _, agentErr := agent.Snapshot(cmd.Context()); agentErr != nil {
		return nil, nil, err
	}
	a.Logf("%s cannot be used; this is what the local agent %s", a.File, knows)
	return nil, agent, nil
}

// targetsOf gives where the agents of the controllers of s answer.
func targetsOf(s *spec.Spec) []web.Target {
	var targets []web.Target
	for _, c := range s.Controllers {
		targets = append(targets, web.Target{Name: c.Name, Addr: netip.AddrPortFrom(c.Address, uint16(s.Agent.Port)).String()})
	}
	return targets
}

func askControllers(s *spec.Spec) look {
	targets := targetsOf(s)
	return func(ctx context.Context) (cloud.Cloud, error) {
		answers := web.Gather(ctx, targets)
		if err := ctx.Err(); err != nil {
			return cloud.Cloud{}, fmt.Errorf("ask the controllers: %w", err)
		}
		return cloud.Merge(time.Now(), s.Cloud, answers), nil
	}
}
