package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// sent has a log's entries as journald gets them: "priority message", and the fields.
type sent struct {
	lines  []string
	fields []map[string]string
	fails  error
}

func (s *sent) take(message string, p journal.Priority, fields map[string]string) error {
	if s.fails != nil {
		return s.fails
	}
	s.lines = append(s.lines, fmt.Sprintf("%d %s", p, message))
	s.fields = append(s.fields, fields)
	return nil
}

func journalLog(to *sent, instead *bytes.Buffer) *slog.Logger {
	w := NewJournalWriter(instead)
	w.send = to.take
	return slog.New(NewJournalHandler(w, slog.LevelInfo))
}

// TestJournal has each record be an entry with its priority, and what it has be fields.
func TestJournal(t *testing.T) {
	var to sent
	log := journalLog(&to, nil).With("controller", "ctl1", "component", "vrrp")
	log.Debug("not written")
	log.Info("took vip api", "event", "vip-active", "subject", "vip api", "cause", "no advert from ctl2", "took", 62*time.Millisecond, "by", "")
	log.Warn("not kept", "error", errors.New("no space left"), "tries", 3)
	log.WithGroup("of").Error("two\nlines", slog.Group("vip", "name", "api"))
	want := []string{"6 took vip api (no advert from ctl2)", `4 not kept error="no space left" tries=3`, "3 two\nlines of_vip_name=api"}
	if !slices.Equal(to.lines, want) {
		t.Fatalf("%q, want %q", to.lines, want)
	}
	for i, want := range []map[string]string{
		{
			"MESSAGE_ID": MessageID("vip-active"), "HOLDFAST_EVENT": "vip-active", "HOLDFAST_SUBJECT": "vip api",
			"HOLDFAST_CAUSE": "no advert from ctl2", "HOLDFAST_TOOK_NS": "62000000",
		},
		{"HOLDFAST_ERROR": "no space left", "HOLDFAST_TRIES": "3"},
		{"HOLDFAST_OF_VIP_NAME": "api"},
	} {
		want["SYSLOG_IDENTIFIER"], want["HOLDFAST_CONTROLLER"], want["HOLDFAST_COMPONENT"] = "holdfast", "ctl1", "vrrp"
		if !maps.Equal(to.fields[i], want) {
			t.Errorf("%s has %v, want %v", to.lines[i], to.fields[i], want)
		}
	}
}

// TestNoJournal writes to stderr what journald does not take.
func TestNoJournal(t *testing.T) {
	var instead bytes.Buffer
	journalLog(&sent{fails: errors.New("no such file")}, &instead).Warn("two\nlines", "n", 1)
	if got, want := instead.String(), "<4>two lines n=1\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := NewJournalWriter(&instead).Write([]byte("what is no entry")); err == nil {
		t.Error("what is no entry is taken")
	}
}

// TestFieldNames has journald take the name of each field, whatever the attribute is called.
func TestFieldNames(t *testing.T) {
	for name, want := range map[string]string{"vip": "HOLDFAST_VIP", "of_vip": "HOLDFAST_OF_VIP", "a-b c.é": "HOLDFAST_A_B_C__"} {
		if got := fieldName(name); got != want || strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// TestMessageIDsStay holds one of the ids, which others may have written down.
func TestMessageIDsStay(t *testing.T) {
	if got := MessageID("vip-active"); got != "917a2c377abbda701af5e2abad23e541" {
		t.Errorf("it is %s", got)
	}
}
