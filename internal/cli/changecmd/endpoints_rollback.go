package changecmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/changelog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/admin"
	"holdfast/internal/status"
)

func endpointsRollbackCommand(a *app.App) *cobra.Command {
	r := &endpointsRun{App: a}
	var f rollbackFlags
	cmd := &cobra.Command{
		Use:   "rollback [JOURNAL]",
		Short: "Take back what apply did",
		Long: `rollback puts ids, URLs and enabled flags back as they were before an apply, by its
journal: that of the newest apply, or the one named. It works also after an apply
that was killed at any point, can itself be killed and called again, and leaves what
somebody else has changed since, unless --force.

When the Keystone of auth_url does not answer, it tries those that the journal knows.
It needs no spec.`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.rollback(cmd.Context(), args, f) },
	}
	r.os.Add(cmd)
	r.addStateDir(cmd)
	f.add(cmd)
	return cmd
}

// rollbackAnswer is the answer of "holdfast endpoints rollback -o json".
type rollbackAnswer struct {
	changelog.RollbackResult
	RolledBack bool `json:"rolled_back"`
}

func (r *endpointsRun) rollback(ctx context.Context, args []string, f rollbackFlags) error {
	if f.list {
		return r.listJournals()
	}
	if err := f.canAsk(r.App); err != nil {
		return err
	}
	journals, err := toUndo(r.journals(), args)
	if err != nil {
		return err
	}
	if len(journals) == 0 {
		return r.answerRollback(changelog.RollbackResult{Journals: []string{}, Left: []string{}}, "nothing to roll back\n")
	}
	if r.auth, err = r.os.Auth(); err != nil {
		return err
	}
	r.client, err = admin.ConnectFor(ctx, r.auth, journals, func(line string) { r.Logf("%s", tui.Printable(line)) })
	if err != nil {
		return err
	}
	fmt.Fprint(r.Stdio.Err, tui.PrintableLines(undoText(journals)))
	if err := confirm(ctx, r.App, f.yes, "Put this back, at "+r.client.URL()+"?"); err != nil {
		return err
	}
	result, err := r.applier().Rollback(ctx, journals, f.force)
	if err != nil {
		return fmt.Errorf("%w; what is done is in the journal, call rollback again to go on", err)
	}
	if len(result.Left) > 0 {
		return errors.Join(r.answerRollback(result, ""), leftError(result))
	}
	return r.answerRollback(result, fmt.Sprintf("rolled back: %s taken back, %d had not come about\n", status.Count(result.Undone, "change"), result.AsWere))
}

// undoText says what a rollback of journals would take back.
func undoText(journals []admin.Journal) string {
	var b strings.Builder
	for _, j := range journals {
		fmt.Fprintf(&b, "journal %s, region %s, %s of %d begun\n", j.Name, j.Begin.Detail.Region, status.Count(len(j.Changes), "change"), j.Begin.Total)
		for _, c := range j.Changes {
			if c.Undone {
				continue
			}
			fmt.Fprintf(&b, "  %s\n", keystone.Change{Op: c.Detail.Op, Before: c.Detail.Before, After: *c.Detail.After})
		}
	}
	return b.String()
}

func (r *endpointsRun) answerRollback(result changelog.RollbackResult, text string) error {
	return r.Answer(rollbackAnswer{result, len(result.Left) == 0}, text)
}

// journalAnswer is one of the list of "holdfast endpoints rollback --list -o json".
type journalAnswer struct {
	Journal string    `json:"journal"`
	Time    time.Time `json:"time"`
	Region  string    `json:"region"`
	Changes int       `json:"changes"` // begun
	Total   int       `json:"total"`   // planned
	State   string    `json:"state"`   // applied, stopped, killed, rolled-back
}

func (r *endpointsRun) listJournals() error {
	names, err := r.journals().Names()
	if err != nil {
		return err
	}
	all := []journalAnswer{}
	t := tui.Table{Head: tui.Words("JOURNAL", "REGION", "CHANGES", "STATE")}
	for _, name := range names {
		j, err := r.journals().Load(name)
		if err != nil {
			return err
		}
		one := journalAnswer{name, j.Begin.Time, j.Begin.Detail.Region, len(j.Changes), j.Begin.Total, j.State()}
		all = append(all, one)
		t.Add(tui.Plain(name), tui.Plain(one.Region), tui.Plain(fmt.Sprintf("%d of %d", one.Changes, one.Total)), tui.Plain(one.State))
	}
	return answerJournals(r.App, all, t, r.journals().Dir)
}
