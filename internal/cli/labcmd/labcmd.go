// Package labcmd is "holdfast lab": a command for each thing that is done to a
// lab, and those, hidden, that a lab runs in its nodes. The work is done by the
// packages below internal/lab.
package labcmd

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab"
)

// commands has those of one call.
type commands struct{ *app.App }

// Command returns "holdfast lab" with all below it.
func Command(call *app.App) *cobra.Command {
	a := commands{call}
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "A whole cloud on this one machine, to try and to prove it",
		Long: `lab builds the cloud of a spec on this one machine: a network namespace for
each controller, each other host and a client, on one bridge. The agents, HAProxy
and the kernel's network are the real ones; the services behind them are
stand-ins. It needs root, or unprivileged user namespaces.

  holdfast lab up                 build it and keep it until Ctrl-C
  holdfast lab status             who holds the address, what runs where
  holdfast lab exec client curl http://NAME:5000/
  holdfast lab fault power-off holder
  holdfast lab down`,
		Args: app.NoSuchSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.upCommand(), a.downCommand(), a.statusCommand(), a.execCommand(), a.faultCommand(),
		a.benchCommand(), a.throughputCommand(), a.demoCommand(), a.loadCommand(), a.connectsCommand(), a.peerCommand(), a.operateCommand(), a.usageCommand(),
		a.initCommand(), a.nodeCommand(), a.standinCommand(),
	)
	return cmd
}

// withName gives cmd the flag that says which lab is meant.
func withName(cmd *cobra.Command, name *string) *cobra.Command {
	cmd.Flags().StringVar(name, "name", "", "which lab, when several run")
	return cmd
}

func (a commands) downCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "down [--name NAME]",
		Short: "End a lab and leave nothing of it",
		Args:  app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.down(cmd.Context(), name)
		},
	}
	return withName(cmd, &name)
}

// down ends a lab, or removes what one has left that was killed.
func (a commands) down(ctx context.Context, name string) error {
	dir, err := lab.Find(ctx, name)
	if errors.Is(err, lab.ErrNoLab) {
		swept, sweepErr := lab.Sweep(name)
		if len(swept) == 0 {
			return errors.Join(err, sweepErr)
		}
		a.Logf("%s had been killed; removed the files that were left", strings.Join(swept, " and "))
		return sweepErr
	}
	if err != nil {
		return err
	}
	if err := lab.Down(ctx, dir); err != nil {
		return err
	}
	a.Logf("lab %q has ended", dir.Name())
	return nil
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, " and ")
}
