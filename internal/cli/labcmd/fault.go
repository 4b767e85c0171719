package labcmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/lab"
)

func (a commands) faultCommand() *cobra.Command {
	var name string
	var list bool
	cmd := &cobra.Command{
		Use:   "fault [--name NAME] FAULT [ARGUMENT...]",
		Short: "Break something in a lab, or mend it",
		Long: `fault injects one fault, or ends it; "holdfast lab fault --list" has them all.
NODE may be "holder": the controller that has the address. A partition takes
two sets of nodes or more: "holdfast lab fault partition ctl1 ctl2,ctl3". A service
can be as busy as real ones are: "holdfast lab fault busy 8x100ms ctl1 keystone".`,
		ValidArgsFunction: completeFault,
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return a.listFaults()
			}
			fault, err := parseFault(args)
			if err != nil {
				return err
			}
			dir, err := lab.Find(cmd.Context(), name)
			if err != nil {
				return err
			}
			done, err := lab.Inject(cmd.Context(), dir, fault)
			if err != nil {
				return err
			}
			if a.AsJSON() {
				return a.PrintJSON(done)
			}
			_, err = fmt.Fprintln(a.Stdio.Out, done.Done)
			return err
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "print all faults")
	return withName(cmd, &name)
}

// completeFault offers the faults and then, as a node, the one that is wanted most.
func completeFault(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var all []string
	switch len(args) {
	case 0:
		for _, k := range lab.FaultKinds() {
			all = append(all, k.Name+"\t"+k.Text)
		}
	case 1:
		all = []string{"holder\tthe controller that has the address"}
	}
	return slices.DeleteFunc(all, func(one string) bool { return !strings.HasPrefix(one, begun) }), cobra.ShellCompDirectiveNoFileComp
}

func (a commands) listFaults() error {
	if a.AsJSON() {
		return a.PrintJSON(lab.FaultKinds())
	}
	for _, k := range lab.FaultKinds() {
		if err := a.Print(faultLines(k)); err != nil {
			return err
		}
	}
	return nil
}

// faultColumn is where it says what a fault does, below its name where that is long.
const faultColumn = 33

// faultLines tells of a fault: its name with what it takes, and what it does.
func faultLines(k lab.FaultKind) string {
	name, column := k.Name+" "+k.Args, strings.Repeat(" ", faultColumn)
	line := fmt.Sprintf("%-*s%s", faultColumn, name, k.Text)
	text := ""
	if len(name) >= faultColumn {
		text, line = name+"\n", column+k.Text
	}
	return text + strings.Join(tui.Fold(line, tui.HelpWidth, faultColumn), "\n") + "\n"
}

// parseFault reads the words of "lab fault".
func parseFault(args []string) (lab.Fault, error) {
	if len(args) == 0 {
		return lab.Fault{}, app.Usagef(`name a fault; "holdfast lab fault --list" has them`)
	}
	kinds := lab.FaultKinds()
	i := slices.IndexFunc(kinds, func(k lab.FaultKind) bool { return k.Name == args[0] })
	if i < 0 {
		return lab.Fault{}, app.Usagef(`unknown fault %q; "holdfast lab fault --list" has them`, args[0])
	}
	f, rest := lab.Fault{Kind: args[0]}, args[1:]
	wrong := app.Usagef("%s takes: %s", args[0], strings.TrimSpace(args[0]+" "+kinds[i].Args))
	switch kinds[i].Args {
	case "":
		if len(rest) > 0 {
			return f, wrong
		}
	case "SET SET...":
		for set := range strings.SplitSeq(strings.Join(rest, "|"), "|") {
			f.Sets = append(f.Sets, strings.Split(set, ","))
		}
		if len(f.Sets) < 2 {
			return f, wrong
		}
	default:
		if !fillFault(&f, strings.Fields(kinds[i].Args), rest) {
			return f, wrong
		}
	}
	return f, nil
}

// fillFault gives each of words its place in f, by the name that it has in the
// usage, and reports whether there are neither too few nor too many.
func fillFault(f *lab.Fault, names, words []string) bool {
	for i, name := range names {
		if i == len(words) {
			return strings.HasPrefix(name, "[")
		}
		switch strings.Trim(name, "[]") {
		case "NODE", "FROM":
			f.Node = words[i]
		case "TO":
			f.To = words[i]
		case "SERVICE":
			f.Service = words[i]
		default: // PERCENT, DURATION, PERIOD
			f.Value = words[i]
		}
	}
	return len(words) <= len(names)
}
