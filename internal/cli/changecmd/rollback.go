package changecmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/changelog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/status"
)

// A rollback takes back what an apply of changes of kind D did.
type rollback[D changelog.Detail[D]] struct {
	*app.App
	journals changelog.Folder[D]
	// open gets hold of what takes journals back, and gives the question to ask.
	open func(ctx context.Context, journals []changelog.Journal[D]) (question string, err error)
	// undo takes them back. Behind says who has not taken up what was put back; it is
	// nil where nobody can be behind, and so is nobody.
	undo   func(ctx context.Context, journals []changelog.Journal[D], force bool) (result changelog.RollbackResult, behind []string, err error)
	nobody []string
	// head says what a journal is, and show what a change of it was.
	head func(changelog.Journal[D]) string
	show func(D) string
	// what is a change in a word, done what was done to it, and asWere how the others are.
	what, done, asWere string
	// place says where, or by what, a journal's changes were made, and sets it in its
	// row. It is in a column called column.
	column string
	place  func(row *journalRow, begin D) string

	yes, force, list bool
}

// addFlags gives cmd the flags, and the one argument that it may have.
func (r *rollback[D]) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&r.yes, "yes", false, "do not ask")
	flags.BoolVar(&r.force, "force", false, "put back also what somebody else has changed since")
	flags.BoolVar(&r.list, "list", false, "list the journals")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return app.Usagef("rollback takes one journal, got %d", len(args))
		}
		return nil
	}
}

// rolledBack is the answer of a rollback with -o json.
type rolledBack struct {
	changelog.RollbackResult
	Behind     []string `json:"behind,omitzero"` // of DNS
	RolledBack bool     `json:"rolled_back"`
}

// run takes back the journal that args name, or the newest with what it goes on with.
// Ready reads flags that the others of the command need.
func (r *rollback[D]) run(ctx context.Context, args []string, ready func() error) error {
	if r.list {
		return r.listJournals()
	}
	if !r.yes && !tui.IsTerminal(r.Stdio.In) {
		return app.Usagef("rollback asks before it changes anything, and there is no terminal to ask on; say --yes")
	}
	if err := ready(); err != nil {
		return err
	}
	journals, err := r.toUndo(args)
	if err != nil {
		return err
	}
	if len(journals) == 0 {
		none := changelog.RollbackResult{Journals: []string{}, Left: []string{}}
		return r.answer(none, r.nobody, "nothing to roll back\n")
	}
	question, err := r.open(ctx, journals)
	if err != nil {
		return err
	}
	fmt.Fprint(r.Stdio.Err, tui.PrintableLines(r.text(journals)))
	if err := confirm(ctx, r.App, r.yes, question); err != nil {
		return err
	}
	result, behind, err := r.undo(ctx, journals, r.force)
	if err != nil {
		return fmt.Errorf("%w; what is done is in the journal, call rollback again to go on", err)
	}
	return r.tell(result, behind)
}

// tell says what a rollback did.
func (r *rollback[D]) tell(result changelog.RollbackResult, behind []string) error {
	text := fmt.Sprintf("rolled back: %s %s, %d %s\n", status.Count(result.Undone, r.what), r.done, result.AsWere, r.asWere)
	for _, line := range behind {
		r.Logf("%s", tui.Printable(line))
	}
	switch {
	case len(result.Left) > 0:
		return errors.Join(r.answer(result, behind, ""), leftError(result, r.what, r.done))
	case len(behind) > 0:
		return errors.Join(r.answer(result, behind, text), errors.New("not every name server has it yet, see above; \"holdfast dns plan\" shows it"))
	}
	return r.answer(result, behind, text)
}

func (r *rollback[D]) answer(result changelog.RollbackResult, behind []string, text string) error {
	return r.Answer(rolledBack{result, behind, len(result.Left) == 0}, text)
}

// leftError says that changes, each a what, could not be done so.
func leftError(result changelog.RollbackResult, what, done string) error {
	return fmt.Errorf("%s could not be %s, see above", status.Count(len(result.Left), what), done)
}

// text says what a rollback of journals would put back.
func (r *rollback[D]) text(journals []changelog.Journal[D]) string {
	var b strings.Builder
	for _, j := range journals {
		fmt.Fprintf(&b, "journal %s, %s begun\n", j.Name, r.head(j))
		for _, c := range j.Changes {
			if !c.Undone {
				fmt.Fprintf(&b, "  %s\n", r.show(c.Detail))
			}
		}
	}
	return b.String()
}

// toUndo gives the journal named, or the newest with something to undo and what
// it goes on with.
func (r *rollback[D]) toUndo(args []string) ([]changelog.Journal[D], error) {
	if len(args) == 0 {
		return r.journals.Latest()
	}
	name := args[0]
	one, err := r.journals.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		if !strings.ContainsRune(name, filepath.Separator) {
			name = filepath.Join(r.journals.Dir, name)
		}
		return nil, app.Usagef("there is no journal %s; %q has those that there are", name, r.journals.Command+" rollback --list")
	}
	if err != nil || !one.Undoable() {
		return nil, err
	}
	return []changelog.Journal[D]{one}, nil
}

// A journalRow is one of the list of "rollback --list -o json".
type journalRow struct {
	Journal string    `json:"journal"`
	Time    time.Time `json:"time"`
	Region  *string   `json:"region,omitempty"` // of endpoints
	By      *string   `json:"by,omitempty"`     // of DNS: rfc2136, designate; empty when it did not come to that
	Changes int       `json:"changes"`          // begun
	Total   int       `json:"total"`            // planned
	State   string    `json:"state"`            // applied, stopped, killed, rolled-back
}

func (r *rollback[D]) listJournals() error {
	names, err := r.journals.Names()
	if err != nil {
		return err
	}
	all := []journalRow{}
	t := tui.Table{Head: tui.Words("JOURNAL", r.column, "CHANGES", "STATE")}
	for _, name := range names {
		j, err := r.journals.Load(name)
		if err != nil {
			return err
		}
		row := journalRow{Journal: name, Time: j.Begin.Time, Changes: len(j.Changes), Total: j.Begin.Total, State: j.State()}
		place := r.place(&row, j.Begin.Detail)
		all = append(all, row)
		t.Add(tui.Plain(name), tui.Plain(place), tui.Plain(fmt.Sprintf("%d of %d", row.Changes, row.Total)), tui.Plain(row.State))
	}
	lines := t.Lines(false)
	if len(lines) == 0 {
		lines = []string{"no journal in " + r.journals.Dir}
	}
	return r.Answer(map[string]any{"journals": all}, strings.Join(lines, "\n")+"\n")
}
