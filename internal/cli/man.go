package cli

import (
	"fmt"
	"os"
	"time"

	"holdfast/internal/cli/app"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand is "holdfast man DIR", for packagers: a man page of each command.
func (a commands) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the man pages into a directory",
		Hidden: true,
		Args:   exactly(1, "the directory to write into"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if why := app.NoDirectory(args[0]); why != "" {
				return app.Usagef("%s; name a directory", why)
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write the man pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			// A fixed date: the same source makes the same pages.
			date := time.Unix(0, 0).UTC()
			header := &doc.GenManHeader{Title: "HOLDFAST", Section: "8", Source: "holdfast " + Version(), Manual: "holdfast", Date: &date}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("write the man pages: %w", err)
			}
			return nil
		},
	}
}

// exactly is cobra.ExactArgs with the exit code of a usage error; what says
// what the arguments are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return app.Usagef("%s takes %s; see %q", cmd.CommandPath(), what, cmd.CommandPath()+" --help")
		}
		return nil
	}
}
