// Package changecmd is "holdfast endpoints" and "holdfast dns": the commands that
// change something elsewhere by a plan, write a journal of it, and take it back.
// Plans, journals and changes are made in the packages below internal/keystone and
// internal/dns.
package changecmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/changelog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
)

// errUnchanged ends a command whose question was not answered with yes.
var errUnchanged = errors.New("nothing was changed")

// rollbackFlags are those of every rollback.
type rollbackFlags struct {
	yes, force, list bool
}

// add gives cmd the flags, and the one argument that it may have.
func (f *rollbackFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	flags.BoolVar(&f.force, "force", false, "put back also what somebody else has changed since")
	flags.BoolVar(&f.list, "list", false, "list the journals")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return app.Usagef("rollback takes one journal, got %d", len(args))
		}
		return nil
	}
}

// noSuchJournal says that the journal name, one in dir or a path, is not there; list is
// the command that has those that are.
func noSuchJournal(dir, name, list string) error {
	if !strings.ContainsRune(name, filepath.Separator) {
		name = filepath.Join(dir, name)
	}
	return app.Usagef("there is no journal %s; %q has those that there are", name, list)
}

// canAsk refuses a rollback that would have to ask where nobody answers.
func (f rollbackFlags) canAsk(a *app.App) error {
	if f.yes || tui.IsTerminal(a.Stdio.In) {
		return nil
	}
	return app.Usagef("rollback asks before it changes anything, and there is no terminal to ask on; say --yes")
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

// answerJournals prints those there are: all for programs, t for people.
func answerJournals(a *app.App, all any, t tui.Table, dir string) error {
	lines := t.Lines(false)
	if len(lines) == 0 {
		lines = []string{"no journal in " + dir}
	}
	return a.Answer(map[string]any{"journals": all}, strings.Join(lines, "\n")+"\n")
}

// toUndo gives the journal named, or the newest with something to undo and what
// it goes on with.
func toUndo[D changelog.Detail[D]](journals changelog.Folder[D], args []string) ([]changelog.Journal[D], error) {
	if len(args) == 0 {
		return journals.Latest()
	}
	one, err := journals.Load(args[0])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSuchJournal(journals.Dir, args[0], journals.Command+" rollback --list")
	}
	if err != nil || !one.Undoable() {
		return nil, err
	}
	return []changelog.Journal[D]{one}, nil
}
