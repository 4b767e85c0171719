package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// priorities writes lines of JSON with the priority before each that journald
// takes off again (sd-daemon(3)): "journalctl -p err" then shows errors, and
// journald counts them apart from what is only told.
type priorities struct {
	levels [4]slog.Handler // of debug, info, warn and error, as the lines of each begin otherwise
}

func newPriorities(w io.Writer, opt *slog.HandlerOptions) priorities {
	var p priorities
	for i, prefix := range []string{"<7>", "<6>", "<4>", "<3>"} {
		p.levels[i] = slog.NewJSONHandler(prefixed{w, prefix}, opt)
	}
	return p
}

func (p priorities) of(level slog.Level) slog.Handler {
	switch {
	case level >= slog.LevelError:
		return p.levels[3]
	case level >= slog.LevelWarn:
		return p.levels[2]
	case level >= slog.LevelInfo:
		return p.levels[1]
	}
	return p.levels[0]
}

// Enabled reports whether lines of level are written.
func (p priorities) Enabled(ctx context.Context, level slog.Level) bool {
	return p.of(level).Enabled(ctx, level)
}

// Handle writes one line.
func (p priorities) Handle(ctx context.Context, r slog.Record) error {
	return p.of(r.Level).Handle(ctx, r)
}

// WithAttrs gives one whose lines have attrs, too.
func (p priorities) WithAttrs(attrs []slog.Attr) slog.Handler {
	for i, h := range p.levels {
		p.levels[i] = h.WithAttrs(attrs)
	}
	return p
}

// WithGroup gives one whose further attributes are in a group.
func (p priorities) WithGroup(name string) slog.Handler {
	for i, h := range p.levels {
		p.levels[i] = h.WithGroup(name)
	}
	return p
}

// prefixed writes prefix before each line, of which it gets one at a time.
type prefixed struct {
	w      io.Writer
	prefix string
}

func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// isJournal reports whether stream leads to journald: systemd tells which file
// does, by its device and inode, in $JOURNAL_STREAM (systemd.exec(5)).
func isJournal(stream any) bool {
	file, ok := stream.(*os.File)
	device, inode, told := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	if !ok || !told {
		return false
	}
	info, err := file.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && device == strconv.FormatUint(s.Dev, 10) && inode == strconv.FormatUint(s.Ino, 10)
}
