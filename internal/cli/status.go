package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cloud"
	"holdfast/internal/spec"
	"holdfast/internal/web"
)

// look asks for the cloud as it is now.
type look func(context.Context) (cloud.Cloud, error)

// statusCommand is "holdfast status".
func (a *app) statusCommand() *cobra.Command {
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
		Args: noArgs,
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
	return a.withRunDir(cmd)
}

// status shows the cloud once.
func (a *app) status(ctx context.Context, look look) error {
	all, err := look(ctx)
	if err != nil {
		return err
	}
	if a.asJSON() {
		err = a.printJSON(all)
	} else {
		err = a.print(statusText(all, a.view()))
	}
	if err == nil && !all.Healthy {
		return silent(exitFailed)
	}
	return err
}

// print writes text on stdout.
func (a *app) print(text string) error {
	if _, err := fmt.Fprint(a.stdio.Out, text); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// cloudSource gives whom to ask: the controllers of the spec or, when the spec
// at its usual place cannot be used, the local agent, which has a good one.
func (a *app) cloudSource(cmd *cobra.Command) (look, error) {
	s, err := a.loadSpec()
	if err == nil {
		return askControllers(s), nil
	}
	if cmd.Flags().Changed("file") {
		return nil, err
	}
	agent := a.control()
	if _, agentErr := agent.Snapshot(cmd.Context()); agentErr != nil {
		return nil, err
	}
	a.logf("%s cannot be used; this is what the local agent knows", a.file)
	return agent.Cloud, nil
}

// control gives the client of the local agent.
func (a *app) control() *web.Control {
	return web.NewControl(filepath.Join(a.runDir, "agent.sock"))
}

func askControllers(s *spec.Spec) look {
	var targets []web.Target
	for _, c := range s.Controllers {
		targets = append(targets, web.Target{Name: c.Name, Addr: netip.AddrPortFrom(c.Address, uint16(s.Agent.Port)).String()})
	}
	return func(ctx context.Context) (cloud.Cloud, error) {
		answers := web.Gather(ctx, targets)
		if err := ctx.Err(); err != nil {
			return cloud.Cloud{}, fmt.Errorf("ask the controllers: %w", err)
		}
		return cloud.Merge(time.Now(), s.Cloud, answers), nil
	}
}

// printLine prints v as JSON on one line.
func (a *app) printLine(v any) error {
	enc := json.NewEncoder(a.stdio.Out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
