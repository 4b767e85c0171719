package labcmd

import (
	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab"
)

func (a commands) execCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "exec [--name NAME] NODE [COMMAND [ARG...]]",
		Short: "Run a command in a node, a shell when none is named",
		Long: `exec runs a command in a node of the lab: a controller, another host, "client",
or "holder" for the controller that has the address. Its streams, signals and
exit code are the command's own. On a controller, holdfast's commands find that
controller's spec and agent by themselves.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return app.Usagef(`name a node: "holdfast lab exec NODE COMMAND"; "holdfast lab status" has the nodes`)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := lab.Find(cmd.Context(), name)
			if err != nil {
				return err
			}
			code, err := lab.Command{Node: args[0], Args: commandOf(args[1:])}.RunHere(cmd.Context(), dir)
			if err != nil {
				return &app.ExitError{Code: max(code, app.ExitFailed), Err: err}
			}
			if code != 0 {
				return app.Silent(code)
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows NODE is the command's
	return withName(cmd, &name)
}

// commandOf gives the command of args, which may be set off by "--".
func commandOf(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return []string{app.EnvOr("SHELL", "/bin/sh")}
	}
	return args
}
