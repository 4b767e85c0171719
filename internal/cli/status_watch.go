package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/tick"
	"holdfast/internal/web"
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

// watchStatus shows the cloud every second until ctx ends: on a terminal with keys as a screen of its
// own, elsewhere one block, or with JSON one line, after the other.
func (a commands) watchStatus(ctx context.Context, from source) error {
	switch {
	case a.AsJSON():
		return everySecond(ctx, from.look, func(c cloud.Cloud) error { return a.PrintLine(c) })
	case !tui.IsTerminal(a.Stdio.Out) || !tui.IsTerminal(a.Stdio.In) || os.Getenv("TERM") == "dumb":
		return everySecond(ctx, from.look, func(c cloud.Cloud) error { return a.Print(statusText(sight{Cloud: c}, a.view()) + "\n") })
	}
	return a.watchScreen(ctx, from)
}

// watchScreen has the terminal until q, or the end of ctx.
func (a commands) watchScreen(ctx context.Context, from source) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := watchModel{ctx: ctx, view: a.view(), do: watched{
		look: from.look, incidents: from.incidents, drain: a.drainLine, undrain: a.undrainLine, handover: a.handoverLine,
	}}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(a.Stdio.In), tea.WithOutput(a.Stdio.Out), tea.WithoutSignalHandler()).Run()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("show the status: %w", err)
	}
	return nil
}

// drainLine drains a controller as "holdfast drain" does, and says so in a line.
func (a commands) drainLine(ctx context.Context, controller string) (string, error) {
	req := web.DrainRequest{Controller: controller}
	result, err := a.Control().Drain(ctx, req)
	if err != nil {
		return "", drainError(err)
	}
	return drainedText(req, result), nil
}

// undrainLine puts a controller back as "holdfast undrain" does.
func (a commands) undrainLine(ctx context.Context, controller string) (string, error) {
	req := web.DrainRequest{Controller: controller}
	result, err := a.Control().Undrain(ctx, req)
	if err != nil {
		return "", drainError(err)
	}
	return undrainedText(req, result), nil
}

// handoverLine hands a VIP over as "holdfast handover" does.
func (a commands) handoverLine(ctx context.Context, req web.HandoverRequest) (string, error) {
	req.Cause = "asked for by hand"
	result, err := a.Control().Handover(ctx, req)
	if err != nil {
		return "", err
	}
	var said []string
	for _, h := range result.Handovers {
		said = append(said, strings.Trim(h.String()+"; "+h.Warning, "; "))
	}
	return strings.Join(said, "; "), nil
}

// everySecond shows what look finds until ctx ends, which is no error.
func everySecond(ctx context.Context, look look, show func(cloud.Cloud) error) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
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
		if !tick.Next(ctx, ticker) {
			return nil
		}
	}
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
