package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/agent"
	"holdfast/internal/asynclog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/status"
	"holdfast/internal/systemd"
)

// agentCommand is "holdfast agent".
func (a commands) agentCommand() *cobra.Command {
	opt := agent.Options{Version: Version()}
	var level slog.Level
	cleanup := false
	cmd := &cobra.Command{
		Use:   "agent --controller NAME",
		Short: "Run the daemon of this controller",
		Long: `Runs the daemon of this controller: starts and watches HAProxy, and owns the
virtual IPs together with the agents of the other controllers.

SIGHUP reads the spec and the keys again; what is wrong with it is said, and changes nothing.
SIGTERM hands the virtual IPs over and leaves HAProxy running. The last agent of
all ends with nobody to take them, and the service with it, unless --keep-address
has it wait for the set-up that is to follow.

What an agent has changed in the kernel it puts back when it ends. One that was
killed, or ended with connections of a planned move still open, may leave some of
it: with --cleanup the command takes that away and ends, while no agent runs.`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opt.Controller == "" {
				return app.Usagef("which controller is this? write --controller NAME, one of those in %s", a.File)
			}
			if a.File == "-" {
				return app.Usagef("the agent reads its spec again at each reload, so it takes a file, not stdin; name one with -f")
			}
			opt.HAProxyNamed = cmd.Flags().Changed("haproxy")
			opt.File, opt.RunDir = a.File, a.RunDir
			if cleanup {
				return a.cleanUp(cmd.Context(), opt, level)
			}
			return a.runAgent(cmd.Context(), opt, level)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opt.Controller, "controller", os.Getenv(app.EnvController), "name of this controller in the spec, else $"+app.EnvController)
	flags.StringVar(&opt.StateDir, "state-dir", app.DefaultStateDir, "directory of what must survive a restart")
	flags.StringVar(&opt.HAProxy, "haproxy", "haproxy", "the HAProxy to run, version 2.4 or later")
	flags.DurationVar(&opt.KeepAddress, "keep-address", 0, "how long an agent that is told to end goes on holding a virtual IP that nobody takes, until another agent or another VRRP router does")
	flags.StringVar(&opt.HAProxyUser, "haproxy-user", "haproxy", `the user that HAProxy's workers become; "root" has them stay root`)
	flags.StringVar(&opt.KeyFile, "key-file", "", "file of the controllers' keys; default: systemd's credential holdfast-key, or /etc/holdfast/key, if there is one")
	flags.BoolVar(&cleanup, "cleanup", false, "run no daemon: take away what one that has ended left in the kernel, and put its settings back")
	flags.Var(&logLevel{&level}, "log-level", "debug, info, warn or error")
	return a.WithRunDir(cmd)
}

// logPatience is how long an agent that ends waits for what takes its log.
const logPatience = time.Second

// runAgent runs the agent until ctx ends, reloading it at each SIGHUP.
func (a commands) runAgent(ctx context.Context, opt agent.Options, level slog.Level) error {
	log := asynclog.New(a.logSink(), func(lines int) []byte {
		var b bytes.Buffer
		a.logger(&b, level).Warn("lines of this log were lost: what takes it stood still", "lines", lines)
		return b.Bytes()
	})
	opt.Log = a.logger(log, level)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	opt.Reload = hangups
	err := agent.New(opt).Run(ctx)
	log.Close(logPatience)
	if bad, ok := errors.AsType[interface {
		error
		Findings() []status.Finding
	}](err); ok {
		for _, f := range bad.Findings() {
			a.Logf("%s", f)
		}
		pauseForManager(ctx)
		return app.Silent(app.ExitUsage)
	}
	if err != nil && wrongUse(err) {
		a.Logf("%v", err)
		pauseForManager(ctx)
		return app.Silent(app.ExitUsage)
	}
	return err
}

// cleanUp takes away what an agent has left.
func (a commands) cleanUp(ctx context.Context, opt agent.Options, level slog.Level) error {
	opt.Log = a.logger(a.logSink(), level)
	result, err := agent.New(opt).CleanUp(ctx)
	if err != nil {
		return err
	}
	if a.AsJSON() {
		return a.PrintJSON(result)
	}
	if len(result.Changes) == 0 {
		return a.Print("nothing is left of an agent here\n")
	}
	return a.Print(strings.Join(result.Changes, "\n") + "\n")
}

// logLevel is the value of --log-level.
type logLevel struct{ *slog.Level }

func (l *logLevel) String() string {
	if l.Level == nil {
		return ""
	}
	return strings.ToLower(l.Level.String())
}

// Set takes one of the levels.
func (l *logLevel) Set(text string) error {
	if l.UnmarshalText([]byte(text)) != nil {
		return errors.New("write debug, info, warn or error")
	}
	return nil
}

// Type is what help calls the value.
func (l *logLevel) Type() string { return "level" }

// managedPause is how long a start with a bad spec takes under a service
// manager, which starts a dead agent again within 100 ms: the log must not be
// flooded, nor the processor kept busy, until somebody mends the file.
const managedPause = 2 * time.Second

func pauseForManager(ctx context.Context) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(managedPause):
	}
}

// logSink is where a daemon's log goes: journald by its own protocol, where stderr leads there.
func (a commands) logSink() io.Writer {
	if isJournal(a.Stdio.Err) {
		return systemd.NewJournalWriter(a.Stdio.Err)
	}
	return a.Stdio.Err
}

// logger gives the log of a daemon: text for a person at a terminal, entries for
// journald, JSON for all else. Its lines go to w, which leads to logSink.
func (a commands) logger(w io.Writer, level slog.Level) *slog.Logger {
	opt := &slog.HandlerOptions{Level: level}
	if tui.IsTerminal(a.Stdio.Err) {
		return slog.New(slog.NewTextHandler(w, opt))
	}
	if isJournal(a.Stdio.Err) {
		return slog.New(systemd.NewJournalHandler(w, level))
	}
	return slog.New(slog.NewJSONHandler(w, opt))
}
