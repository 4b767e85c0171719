package changecmd

import (
	"cmp"
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
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/admin"
	"holdfast/internal/status"
)

// endpointsPlan is the command that shows the plan.
const endpointsPlan = "holdfast endpoints plan"

// wayBackTimeout bounds a rollback that an apply does by itself, also when it
// was interrupted.
const wayBackTimeout = 5 * time.Minute

// afterApply is what no look at the catalog shows: keystonemiddleware keeps the
// catalog that came with the service's own token, and goes on asking the
// Keystone of then (seen with Glance 25 and Keystone 22: 401 after 47 s).
const afterApply = `What clients ask for goes through the VIP from now on. The OpenStack services themselves
keep the catalog of their own tokens until these expire, usually an hour: restart them,
one controller after the other, before a host that was named until now goes away.`

// applyFlags are those of "holdfast endpoints apply" alone.
type applyFlags struct {
	planFlags
	autoRollback bool
	wait         time.Duration
}

func endpointsApplyCommand(a *app.App) *cobra.Command {
	r := &endpointsRun{App: a}
	var f applyFlags
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Change the catalog as planned",
		Long: `apply shows the plan, proves through the VIP, by its name, that every service answers
with its own API and that the Keystone there is this one, asks, and then makes one
change at a time, Keystone's own endpoint last. Before each it writes a journal; after
each it verifies that a fresh token has the change and that the URL answers. When
something fails it stops, and offers the way back. At the end it waits until one fresh
token after the other has all changes: each process of Keystone may have a cache.

It refuses when the catalog is not any more as the plan found it.`,
		Example: `  holdfast endpoints plan
  holdfast endpoints apply

  holdfast endpoints apply --plan 99b354f85a04 --yes --auto-rollback`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.apply(cmd.Context(), f) },
	}
	r.addPlanFlags(cmd)
	r.addStateDir(cmd)
	f.add(cmd, endpointsPlan)
	cmd.Flags().BoolVar(&f.autoRollback, "auto-rollback", false, "when something fails, take back what was done, without asking")
	cmd.Flags().DurationVar(&f.wait, "wait", admin.DefaultWait, "how long fresh tokens may have the catalog of before, from Keystone's caches")
	return cmd
}

// applyAnswer is the answer of "holdfast endpoints apply -o json".
type applyAnswer struct {
	Plan    string            `json:"plan"`
	Applied bool              `json:"applied"`
	Changes []keystone.Change `json:"changes"`
	Done    int               `json:"done"` // changes made
	// Unseen are those of them that no token of these credentials shows, each
	// with the reason; the others were seen in a fresh token.
	Unseen []string `json:"unseen"`
	// Behind says that some tokens had the old catalog still, at the end of the wait.
	Behind  string        `json:"behind,omitempty"`
	Proofs  []admin.Proof `json:"proofs"`
	Journal string        `json:"journal,omitempty"` // path
	Error   string        `json:"error,omitempty"`
	// RolledBack is there when the way back was taken.
	RolledBack *changelog.RollbackResult `json:"rolled_back,omitempty"`
}

func (r *endpointsRun) apply(ctx context.Context, f applyFlags) error {
	if err := f.canAsk(r.App, endpointsPlan); err != nil {
		return err
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	plan := r.plan()
	answer := applyAnswer{Plan: plan.ID, Changes: plan.Changes, Proofs: []admin.Proof{}, Unseen: []string{}}
	if err := planFault(plan); err != nil {
		return err
	}
	if err := f.isPlan(plan.ID, "catalog", endpointsPlan); err != nil {
		return err
	}
	if plan.Empty() {
		answer.Applied = true
		return r.Answer(answer, plan.Diff())
	}
	if err := r.tellPlan(ctx, plan, &answer); err != nil {
		return err
	}
	if err := confirm(ctx, r.App, f.yes, fmt.Sprintf("Make %s in the catalog?", status.Count(len(plan.Changes), "change"))); err != nil {
		return err
	}
	return r.makeChanges(ctx, plan, f, answer)
}

// tellPlan shows the plan and what the VIP answers. It fails when that is not
// what has to be there before the catalog names it.
func (r *endpointsRun) tellPlan(ctx context.Context, plan keystone.Plan, answer *applyAnswer) error {
	fmt.Fprint(r.Stdio.Err, planText(plan))
	proofs, err := r.prober.Preflight(ctx, r.client, r.spec, plan)
	if err != nil {
		return fmt.Errorf("prove that the VIP answers: %w", err)
	}
	answer.Proofs = proofs
	fmt.Fprint(r.Stdio.Err, "\n"+tui.PrintableLines(proofsText(proofs)))
	problems := 0
	for _, p := range proofs {
		if p.Problem != "" {
			problems++
		}
	}
	if problems == 0 {
		return nil
	}
	answer.Error = fmt.Sprintf("the VIP does not answer as it has to (%s), so nothing was changed", status.Count(problems, "problem"))
	if r.AsJSON() {
		if err := r.PrintJSON(answer); err != nil {
			return err
		}
	}
	return errors.New(answer.Error)
}

// proofsText shows what was asked through the VIP, a line each, and what is
// wrong below it.
func proofsText(proofs []admin.Proof) string {
	var b strings.Builder
	for _, p := range proofs {
		word := "ok"
		if p.Problem != "" {
			word = "FAILED"
		}
		code := ""
		if p.Code != 0 {
			code = fmt.Sprintf(" %d", p.Code)
		}
		fmt.Fprintf(&b, "%-6s  %-12s %s%s", word, p.Service, p.Request, code)
		if says := cmp.Or(p.Problem, p.Says); says != "" {
			fmt.Fprintf(&b, ": %s", says)
		}
		b.WriteString("\n")
		if p.Problem != "" && p.Remedy != "" {
			fmt.Fprintf(&b, "        %s\n", p.Remedy)
		}
		if p.Warning != "" {
			fmt.Fprintf(&b, "        warning: %s\n", p.Warning)
		}
	}
	return b.String()
}

// makeChanges applies plan and, if that fails, sees to the way back.
func (r *endpointsRun) makeChanges(ctx context.Context, plan keystone.Plan, f applyFlags, answer applyAnswer) error {
	applier := r.applier()
	applier.Wait = f.wait
	result, err := applier.Apply(ctx, plan, r.opt)
	if result.Journal != "" {
		answer.Journal = filepath.Join(r.journals().Dir, result.Journal)
	}
	answer.Unseen, answer.Behind = append([]string{}, result.Unseen...), result.Behind
	stopped, isStopped := errors.AsType[*changelog.StoppedError](err)
	switch {
	case err == nil:
		answer.Applied, answer.Done = true, len(plan.Changes)
		return r.Answer(answer, tui.PrintableLines(madeText(answer))+fmt.Sprintf("journal %s; to take it back: holdfast endpoints rollback%s\n\n%s\n",
			answer.Journal, r.flagsAgain(), afterApply))
	case !isStopped:
		return err
	}
	answer.Done = stopped.Done
	answer.Error = err.Error()
	r.Logf("%v", err)
	back, wayErr := r.wayBack(ctx, f, result.Journal)
	answer.RolledBack = back
	if r.AsJSON() {
		if err := r.PrintJSON(answer); err != nil {
			return err
		}
	}
	if wayErr != nil {
		return wayErr
	}
	if back == nil {
		return fmt.Errorf("stopped after %s; to take back what was done: holdfast endpoints rollback%s", status.Count(stopped.Done, "change"), r.flagsAgain())
	}
	return fmt.Errorf("stopped, and %s taken back: the catalog is as it was", status.Count(back.Undone, "change"))
}

// madeText tells what was made, and what of it is not verified or not everywhere.
func madeText(answer applyAnswer) string {
	text := status.Count(len(answer.Changes), "change") + " made and verified\n"
	if n := len(answer.Unseen); n > 0 {
		text = fmt.Sprintf("%s made, %d of them verified; not seen in a token:\n", status.Count(len(answer.Changes), "change"), len(answer.Changes)-n)
		for _, line := range answer.Unseen {
			text += "  " + line + "\n"
		}
	}
	if answer.Behind != "" {
		text += answer.Behind + "\n"
	}
	return text
}

// wayBack takes back what the journal called name says, if that is wanted; nil
// if not.
func (r *endpointsRun) wayBack(ctx context.Context, f applyFlags, name string) (*changelog.RollbackResult, error) {
	if !f.autoRollback {
		if f.yes || !tui.IsTerminal(r.Stdio.In) || ctx.Err() != nil {
			return nil, nil
		}
		if yes, err := ask(ctx, r.App, "Take back what was done?"); err != nil || !yes {
			return nil, err
		}
	}
	// The way back is taken also when the apply was interrupted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wayBackTimeout)
	defer cancel()
	journal, err := r.journals().Load(name)
	if err != nil {
		return nil, err
	}
	result, err := r.applier().Rollback(ctx, []admin.Journal{journal}, false)
	if err == nil && len(result.Left) > 0 {
		err = leftError(result, endpointChange, takenBack)
	}
	return &result, err
}

// flagsAgain gives the flags that the same Keystone and journals take again.
func (r *endpointsRun) flagsAgain() string {
	var b strings.Builder
	if r.os.Cloud != "" {
		b.WriteString(" --os-cloud " + r.os.Cloud)
	}
	if r.stateDir != app.DefaultStateDir {
		b.WriteString(" --state-dir " + r.stateDir)
	}
	return b.String()
}
