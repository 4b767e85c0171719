package changecmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/changelog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/dns"
	"holdfast/internal/dns/zone"
	"holdfast/internal/status"
)

func dnsRollbackCommand(a *app.App) *cobra.Command {
	r := &dnsRun{App: a}
	var f rollbackFlags
	cmd := &cobra.Command{
		Use:   "rollback [JOURNAL]",
		Short: "Take back what apply did",
		Long: `rollback puts records and TTLs back as they were before an apply, by its journal:
that of the newest apply, or the one named. It works also after an apply that was
killed at any point, can itself be killed and called again, and leaves what somebody
else has changed since, unless --force.

It uses the key file, or the Designate, of the apply, which the journal names; flags
override them. It needs no spec.`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.rollback(cmd.Context(), args, f) },
	}
	r.addPrimary(cmd)
	flags := cmd.Flags()
	flags.StringVar(&r.keyFile, "key-file", "", "`FILE` with the TSIG key, when it is not that of the apply any more")
	flags.StringVar(&r.key, "key", "", "`NAME` of the key, when it is not that of the apply")
	flags.StringVar(&r.designateURL, "designate-url", "", "`URL` of Designate, when it is not that of the apply any more")
	r.os.Add(cmd)
	r.addStateFlags(cmd)
	f.add(cmd)
	return cmd
}

// dnsRollbackAnswer is the answer of "holdfast dns rollback -o json".
type dnsRollbackAnswer struct {
	zone.RollbackResult
	RolledBack bool `json:"rolled_back"`
}

func (r *dnsRun) rollback(ctx context.Context, args []string, f rollbackFlags) error {
	if f.list {
		return r.listJournals()
	}
	if err := f.canAsk(r.App); err != nil {
		return err
	}
	if err := r.readFlags(); err != nil {
		return err
	}
	journals, err := toUndo(r.journals(), args)
	if err != nil {
		return err
	}
	if len(journals) == 0 {
		return r.answerRollback(zone.RollbackResult{RollbackResult: changelog.RollbackResult{Journals: []string{}, Left: []string{}}, Behind: []string{}}, "nothing to roll back\n")
	}
	if err := r.openLike(ctx, journals); err != nil {
		return err
	}
	fmt.Fprint(r.Stdio.Err, tui.PrintableLines(dnsUndoText(journals)))
	if err := confirm(ctx, r.App, f.yes, "Put this back?"); err != nil {
		return err
	}
	return r.undo(ctx, journals, f.force)
}

// undo takes journals back, and tells.
func (r *dnsRun) undo(ctx context.Context, journals []zone.Journal, force bool) error {
	applier, err := r.applier()
	if err != nil {
		return err
	}
	result, err := applier.Rollback(ctx, journals, force)
	if err != nil {
		return fmt.Errorf("%w; what is done is in the journal, call rollback again to go on", err)
	}
	text := fmt.Sprintf("rolled back: %s put back, %d as they were\n", status.Count(result.Undone, "hostname"), result.AsWere)
	for _, line := range append(result.Left, result.Behind...) {
		r.Logf("%s", tui.Printable(line))
	}
	switch {
	case len(result.Left) > 0:
		return errors.Join(r.answerRollback(result, ""), fmt.Errorf("%s could not be put back, see above", status.Count(len(result.Left), "hostname")))
	case len(result.Behind) > 0:
		return errors.Join(r.answerRollback(result, text), errors.New("not every name server has it yet, see above; \"holdfast dns plan\" shows it"))
	}
	return r.answerRollback(result, text)
}

// openLike gets hold of what changes the zone, as the apply of journals did it.
func (r *dnsRun) openLike(ctx context.Context, journals []zone.Journal) error {
	begin := journals[0].Begin.Detail
	if begin.By == dns.ByAPI {
		r.designate = true
		r.designateURL = cmp.Or(r.designateURL, begin.URL)
		return r.openEditor(ctx, "")
	}
	if r.keyFile == "" {
		r.key = cmp.Or(r.key, begin.Key)
	}
	r.keyFile = cmp.Or(r.keyFile, begin.KeyFile)
	if r.looker.Primary.IsValid() {
		for _, j := range journals {
			for i := range j.Changes {
				j.Changes[i].Detail.Server = r.looker.Primary
			}
		}
	}
	return r.openEditor(ctx, "")
}

// dnsUndoText says what a rollback of journals would put back.
func dnsUndoText(journals []zone.Journal) string {
	var b strings.Builder
	for _, j := range journals {
		fmt.Fprintf(&b, "journal %s, %d of %s begun\n", j.Name, len(j.Changes), status.Count(j.Begin.Total, "change"))
		for _, c := range j.Changes {
			if !c.Undone {
				fmt.Fprintf(&b, "  %s\n", c.Detail)
			}
		}
	}
	return b.String()
}

func (r *dnsRun) answerRollback(result zone.RollbackResult, text string) error {
	return r.Answer(dnsRollbackAnswer{result, len(result.Left) == 0}, text)
}

// dnsJournalAnswer is one of the list of "holdfast dns rollback --list -o json".
type dnsJournalAnswer struct {
	Journal string    `json:"journal"`
	Time    time.Time `json:"time"`
	By      string    `json:"by"`      // rfc2136, designate; empty when it did not come to that
	Changes int       `json:"changes"` // begun
	Total   int       `json:"total"`   // planned
	State   string    `json:"state"`   // applied, stopped, killed, rolled-back
}

func (r *dnsRun) listJournals() error {
	names, err := r.journals().Names()
	if err != nil {
		return err
	}
	all := []dnsJournalAnswer{}
	t := tui.Table{Head: tui.Words("JOURNAL", "BY", "CHANGES", "STATE")}
	for _, name := range names {
		j, err := r.journals().Load(name)
		if err != nil {
			return err
		}
		one := dnsJournalAnswer{name, j.Begin.Time, j.Begin.Detail.By, len(j.Changes), j.Begin.Total, j.State()}
		all = append(all, one)
		t.Add(tui.Plain(name), tui.Plain(one.By), tui.Plain(fmt.Sprintf("%d of %d", one.Changes, one.Total)), tui.Plain(one.State))
	}
	return answerJournals(r.App, all, t, r.journals().Dir)
}
