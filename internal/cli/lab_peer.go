package cli

import (
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdfast/internal/lab/bench"
	"holdfast/internal/lab/peer"
)

// labPeerCommand is what a controller runs in a lab of peers.
func (a *app) labPeerCommand() *cobra.Command {
	var kind, controller string
	cmd := &cobra.Command{
		Use: "peer", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := peer.ParseKind(kind)
			if err != nil {
				return usagef("%w", err)
			}
			parsed, err := a.readSpecQuietly()
			if err != nil {
				return err
			}
			return peer.Run(cmd.Context(), peer.Options{
				Kind: k, Spec: parsed, Controller: controller, RunDir: a.runDir,
				Log: slog.New(slog.NewTextHandler(a.stdio.Err, nil)),
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", string(peer.Kolla), "which settings: kolla or tuned")
	cmd.Flags().StringVar(&controller, "controller", "", "name of this controller in the spec")
	return a.withRunDir(cmd)
}

// labServersCommand tells what the HAProxy of a controller says of its servers. It
// runs in its node.
func (a *app) labServersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "servers", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := peer.Ask(cmd.Context(), filepath.Join(a.runDir, peer.SocketFile), bench.AskServers)
			if err != nil {
				return err
			}
			servers, err := bench.ParseServers(text)
			if err != nil {
				return err
			}
			return a.printJSON(servers)
		},
	}
	return a.withRunDir(cmd)
}

// labOperateCommand does planned work to the peer of a controller, in its node.
func (a *app) labOperateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "operate VERB WHAT", Short: peer.Operations, Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return peer.Operate(cmd.Context(), a.runDir, args[0], args[1])
		},
	}
	return a.withRunDir(cmd)
}
