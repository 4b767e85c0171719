package changecmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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

// dnsApplyFlags are those of "holdfast dns apply" alone.
type dnsApplyFlags struct {
	planFlags
	print bool
}

// dnsPlan is the command that shows the plan.
const dnsPlan = "holdfast dns plan"

func dnsApplyCommand(a *app.App) *cobra.Command {
	r := &dnsRun{App: a}
	var f dnsApplyFlags
	cmd := &cobra.Command{
		Use:   "apply (--key-file FILE | --designate | --print)",
		Short: "Change DNS as planned",
		Long: `apply shows the plan, asks, and then changes one hostname after the other: by a
dynamic update (RFC 2136) that is signed with a TSIG key, or in OpenStack Designate
through its API. --print changes nothing: it prints the lines for those who edit the
zone file by hand.

Before each change it writes a journal; after each it waits until every name server
has it, and at the end it says until when caches may give the old answer. It refuses
when the records are not any more as the plan found them.`,
		Example: `  holdfast dns apply --key-file /etc/holdfast/tsig.key
  holdfast dns apply --designate --os-cloud admin \
    --designate-url http://10.64.20.23:9001
  holdfast dns apply --print

  holdfast dns apply --key-file /etc/holdfast/tsig.key --ttl 60 --ttl-only`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.apply(cmd.Context(), f) },
	}
	r.addLookFlags(cmd)
	r.addWayFlags(cmd)
	r.addStateFlags(cmd)
	cmd.Flags().BoolVar(&f.print, "print", false, "print the lines of the zone file, and change nothing")
	f.add(cmd, dnsPlan)
	return cmd
}

// dnsApplyAnswer is the answer of "holdfast dns apply -o json".
type dnsApplyAnswer struct {
	Plan    string `json:"plan"`
	Applied bool   `json:"applied"`
	zone.ApplyResult
	// Names are as they were before the apply.
	Names []dns.NamePlan `json:"names"`
	// Findings are those after it.
	Findings []status.Finding `json:"findings"`
	Error    string           `json:"error,omitempty"`
}

// checkWay refuses an apply of which it is not known how.
func (r *dnsRun) checkWay(f dnsApplyFlags) error {
	switch {
	case f.print && r.AsJSON():
		return app.Usagef("--print prints lines of a zone file; for JSON see \"holdfast dns plan -o json\"")
	case f.print || r.keyFile != "" && !r.designate:
	case r.keyFile == "" && !r.designate:
		return app.Usagef("how is the zone changed? --key-file FILE: by RFC 2136 with a TSIG key; --designate: through OpenStack Designate; --print: by hand")
	}
	if f.print {
		return nil
	}
	return f.canAsk(r.App, dnsPlan)
}

func (r *dnsRun) apply(ctx context.Context, f dnsApplyFlags) error {
	if err := r.checkWay(f); err != nil {
		return err
	}
	r.byHand = f.print
	if err := r.open(ctx); err != nil {
		return err
	}
	plan, err := r.makePlan(ctx)
	if err != nil {
		return err
	}
	if err := f.isPlan(plan.ID, "records", dnsPlan); err != nil {
		return err
	}
	if f.print {
		fmt.Fprint(r.Stdio.Err, strings.TrimPrefix(tui.ListFindings(plan.Findings), "\n"))
		return errors.Join(r.Print(tui.PrintableLines(plan.ZoneLines())), dnsPlanFault(plan))
	}
	fmt.Fprint(r.Stdio.Err, dnsPlanText(plan))
	if err := errors.Join(dnsPlanFault(plan), r.noPrimary(plan)); err != nil {
		return err
	}
	if plan.Empty() {
		return r.Answer(dnsApplyAnswer{
			Plan: plan.ID, Applied: true, ApplyResult: zone.ApplyResult{Notes: []string{}}, Names: plan.Names, Findings: plan.Findings,
		}, "nothing to change\n")
	}
	if err := confirm(ctx, r.App, f.yes, fmt.Sprintf("Change %s in DNS?", status.Count(len(plan.Changes()), "hostname"))); err != nil {
		return err
	}
	return r.makeChanges(ctx, plan)
}

// noPrimary refuses to update what it is not known where.
func (r *dnsRun) noPrimary(plan dns.Plan) error {
	for _, n := range plan.Changes() {
		if r.api == nil && !n.Primary.IsValid() {
			return fmt.Errorf("it is not known where updates of the zone %s go: the server that its SOA record names has no address; name it by --primary ADDRESS", n.Zone)
		}
	}
	return nil
}

// makeChanges applies plan, looks again, and tells.
func (r *dnsRun) makeChanges(ctx context.Context, plan dns.Plan) error {
	applier, err := r.applier()
	if err != nil {
		return err
	}
	result, failed := applier.Apply(ctx, plan)
	if _, begun := errors.AsType[*changelog.StoppedError](failed); failed != nil && !begun {
		return failed
	}
	answer := dnsApplyAnswer{Plan: plan.ID, Applied: failed == nil, ApplyResult: result, Names: plan.Names, Findings: []status.Finding{}}
	for _, note := range result.Notes {
		r.Logf("%s", tui.Printable(note))
	}
	if failed != nil {
		answer.Error = failed.Error()
		r.Logf("%s", tui.Printable(answer.Error))
		if r.AsJSON() {
			if err := r.PrintJSON(answer); err != nil {
				return err
			}
		}
		return fmt.Errorf("stopped; to take back what was done: holdfast dns rollback%s", r.stateAgain(result.Journal))
	}
	after, err := r.makePlan(ctx)
	if err == nil {
		answer.Findings = after.Findings
	}
	return errors.Join(r.Answer(answer, r.appliedText(answer)), err)
}

// appliedText tells what was done, and until when it is not yet true everywhere.
func (r *dnsRun) appliedText(answer dnsApplyAnswer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s changed, and proved at every name server\n", status.Count(answer.Changed, "hostname"))
	if !answer.Stale.IsZero() {
		fmt.Fprintf(&b, "caches may give the old answer until %s\n", dns.Until(time.Now(), answer.Stale))
	}
	fmt.Fprintf(&b, "journal %s; to take it back: holdfast dns rollback%s\n", filepath.Join(r.journals().Dir, answer.Journal), r.stateAgain(""))
	return b.String() + tui.ListFindings(answer.Findings)
}

// stateAgain gives what finds the same journal again.
func (r *dnsRun) stateAgain(journal string) string {
	if r.stateDir != app.DefaultStateDir {
		return strings.TrimRight(" --state-dir "+r.stateDir+" "+journal, " ")
	}
	return strings.TrimRight(" "+journal, " ")
}
