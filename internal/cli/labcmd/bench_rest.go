package labcmd

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab/atrest"
)

// benchRestCommand is "lab bench rest".
func (a commands) benchRestCommand() *cobra.Command {
	opt := atrest.Options{}
	var against []string
	cmd := &cobra.Command{
		Use:   "rest [--against BINARY,...] [--length TIME]",
		Short: "Measure what agents and HAProxys cost while no client asks anything",
		Long: `rest builds a cloud, lets it come to rest, and measures the processor time, the switches
between processes and the memory that its agents and HAProxys take: on the controller that
holds the VIPs, and on the others.

With --against it does the same with other builds of holdfast, by turns, and says what part
of theirs this one takes.`,
		Example: `  holdfast lab bench rest
  holdfast lab bench rest --against /usr/local/bin/holdfast --runs 3
  holdfast lab bench rest --services 1 --controllers 3 --vips 1 -o json`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			own, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			if err := opt.Check(); err != nil {
				return app.Usagef("%w", err)
			}
			opt.Binaries = append([]string{own}, against...)
			return a.benchRest(cmd.Context(), opt)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&against, "against", nil, "other holdfasts to measure beside this one")
	flags.IntVar(&opt.VIPs, "vips", atrest.DefaultVIPs, "how many VIPs, 1 to 3")
	flags.IntVar(&opt.Services, "services", atrest.DefaultServices, "how many services, each on every controller")
	flags.IntVar(&opt.Controllers, "controllers", atrest.DefaultControllers, "how many controllers")
	flags.DurationVar(&opt.Length, "length", atrest.DefaultLength, "how long each is measured")
	flags.IntVar(&opt.Runs, "runs", 1, "how often each is measured; the table has medians")
	return cmd
}

func (a commands) benchRest(ctx context.Context, opt atrest.Options) error {
	begin := time.Now()
	opt.Progress = func(text string) { a.Logf("%5.0f s  %s", time.Since(begin).Seconds(), text) }
	ctx, stop := untilHangup(ctx)
	defer stop()
	report, err := atrest.Run(ctx, opt)
	if err != nil {
		return err
	}
	return a.Answer(report, report.Text())
}
