package speccmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// diffAnswer is the answer of "holdfast diff -o json".
type diffAnswer struct {
	File   string `json:"file"`
	Digest string `json:"digest,omitempty"` // of the file, when it is valid
	Valid  bool   `json:"valid"`
	// InForce is what the file is held against; nil when nothing is in force.
	InForce  *diffBase        `json:"in_force,omitempty"`
	Changes  []spec.Change    `json:"changes"`
	HAProxy  haproxyEffect    `json:"haproxy"`
	VIPs     []spec.Retake    `json:"vips"`
	Notes    []string         `json:"notes"`
	Findings []status.Finding `json:"findings"`
}

// A diffBase is the spec in force.
type diffBase struct {
	From       string `json:"from"` // "agent" or "last-good"
	Controller string `json:"controller,omitempty"`
	Digest     string `json:"digest"`
	spec       *spec.Spec
}

// A haproxyEffect is what bringing the file into force does to HAProxy.
type haproxyEffect struct {
	// Action is "unchanged", "changed", "reloaded" or "started"; "differs" where
	// there is no agent to tell.
	Action string `json:"action,omitempty"`
	Why    string `json:"why,omitempty"`
}

// diffCommand is "holdfast diff".
func (a commands) diffCommand() *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use:   "diff [FILE]",
		Short: "Show what a spec would change, before it is put in place",
		Long: `diff holds a spec file, by default that of -f, against the one that the local agent
has in force, and says what would change, and what bringing it into force would do
to HAProxy and to the virtual IPs. It changes nothing. What counts is the meaning
of the file, not how it is written. Where no agent runs, the last spec that was in
force is taken from the state directory.

The exit code is 0 when nothing would change or nothing is in force yet, 3 when
something would change, 1 when that could not be found out, and 2 when the file is
bad. "-" reads stdin.`,
		Example: `  holdfast diff
  holdfast diff new.yaml
  git show HEAD:holdfast.yaml | holdfast diff -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return app.Usagef("%s takes one file, got %d; see %q", cmd.CommandPath(), len(args), cmd.CommandPath()+" --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.File = args[0]
			}
			return a.diff(cmd.Context(), stateDir)
		},
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", app.DefaultStateDir, "the agent's directory of what survives a restart")
	return a.WithRunDir(cmd)
}

func (a commands) diff(ctx context.Context, stateDir string) error {
	data, err := a.ReadSpec()
	if err != nil {
		return err
	}
	next, findings := spec.Parse(a.SpecName(), data)
	answer := diffAnswer{
		File: a.SpecName(), Valid: next != nil, Findings: append([]status.Finding{}, findings...),
		Changes: []spec.Change{}, VIPs: []spec.Retake{}, Notes: []string{},
	}
	if next != nil {
		answer.Digest = next.Digest
		if answer.InForce, err = a.inForce(ctx, stateDir); err != nil {
			return err
		}
		answer.compare(next)
		answer.HAProxy = a.effectOnHAProxy(ctx, answer, next, data)
	}
	return a.printDiff(answer)
}

// compare fills in what next would change.
func (d *diffAnswer) compare(next *spec.Spec) {
	if d.InForce == nil {
		return
	}
	old := d.InForce.spec
	d.Changes = append(d.Changes, spec.Diff(old, next)...)
	d.VIPs = append(d.VIPs, spec.Retakes(old, next)...)
	d.Notes = append(d.Notes, diffNotes(old, next)...)
}

// inForce gives the spec in force, of the local agent or else as the last one
// left it; nil when there is none.
func (a commands) inForce(ctx context.Context, stateDir string) (*diffBase, error) {
	base := diffBase{From: "agent"}
	told, err := a.Control().InForce(ctx)
	text := []byte(told.Text)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		a.Logf("%v", err)
		base.From = "last-good"
		text, err = os.ReadFile(filepath.Join(stateDir, "last-good.yaml"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the last spec that was in force: %w", err)
		}
		a.Logf("taking the last spec that was in force from %s", stateDir)
	}
	s, findings := spec.Parse("the spec in force", text)
	if s == nil {
		tui.PrintFindings(a.Stdio.Err, findings)
		return nil, errors.New("this holdfast cannot read the spec in force; is the agent of another version?")
	}
	base.Controller, base.Digest, base.spec = told.Controller, s.Digest, s
	return &base, nil
}

// effectOnHAProxy tells what bringing next, whose text is data, into force does
// to HAProxy. The agent knows it, and what can be known without one is whether
// the configurations differ: what a host brings to both is the same in both.
func (a commands) effectOnHAProxy(ctx context.Context, d diffAnswer, next *spec.Spec, data []byte) haproxyEffect {
	if d.InForce == nil {
		return haproxyEffect{"started", "nothing is in force"}
	}
	if d.InForce.From == "agent" {
		plan, err := a.Control().Plan(ctx, web.PlanRequest{Text: string(data)})
		if err == nil {
			return haproxyEffect{plan.Action, plan.Why}
		}
		a.Logf("the agent does not say what HAProxy needs: %v", err)
	}
	local := haproxy.Local{RunDir: app.DefaultRunDir, StateDir: app.DefaultStateDir}
	if bytes.Equal(haproxy.Render(d.InForce.spec, local).Bytes(), haproxy.Render(next, local).Bytes()) {
		return haproxyEffect{Action: "unchanged"}
	}
	return haproxyEffect{Action: "differs"}
}

// diffNotes gives what an operator has to do beside the reload.
func diffNotes(old, next *spec.Spec) []string {
	var notes []string
	for _, c := range next.Controllers {
		before, both := old.Controller(c.Name)
		switch {
		case !both:
			notes = append(notes, fmt.Sprintf("controller %s is new: start its agent when all others have the file; before that it hears nobody, and takes the VIPs", c.Name))
		case before.Address != c.Address:
			notes = append(notes, fmt.Sprintf("controller %s has another address: restart its agent, which listens on the one before until then", c.Name))
		}
	}
	for _, c := range old.Controllers {
		if _, both := next.Controller(c.Name); !both {
			notes = append(notes, fmt.Sprintf("controller %s goes: stop its agent before the others have the file; after that it hears nobody, and takes the VIPs", c.Name))
		}
	}
	if old.Agent.Port != next.Agent.Port || old.Agent.CheckPort != next.Agent.CheckPort {
		notes = append(notes, "the agents listen on other ports within a second of the reload of each: until all are reloaded, those that are do not hear the others, nor see what they drain")
	}
	return notes
}

// printDiff prints d; it ends the command with exit code 2 when the file is bad, and with
// 3 when it would change something.
func (a commands) printDiff(d diffAnswer) error {
	if a.AsJSON() {
		if err := a.PrintJSON(d); err != nil {
			return err
		}
	} else {
		tui.PrintFindings(a.Stdio.Err, d.Findings)
		if d.Valid {
			if err := a.Print(diffText(d)); err != nil {
				return err
			}
		}
	}
	if len(d.Findings) > 0 {
		a.Logf("%s in %s", tui.CountFindings(d.Findings), d.File)
	}
	switch {
	case !d.Valid:
		return app.Silent(app.ExitUsage)
	case len(d.Changes) > 0:
		return app.Silent(app.ExitDiffer)
	}
	return nil
}

// diffText is d for people.
func diffText(d diffAnswer) string {
	if d.InForce == nil {
		return fmt.Sprintf("nothing is in force here; %s (%s) is valid\n", tui.Printable(d.File), d.Digest)
	}
	of := "the last spec that was in force"
	if d.InForce.From == "agent" {
		of = "the spec in force on " + tui.Printable(d.InForce.Controller)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s (%s) beside %s (%s)\n\n", tui.Printable(d.File), d.Digest, of, d.InForce.Digest)
	switch {
	case d.Digest == d.InForce.Digest:
		out.WriteString("no difference\n")
		return out.String()
	case len(d.Changes) == 0:
		out.WriteString("no difference but the writing\n")
	}
	t := &tui.Table{Head: tui.Words("", "PART", "CHANGE")}
	for _, c := range d.Changes {
		t.Add(changeCells(c)...)
	}
	lines := append(t.Lines(false), "")
	out.WriteString(strings.Join(append(lines, diffEffects(d)...), "\n") + "\n")
	return out.String()
}

// changeCells gives the words of a change: "~", the part, and what of it.
func changeCells(c spec.Change) []tui.Cell {
	switch c.Kind {
	case spec.Added:
		return []tui.Cell{tui.Plain("+"), tui.Plain(c.Subject), tui.Plain(c.New)}
	case spec.Removed:
		return []tui.Cell{tui.Plain("-"), tui.Plain(c.Subject), tui.Plain(c.Old)}
	default:
		return []tui.Cell{tui.Plain("~"), tui.Plain(c.Subject), tui.Plain(fmt.Sprintf("%s: %s -> %s", c.Key, c.Old, c.New))}
	}
}

// diffEffects says what bringing the file into force does.
func diffEffects(d diffAnswer) []string {
	lines := []string{haproxyWords(d.HAProxy)}
	for _, r := range d.VIPs {
		lines = append(lines, retakeWords(r, d.InForce.spec))
	}
	if len(d.VIPs) == 0 {
		lines = append(lines, "VIPs: none is given up")
	}
	for _, n := range d.Notes {
		lines = append(lines, "to do: "+tui.Printable(n))
	}
	return lines
}

func haproxyWords(e haproxyEffect) string {
	words := map[string]string{
		"unchanged": "HAProxy: nothing changes",
		"changed":   "HAProxy: changed while it runs, without a reload",
		"reloaded":  "HAProxy: reloaded, without losing a connection",
		"differs":   "HAProxy: changed while it runs, or reloaded, without losing a connection",
		"started":   "HAProxy: started",
	}[e.Action]
	if e.Why != "" {
		words += ": " + e.Why
	}
	return tui.Printable(words)
}

// retakeWords says what becomes of a VIP, loudly.
func retakeWords(r spec.Retake, old *spec.Spec) string {
	where := "on " + strings.Join(r.Controllers, ", ")
	if len(r.Controllers) == len(old.Controllers) {
		where = "on every controller"
	}
	if r.Gone {
		return tui.Printable(fmt.Sprintf("VIP %s: GIVEN UP %s: ALL ITS CONNECTIONS ARE LOST, and nobody answers at its addresses", r.VIP, where))
	}
	return tui.Printable(fmt.Sprintf("VIP %s: GIVEN UP AND TAKEN ANEW %s, for %s: ALL ITS CONNECTIONS ARE LOST; have all controllers take the file in the same moment",
		r.VIP, where, strings.Join(slices.Sorted(slices.Values(r.Why)), " and ")))
}
