package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

const (
	// askTimeout bounds one question to one controller.
	askTimeout = time.Second
	// maxAnswer is the largest answer that is read, in bytes. A Snapshot of
	// 100 services on 50 hosts each has about one MiB.
	maxAnswer = 8 << 20
	// maxObjects bounds the memory that an answer of few bytes may decode to.
	maxObjects = 64 << 10
	// clockHeader has the answering controller's clock, in RFC 3339 with nanoseconds.
	clockHeader = "Holdfast-Time"
)

// A Target is a controller's agent, to be asked.
type Target struct {
	Name string
	Addr string // address:port of the read-only HTTP
}

// Gather asks all targets for their Snapshots at the same time, each for at
// most one second. The answers are in the order of targets; one without a
// Snapshot says why in words.
func Gather(ctx context.Context, targets []Target) []cloud.Answer {
	return GatherFrom(ctx, netip.Addr{}, nil, targets)
}

// GatherFrom is Gather from the address source, where this host has it: a
// controller's own, for which the others keep slots. The zero Addr is any. It asks as by
// has it.
func GatherFrom(ctx context.Context, source netip.Addr, by *Asker, targets []Target) []cloud.Answer {
	client := newAsker(source)
	defer client.CloseIdleConnections()
	answers := make([]cloud.Answer, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		all.Go(func() { answers[i] = gatherOne(ctx, client, by, t) })
	}
	all.Wait()
	return answers
}

func gatherOne(ctx context.Context, client *http.Client, by *Asker, t Target) cloud.Answer {
	answer := cloud.Answer{Name: t.Name, Address: t.Addr}
	began := time.Now()
	body, header, err := ask(ctx, client, by, t, "/status", nil)
	answer.Received = time.Now()
	answer.Took = answer.Received.Sub(began)
	if err == nil {
		answer.Snapshot, err = decodeSnapshot(body)
	}
	if err != nil {
		answer.Error = err.Error()
		answer.Reached = errors.Is(err, errRefused)
		return answer
	}
	if clock, err := time.Parse(time.RFC3339Nano, header.Get(clockHeader)); err == nil {
		answer.Clock = clock // one who does not tell has no clock to compare
	}
	return answer
}

// A Journal is what one controller told of what has happened on it.
type Journal struct {
	Controller string         `json:"controller"`
	Events     []status.Event `json:"events"`          // oldest first
	Error      string         `json:"error,omitempty"` // why it told nothing, in words
	// Cloud is the one of which the controller said that it is; "" where it did not.
	Cloud string `json:"cloud,omitempty"`
	// ClockAhead is how far its clock is ahead of the middle one now.
	ClockAhead time.Duration `json:"clock_ahead_ns,omitempty"`
}

// Journals asks all targets for the newest n events of each at the same time, each for at
// most one second; of one that after names, for those that came after that place in its
// journal. The answers are in the order of targets.
func Journals(ctx context.Context, targets []Target, n int, after map[string]uint64) []Journal {
	return journalsFrom(ctx, netip.Addr{}, nil, targets, n, after)
}

func journalsFrom(ctx context.Context, source netip.Addr, by *Asker, targets []Target, n int, after map[string]uint64) []Journal {
	client := newAsker(source)
	defer client.CloseIdleConnections()
	found := make([]Journal, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		all.Go(func() {
			answer, err := askEvents(ctx, client, by, t, n, after[t.Name])
			if found[i] = (Journal{Controller: t.Name, Events: answer.Events, ClockAhead: answer.ClockAhead, Cloud: answer.Cloud}); err != nil {
				found[i].Events, found[i].Error = []status.Event{}, err.Error()
			}
		})
	}
	all.Wait()
	return found
}

// OfCloud gives journals as they count for a cloud: those of agents of other clouds, at the
// addresses of its controllers, tell nothing. Who does not say of which it is is believed.
func OfCloud(journals []Journal, cloud string) []Journal {
	out := slices.Clone(journals)
	for i, j := range out {
		if cloud != "" && j.Cloud != "" && j.Cloud != cloud {
			out[i] = Journal{Controller: j.Controller, Events: []status.Event{}, Error: fmt.Sprintf("the agent there belongs to cloud %q, not %q", j.Cloud, cloud), Cloud: j.Cloud}
		}
	}
	return out
}

func askEvents(ctx context.Context, client *http.Client, by *Asker, t Target, n int, after uint64) (Events, error) {
	query := url.Values{"n": {strconv.Itoa(n)}}
	if after > 0 {
		query.Set("after", strconv.FormatUint(after, 10))
	}
	body, _, err := ask(ctx, client, by, t, "/events", query)
	if err != nil {
		return Events{}, err
	}
	answer, err := decodeEvents(body)
	if err != nil {
		return Events{}, err
	}
	answer.Events = Newer(answer.Events[max(0, len(answer.Events)-n):], after)
	return answer, nil
}

// Newer gives those of a journal's events that came after the one with a number. Where its
// numbers have begun anew, as its file was lost, all are newer.
func Newer(events []status.Event, after uint64) []status.Event {
	if after == 0 || len(events) == 0 || events[len(events)-1].Seq < after {
		return events
	}
	i := slices.IndexFunc(events, func(e status.Event) bool { return e.Seq > after })
	if i < 0 {
		return []status.Event{}
	}
	return events[i:]
}

// newestFirst brings the events of several journals into one order, and gives the newest n.
func newestFirst(journals []Journal, n int) []status.Event {
	events := Merge(journals)
	slices.Reverse(events)
	return events[:min(n, len(events))]
}

// newAsker makes a client that asks the address it is told to, and nobody else:
// through no proxy, and following no redirect.
func newAsker(source netip.Addr) *http.Client {
	return &http.Client{
		Timeout: askTimeout,
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialFrom(source),
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeaderBytes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialFrom gives what connects from source, or from any address where this host
// does not have that one, or it cannot reach the other.
func dialFrom(source netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: askTimeout}
		to, err := netip.ParseAddrPort(address)
		if err != nil || !source.IsValid() || to.Addr().Is4() != source.Is4() {
			return d.DialContext(ctx, network, address)
		}
		bound := d
		bound.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		conn, err := bound.DialContext(ctx, network, address)
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			return d.DialContext(ctx, network, address)
		}
		return conn, err
	}
}

// ask fetches path from t. Its errors are words for people.
func ask(ctx context.Context, client *http.Client, by *Asker, t Target, path string, query url.Values) ([]byte, http.Header, error) {
	u := url.URL{Scheme: "http", Host: t.Addr, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot be asked at %s: %w", t.Addr, err)
	}
	asked, err := by.sign(req, t.Name)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot be asked: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, inWords(err, t.Addr)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("answered %d %s, want 200", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, inWords(err, t.Addr)
	}
	if len(body) > maxAnswer {
		return nil, nil, fmt.Errorf("answered more than %d MiB, which is no holdfast agent's way", maxAnswer>>20)
	}
	if err := asked.proven(resp.Header, body); err != nil {
		return nil, nil, err
	}
	return body, resp.Header, nil
}

// errRefused says that a host answers, and no agent on it.
var errRefused = errors.New("connection refused")

// inWords says why no answer came.
func inWords(err error, addr string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("was not waited for")
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return fmt.Errorf("no answer within %s", askTimeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing listens at %s", errRefused, addr)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("no route to %s", addr)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed before the answer was complete")
	}
	if e, ok := errors.AsType[*url.Error](err); ok { // without the URL, which says nothing more
		err = e.Err
	}
	return fmt.Errorf("did not answer as an agent does: %w", err)
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// decodeSnapshot reads what a controller answered, which may be anything.
func decodeSnapshot(body []byte) (*status.Snapshot, error) {
	if err := checkSize(body); err != nil {
		return nil, err
	}
	var head struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, fmt.Errorf("answered what is not a snapshot: %w", jsonError(err))
	}
	switch {
	case head.Schema < 1:
		return nil, errors.New("answered JSON that is not a snapshot: it has no schema")
	case head.Schema > 1:
		return nil, fmt.Errorf("answered in schema %d, and this holdfast reads 1; upgrade this one", head.Schema)
	}
	var s status.Snapshot
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("answered what is not a snapshot: %w", jsonError(err))
	}
	return &s, nil
}

// Events is the answer of /events.
type Events struct {
	Schema     int            `json:"schema"` // always 1
	Controller string         `json:"controller"`
	Cloud      string         `json:"cloud,omitempty"` // of the spec in use; empty while there is none
	Events     []status.Event `json:"events"`          // oldest first
	// ClockAhead is how far its clock is ahead of the middle one now.
	ClockAhead time.Duration `json:"clock_ahead_ns,omitempty"`
}

func decodeEvents(body []byte) (Events, error) {
	if err := checkSize(body); err != nil {
		return Events{}, err
	}
	var e Events
	if err := json.Unmarshal(body, &e); err != nil {
		return Events{}, fmt.Errorf("answered what is not a list of events: %w", jsonError(err))
	}
	return e, nil
}

// checkSize refuses what would take far more memory decoded than it has bytes:
// an object of two bytes can become a struct of two hundred.
func checkSize(body []byte) error {
	if n := bytes.Count(body, []byte("{")) + bytes.Count(body, []byte("null")); n > maxObjects {
		return fmt.Errorf("answered %d objects, more than the %d that are read", n, maxObjects)
	}
	return nil
}

// jsonError says what is wrong with JSON without the names of Go's types.
func jsonError(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s is of type %s", cmp.Or(e.Field, "it"), e.Value)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("bad JSON at byte %d", e.Offset)
	}
	return err
}
