package link

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// reports takes what is to be logged and told off the loop's hands: a log that
// blocks, because its reader hangs, must not cost the address. What does not
// fit into the queue is counted, and said when there is room again.
type reports struct {
	log   *slog.Logger
	told  func(Transition)
	queue chan report
	lost  atomic.Uint64
	wg    sync.WaitGroup

	// said has when each kind of thing was last logged; the loop's own.
	said map[string]*repetition
}

// A report is a line for the log, or a transition.
type report struct {
	level      slog.Level
	text       string
	args       []any
	transition *Transition
}

// A repetition counts what was not said since it last was.
type repetition struct {
	last    time.Time
	skipped int
}

func startReports(o *Options) *reports {
	r := &reports{
		log:   o.Log.With("vip", o.Name),
		told:  o.OnTransition,
		queue: make(chan report, 256),
		said:  map[string]*repetition{},
	}
	r.wg.Go(r.run)
	return r
}

// stop ends r when all is written.
func (r *reports) stop() {
	close(r.queue)
	r.wg.Wait()
}

func (r *reports) run() {
	for p := range r.queue {
		if n := r.lost.Swap(0); n > 0 {
			r.log.Warn("the log was too slow, and lines are lost", "lines", n)
		}
		if p.transition != nil {
			r.told(*p.transition)
			continue
		}
		r.log.Log(context.Background(), p.level, p.text, p.args...)
	}
}

func (r *reports) put(p report) {
	select {
	case r.queue <- p:
	default:
		r.lost.Add(1)
	}
}

func (r *reports) debug(text string, args ...any) {
	r.put(report{level: slog.LevelDebug, text: text, args: args})
}

func (r *reports) info(text string, args ...any) {
	r.put(report{level: slog.LevelInfo, text: text, args: args})
}

// transition tells of t, and logs it.
func (r *reports) transition(t Transition) {
	r.info(fmt.Sprintf("%v: %s", t.To, t.Reason), "from", t.From.String(), "took", t.Took)
	if r.told != nil {
		r.put(report{transition: &t})
	}
}

// warn logs at most once a minute for each key, with the number of times that
// it was not said. Keys that come from the network are bounded: when there are
// too many, the ones that were said longest ago are forgotten.
func (r *reports) warn(now time.Time, key, text string, args ...any) {
	const (
		pause = time.Minute
		most  = 64
	)
	s := r.said[key]
	if s == nil {
		if len(r.said) >= most {
			r.forget()
		}
		s = &repetition{last: now.Add(-pause)}
		r.said[key] = s
	}
	if now.Sub(s.last) < pause {
		s.skipped++
		return
	}
	if s.skipped > 0 {
		args = append(args, "not logged since", s.skipped)
	}
	s.last, s.skipped = now, 0
	r.put(report{level: slog.LevelWarn, text: text, args: args})
}

// forget drops the key that was said longest ago.
func (r *reports) forget() {
	oldest := ""
	for key, s := range r.said {
		if oldest == "" || s.last.Before(r.said[oldest].last) {
			oldest = key
		}
	}
	delete(r.said, oldest)
}
