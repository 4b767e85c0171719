package cli

import (
	"context"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// handoverCommand is "holdfast handover".
func (a commands) handoverCommand() *cobra.Command {
	var req web.HandoverRequest
	cmd := &cobra.Command{
		Use:   "handover [--to NAME]",
		Short: "Move a virtual IP to another controller now, as planned work",
		Long: `handover moves the virtual IP from the controller that holds it to another one, and
loses no request and no connection: what is open goes on at the one before, which
asks its clients to come anew with its next answer. A long transfer may take
agent.handover_limit of the spec, an hour by default; "holdfast status" shows what
is left.

It can be asked of any controller's agent. Without --to the one takes it whose HAProxy
reaches the most services; of several, the first in the order of the spec. One that
reaches no host of a service which the holder reaches is refused, unless --force says
so: then it keeps the address, whatever it reaches. Where that has no agent that answers, as one that
runs keepalived, the move is done by VRRP alone, and open connections are reset.`,
		Example: `  holdfast handover
  holdfast handover --to cloudcontrol1004`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.CheckController(cmd, req.To); err != nil {
				return err
			}
			return a.handover(cmd.Context(), req)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&req.To, "to", "", "the controller that is to have it")
	flags.StringVar(&req.VIP, "vip", "", "only this virtual IP of several")
	flags.BoolVar(&req.Force, "force", false, "also when it cuts what an earlier handover left open, to a drained controller, or to one that reaches less")
	return a.offers(a.WithRunDir(cmd), map[string]names{"to": controllerNames, "vip": vipNames})
}

func (a commands) handover(ctx context.Context, req web.HandoverRequest) error {
	req.Cause = "asked for by hand"
	result, err := a.Control().Handover(ctx, req)
	if err != nil {
		return err
	}
	if a.AsJSON() {
		return a.PrintJSON(result)
	}
	for _, h := range result.Handovers {
		line := h.String()
		if h.Took > 0 {
			line += " (" + status.Brief(h.Took) + ")"
		}
		if err := a.Print(line + "\n"); err != nil {
			return err
		}
		if h.Warning != "" {
			a.Logf("%s", h.Warning)
		}
	}
	return nil
}
