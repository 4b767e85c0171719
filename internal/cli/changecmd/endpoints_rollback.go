package changecmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/internal/changelog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/admin"
	"holdfast/internal/status"
)

// How a change of the catalog is called, and what a rollback does to it.
const (
	endpointChange = "change"
	takenBack      = "taken back"
)

func endpointsRollbackCommand(a *app.App) *cobra.Command {
	r := &endpointsRun{App: a}
	back := rollback[keystone.Entry]{
		App: a, what: endpointChange, done: takenBack, asWere: "had not come about",
		head: func(j admin.Journal) string {
			return fmt.Sprintf("region %s, %s of %d", j.Begin.Detail.Region, status.Count(len(j.Changes), endpointChange), j.Begin.Total)
		},
		show: func(e keystone.Entry) string {
			return keystone.Change{Op: e.Op, Before: e.Before, After: *e.After}.String()
		},
		column: "REGION",
		place: func(row *journalRow, begin keystone.Entry) string {
			row.Region = &begin.Region
			return begin.Region
		},
	}
	back.open = func(ctx context.Context, journals []admin.Journal) (question string, err error) {
		if r.auth, err = r.os.Auth(); err != nil {
			return "", err
		}
		r.client, err = admin.ConnectFor(ctx, r.auth, journals, func(line string) { r.Logf("%s", tui.Printable(line)) })
		if err != nil {
			return "", err
		}
		return "Put this back, at " + r.client.URL() + "?", nil
	}
	back.undo = func(ctx context.Context, journals []admin.Journal, force bool) (changelog.RollbackResult, []string, error) {
		result, err := r.applier().Rollback(ctx, journals, force)
		return result, nil, err
	}
	cmd := &cobra.Command{
		Use:   "rollback [JOURNAL]",
		Short: "Take back what apply did",
		Long: `rollback puts ids, URLs and enabled flags back as they were before an apply, by its
journal: that of the newest apply, or the one named. It works also after an apply
that was killed at any point, can itself be killed and called again, and leaves what
somebody else has changed since, unless --force.

When the Keystone of auth_url does not answer, it tries those that the journal knows.
It needs no spec.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			back.journals = r.journals()
			return back.run(cmd.Context(), args, func() error { return nil })
		},
	}
	r.os.Add(cmd)
	r.addStateDir(cmd)
	back.addFlags(cmd)
	return cmd
}
