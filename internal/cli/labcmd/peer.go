package labcmd

import (
	"log/slog"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab/peer"
)

// peerCommand is what a controller runs in a lab of peers.
func (a commands) peerCommand() *cobra.Command {
	var kind, controller string
	cmd := &cobra.Command{
		Use: "peer", Hidden: true, Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := peer.ParseKind(kind)
			if err != nil {
				return app.Usagef("%w", err)
			}
			parsed, err := a.readSpecQuietly()
			if err != nil {
				return err
			}
			return peer.Run(cmd.Context(), peer.Options{
				Kind: k, Spec: parsed, Controller: controller, RunDir: a.RunDir,
				Log: slog.New(slog.NewTextHandler(a.Stdio.Err, nil)),
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", string(peer.Kolla), "which settings: kolla or tuned")
	cmd.Flags().StringVar(&controller, "controller", "", "name of this controller in the spec")
	return a.WithRunDir(cmd)
}

// operateCommand does planned work to the peer of a controller, in its node.
func (a commands) operateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "operate VERB WHAT", Short: peer.Operations, Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return peer.Operate(cmd.Context(), a.RunDir, args[0], args[1])
		},
	}
	return a.WithRunDir(cmd)
}
