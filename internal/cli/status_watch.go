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
	"unicode/utf8"

	"golang.org/x/term"

	"holdfast/internal/cloud"
)

// watchInterval is how often "status --watch" looks.
const watchInterval = time.Second

// Control sequences of xterm, which terminals share: the other screen, and the
// cursor. What was on the terminal comes back with the first screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// view gives where stdout is shown.
func (a *app) view() viewport {
	file, ok := a.stdio.Out.(*os.File)
	if !ok || !isTerminal(file) {
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
func (a *app) watchStatus(ctx context.Context, look look) error {
	switch {
	case a.asJSON():
		return everySecond(ctx, look, func(c cloud.Cloud) error { return a.printLine(c) }, nil)
	case !isTerminal(a.stdio.Out):
		return everySecond(ctx, look, func(c cloud.Cloud) error { return a.print(statusText(c, viewport{}) + "\n") }, nil)
	}
	if err := a.print(enterScreen); err != nil {
		return err
	}
	defer io.WriteString(a.stdio.Out, leaveScreen) //nolint:errcheck // the terminal is gone
	return everySecond(ctx, look, func(c cloud.Cloud) error { return a.print(frame(c, a.view())) }, a.suspend)
}

// suspend is what Ctrl-Z does: the terminal is as it was until "fg". The kernel
// may stop this thread a moment after the call, so SIGCONT is waited for.
func (a *app) suspend() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if err := a.print(leaveScreen); err != nil {
		return err
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	<-continued
	return a.print(enterScreen)
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
// Columns that do not fit are left out when there is no room for lines that are
// folded, and what is well when there is still none for all.
func frame(c cloud.Cloud, v viewport) string {
	lines := folded(c, v)
	if len(lines) > v.height {
		v.narrow = true
		lines = folded(c, v)
	}
	if len(lines) > v.height {
		v.brief = true
		lines = folded(c, v)
	}
	if more := len(lines) - v.height; more > 0 && v.height > 1 {
		lines = append(lines[:v.height-1], fmt.Sprintf("... %d more lines; make the window higher", more+1))
	}
	return toTop + strings.Join(lines, clearLine+"\r\n") + clearLine + clearBelow
}

func folded(c cloud.Cloud, v viewport) []string {
	var lines []string
	for line := range strings.Lines(statusText(c, v)) {
		lines = append(lines, fold(strings.TrimRight(line, "\n"), v.width)...)
	}
	return lines
}

// foldIndent is where the text of a finding begins.
const foldIndent = 9

// fold breaks a line of the status at spaces so that no part is wider than width.
func fold(line string, width int) []string { return foldAt(line, width, foldIndent) }

// foldAt breaks a line at spaces so that no part is wider than width; all parts but the
// first are indented.
func foldAt(line string, width, indent int) []string {
	var parts []string
	for visible(line) > width && width > 2*indent {
		at := breakAt(line, width)
		parts = append(parts, strings.TrimRight(line[:at], " "))
		line = strings.Repeat(" ", indent) + strings.TrimLeft(line[at:], " ")
	}
	return append(parts, line)
}

// breakAt gives the byte at which to break line: before the last word that
// ends within width, or in the middle of a word that is wider.
func breakAt(line string, width int) int {
	space, hard := 0, len(line)
	seen := 0
	for i, r := range line {
		if inEscape(line, i) {
			continue
		}
		if seen == width {
			hard = i
			break
		}
		if r == ' ' && strings.TrimLeft(line[:i], " ") != "" {
			space = i
		}
		seen++
	}
	if space > 0 {
		return space
	}
	return hard
}

// inEscape reports whether byte i of line is part of a sequence of paint's.
func inEscape(line string, i int) bool {
	start := strings.LastIndexByte(line[:i+1], '\x1b')
	return start >= 0 && strings.IndexByte(line[start:], 'm')+start >= i
}

// visible gives the number of columns that line takes.
func visible(line string) int {
	n := utf8.RuneCountInString(line)
	for rest := line; ; {
		_, after, ok := strings.Cut(rest, "\x1b[")
		if !ok {
			return n
		}
		sgr, after, _ := strings.Cut(after, "m")
		n -= len("\x1b[") + len(sgr) + len("m")
		rest = after
	}
}
