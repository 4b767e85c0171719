package labcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
	"holdfast/internal/lab/tokens"
)

// benchKeystoneCommand is "lab bench keystone".
func (a commands) benchKeystoneCommand() *cobra.Command {
	opt := tokens.Options{}
	var points string
	var only []string
	cmd := &cobra.Command{
		Use:   "keystone [--length TIME] [--loads LOAD,...] [--only SYSTEM,...]",
		Short: "Measure the tokens of a real Keystone as busy as it can be, and busier, beside kolla-ansible's settings",
		Long: `keystone builds a cloud of three controllers with Keystone on each, as Debian packages
it, measures how many tokens a second they issue, and loads them with shares of that,
and with clients that ask again as soon as they have an answer: through holdfast, and
through HAProxy and keepalived with kolla-ansible's settings, which take turns on the
same controllers. It prints what failed and how long the others took, side by side.

It needs packages of Debian 12, and names those that are missing.`,
		Example: `  holdfast lab bench keystone --length 10s
  holdfast lab bench keystone --loads 0.9,1.2,loop12 --runs 3 -o json
  holdfast lab bench keystone --only holdfast --capacity 24 --loads one`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if opt.Points, err = tokens.ParsePoints(points); err != nil {
				return app.Usagef("--loads: %w", err)
			}
			for _, s := range only {
				opt.Only = append(opt.Only, bench.System(s))
			}
			return a.benchKeystone(cmd.Context(), opt)
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&opt.Length, "length", tokens.DefaultLength, "how long each load goes on")
	flags.StringVar(&points, "loads", tokens.DefaultPoints, "shares of the capacity, loopN for N clients in a loop, one for half of it from one address")
	flags.StringSliceVar(&only, "only", nil, "only these systems: holdfast, kolla, tuned (default holdfast,kolla)")
	flags.IntVar(&opt.Runs, "runs", 1, "how often all is measured; the table has medians")
	flags.IntVar(&opt.Clients, "clients", tokens.DefaultClients, "addresses that the shares of the capacity come from")
	flags.Float64Var(&opt.Capacity, "capacity", 0, "tokens a second that the shares are of; measured when 0")
	cmd.AddCommand(a.benchKeystoneLoadCommand())
	return cmd
}

func (a commands) benchKeystone(ctx context.Context, opt tokens.Options) error {
	begin := time.Now()
	opt.Progress = func(text string) { a.Logf("%5.0f s  %s", time.Since(begin).Seconds(), text) }
	ctx, stop := untilHangup(ctx)
	defer stop()
	report, err := tokens.Run(ctx, opt)
	if report == nil {
		return err
	}
	err = errors.Join(err, a.Answer(report, report.Text()))
	if err == nil && report.Interrupted != "" {
		return app.Silent(app.ExitFailed)
	}
	return err
}

// benchKeystoneLoadCommand is the load of "lab bench keystone". It runs in the client's
// node and prints what became of each session, a line of JSON each.
func (a commands) benchKeystoneLoadCommand() *cobra.Command {
	var l tokens.Load
	var clients int
	cmd := &cobra.Command{
		Use: "load", Hidden: true, Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if l.Clients, err = lab.AddClients(clients, netip.IPv4Unspecified()); err != nil {
				return app.Usagef("%w", err)
			}
			var mu sync.Mutex
			out := json.NewEncoder(a.Stdio.Out)
			l.Record = func(s tokens.Session) {
				mu.Lock()
				defer mu.Unlock()
				if e := out.Encode(s); e != nil && err == nil {
					err = fmt.Errorf("write what became of a session: %w", e)
				}
			}
			if err := l.Run(cmd.Context()); err != nil {
				return app.Usagef("%w", err)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&l.URLs, "url", nil, "of a Keystone, by turns")
	flags.Float64Var(&l.Rate, "rate", 0, "sessions a second")
	flags.IntVar(&l.Loops, "loops", 0, "clients that begin the next session as soon as the last has ended, in the place of a rate")
	flags.DurationVar(&l.Duration, "duration", tokens.DefaultLength, "for how long")
	flags.DurationVar(&l.Patience, "patience", time.Minute, "with a session")
	flags.IntVar(&clients, "clients", 1, "come from so many addresses, by turns (adds them to this network namespace)")
	return cmd
}
