package watch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

const (
	// refusedEvery is how often HAProxy is asked what it refused by itself.
	refusedEvery = 5 * time.Second
	// refusedFor is over how long that is counted in the finding.
	refusedFor = 10 * time.Minute
	// refusedLooks bounds the frontends whose last refused request is looked at.
	refusedLooks = 20
)

// watchRefused counts the requests that HAProxy refuses by itself: no host sees
// them, and nobody else tells of them.
func (w *Watch) watchRefused(ctx context.Context) {
	var counter haproxy.RefusalCounter
	var recent refusals
	ticker := time.NewTicker(refusedEvery)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		s := w.opt.Spec()
		if s == nil {
			continue
		}
		fresh, err := w.askRefused(ctx, s, &counter)
		if err != nil {
			w.log.Debug("HAProxy does not tell what it refused", "error", err)
		}
		recent.add(time.Now(), fresh)
		for code, f := range recent.findings(s) {
			w.opt.Report(code, f)
			if f != nil {
				w.opt.SetFinding(code, f) // with what it is by now
			}
		}
	}
}

// askRefused gives what HAProxy refused since it was asked last.
func (w *Watch) askRefused(ctx context.Context, s *spec.Spec, counter *haproxy.RefusalCounter) ([]haproxy.Refusal, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	rows, err := w.stat(ctx, 1, "frontends")
	if err != nil {
		return nil, err
	}
	var invalid []haproxy.InvalidRequest
	for i, name := range counter.Rose(rows) {
		if i == refusedLooks {
			break
		}
		// It has the request in it, which may have a token: it is not logged.
		reply, err := w.opt.HAProxy.Runtime(ctx, "show errors "+haproxy.CLIWord(name)+" request")
		if err != nil {
			return nil, fmt.Errorf("ask HAProxy what it refused: %w", err)
		}
		invalid = append(invalid, haproxy.ParseErrors([]byte(reply))...)
	}
	return counter.Count(s, rows, invalid), nil
}

// refusals are those of the last while.
type refusals []timedRefusal

type timedRefusal struct {
	at time.Time
	haproxy.Refusal
}

// add adds what was refused by now, and forgets what is long ago.
func (r *refusals) add(now time.Time, fresh []haproxy.Refusal) {
	*r = slices.DeleteFunc(*r, func(t timedRefusal) bool { return now.Sub(t.at) > refusedFor })
	for _, f := range fresh {
		*r = append(*r, timedRefusal{now, f})
	}
}

// findings gives both findings by their codes, nil for one that there is no
// reason for. Requests that did not come whole are none by themselves: there are always some.
func (r refusals) findings(s *spec.Spec) map[string]*status.Finding {
	sums := map[haproxy.Cause]map[string]uint64{}
	for _, t := range r {
		if sums[t.Cause] == nil {
			sums[t.Cause] = map[string]uint64{}
		}
		sums[t.Cause][t.Service] += t.N
	}
	limit := haproxy.HeaderLimit(s) >> 10
	out := map[string]*status.Finding{status.CodeHeadersTooLarge: nil, status.CodeRequestsRefused: nil}
	if text := refusedWords(sums, haproxy.TooLarge, haproxy.NoStream, haproxy.TooMany); text != "" {
		out[status.CodeHeadersTooLarge] = &status.Finding{
			Severity: status.Warning, Code: status.CodeHeadersTooLarge, Subject: "agent",
			Text:   fmt.Sprintf("HAProxy itself refused requests in the last %v: %s; headers may have %d KiB", refusedFor, text, limit),
			Remedy: `if that is a federated token or a cookie, write a larger "header_limit" into the spec, and see that the hosts take as much`,
		}
	}
	if refusedWords(sums, haproxy.Malformed, haproxy.TLSInPlain) != "" {
		out[status.CodeRequestsRefused] = &status.Finding{
			Severity: status.Info, Code: status.CodeRequestsRefused, Subject: "agent",
			Text:   fmt.Sprintf("HAProxy itself refused requests in the last %v: %s", refusedFor, refusedWords(sums, haproxy.TLSInPlain, haproxy.Malformed, haproxy.Incomplete)),
			Remedy: "see HAProxy's log for <BADREQ>, which has the clients",
		}
	}
	return out
}

// refusedWords gives the sums of these causes: "12 with too large headers (keystone 10, nova 2)".
func refusedWords(sums map[haproxy.Cause]map[string]uint64, causes ...haproxy.Cause) string {
	words := map[haproxy.Cause]string{
		haproxy.TooLarge: "with too large headers", haproxy.TooMany: "with too many headers", haproxy.NoStream: "by HTTP/2 whose headers are too large or malformed",
		haproxy.TLSInPlain: "that spoke TLS to a port without", haproxy.Malformed: "that are malformed", haproxy.Incomplete: "that did not come whole",
	}
	var parts []string
	for _, cause := range causes {
		var all uint64
		var by []string
		for _, service := range slices.Sorted(maps.Keys(sums[cause])) {
			n := sums[cause][service]
			all += n
			by = append(by, fmt.Sprintf("%s %d", service, n))
		}
		if all > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", all, words[cause], strings.Join(by, ", ")))
		}
	}
	return strings.Join(parts, "; ")
}
