package cli

import (
	"github.com/spf13/cobra"

	"holdfast/internal/cli/changecmd"
	"holdfast/internal/cli/labcmd"
	"holdfast/internal/cli/speccmd"
)

// all gives every command, in the order of "holdfast --help".
func (a commands) all() []*cobra.Command {
	return []*cobra.Command{
		speccmd.Init(a.App),
		speccmd.Import(a.App),
		speccmd.Validate(a.App),
		speccmd.Diff(a.App),
		changecmd.Endpoints(a.App),
		changecmd.DNS(a.App),
		speccmd.Render(a.App),
		a.agentCommand(),
		speccmd.Doctor(a.App),
		a.statusCommand(),
		a.eventsCommand(),
		a.reloadCommand(),
		a.drainCommand(),
		a.undrainCommand(),
		a.handoverCommand(),
		labcmd.Command(a.App),
		a.keyCommand(),
		a.versionCommand(),
		a.manCommand(),
	}
}
