package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/lab/bench"
)

// benchFlags are those of "lab bench".
type benchFlags struct {
	opt  bench.Options
	only []string
	html string
	save string
}

func (a *app) labBenchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [--runs N] [--faults FAULT,...] [--only SYSTEM,...]",
		Short: "Measure what each fault costs clients, beside HAProxy with keepalived",
		Long: `bench does one fault after the other to a cloud of three controllers under load,
and measures what clients see: of holdfast, and on the same machine in the same
run of HAProxy + keepalived, once with kolla-ansible's settings and once tuned by
hand. It prints what was promised beside what was measured.

That something was not as promised is told, and is no failure of the command.
Ctrl-C ends it early: it prints what it has, and leaves nothing behind.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.bench(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.opt.Runs, "runs", bench.DefaultRuns, "of each fault; the table has medians")
	flags.StringSliceVar(&f.opt.Faults, "faults", nil, "only these: "+faultIDs())
	flags.StringSliceVar(&f.only, "only", nil, "only these systems: holdfast, kolla, tuned")
	flags.Float64Var(&f.opt.Rate, "rate", 200, "requests a second")
	flags.Uint64Var(&f.opt.Seed, "seed", 1, "of the order of the faults")
	flags.StringVar(&f.html, "html", "", "write a page with the timelines to this file")
	flags.StringVar(&f.save, "save", "", "write latest.md, latest.html and latest.json to this directory")
	return cmd
}

func faultIDs() string {
	text := ""
	for _, f := range bench.Faults() {
		if text != "" {
			text += ", "
		}
		text += f.ID
	}
	return text
}

func (a *app) bench(ctx context.Context, f benchFlags) error {
	for _, s := range f.only {
		f.opt.Only = append(f.opt.Only, bench.System(s))
	}
	begin := time.Now()
	f.opt.Progress = func(text string) { a.logf("%5.0f s  %s", time.Since(begin).Seconds(), text) }
	report, err := bench.Run(ctx, f.opt)
	if report == nil {
		if errors.Is(err, bench.ErrOptions) {
			return &exitError{exitUsage, err}
		}
		return err
	}
	err = errors.Join(err, a.writeBench(report, f))
	if err == nil && report.Interrupted != "" {
		return silent(exitFailed)
	}
	return err
}

// writeBench prints report, and writes it to the files that were asked for.
func (a *app) writeBench(report *bench.Report, f benchFlags) error {
	var err error
	if f.html != "" {
		err = errors.Join(err, writePage(report, f.html))
	}
	if f.save != "" && report.Interrupted == "" {
		err = errors.Join(err, report.Save(f.save))
	}
	if a.asJSON() {
		return errors.Join(err, a.printJSON(report))
	}
	return errors.Join(err, a.print(report.Text()))
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
