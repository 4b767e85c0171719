package labcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab/bench"
)

// benchFlags are those of "lab bench".
type benchFlags struct {
	opt  bench.Options
	only []string
	// sweep asks for the rows of that group alone.
	sweep bool
	html  string
	last  time.Duration // of chaos; 0: none
	logs  string
	save  string
}

func (a commands) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [--runs N] [--faults FAULT,... | --sweep] [--only SYSTEM,...] | --chaos DURATION [--faults FAULT,...]",
		Short: "Measure what each fault and planned work costs clients, beside HAProxy with keepalived",
		Long: `bench does one fault after the other to a cloud of three controllers under load,
and measures what clients see: of holdfast, and on the same machine in the same
run of HAProxy + keepalived, once with kolla-ansible's settings and once tuned by
hand. It prints what was promised beside what was measured.

Beside faults it does planned work: a handover, a drain, a restart of the agent, an
upgrade of HAProxy, another configuration, a new certificate. For that the load is
500 requests/s on connections that are kept alive, 100 requests/s on new ones and ten
downloads in flight; an attempt to connect each millisecond finds how long new
connections found nobody.

Where a service is busy, or late, or stands still, what counts is that it costs no
more than behind kolla-ansible's settings, and that no host is taken out for it. With
--sweep it does that alone, from half of what the hosts can do to twice as much.

That something was not as promised is told, and is no failure of the command.
Ctrl-C ends it early: it prints what it has, and leaves nothing behind.

With --chaos it does random faults to holdfast alone for so long, one at a time,
on a random controller, some with a planned move in their midst, and fails if any
request was lost that need not have been,
if two controllers had the address for longer than its lease, if the cloud did not
come back by itself, or if memory or descriptors have grown.`,
		Example: `  holdfast lab bench --html bench.html
  holdfast lab bench --only holdfast --faults haproxy-kill,holder-lost --runs 20
  holdfast lab bench --only holdfast --faults planned --runs 20
  holdfast lab bench --faults holder-lost --interval 100ms --rate 1000
  holdfast lab bench --sweep --html sweep.html
  holdfast lab bench --chaos 30m --seed 7`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if why := noFile(f.html); why != "" {
				return app.Usagef("--html: %s; name a file", why)
			}
			if cmd.Flags().Changed("chaos") && f.last == 0 {
				return app.Usagef("--chaos is 0s; for how long? 30m")
			}
			if f.last > 0 {
				return a.chaos(cmd.Context(), f)
			}
			if f.sweep {
				f.opt.Faults = append(f.opt.Faults, string(bench.GroupSweep))
			}
			if f.sweep && !cmd.Flags().Changed("runs") {
				f.opt.Runs = 0
			}
			return a.bench(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.opt.Runs, "runs", bench.DefaultRuns, "of each fault; the table has medians. The peers have fewer; one of a sweep")
	flags.StringSliceVar(&f.opt.Faults, "faults", nil, "only these: "+bench.Choices()+"; of chaos, those of \"holdfast lab fault --list\"")
	flags.BoolVar(&f.sweep, "sweep", false, "only the sweep of load from 50 % to 200 % of what the hosts can do")
	flags.StringSliceVar(&f.only, "only", nil, "only these systems: holdfast, kolla, tuned")
	flags.Float64Var(&f.opt.Rate, "rate", 200, "requests a second, of faults and of chaos")
	flags.DurationVar(&f.opt.Interval, "interval", 0, "the `TIME` between adverts of holdfast and tuned; what is promised is for 20ms, which it is without")
	flags.Uint64Var(&f.opt.Seed, "seed", 1, "of the order of the faults, and of chaos")
	flags.StringVar(&f.html, "html", "", "write a page with the timelines to this file")
	flags.StringVar(&f.save, "save", "", "write latest.md, latest.html, latest.json and the sweep's picture to this directory")
	flags.DurationVar(&f.last, "chaos", 0, "do random faults for so long instead: 30m")
	flags.StringVar(&f.logs, "logs", "", "keep what the labs' nodes wrote in this directory; of chaos, if something broke")
	cmd.AddCommand(a.benchKeystoneCommand(), a.benchRestCommand(), a.benchJitterCommand())
	return cmd
}

// chaos is "lab bench --chaos".
func (a commands) chaos(ctx context.Context, f benchFlags) error {
	begin := time.Now()
	report, err := bench.Chaos(ctx, bench.ChaosOptions{
		Duration: f.last, Seed: f.opt.Seed, Rate: f.opt.Rate, Logs: f.logs, Faults: f.opt.Faults,
		Progress: func(text string) { a.Logf("%5.0f s  %s", time.Since(begin).Seconds(), text) },
	})
	if report == nil {
		return err
	}
	err = errors.Join(err, a.Answer(report, report.Text()))
	if err == nil && (len(report.Violations) > 0 || report.Interrupted) {
		return app.Silent(app.ExitFailed)
	}
	return err
}

// usageCommand tells what a controller's processes take. It runs in its node.
func (a commands) usageCommand() *cobra.Command {
	return &cobra.Command{
		Use: "usage", Hidden: true, Args: app.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			usage, err := bench.ReadUsage(os.DirFS("/proc"))
			if err != nil {
				return err
			}
			return a.PrintJSON(usage)
		},
	}
}

func (a commands) bench(ctx context.Context, f benchFlags) error {
	for _, s := range f.only {
		f.opt.Only = append(f.opt.Only, bench.System(s))
	}
	begin := time.Now()
	f.opt.Logs = f.logs
	f.opt.Progress = func(text string) { a.Logf("%5.0f s  %s", time.Since(begin).Seconds(), text) }
	ctx, stop := untilHangup(ctx)
	defer stop()
	report, err := bench.Run(ctx, f.opt)
	if report == nil {
		return err
	}
	err = errors.Join(err, a.writeBench(report, f))
	if err == nil && report.Interrupted != "" {
		return app.Silent(app.ExitFailed)
	}
	return err
}

// writeBench prints report, and writes it to the files that were asked for.
func (a commands) writeBench(report *bench.Report, f benchFlags) error {
	var err error
	if f.html != "" {
		err = errors.Join(err, writePage(report, f.html))
	}
	if f.save != "" && report.Interrupted == "" {
		err = errors.Join(err, report.Save(f.save))
	}
	return errors.Join(err, a.Answer(report, report.Text()))
}

func writePage(report *bench.Report, path string) error {
	page, err := report.Page()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, page, 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// noFile says why no file can be written at path; empty when one can, or there is none.
func noFile(path string) string {
	if path == "" {
		return ""
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return path + " is a directory"
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "there is no directory " + dir
	}
	return ""
}
