package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/status"
)

// eventsCommand is "holdfast events".
func (a commands) eventsCommand() *cobra.Command {
	var follow bool
	var n int
	cmd := &cobra.Command{
		Use:   "events [--follow]",
		Short: "Show the journal: each transition, its cause, and how long it took",
		Long: `events shows what the local agent has in its journal, the oldest first: each change
of a virtual IP, of HAProxy, of a service or of the spec, with its cause and how
long it took. Times are UTC.

With -o json it prints one event a line when it follows, and one object otherwise.`,
		Example: `  holdfast events
  holdfast events -n 0 --follow`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 0 {
				return app.Usagef("-n is %d; how many of the newest events are wanted?", n)
			}
			if _, err := a.NamedSpec(cmd); err != nil {
				return err
			}
			if follow {
				return a.followEvents(cmd.Context(), n)
			}
			return a.events(cmd.Context(), n)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "F", false, "go on with each event as it happens, until Ctrl-C")
	cmd.Flags().IntVarP(&n, "lines", "n", 50, "how many of the newest events; at most 1000")
	return a.WithRunDir(cmd)
}

func (a commands) events(ctx context.Context, n int) error {
	answer, err := a.Control().Events(ctx, n)
	if err != nil {
		return err
	}
	if a.AsJSON() {
		return a.PrintJSON(answer)
	}
	for _, e := range answer.Events {
		if err := a.Print(eventLine(e)); err != nil {
			return err
		}
	}
	return nil
}

func (a commands) followEvents(ctx context.Context, n int) error {
	show := func(e status.Event) error { return a.Print(eventLine(e)) }
	if a.AsJSON() {
		show = func(e status.Event) error { return a.PrintLine(e) }
	}
	for e, err := range a.Control().Follow(ctx, n) {
		if err == nil {
			err = show(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eventLine writes an event on one line: when, what, how long it took, and why.
func eventLine(e status.Event) string {
	line := e.Time.UTC().Format("2006-01-02 15:04:05.000") + "  " + e.Text
	if e.Took >= 100*time.Microsecond {
		line += ", took " + status.Brief(e.Took)
	}
	if e.Cause != "" {
		line += "; cause: " + e.Cause
	}
	return tui.Printable(line) + "\n"
}
