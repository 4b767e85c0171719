package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Brief gives d as a person reads it, with two places that matter: "0.4ms",
// "41ms", "1.2s", "41s", "39m", "2h5m", "3d4h". Less than nothing is "0s".
func Brief(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// Age gives the time from since to now in Brief's words, in whole seconds; ""
// when since is unknown.
func Age(now, since time.Time) string {
	if since.IsZero() {
		return ""
	}
	d := now.Sub(since).Truncate(time.Second)
	if d < 10*time.Second {
		return fmt.Sprintf("%ds", int(max(0, d).Seconds()))
	}
	return Brief(d)
}

// Count gives n of what in words: "1 error", "2 errors".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Few names the first three of words, and how many more there are.
func Few(words []string) string {
	if more := len(words) - 3; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:3], ", "), more)
	}
	return strings.Join(words, ", ")
}

// Some names the first four of words, and how many more there are; of five all.
func Some(words []string) string {
	const few = 4
	if len(words) > few+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:few], ", "), len(words)-few)
	}
	return strings.Join(words, ", ")
}

// HostSubject gives the Subject of what is said of one host of a service.
func HostSubject(service, host string) string { return "service " + service + " on " + host }

// OfHost gives the service and the host that a HostSubject is of.
func OfHost(subject string) (service, host string, ok bool) {
	rest, ok := strings.CutPrefix(subject, "service ")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, " on ")
}

// And lists names as a sentence does: "a, b and c".
func And(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// AndOthers is And for the first few of many: "a, b, c, d, e, f and others".
func AndOthers(names []string) string {
	const most = 6
	if more := len(names) - most; more > 1 {
		names = append(slices.Clone(names[:most]), "others")
	}
	return And(names)
}

// DrainedWhole reports whether drains, of a Snapshot, has the whole controller.
func DrainedWhole(drains []Drained) bool {
	return slices.ContainsFunc(drains, func(d Drained) bool { return d.Service == "" })
}

// Listed is how many names a finding lists before it only counts.
const Listed = 8

// List gives names as "a, b, c", and of many the first ones and how many more.
func List(names []string) string {
	if more := len(names) - Listed; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:Listed], ", "), more)
	}
	return strings.Join(names, ", ")
}
