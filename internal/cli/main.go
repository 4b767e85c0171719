// Package cli is the command line: one file per command, the printers for
// people and for programs, and the exit codes that README lists. The
// commands' work is done in the packages below; here it is asked for and told.
//
// Rules for all that is printed: the answer goes to stdout, all else to stderr
// behind "holdfast:". One line an error, lower case, no period, with what to do.
// Plain ASCII; meaning never by colour alone.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"holdfast/internal/lab"
	"holdfast/internal/rollout"
	"holdfast/internal/web"
)

// The exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1 // failed, or unhealthy
	exitUsage  = 2 // usage, or a bad spec
)

// Defaults of the flags that most commands take. Each can be set by an
// environment variable too, which a lab's shell does.
const (
	defaultFile     = "/etc/holdfast/holdfast.yaml"
	defaultRunDir   = "/run/holdfast"
	defaultStateDir = "/var/lib/holdfast"

	envFile   = "HOLDFAST_FILE"
	envRunDir = "HOLDFAST_RUN_DIR"
)

// Stdio is where a command reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is one run of the command: its streams and the flags that all commands share.
type app struct {
	stdio  Stdio
	file   string // -f: the spec
	runDir string // --run-dir
	output string // -o: "" for people, or "json"
}

// exitError carries an exit code with an error. An err of nil says that all
// was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usagef makes an error that ends the command with exit code 2.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// readError makes an error that ends the command with exit code 2, of what was named to
// be read and cannot be; what is what it is called.
func readError(what, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("there is no %s %s", what, name)
	}
	return usagef("read the %s: %w", what, err)
}

// silent ends the command with code; what there was to say has been said.
func silent(code int) error { return &exitError{code, nil} }

// Main runs the command line args and gives the exit code. SIGINT and SIGTERM
// end ctx; a second one kills the process as if it had no handler.
func Main(ctx context.Context, args []string, stdio Stdio) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	a := &app{stdio: stdio}
	root := a.rootCommand()
	root.SetArgs(args)
	return a.exitCode(root.ExecuteContext(ctx))
}

// exitCode says err, unless that was done, and gives the code for it.
func (a *app) exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.err == nil {
			return e.code
		}
		code = e.code
	}
	if wrongUse(err) {
		code = exitUsage
	}
	fmt.Fprintf(a.stdio.Err, "holdfast: %v\n", err)
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
func (a *app) rootCommand() *cobra.Command {
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
	root.SetIn(a.stdio.In)
	root.SetOut(a.stdio.Out)
	root.SetErr(a.stdio.Err)
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.file, "file", "f", envOr(envFile, defaultFile), "spec file")
	flags.StringVarP(&a.output, "output", "o", "", `"json" for programs; default is for people`)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkFlags(cmd); err != nil {
			return err
		}
		if a.output != "" && a.output != "json" && a.output != "text" {
			return usagef("unknown output %q; write -o json, or leave it out", a.output)
		}
		return nil
	}
	root.AddCommand(a.commands()...)
	root.SetHelpCommand(helpCommand())
	root.SetHelpFunc(a.help)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages", fmt.Sprintf("FlagUsagesWrapped %d", helpWidth)))
	addCompletion(root)
	return root
}

// addCompletion adds cobra's "holdfast completion", with the exit codes and the width of
// all else.
func addCompletion(root *cobra.Command) {
	into := map[string]string{
		"bash":       "holdfast completion bash > /etc/bash_completion.d/holdfast",
		"zsh":        `holdfast completion zsh > "${fpath[1]}/_holdfast"`,
		"fish":       "holdfast completion fish > ~/.config/fish/completions/holdfast.fish",
		"powershell": "holdfast completion powershell | Out-String | Invoke-Expression",
	}
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = noSuchSubcommand
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range c.Commands() {
			shell.Args = noArgs
			shell.Long = fmt.Sprintf("Prints the completions of holdfast for %s, which a new shell takes from where its own are.", shell.Name())
			shell.Example = "  " + into[shell.Name()]
		}
	}
}

// helpCommand is "holdfast help", which refuses words that are no command.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Say what a command does",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if about == nil || err != nil || len(rest) > 0 {
				return usagef("there is no command %q; see %q", strings.Join(args, " "), "holdfast --help")
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
	return usagef("unknown command %q; %s", args[0], hint)
}

// withRunDir gives cmd the flag of the commands that talk to the local agent.
func (a *app) withRunDir(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&a.runDir, "run-dir", envOr(envRunDir, defaultRunDir), "directory of the local agent's sockets")
	return cmd
}

// asJSON reports whether the answer is for a program.
func (a *app) asJSON() bool { return a.output == "json" }

// printJSON prints v, indented, on stdout.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdio.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// logf says something beside the answer, on stderr.
func (a *app) logf(format string, args ...any) {
	fmt.Fprintf(a.stdio.Err, "holdfast: "+format+"\n", args...)
}

// isTerminal reports whether stream, one of Stdio's, is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// noArgs is cobra.NoArgs with the exit code of a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, got %q; see %q", cmd.CommandPath(), args[0], cmd.CommandPath()+" --help")
	}
	return nil
}
