// Package cli is the command line: one file per command, and the exit codes that
// README lists. The commands' work is done in the packages below; here it is asked
// for and told. What one call of a command has is package app's, what the terminal
// looks like package tui's.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/lab"
	"holdfast/internal/rollout"
	"holdfast/internal/web"
)

// Stdio is where a command reads and writes.
type Stdio = app.Stdio

// commands has those of one call.
type commands struct{ *app.App }

// Main runs the command line args and gives the exit code. SIGINT and SIGTERM
// end ctx; a second one kills the process as if it had no handler.
func Main(ctx context.Context, args []string, stdio Stdio) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	a := commands{&app.App{Stdio: stdio}}
	root := a.rootCommand()
	root.SetArgs(args)
	return a.exitCode(root.ExecuteContext(ctx))
}

// exitCode says err, unless that was done, and gives the code for it.
func (a commands) exitCode(err error) int {
	if err == nil {
		return app.ExitDone
	}
	code := app.ExitFailed
	if e, ok := errors.AsType[*app.ExitError](err); ok {
		if e.Err == nil {
			return e.Code
		}
		code = e.Code
	}
	if wrongUse(err) {
		code = app.ExitUsage
	}
	fmt.Fprintf(a.Stdio.Err, "holdfast: %v\n", err)
	return code
}

// wrongUse reports whether err is one of what was asked for, found where it is known
// which names and values there are: by the agent, or by a lab.
func wrongUse(err error) bool {
	if e, ok := errors.AsType[*web.ControlError](err); ok && e.Status == http.StatusBadRequest {
		return true
	}
	if _, ok := errors.AsType[*rollout.UsageError](err); ok {
		return true
	}
	_, ok := errors.AsType[*lab.OptionsError](err)
	return ok
}

// rootCommand builds the tree of commands.
func (a commands) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "Keeps the APIs of an OpenStack cloud answering",
		Long: `holdfast keeps the APIs of an OpenStack cloud answering while services crash,
hosts die and operators upgrade. It runs on every controller, drives HAProxy,
owns the virtual IP that clients use, and points the Keystone catalog at it.

Start with "holdfast import", then "holdfast validate", then "holdfast agent"
on each controller. "holdfast lab up" tries it all on this one machine.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.Stdio.In)
	root.SetOut(a.Stdio.Out)
	root.SetErr(a.Stdio.Err)
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.File, "file", "f", app.EnvOr(app.EnvFile, app.DefaultFile), "spec file, else that of $"+app.EnvFile)
	flags.StringVarP(&a.Output, "output", "o", "", `"json" for programs; default is for people`)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkFlags(cmd); err != nil {
			return err
		}
		if a.Output != "" && a.Output != "json" && a.Output != "text" {
			return app.Usagef("unknown output %q; write -o json, or leave it out", a.Output)
		}
		return nil
	}
	root.AddCommand(a.all()...)
	root.SetHelpCommand(helpCommand())
	root.SetHelpFunc(a.help)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages", fmt.Sprintf("FlagUsagesWrapped %d", tui.HelpWidth)))
	addCompletion(root)
	return root
}

// addCompletion adds cobra's "holdfast completion", with the exit codes and the width of
// all else.
func addCompletion(root *cobra.Command) {
	into := map[string]string{
		"bash":       "holdfast completion bash > /etc/bash_completion.d/holdfast",
		"zsh":        "holdfast completion zsh > /usr/local/share/zsh/site-functions/_holdfast",
		"fish":       "holdfast completion fish > ~/.config/fish/completions/holdfast.fish",
		"powershell": "holdfast completion powershell | Out-String | Invoke-Expression",
	}
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = app.NoSuchSubcommand
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range c.Commands() {
			shell.Args = app.NoArgs
			shell.Long = fmt.Sprintf("Prints the completions of holdfast for %s, which a new shell takes from where its own are.", shell.Name())
			shell.Example = "  " + into[shell.Name()]
		}
	}
}

// help says what cmd does. The man pages are of the same words.
func (a commands) help(cmd *cobra.Command, _ []string) {
	out := &tui.FoldingWriter{Out: a.Stdio.Out}
	fmt.Fprintf(out, "%s\n\n", tui.Reflow(cmp.Or(cmd.Long, cmd.Short))) //nolint:errcheck // there is nobody to tell
	io.WriteString(out, cmd.UsageString())                              //nolint:errcheck // see above
}

// helpCommand is "holdfast help", which refuses words that are no command.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Say what a command does",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if about == nil || err != nil || len(rest) > 0 {
				return app.Usagef("there is no command %q; see %q", strings.Join(args, " "), "holdfast --help")
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// noSuchCommand refuses words after "holdfast" that are no command.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := `see "holdfast --help"`
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", near[0])
	}
	return app.Usagef("unknown command %q; %s", args[0], hint)
}
