package systemd

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// identifier is what journald calls lines of the agent, by which journalctl -t finds them.
const identifier = "holdfast"

// kindKey is the attribute that has the kind of an event.
const kindKey = "event"

// MessageID is what journald knows events of a kind by, and its catalog explains them by: 32
// hex digits, the same in all releases.
func MessageID(kind string) string {
	sum := sha256.Sum256([]byte("holdfast event " + kind))
	return fmt.Sprintf("%x", sum[:16])
}

// An entry is one of journald's on its way there.
type entry struct {
	Priority journal.Priority  `json:"priority"`
	Message  string            `json:"message"`
	Fields   map[string]string `json:"fields"`
}

// A JournalHandler makes an entry of journald's of each record: its text is the message, and
// each of its attributes a field, as HOLDFAST_SUBJECT; a duration is in nanoseconds, in one
// whose name ends in _NS. Events have the MESSAGE_ID of their kind.
type JournalHandler struct {
	w      io.Writer
	level  slog.Leveler
	group  string
	fields []field
}

type field struct{ name, value string }

// NewJournalHandler has entries of level and above be written to w, one by each Write, in the
// form that a JournalWriter takes; something that waits for nobody may be in between.
func NewJournalHandler(w io.Writer, level slog.Leveler) *JournalHandler {
	return &JournalHandler{w: w, level: level}
}

// Enabled reports whether records of level are written.
func (h *JournalHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// WithAttrs gives one whose entries have attrs, too.
func (h *JournalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.fields = append([]field{}, h.fields...)
	for _, a := range attrs {
		next.fields = appendFields(next.fields, h.group, a)
	}
	return &next
}

// WithGroup gives one whose further attributes begin with name.
func (h *JournalHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.group = h.group + name + "_"
	return &next
}

// Handle writes one entry.
func (h *JournalHandler) Handle(_ context.Context, r slog.Record) error {
	var own []field
	r.Attrs(func(a slog.Attr) bool {
		own = appendFields(own, h.group, a)
		return true
	})
	e := entry{Priority: priority(r.Level), Message: message(r.Message, append(h.saying(), own...)), Fields: map[string]string{"SYSLOG_IDENTIFIER": identifier}}
	for _, f := range append(append([]field{}, h.fields...), own...) {
		e.Fields[fieldName(f.name)] = f.value
		if f.name == kindKey {
			e.Fields["MESSAGE_ID"] = MessageID(f.value)
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	_, err = h.w.Write(line)
	return err
}

// saying gives those of the logger's own fields that a line does not make sense without: all
// but who writes it, which journalctl shows.
func (h *JournalHandler) saying() []field {
	var all []field
	for _, f := range h.fields {
		if f.name != "controller" && f.name != "component" {
			all = append(all, f)
		}
	}
	return all
}

func priority(level slog.Level) journal.Priority {
	switch {
	case level >= slog.LevelError:
		return journal.PriErr
	case level >= slog.LevelWarn:
		return journal.PriWarning
	case level >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}

// appendFields adds what a is, by the names of the groups it is in. What is empty is left out.
func appendFields(all []field, group string, a slog.Attr) []field {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindGroup:
		if a.Key != "" {
			group += a.Key + "_"
		}
		for _, one := range value.Group() {
			all = appendFields(all, group, one)
		}
		return all
	case slog.KindDuration:
		if value.Duration() == 0 {
			return all
		}
		return append(all, field{group + a.Key + "_ns", strconv.FormatInt(value.Duration().Nanoseconds(), 10)})
	default:
		if text := value.String(); text != "" {
			all = append(all, field{group + a.Key, text})
		}
		return all
	}
}

// fieldName gives HOLDFAST_SUBJECT for "subject": journald takes capitals, digits and "_".
func fieldName(name string) string {
	return "HOLDFAST_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// message gives what a person reads who asks for no fields: of an event its text, why, and who
// asked for it; of all else the text with what belongs to it.
func message(text string, own []field) string {
	of := map[string]string{}
	for _, f := range own {
		of[f.name] = f.value
	}
	if of[kindKey] == "" {
		return text + words(own)
	}
	if of["cause"] != "" {
		text += " (" + of["cause"] + ")"
	}
	if of["by"] != "" {
		text += ", asked for by " + of["by"]
	}
	return text
}

// words gives " name=value" of each.
func words(all []field) string {
	var b strings.Builder
	for _, f := range all {
		name, value := f.name, f.value
		if short, is := strings.CutSuffix(name, "_ns"); is {
			if ns, err := strconv.ParseInt(value, 10, 64); err == nil {
				name, value = short, time.Duration(ns).String()
			}
		}
		if strings.ContainsAny(value, " \t\n\"=") {
			value = strconv.Quote(value)
		}
		fmt.Fprintf(&b, " %s=%s", name, value)
	}
	return b.String()
}

// A JournalWriter sends journald what a JournalHandler has written, one entry by each Write. It
// may wait for journald.
type JournalWriter struct {
	instead io.Writer
	send    func(message string, p journal.Priority, fields map[string]string) error
}

// NewJournalWriter gives one that has what journald does not take be written to instead, which
// leads there, too, with the priorities of sd-daemon(3).
func NewJournalWriter(instead io.Writer) *JournalWriter {
	return &JournalWriter{instead: instead, send: journal.Send}
}

// Write sends one entry.
func (w *JournalWriter) Write(line []byte) (int, error) {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return 0, fmt.Errorf("send to the journal: %w", err)
	}
	if w.send(e.Message, e.Priority, e.Fields) == nil {
		return len(line), nil
	}
	if _, err := fmt.Fprintf(w.instead, "<%d>%s\n", e.Priority, strings.ReplaceAll(e.Message, "\n", " ")); err != nil {
		return 0, err
	}
	return len(line), nil
}
