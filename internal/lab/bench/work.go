package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

// A worked tells of planned work that was done, or not.
type worked struct {
	took   time.Duration
	failed string // why not; empty when it was done
}

// work does the steps of f. That a command fails is a result: what clients saw
// of it counts all the same. An error is one of the lab's.
func (d *drive) work(ctx context.Context, f Fault) (lab.Fault, worked, error) {
	holder, err := d.target(ctx, OnHolder)
	if err != nil {
		return lab.Fault{}, worked{}, err
	}
	d.node = holder
	d.bed.works++
	done := lab.Fault{Kind: f.ID, Node: holder, Time: time.Now()}
	said, w, err := d.steps(ctx, f, false)
	w.took = time.Since(done.Time)
	if w.failed == "" && w.took > f.watch(d.bed.system) {
		w.failed = fmt.Sprintf("it took %s, longer than clients were watched", short(w.took))
	}
	done.Done = said
	return done, w, err
}

// inspect looks whether work was done, when clients are watched no longer.
func (d *drive) inspect(ctx context.Context, f Fault, w *worked) error {
	_, late, err := d.steps(ctx, f, true)
	w.failed = cmp.Or(w.failed, late.failed)
	return err
}

// again has agents read their files anew after work that failed, as an operator
// tries again: what was refused under load would be complained of for ever.
func (d *drive) again(ctx context.Context, deeds []deed) error {
	failed := slices.ContainsFunc(deeds, func(one deed) bool { return one.worked.failed != "" })
	if !failed || d.bed.system != Holdfast {
		return nil
	}
	for _, node := range d.holderLast(d.node) {
		if _, err := lab.Inject(ctx, d.bed.dir(), lab.Fault{Kind: "agent-reload", Node: node}); err != nil {
			return err
		}
	}
	return nil
}

// steps does those of f that are late, or those that are not, up to one that
// fails, and says what was done, for a person.
func (d *drive) steps(ctx context.Context, f Fault, late bool) (string, worked, error) {
	vars := d.variables(d.node)
	var said []string
	for _, s := range f.Work[d.bed.system] {
		if s.Late != late {
			continue
		}
		text, failed, err := d.step(ctx, s, d.node, vars)
		if text != "" && !slices.Contains(said, text) {
			said = append(said, text)
		}
		if failed != "" || err != nil {
			return strings.Join(said, "; "), worked{failed: failed}, err
		}
	}
	return strings.Join(said, "; "), worked{}, nil
}

// variables gives what the commands of steps name with a dollar.
func (d *drive) variables(holder string) map[string]string {
	controllers := d.bed.spec.Controllers
	next := holder
	for i, c := range controllers {
		if c.Name == holder {
			next = controllers[(i+1)%len(controllers)].Name
		}
	}
	return map[string]string{
		"HOLDER": holder, "NEXT": next, "PROGRAM": d.bed.program, "TIMEOUT": strconv.Itoa(60+d.bed.works) + "s",
	}
}

// step does s on node, and says what that was, for a person, and why it failed.
func (d *drive) step(ctx context.Context, s Step, node string, vars map[string]string) (text, failed string, err error) {
	switch {
	case len(s.Each) > 0:
		return d.stepsOnEach(ctx, s.Each, vars)
	case s.Pause > 0:
		return "", "", lab.Sleep(ctx, s.Pause)
	case s.Renew == RenewProgram:
		d.bed.program, err = lab.UpgradeHAProxy(d.bed.dir(), d.bed.programs)
		vars["PROGRAM"] = d.bed.program
		return "HAProxy's program replaced", "", err
	case s.Renew == RenewCertificate:
		return "certificate replaced", "", lab.RenewCertificate(d.bed.dir(), d.bed.spec.VIPs[0])
	case s.Kind != "":
		f, err := lab.Inject(ctx, d.bed.dir(), lab.Fault{Kind: s.Kind, Node: node})
		return f.Done, "", err
	}
	return d.run(ctx, commandOf(s, vars), node)
}

// stepsOnEach does steps on each controller, the holder last.
func (d *drive) stepsOnEach(ctx context.Context, steps []Step, vars map[string]string) (string, string, error) {
	var said []string
	for _, node := range d.holderLast(vars["HOLDER"]) {
		said = nil
		for _, s := range steps {
			text, failed, err := d.step(ctx, s, node, vars)
			if failed != "" || err != nil {
				return text, failed, err
			}
			if text != "" {
				said = append(said, onEach(text, node))
			}
		}
	}
	return strings.Join(said, "; "), "", nil
}

// onEach makes of what was told of one controller what is told of all.
func onEach(text, node string) string {
	if before, ok := strings.CutSuffix(text, " on "+node); ok {
		return before + " on each"
	}
	return strings.Replace(text, "agent of "+node, "each agent", 1)
}

// holderLast gives all controllers, holder last.
func (d *drive) holderLast(holder string) []string {
	var all []string
	for _, c := range d.bed.spec.Controllers {
		if c.Name != holder {
			all = append(all, c.Name)
		}
	}
	return append(all, holder)
}

// run runs a command on node.
func (d *drive) run(ctx context.Context, args []string, node string) (text, failed string, err error) {
	var out, said bytes.Buffer
	code, err := lab.Command{Node: node, Args: args, Stdout: &out, Stderr: &said}.Run(ctx, d.bed.dir())
	if err != nil || code == 0 {
		return wording(args, node), "", err
	}
	why := cmp.Or(firstLine(said.String()), firstLine(out.String()), fmt.Sprintf("exit code %d", code))
	if args[0] == "sh" {
		return "", why + " on " + node, nil
	}
	return wording(args, node), fmt.Sprintf("%s on %s: %s", strings.Join(args, " "), node, strings.TrimPrefix(why, "holdfast: ")), nil
}

// wording tells of a command, for a person; nothing of a shell's.
func wording(args []string, node string) string {
	text := strings.Join(args, " ")
	text = strings.Replace(text, "holdfast lab operate ", "", 1)
	switch {
	case args[0] != "sh":
		return text + " on " + node
	case strings.HasPrefix(args[2], "sed "):
		return "configuration changed on " + node
	}
	return ""
}

// commandOf gives the command of s with what is named in it. A shell's is left
// to the shell.
func commandOf(s Step, vars map[string]string) []string {
	args := slices.Clone(s.Args)
	if args[0] == "sh" {
		for name, value := range vars {
			args[2] = strings.ReplaceAll(args[2], "$"+name, value)
		}
		return args
	}
	for i := range args {
		args[i] = os.Expand(args[i], func(name string) string { return vars[name] })
	}
	return args
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// certificateChanged reports whether new connections at the end of s were shown
// another certificate than before it.
func certificateChanged(all []load.Record, s span) bool {
	before, after := "", ""
	for _, r := range all {
		switch {
		case r.Certificate == "":
		case r.End().Before(s.from):
			before = r.Certificate
		case r.Due.After(s.to.Add(-tail)):
			after = r.Certificate
		}
	}
	return after != "" && after != before
}
