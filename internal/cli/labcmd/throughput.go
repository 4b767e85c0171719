package labcmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/haproxy"
	"holdfast/internal/lab/throughput"
	"holdfast/internal/spec"
)

// throughputCommand measures what the data plane costs when all is well.
func (a commands) throughputCommand() *cobra.Command {
	opt := throughput.Options{Render: renderForThroughput}
	var variants []string
	var idle bool
	idleOpt := throughput.IdleOptions{Intervals: []time.Duration{100 * time.Millisecond, 20 * time.Millisecond}}
	cmd := &cobra.Command{
		Use:   "throughput [--rounds N] [--variant NAME=-LINE;SECTION+LINE]...",
		Short: "Measure requests per second, latency and HAProxy's processor time, beside kolla-ansible's settings and no proxy",
		Long: `throughput sends the same requests through HAProxy with holdfast's configuration,
through HAProxy with kolla-ansible's settings, and straight to the service, in turns
of a second or so. A variant is holdfast's configuration with lines taken out ("-TEXT":
those that begin with it) or added ("SECTION+TEXT": to each section that begins so).`,
		Example: `  holdfast lab throughput --rounds 7
  holdfast lab throughput --idle
  holdfast lab throughput --variant 'one-thread=global+nbthread 1'`,
		Hidden: true,
		Args:   app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if idle {
				return a.idle(cmd.Context(), idleOpt)
			}
			for _, text := range variants {
				v, err := throughput.ParseVariant(text)
				if err != nil {
					return app.Usagef("%w", err)
				}
				opt.Variants = append(opt.Variants, v)
			}
			return a.throughput(cmd.Context(), opt)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&opt.Rounds, "rounds", 5, "how often each is measured; the table has medians")
	flags.DurationVar(&opt.Turn, "turn", time.Second, "how long each is measured each time")
	flags.IntVar(&opt.Connections, "connections", 16, "of the closed loop")
	flags.StringVar(&opt.Only, "only", "", "only points with this in their name: \"GET 1 KiB\", \"keep-alive\"")
	flags.BoolVar(&opt.Latency, "latency", true, "also measure latency at a fixed rate")
	flags.StringArrayVar(&variants, "variant", nil, "NAME=EDIT;EDIT...: measure this change of the configuration too")
	flags.BoolVar(&idle, "idle", false, "measure instead what an idle cloud costs: processor time, memory, checks")
	flags.DurationVar(&idleOpt.Length, "idle-time", 30*time.Second, "how long, with --idle")
	flags.StringVar(&opt.HAProxy, "haproxy", "", "the HAProxy program; default: from PATH")
	return cmd
}

func renderForThroughput(s *spec.Spec, dir string, maxconn int) []byte {
	return haproxy.Render(s, haproxy.Local{RunDir: dir, StateDir: dir, MaxConn: maxconn}).Bytes()
}

func (a commands) throughput(ctx context.Context, opt throughput.Options) error {
	opt.Progress = func(text string) { a.Logf("%s", text) }
	ctx, stop := untilHangup(ctx)
	defer stop()
	report, err := throughput.Run(ctx, opt)
	switch {
	case errors.Is(err, throughput.ErrOptions):
		return app.Usagef("%w", err)
	case err != nil:
		return err
	case a.AsJSON():
		return a.PrintJSON(report)
	}
	return a.Print(report.Text())
}

func (a commands) idle(ctx context.Context, opt throughput.IdleOptions) error {
	opt.Progress = func(text string) { a.Logf("%s", text) }
	report, err := throughput.Idle(ctx, opt)
	switch {
	case err != nil:
		return err
	case a.AsJSON():
		return a.PrintJSON(report)
	}
	return a.Print(report.Text())
}
