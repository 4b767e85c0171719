package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/status"
)

// turnedFor is over how long those that were turned away are counted in the finding.
const turnedFor = 10 * time.Minute

// A Turned counts the clients that HAProxy turned away by rules of the spec in the last while:
// that were over their limit, failed to log in too often, or may not. The zero value has none.
type Turned struct {
	before map[Key][causes]uint64 // nil: nothing was read yet
	recent []turned
}

type turned struct {
	at      time.Time
	service string
	cause   Cause
	n       uint64
}

// byRule gives the causes that rules of the spec have, and what is said of each.
func byRule() map[Cause]string {
	return map[Cause]string{
		RateLimited: "over their client's limit", FailedLogins: "to log in, after too many that failed", Denied: "from addresses that may not",
	}
}

// Add takes what was counted until now, since the beginning.
func (t *Turned) Add(now time.Time, sums []Sum) {
	next := make(map[Key][causes]uint64, len(sums))
	for i := range sums {
		s := &sums[i]
		next[s.Key] = s.Refused
		if t.before == nil {
			continue
		}
		was := t.before[s.Key]
		for cause := range byRule() {
			if n := s.Refused[cause]; n > was[cause] {
				t.recent = append(t.recent, turned{now, s.Service, cause, n - was[cause]})
			}
		}
	}
	t.before = next
	t.recent = slices.DeleteFunc(t.recent, func(one turned) bool { return now.Sub(one.at) >= turnedFor })
}

// Finding says how many were turned away, nil for none.
func (t *Turned) Finding() *status.Finding {
	var parts []string
	for _, cause := range []Cause{RateLimited, FailedLogins, Denied} {
		if words := t.words(cause); words != "" {
			parts = append(parts, words)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return &status.Finding{
		Severity: status.Info, Code: status.CodeClientsLimited, Subject: "agent",
		Text:   fmt.Sprintf("HAProxy turned requests away in the last %v, as the spec says: %s", turnedFor, strings.Join(parts, "; ")),
		Remedy: "see HAProxy's log for 429 and 403 with PR or LR, which has the clients; if they are right, raise the limit in the spec",
	}
}

// words gives how many were turned away for a cause: "540 over their client's limit (keystone 500, nova 40)".
func (t *Turned) words(cause Cause) string {
	by, all := map[string]uint64{}, uint64(0)
	var services []string
	for _, one := range t.recent {
		if one.cause != cause {
			continue
		}
		if by[one.service] == 0 {
			services = append(services, one.service)
		}
		by[one.service] += one.n
		all += one.n
	}
	if all == 0 {
		return ""
	}
	slices.SortFunc(services, func(a, b string) int { return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(a, b)) })
	for i, s := range services {
		services[i] = fmt.Sprintf("%s %d", s, by[s])
	}
	return fmt.Sprintf("%d %s (%s)", all, byRule()[cause], strings.Join(services, ", "))
}
