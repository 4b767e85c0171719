package cli

import (
	"crypto/rand"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/auth"
	"holdfast/internal/auth/keyfile"
	"holdfast/internal/cli/app"
)

// madeKey is the answer of "holdfast key -o json".
type madeKey struct {
	ID   uint8  `json:"id"`
	File string `json:"file,omitempty"`
	// Line is what belongs into a file of keys, where none was written.
	Line string `json:"line,omitempty"`
}

// keyCommand is "holdfast key".
func (a commands) keyCommand() *cobra.Command {
	var id uint8
	cmd := &cobra.Command{
		Use:   "key [FILE]",
		Short: "Make a key for the controllers",
		Long: `Makes a key, with which controllers prove to each other that adverts, commands
and answers are theirs, and writes it into FILE, which must not be there yet and
which only its owner may read. Without FILE the line goes to stdout.

All controllers have the same file. The agent reads /etc/holdfast/key, systemd's
credential "holdfast-key", or what --key-file names, at its start and at each
reload. What is done with the key says "authentication" under "agent" in the spec:
receive-only, then permissive, then strict, each on all controllers before the
next.

The first key of a file signs, unless a line "active_key ID" says another; all of
them are accepted. To change keys: add one to the file of every controller and
reload them all, have it sign on all, and then take the former one away.`,
		Example: `  holdfast key /etc/holdfast/key
  holdfast key --id 2 >> /etc/holdfast/key`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return app.Usagef("%s takes one file, got %q too; see %q", cmd.CommandPath(), args[1], cmd.CommandPath()+" --help")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if id == 0 {
				return app.Usagef("--id is 1 to 255")
			}
			line, err := auth.Generate(rand.Reader, id)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.Answer(madeKey{ID: id, Line: strings.TrimSpace(line)}, line)
			}
			if err := keyfile.Create(args[0], line); err != nil {
				return &app.ExitError{Code: app.ExitUsage, Err: err}
			}
			return a.Answer(madeKey{ID: id, File: args[0]}, args[0]+": a new key "+strings.Fields(line)[1]+"; copy it to every controller, readable by root only\n")
		},
	}
	cmd.Flags().Uint8Var(&id, "id", 1, "number of the key, 1 to 255; each in a file has another")
	return cmd
}
