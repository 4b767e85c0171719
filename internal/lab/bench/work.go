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
	vars := d.variables(holder)
	var w worked
	var said []string
	for _, s := range f.Work[d.bed.system] {
		text, failed, err := d.step(ctx, s, vars)
		if err != nil {
			return done, w, err
		}
		if text != "" && !slices.Contains(said, text) {
			said = append(said, text)
		}
		if failed != "" {
			w.failed = failed
			break
		}
	}
	w.took = time.Since(done.Time)
	done.Done = strings.Join(said, "; ")
	return done, w, nil
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

// step does s, and says what that was, for a person, and why it failed.
func (d *drive) step(ctx context.Context, s Step, vars map[string]string) (text, failed string, err error) {
	switch {
	case s.Pause > 0:
		return "", "", sleep(ctx, s.Pause)
	case s.Renew == RenewProgram:
		d.bed.program, err = lab.UpgradeHAProxy(d.bed.dir(), d.bed.programs)
		vars["PROGRAM"] = d.bed.program
		return "HAProxy's program replaced", "", err
	case s.Renew == RenewCertificate:
		return "certificate replaced", "", lab.RenewCertificate(d.bed.dir(), d.bed.spec.VIPs[0])
	}
	for _, node := range d.nodes(s.On, vars["HOLDER"]) {
		text, failed, err = d.stepOn(ctx, s, node, vars)
		if failed != "" || err != nil {
			return text, failed, err
		}
	}
	if s.On == OnEach && text != "" {
		text = onEach(text, vars["HOLDER"])
	}
	return text, "", nil
}

// onEach makes of what was told of the holder what is told of all.
func onEach(text, holder string) string {
	if before, ok := strings.CutSuffix(text, " on "+holder); ok {
		return before + " on each"
	}
	return strings.Replace(text, "agent of "+holder, "each agent", 1)
}

// nodes gives those that on means: of each controller, holder comes last.
func (d *drive) nodes(on Target, holder string) []string {
	if on != OnEach {
		return []string{holder}
	}
	var all []string
	for _, c := range d.bed.spec.Controllers {
		if c.Name != holder {
			all = append(all, c.Name)
		}
	}
	return append(all, holder)
}

func (d *drive) stepOn(ctx context.Context, s Step, node string, vars map[string]string) (text, failed string, err error) {
	if s.Kind != "" {
		f, err := lab.Inject(ctx, d.bed.dir(), lab.Fault{Kind: s.Kind, Node: node})
		return f.Done, "", err
	}
	args := commandOf(s, vars)
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
