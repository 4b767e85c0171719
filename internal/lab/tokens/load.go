package tokens

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/lab"
)

// A Load is sessions at a rate, or of so many clients that begin the next one as
// soon as the last has ended.
type Load struct {
	URLs []string // of Keystone, by turns: http://name:5000
	// Rate is how many sessions begin in a second, whether others have ended or
	// not; 0: Loops is how many clients there are.
	Rate     float64
	Loops    int
	Duration time.Duration
	Patience time.Duration // with one session, from when it was due
	Clients  []netip.Addr  // that sessions come from, by turns; of loops, each has one
	Record   func(Session) // told of each, from several goroutines
}

// Bounds of a Load.
const (
	maxRate  = 1000
	maxLoops = 500
)

func (l Load) check() error {
	switch {
	case len(l.URLs) == 0:
		return errors.New("no URL of a Keystone")
	case l.Rate < 0 || l.Rate > maxRate:
		return fmt.Errorf("rate of %g sessions a second; 0 to %d", l.Rate, maxRate)
	case (l.Rate > 0) == (l.Loops > 0):
		return errors.New("a load has either a rate or a number of loops")
	case l.Loops < 0 || l.Loops > maxLoops:
		return fmt.Errorf("%d loops; 1 to %d", l.Loops, maxLoops)
	case l.Duration <= 0 || l.Patience <= 0:
		return errors.New("duration and patience must be positive")
	case len(l.Clients) == 0:
		return errors.New("no client's address")
	}
	return nil
}

// Run goes through the load, and returns when its last session has ended.
func (l Load) Run(ctx context.Context) error {
	if err := l.check(); err != nil {
		return err
	}
	var to []*url.URL
	for _, text := range l.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" || u.Port() == "" {
			return fmt.Errorf("%q is not an http URL with a port", text)
		}
		to = append(to, u)
	}
	var begun atomic.Int64
	var running sync.WaitGroup
	defer running.Wait()
	// The i-th one from address n goes to URL n, so that each loop has one of both.
	begin := func(due time.Time, n int) {
		s := session{
			Session: Session{Due: due, Client: l.Clients[n%len(l.Clients)].String()},
			to:      to[n%len(to)], from: l.Clients[n%len(l.Clients)],
		}
		l.Record(s.run(ctx, l.Patience, begun.Add(1)%validated == 0))
	}
	start := time.Now()
	for n := range l.Loops {
		running.Go(func() {
			for time.Since(start) < l.Duration && ctx.Err() == nil {
				begin(time.Now(), n)
			}
		})
	}
	if l.Rate == 0 {
		return nil
	}
	for i := range int(l.Duration.Seconds() * l.Rate) {
		due := start.Add(time.Duration(float64(i) / l.Rate * float64(time.Second)))
		if lab.Sleep(ctx, time.Until(due)) != nil {
			return nil
		}
		running.Go(func() { begin(due, i) })
	}
	return nil
}
