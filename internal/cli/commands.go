package cli

import "github.com/spf13/cobra"

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
		a.labCommand(),
		a.versionCommand(),
		a.manCommand(),
	}
}
