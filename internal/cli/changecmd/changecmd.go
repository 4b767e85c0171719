// Package changecmd is "holdfast endpoints" and "holdfast dns": the commands that
// change something elsewhere by a plan, write a journal of it, and take it back.
// What both do in the same way stands here and in rollback.go; plans, journals
// and changes are made in the packages below internal/keystone and internal/dns.
package changecmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
)

// errUnchanged ends a command whose question was not answered with yes.
var errUnchanged = errors.New("nothing was changed")

// planFlags are those of every apply of a plan.
type planFlags struct {
	yes  bool
	plan string
}

// add gives cmd, which applies the plan that the command called show has, the flags.
func (f *planFlags) add(cmd *cobra.Command, show string) {
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&f.plan, "plan", "", fmt.Sprintf("apply the plan with this `ID`, as %q shows it, or nothing", show))
}

// canAsk refuses an apply that would have to ask where nobody answers.
func (f planFlags) canAsk(a *app.App, show string) error {
	if f.yes || tui.IsTerminal(a.Stdio.In) {
		return nil
	}
	return app.Usagef("apply asks before it changes anything, and there is no terminal to ask on; look at %q, then say --plan ID --yes", show)
}

// isPlan refuses the plan called id where another one was named; what is what it was
// made of, beside the spec and the flags.
func (f planFlags) isPlan(id, what, show string) error {
	if f.plan == "" || f.plan == id {
		return nil
	}
	return fmt.Errorf("the plan is %s now, not %s: the %s, the spec or the flags have changed; see %q", id, f.plan, what, show)
}

// confirm asks, unless yes was said before. It fails when the answer is no.
func confirm(ctx context.Context, a *app.App, yes bool, question string) error {
	if yes {
		return nil
	}
	switch agreed, err := ask(ctx, a, question); {
	case err != nil:
		return fmt.Errorf("%w; %w", err, errUnchanged)
	case !agreed:
		return errUnchanged
	}
	return nil
}

// ask asks on the terminal, and waits for a yes, a no, or the end of ctx.
func ask(ctx context.Context, a *app.App, question string) (bool, error) {
	fmt.Fprintf(a.Stdio.Err, "\n%s [y/N] ", question)
	type reply struct {
		line string
		err  error
	}
	replies := make(chan reply, 1)
	go func() { // it ends with the process when nobody ever answers
		line, err := bufio.NewReader(a.Stdio.In).ReadString('\n')
		replies <- reply{line, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.Stdio.Err)
		return false, fmt.Errorf("no answer: %w", context.Cause(ctx))
	case got := <-replies:
		if got.err != nil && got.line == "" {
			return false, fmt.Errorf("no answer: %w", got.err)
		}
		word := strings.ToLower(strings.TrimSpace(got.line))
		return word == "y" || word == "yes", nil
	}
}
