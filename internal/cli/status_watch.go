package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
)

// watchInterval is how often "status --watch" looks.
const watchInterval = time.Second

// view gives where stdout is shown.
func (a commands) view() viewport {
	file, ok := a.Stdio.Out.(*os.File)
	if !ok || !tui.IsTerminal(file) {
		return viewport{}
	}
	v := viewport{colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if width, height, err := term.GetSize(int(file.Fd())); err == nil {
		v.width, v.height = width, height
	}
	return v
}

// watchStatus shows the cloud every second until ctx ends: on a terminal in
// place, elsewhere one block, or with JSON one line, after the other.
func (a commands) watchStatus(ctx context.Context, from source) error {
	look := from.look
	switch {
	case a.AsJSON():
		return everySecond(ctx, look, func(c cloud.Cloud) error { return a.PrintLine(c) }, nil)
	case !tui.IsTerminal(a.Stdio.Out):
		return everySecond(ctx, look, func(c cloud.Cloud) error { return a.Print(statusText(sight{Cloud: c}, viewport{}) + "\n") }, nil)
	}
	if err := a.Print(tui.EnterScreen); err != nil {
		return err
	}
	defer io.WriteString(a.Stdio.Out, tui.LeaveScreen) //nolint:errcheck // the terminal is gone
	return everySecond(ctx, look, func(c cloud.Cloud) error { return a.Print(frame(sight{Cloud: c}, a.view())) }, a.suspend)
}

// suspend is what Ctrl-Z does: the terminal is as it was until "fg". The kernel
// may stop this thread a moment after the call, so SIGCONT is waited for.
func (a commands) suspend() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if err := a.Print(tui.LeaveScreen); err != nil {
		return err
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	<-continued
	return a.Print(tui.EnterScreen)
}

// everySecond shows what look finds until ctx ends, which is no error. A
// suspend that is not nil is what to do at SIGTSTP.
func everySecond(ctx context.Context, look look, show func(cloud.Cloud) error, suspend func() error) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	stops := make(chan os.Signal, 1)
	if suspend != nil {
		signal.Notify(stops, syscall.SIGTSTP)
		defer signal.Stop(stops)
	}
	for {
		all, err := look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = show(all)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-stops:
			if err := suspend(); err != nil {
				return err
			}
		case <-ticker.C:
		}
	}
}

// frame gives what to write to a terminal so that it shows c and nothing else.
func frame(c sight, v viewport) string {
	return tui.ToTop + strings.Join(screen(c, v), tui.ClearLine+"\r\n") + tui.ClearLine + tui.ClearBelow
}

// screen gives the lines of c that a terminal has room for, and leaves out no more than it must.
func screen(c sight, v viewport) []string {
	lines := linesOf(c, v)
	for ; len(lines) > v.height && v.less < texts; lines = linesOf(c, v) {
		v.less++
	}
	if more := len(lines) - v.height; more > 0 && v.height > 1 {
		lines = append(lines[:v.height-1], tui.Cut(fmt.Sprintf("... %d more lines; make the window higher", more+1), v.width))
	}
	return lines
}

func linesOf(c sight, v viewport) []string {
	return strings.Split(strings.TrimSuffix(statusText(c, v), "\n"), "\n")
}

// foldIndent is where the text of a finding begins.
const foldIndent = 9
