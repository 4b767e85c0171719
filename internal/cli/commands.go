package cli

import (
	"github.com/spf13/cobra"

	"holdfast/internal/cli/labcmd"
)

// commands gives every command, in the order of "holdfast --help".
func (a commands) commands() []*cobra.Command {
	return []*cobra.Command{
		a.importCommand(),
		a.validateCommand(),
		a.diffCommand(),
		a.endpointsCommand(),
		a.dnsCommand(),
		a.renderCommand(),
		a.agentCommand(),
		a.statusCommand(),
		a.eventsCommand(),
		a.drainCommand(),
		a.undrainCommand(),
		a.handoverCommand(),
		labcmd.Command(a.App),
		a.versionCommand(),
		a.manCommand(),
	}
}
