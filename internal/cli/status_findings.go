package cli

import (
	"fmt"
	"strings"
	"time"

	"holdfast/internal/cli/tui"
	"holdfast/internal/incident"
	"holdfast/internal/status"
)

// findings writes what is wrong, in the order in which to see to it: each with where, what was
// seen, since when, and the first thing to do, on a line of its own to be pasted.
func (s *statusWriter) findings(all []status.Finding) {
	told, left := 0, 0
	for _, f := range all {
		if s.v.less >= texts && f.Action == status.ActNone {
			left++
			continue
		}
		if told++; told == 1 {
			s.line("")
		}
		s.finding(f)
	}
	if left > 0 {
		s.line(fmt.Sprintf("%d more worth knowing: holdfast status", left))
	}
}

func (s *statusWriter) finding(f status.Finding) {
	word, tone := string(f.Severity), tui.Calm
	switch f.Severity {
	case status.Warning:
		tone = tui.Warn
	case status.Error:
		word, tone = "ERROR", tui.Bad
	case status.Info:
	}
	f.Severity = "" // said already
	if s.v.less >= remedies && f.Command != "" {
		f.Remedy = ""
	}
	text := tui.Fold(fmt.Sprintf("%-7s  %s", tui.Cut(tui.Printable(word), 7), tui.Printable(f.String())), s.v.width, min(foldIndent, s.v.width/3))
	if s.v.less >= texts && len(text) > 2 {
		text = append(text[:1:1], tui.Cut(text[1]+" "+strings.TrimSpace(text[2]), s.v.width))
	}
	for i, part := range text {
		if i == 0 && len(part) > 7 {
			part = tui.Paint(strings.TrimRight(part[:7], " "), tone, s.v.colour) + strings.Repeat(" ", 7-len(strings.TrimRight(part[:7], " "))) + part[7:]
		}
		s.out.WriteString(part + "\n")
	}
	s.aside(f)
}

// aside writes since when f is so, where more is told, and the command.
func (s *statusWriter) aside(f status.Finding) {
	pad := strings.Repeat(" ", foldIndent)
	var parts []string
	if !f.Since.IsZero() {
		parts = append(parts, "since "+s.since(f.Since))
	}
	if f.See != "" {
		parts = append(parts, tui.Printable(f.See))
	}
	if len(parts) > 0 {
		s.line(pad + strings.Join(parts, "; "))
	}
	if f.Command == "" {
		return
	}
	for _, line := range tui.FoldCommand(tui.Printable(f.Command), s.v.width, foldIndent) {
		s.out.WriteString(line + "\n")
	}
}

const (
	// latelyFor is how long after its end an incident is told of, and latelyMost how many are.
	latelyFor  = time.Hour
	latelyMost = 3
)

// ofLate gives the incidents that go on or ended of late, the newest first.
func ofLate(all []incident.Incident, now time.Time) []incident.Incident {
	var lately []incident.Incident
	for i := len(all) - 1; i >= 0 && len(lately) < latelyMost; i-- {
		if in := all[i]; in.State == incident.Open || now.Sub(in.End) < latelyFor {
			lately = append(lately, in)
		}
	}
	return lately
}

// lately tells of incidents: what happened, and what clients felt.
func (s *statusWriter) lately() {
	most := latelyMost
	switch {
	case s.v.less >= texts:
		most = 0
	case s.v.less >= remedies:
		most = 1
	}
	for i, in := range s.c.lately {
		if i == most {
			break
		}
		if i == 0 {
			s.line("")
		}
		how := "goes on"
		if in.State == incident.Over {
			how = "over after " + status.Brief(in.Duration)
		}
		text := "lately   " + in.Begin.UTC().Format("15:04:05") + " " + tui.Printable(in.Text) + ", " + how
		if in.Cost != nil {
			text += "; clients: " + in.Cost.Words()
		}
		if s.v.less < remedies && in.By != "" {
			text += "; by " + tui.Printable(in.By)
		}
		s.line(text)
	}
}
