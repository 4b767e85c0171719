// Package load asks services for answers at a fixed rate and measures what a
// client gets. The load is open: requests leave when they are due, whether
// earlier ones were answered or not, and an answer's time counts from the
// moment its request was due. A service that stalls therefore shows every
// request that it made wait, not only the one that a patient client would
// have sent.
//
// It speaks HTTP/1.1 itself, since the standard client repeats requests whose
// connection was lost: what that hides is what is measured here.
package load

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Connections says how requests use connections.
type Connections string

// The ways to use connections.
const (
	New       Connections = "new"        // a new one for each request
	KeepAlive Connections = "keep-alive" // one that is idle, else a new one
	Mixed     Connections = "mixed"      // by turns
)

// Bounds of a Config.
const (
	MaxRate     = 20000 // requests a second
	maxInFlight = 10000 // beyond, requests are counted as failed, not sent
)

// A Target is what is asked for.
type Target struct {
	Name string `json:"name"` // of the service
	URL  string `json:"url"`
}

// Config is one load.
type Config struct {
	Targets  []Target // asked by turns
	Rate     float64  // requests a second, in all
	Duration time.Duration
	// Phases are rates one after the other, in the place of Rate and Duration.
	Phases      []Phase
	Timeout     time.Duration // of one request, from when it was due
	Connections Connections
	// NewRate is how many requests a second are sent beside those of Rate, each
	// on a new connection; 0: none.
	NewRate float64
	// Downloads and Uploads go on beside the requests; none unless they have a
	// Count.
	Downloads, Uploads Transfers
	Methods            []string // by turns; GET when empty. Methods with a body send Body bytes
	Body               int64
	// Clients are the addresses that requests come from, by turns; this
	// host's own when empty.
	Clients []netip.Addr
	// Record is called with each request's Record, from several goroutines.
	Record func(Record)
}

// A Phase is a rate that lasts for a time.
type Phase struct {
	Rate     float64       `json:"rate"` // requests a second
	Duration time.Duration `json:"duration_ns"`
}

// Requests is how many are sent in p.
func (p Phase) Requests() int { return int(math.Round(p.Rate * p.Duration.Seconds())) }

// ParsePhase reads "216x8s": so many requests a second for so long.
func ParsePhase(text string) (Phase, error) {
	rate, duration, found := strings.Cut(text, "x")
	var p Phase
	var err error
	if found {
		p.Rate, err = strconv.ParseFloat(rate, 64)
	}
	if found && err == nil {
		p.Duration, err = time.ParseDuration(duration)
	}
	if !found || err != nil {
		return p, fmt.Errorf("%q is not a rate and a time; write them as 216x8s", text)
	}
	return p, p.check()
}

func (p Phase) check() error {
	switch {
	case !(p.Rate > 0 && p.Rate <= MaxRate):
		return fmt.Errorf("rate of %g requests a second; 0 < rate <= %d", p.Rate, MaxRate)
	case p.Duration <= 0:
		return fmt.Errorf("duration of %v; it must be positive", p.Duration)
	}
	return nil
}

// phases gives those of c: one, unless there are others.
func (c Config) phases() []Phase {
	if len(c.Phases) > 0 {
		return c.Phases
	}
	return []Phase{{c.Rate, c.Duration}}
}

// Length is how long requests are sent.
func (c Config) Length() time.Duration { return lasting(c.phases()) }

// A Kind says what a Record is of.
type Kind string

// The kinds of records.
const (
	Request  Kind = "" // one of the load's
	Download Kind = "download"
	Upload   Kind = "upload"
	Connect  Kind = "connect" // a connection that carried no request
)

// A Record is what became of one request, download or connection.
type Record struct {
	Kind    Kind          `json:"kind,omitempty"`
	Due     time.Time     `json:"due"`
	Late    time.Duration `json:"late_ns"` // the generator's own lateness in sending it
	Took    time.Duration `json:"took_ns"` // from Due to the answer's end
	Target  string        `json:"target"`
	Method  string        `json:"method"`
	Key     string        `json:"key"`              // its X-Lab-Key
	Client  string        `json:"client,omitempty"` // its source address, where one was chosen
	Status  int           `json:"status,omitempty"`
	Host    string        `json:"host,omitempty"` // that answered: X-Served-By
	Failure Failure       `json:"failure,omitempty"`
	Error   string        `json:"error,omitempty"`
	// Reused tells that the connection was one of an earlier request's, and
	// Opened when it was made.
	Reused bool      `json:"reused,omitempty"`
	Opened time.Time `json:"opened,omitzero"`
	// IdleResets counts idle connections that were found reset, in the place of
	// closed, when one was wanted for this request.
	IdleResets int `json:"idle_resets,omitempty"`
	// Bytes counts those of a download that came, the last of them so long after
	// Due: one that stalls fails much later.
	Bytes int64         `json:"bytes,omitempty"`
	Last  time.Duration `json:"last_ns,omitempty"`
	// Certificate is the serial number of the one that a new connection was
	// shown, where that is TLS.
	Certificate string `json:"certificate,omitempty"`
}

// End is when the answer was complete, or the failure was known.
func (r Record) End() time.Time { return r.Due.Add(r.Took) }

// check says what is wrong with c.
func (c Config) check() error {
	switch {
	case len(c.Targets) == 0:
		return errors.New("no target for the load")
	case c.Timeout <= 0:
		return fmt.Errorf("timeout of %v; it must be positive", c.Timeout)
	case c.NewRate < 0 || c.NewRate > MaxRate:
		return fmt.Errorf("rate of %g new connections a second; 0 to %d", c.NewRate, MaxRate)
	}
	for _, p := range c.phases() {
		if err := p.check(); err != nil {
			return err
		}
	}
	if err := errors.Join(c.Downloads.check("downloads"), c.Uploads.check("uploads")); err != nil {
		return err
	}
	switch c.Connections {
	case New, KeepAlive, Mixed:
	default:
		return fmt.Errorf("connections %q; write new, keep-alive or mixed", c.Connections)
	}
	for _, t := range c.Targets {
		u, err := url.Parse(t.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("target %q is not an http or https URL", t.URL)
		}
	}
	return nil
}

// Run sends the load and returns when the last request has its Record. When
// ctx ends, no more are sent, and those in flight fail as cancelled.
func Run(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	defer client.close()
	streams := []stream{{phases: c.phases(), connections: c.Connections}}
	if c.NewRate > 0 {
		streams = append(streams, stream{phases: []Phase{{c.NewRate, lasting(c.phases())}}, connections: New, prefix: "n"})
	}
	slots := make(chan struct{}, maxInFlight)
	start := time.Now()
	var running sync.WaitGroup
	for _, s := range streams {
		running.Go(func() { client.send(ctx, s, start, slots) })
	}
	running.Go(func() { client.transfers(ctx, start, c.Downloads, client.fetch) })
	running.Go(func() { client.transfers(ctx, start, c.Uploads, client.give) })
	running.Wait()
	return nil
}

// lasting is how long phases are together.
func lasting(phases []Phase) time.Duration {
	var all time.Duration
	for _, p := range phases {
		all += p.Duration
	}
	return all
}

// A stream is requests at rates of their own.
type stream struct {
	phases      []Phase
	connections Connections
	prefix      string // of its keys
}

// send sends the requests of s when they are due, and waits for their answers.
func (c *client) send(ctx context.Context, s stream, start time.Time, slots chan struct{}) {
	var sending sync.WaitGroup
	defer sending.Wait()
	for i, after := range s.dues() {
		due := start.Add(after)
		if !sleepUntil(ctx, due) {
			return
		}
		shot := c.shot(s, i, due)
		select {
		case slots <- struct{}{}:
		default:
			c.config.Record(shot.failed(time.Now(), errTooMany))
			continue
		}
		sending.Go(func() {
			c.config.Record(c.fire(ctx, shot))
			<-slots
		})
	}
}

// dues gives when each request is due, counted from the start.
func (s stream) dues() iter.Seq2[int, time.Duration] {
	return func(yield func(int, time.Duration) bool) {
		i, begin := 0, time.Duration(0)
		for _, p := range s.phases {
			for n := range p.Requests() {
				if !yield(i, begin+time.Duration(float64(n)*float64(time.Second)/p.Rate)) {
					return
				}
				i++
			}
			begin += p.Duration
		}
	}
}

var errTooMany = fmt.Errorf("%d requests are waiting already", maxInFlight)

// sleepUntil reports whether due came before ctx ended.
func sleepUntil(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}
