package haproxy

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
)

// Cause says why HAProxy refused a request by itself, before any host saw it.
type Cause string

// The causes.
const (
	TooLarge   Cause = "headers-too-large" // more octets of headers than HeaderLimit
	TooMany    Cause = "too-many-headers"  // more than maxHeaders
	NoStream   Cause = "http2"             // HTTP/2 says no more: the headers are too large, or malformed
	TLSInPlain Cause = "tls"               // TLS was spoken to a port without
	Malformed  Cause = "malformed"
	// Incomplete is a request that did not come whole: in time, or at all. Port
	// scanners and browsers that connect in advance do so.
	Incomplete Cause = "incomplete"
)

// maxHeaders is the most headers that HAProxy takes of a request (tune.http.maxhdr).
const maxHeaders = 101

// An InvalidRequest is the last request to a frontend that HAProxy could not
// read, of the reply to "show errors" (management guide 9.3).
type InvalidRequest struct {
	Frontend string
	// Event tells it from others: its time and number.
	Event string
	Cause Cause
}

// ParseErrors reads the reply to "show errors". What is not of a request, or in a form
// that it does not know, is left out: there may be none.
func ParseErrors(reply []byte) []InvalidRequest {
	var all []InvalidRequest
	for part := range bytes.SplitSeq(reply, []byte("\n[")) {
		if r, ok := invalidRequest(string(part)); ok {
			all = append(all, r)
		}
	}
	return all
}

// invalidRequest reads one entry:
//
//	30/Nov/2026:09:21:24.770] frontend api-v4-nova (#2): invalid request
//	  backend <NONE> (#-1), server <NONE> (#-1), event #0, src 192.0.2.1:52910
//	  buffer starts at 0 (including 0 out), 352 free,
//	  len 16032, wraps at 16336, error at position 16032
//	…
//	  00000  GET / HTTP/1.1\r\n
//	  00016  Host: api.example.org\r\n
func invalidRequest(text string) (InvalidRequest, bool) {
	time, rest, ok := strings.Cut(text, "] frontend ")
	name, rest, named := strings.Cut(rest, " ")
	head, rest, is := strings.Cut(rest, "\n")
	if !ok || !named || !is || !strings.HasSuffix(strings.TrimSpace(head), "invalid request") {
		return InvalidRequest{}, false
	}
	event, _, found := strings.Cut(after(rest, "event #"), ",")
	if !found {
		return InvalidRequest{}, false
	}
	return InvalidRequest{Frontend: name, Event: time + "#" + event, Cause: causeOf(rest)}, true
}

// after gives what is in text behind mark; "" where that is not in it.
func after(text, mark string) string {
	_, rest, _ := strings.Cut(text, mark)
	return rest
}

// numberAfter gives the number in text behind mark.
func numberAfter(text, mark string) int {
	rest := after(text, mark)
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	return output.Number(rest[:max(end, 0)])
}

// causeOf says why a request was refused, by the rest of its entry.
func causeOf(entry string) Cause {
	before, _, _ := strings.Cut(entry, " free,")
	free := output.Number(before[strings.LastIndexByte(before, ' ')+1:])
	length, position := numberAfter(entry, "\n  len "), numberAfter(entry, "error at position ")
	lines, first := 0, ""
	for line := range strings.Lines(entry) {
		offset, text, ok := strings.Cut(strings.TrimSpace(line), "  ") // one that goes on has "+" and one blank
		if !ok || len(offset) < 5 || strings.Trim(offset, "0123456789") != "" || output.Number(offset) >= max(position, 1) {
			continue
		}
		if lines++; lines == 1 {
			first = text
		}
	}
	switch {
	case position >= length && free <= maxRewrite: // read to the end, and there is no room for more
		return TooLarge
	case lines > maxHeaders:
		return TooMany
	case position == 0 && strings.HasPrefix(first, `\x16\x03`): // a handshake of TLS
		return TLSInPlain
	}
	return Malformed
}

// A Refusal is how many requests to a service were refused for a cause.
type Refusal struct {
	Service string
	Cause   Cause
	N       uint64
}

// A RefusalCounter counts what HAProxy refused, from its first reading on.
type RefusalCounter struct {
	before map[string]output.Row // by the frontend's name; nil: nothing was read yet
	events map[string]string     // the last of each frontend
}

// Rose gives the frontends among rows that refused something since the reading
// before, whose "show errors" is worth a look. It gives none the first time.
func (c *RefusalCounter) Rose(rows []output.Row) []string {
	var names []string
	for _, r := range rows {
		if c.before != nil && r.Kind == output.KindFrontend && since(c.before[r.Proxy].Refused, r.Refused) > 0 {
			names = append(names, r.Proxy)
		}
	}
	return names
}

// since gives how many there are more of now than before. A worker after a reload
// begins at none.
func since(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// Count gives what HAProxy refused since the reading before, by the rows of "show
// stat" of frontends, and what "show errors" has of those that rose. That knows the last
// request of each frontend alone: those of one reading are taken for one kind.
// What "show errors" has nothing new of did not come whole.
func (c *RefusalCounter) Count(s *spec.Spec, rows []output.Row, invalid []InvalidRequest) []Refusal {
	causes, events := map[string]Cause{}, map[string]string{}
	maps.Copy(events, c.events)
	for _, r := range invalid {
		if events[r.Frontend] != r.Event {
			events[r.Frontend], causes[r.Frontend] = r.Event, r.Cause
		}
	}
	services := servicesOfFrontends(s)
	sums, next := map[Refusal]uint64{}, map[string]output.Row{}
	for _, r := range rows {
		service, ok := services[r.Proxy]
		if r.Kind != output.KindFrontend || !ok {
			continue
		}
		next[r.Proxy] = r
		was := c.before[r.Proxy]
		if c.before == nil {
			continue
		}
		sums[Refusal{Service: service, Cause: cmp.Or(causes[r.Proxy], Incomplete)}] += since(was.Refused, r.Refused)
		sums[Refusal{Service: service, Cause: NoStream}] += withoutStream(was, r)
	}
	c.before, c.events = next, events
	var out []Refusal
	for key, n := range sums {
		if key.N = n; n > 0 {
			out = append(out, key)
		}
	}
	slices.SortFunc(out, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Service, b.Service))
	})
	return out
}

// withoutStream gives how many requests came by HTTP/2 that HAProxy made no stream for,
// and reset: it counts those nowhere else. Trailers make no stream either, and are not reset.
func withoutStream(was, now output.Row) uint64 {
	headers, streams := since(was.H2Headers, now.H2Headers), since(was.H2Streams, now.H2Streams)
	if headers <= streams {
		return 0
	}
	return min(headers-streams, since(was.H2Resets, now.H2Resets))
}

// servicesOfFrontends gives the service of each http frontend of s.
func servicesOfFrontends(s *spec.Spec) map[string]string {
	out := map[string]string{}
	for _, v := range s.VIPs {
		for i := range v.Addresses {
			if len(publicServices(s, v)) > 0 {
				out[PublicName(v, i)] = "port " + itoa(v.Public.Port) + " of VIP " + v.Name
			}
			for _, svc := range s.Services {
				if modeOf(svc) == spec.HTTP {
					out[FrontendName(v, i, svc)] = svc.Name
				}
			}
		}
	}
	return out
}
