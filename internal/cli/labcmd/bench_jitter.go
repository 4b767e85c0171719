package labcmd

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab/bench"
	"holdfast/internal/lab/jitter"
)

// benchJitterCommand is "lab bench jitter".
func (a commands) benchJitterCommand() *cobra.Command {
	opt := jitter.Options{}
	var only []string
	var intervals string
	cmd := &cobra.Command{
		Use:   "jitter [--intervals TIME,...] [--length TIME] [--only SYSTEM] [--crowd MANY]",
		Short: "Measure how evenly adverts are sent, on an idle and on a busy machine",
		Long: `jitter builds a cloud of two controllers, and measures at the one that does not hold the
virtual IP how far the adverts of the other one come from their interval: on an idle machine,
and while twice as many processes as processors compute; of holdfast, and of keepalived as
it is set up by hand. Other controllers wait for three intervals before they take over.

With --crowd it measures holdfast once more while so many look at the holder's page: of ten
seven have it open, one has and never reads, and two ask for /metrics all the time.`,
		Example: `  holdfast lab bench jitter
  holdfast lab bench jitter --intervals 20ms --length 60s -o json
  holdfast lab bench jitter --only holdfast --crowd 500 --length 30s`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for word := range strings.SplitSeq(intervals, ",") {
				d, err := time.ParseDuration(word)
				if err != nil {
					return app.Usagef("--intervals: %q is no time; write 20ms", word)
				}
				opt.Intervals = append(opt.Intervals, d)
			}
			for _, s := range only {
				opt.Only = append(opt.Only, bench.System(s))
			}
			if err := opt.Check(); err != nil {
				return app.Usagef("%w", err)
			}
			return a.benchJitter(cmd.Context(), opt)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&intervals, "intervals", jitter.DefaultIntervals, "of the adverts, from 10ms to 10s")
	flags.DurationVar(&opt.Length, "length", jitter.DefaultLength, "how long each is measured")
	flags.StringSliceVar(&only, "only", nil, "only this system: holdfast or tuned, which is keepalived")
	flags.IntVar(&opt.Crowd, "crowd", 0, "measure too while so `MANY` look at the holder's page")
	cmd.AddCommand(a.benchJitterListenCommand(), a.benchJitterCrowdCommand())
	return cmd
}

func (a commands) benchJitter(ctx context.Context, opt jitter.Options) error {
	begin := time.Now()
	opt.Progress = func(text string) { a.Logf("%5.0f s  %s", time.Since(begin).Seconds(), text) }
	ctx, stop := untilHangup(ctx)
	defer stop()
	report, err := jitter.Run(ctx, opt)
	if err != nil {
		return err
	}
	return a.Answer(report, report.Text())
}

// benchJitterListenCommand is the ear of "lab bench jitter". It runs in a controller's
// node and prints when adverts came, as a list of JSON.
func (a commands) benchJitterListenCommand() *cobra.Command {
	var from string
	var length time.Duration
	cmd := &cobra.Command{
		Use: "listen", Hidden: true, Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sender, err := netip.ParseAddr(from)
			if err != nil {
				return app.Usagef("--from: %w", err)
			}
			times, err := jitter.Listen(cmd.Context(), sender, length)
			if err != nil {
				return err
			}
			return json.NewEncoder(a.Stdio.Out).Encode(times)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the router's address")
	cmd.Flags().DurationVar(&length, "length", jitter.DefaultLength, "for how long")
	return cmd
}

// benchJitterCrowdCommand is the crowd of "lab bench jitter". It runs in the client's node,
// and prints what became of it.
func (a commands) benchJitterCrowdCommand() *cobra.Command {
	var to string
	var size int
	var length time.Duration
	cmd := &cobra.Command{
		Use: "crowd", Hidden: true, Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			page, err := netip.ParseAddrPort(to)
			if err != nil {
				return app.Usagef("--to: %w", err)
			}
			crowd, err := jitter.Attend(cmd.Context(), page, size, length)
			if err != nil {
				return err
			}
			return json.NewEncoder(a.Stdio.Out).Encode(crowd)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the page, as address:port")
	cmd.Flags().IntVar(&size, "size", 0, "how many")
	cmd.Flags().DurationVar(&length, "length", jitter.DefaultLength, "for how long")
	return cmd
}
