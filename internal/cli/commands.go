package cli

import (
	"github.com/spf13/cobra"

	"holdfast/internal/cli/changecmd"
	"holdfast/internal/cli/labcmd"
)

// all gives every command, in the order of "holdfast --help".
func (a commands) all() []*cobra.Command {
	return []*cobra.Command{
		a.initCommand(),
		a.importCommand(),
		a.validateCommand(),
		a.diffCommand(),
		changecmd.Endpoints(a.App),
		changecmd.DNS(a.App),
		a.renderCommand(),
		a.agentCommand(),
		a.doctorCommand(),
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
