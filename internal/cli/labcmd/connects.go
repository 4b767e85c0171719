package labcmd

import (
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

// connectsCommand opens connections at short intervals and prints what came
// of each, a line of JSON each. It runs in the client's node.
func (a commands) connectsCommand() *cobra.Command {
	c := load.Connects{}
	var clients int
	var to string
	cmd := &cobra.Command{
		Use: "connects --to ADDRESS:PORT", Hidden: true, Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if c.To, err = netip.ParseAddrPort(to); err != nil {
				return app.Usagef("--to %q; write ADDRESS:PORT: %w", to, err)
			}
			if clients > 0 {
				if c.Clients, err = lab.AddClients(clients, c.To.Addr()); err != nil {
					return err
				}
			}
			// What is printed on the way could keep it from its work.
			var all []load.Record
			c.Record = func(r load.Record) { all = append(all, r) }
			err = c.Run(cmd.Context())
			out := json.NewEncoder(a.Stdio.Out)
			for _, r := range all {
				err = errors.Join(err, out.Encode(r))
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&to, "to", "", "where to")
	flags.DurationVar(&c.Every, "every", time.Millisecond, "one attempt after the other")
	flags.DurationVar(&c.Duration, "duration", time.Second, "for how long")
	flags.DurationVar(&c.Patience, "patience", 100*time.Millisecond, "until an attempt without an answer is given up")
	flags.IntVar(&clients, "clients", 0, "come from so many addresses, by turns (adds them to this network namespace)")
	return cmd
}
