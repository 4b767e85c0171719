package changecmd

import (
	"cmp"
	"context"
	"fmt"

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
	back := rollback[dns.Entry]{
		App: a, what: "hostname", done: "put back", asWere: "as they were",
		head: func(j zone.Journal) string {
			return fmt.Sprintf("%d of %s", len(j.Changes), status.Count(j.Begin.Total, "change"))
		},
		show:   dns.Entry.String,
		column: "BY",
		place: func(row *journalRow, begin dns.Entry) string {
			row.By = &begin.By
			return begin.By
		},
		nobody: []string{},
	}
	var applier *zone.Applier
	back.open = func(ctx context.Context, journals []zone.Journal) (question string, err error) {
		if err = r.openLike(ctx, journals); err == nil {
			applier, err = r.applier()
		}
		return "Put this back?", err
	}
	back.undo = func(ctx context.Context, journals []zone.Journal, force bool) (changelog.RollbackResult, []string, error) {
		result, err := applier.Rollback(ctx, journals, force)
		if err == nil {
			for _, line := range result.Left {
				r.Logf("%s", tui.Printable(line))
			}
		}
		return result.RollbackResult, result.Behind, err
	}
	cmd := &cobra.Command{
		Use:   "rollback [JOURNAL]",
		Short: "Take back what apply did",
		Long: `rollback puts records and TTLs back as they were before an apply, by its journal:
that of the newest apply, or the one named. It works also after an apply that was
killed at any point, can itself be killed and called again, and leaves what somebody
else has changed since, unless --force.

It uses the key file, or the Designate, of the apply, which the journal names; flags
override them. It needs no spec.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			back.journals = r.journals()
			return back.run(cmd.Context(), args, r.readFlags)
		},
	}
	r.addPrimary(cmd)
	flags := cmd.Flags()
	flags.StringVar(&r.keyFile, "key-file", "", "`FILE` with the TSIG key, when it is not that of the apply any more")
	flags.StringVar(&r.key, "key", "", "`NAME` of the key, when it is not that of the apply")
	flags.StringVar(&r.designateURL, "designate-url", "", "`URL` of Designate, when it is not that of the apply any more")
	r.os.Add(cmd)
	r.addStateFlags(cmd)
	back.addFlags(cmd)
	return cmd
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
