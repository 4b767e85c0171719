package link

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/vrrp"
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
	said map[topic]*repetition
	// heard is the same of what came from the network. What is too much for a minute is
	// counted in crowd; when it was last looked whether there is room is in crowded.
	heard   map[topic]*repetition
	crowd   int
	crowded time.Time
}

// A topic is what a warning is about: one kind of thing, and of whom.
type topic struct {
	what   string
	reason vrrp.Reason // of what was rejected
	of     netip.Addr  // not valid where it is of nobody
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
		said:  map[topic]*repetition{},
		heard: map[topic]*repetition{},
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
// it was not said. When there are too many keys, the ones that were said longest ago
// are forgotten.
func (r *reports) warn(now time.Time, key, text string, args ...any) {
	if len(r.said) >= mostTopics && r.said[topic{what: key}] == nil {
		forget(r.said)
	}
	r.say(now, r.said, topic{what: key}, func() (string, []any) { return text, args })
}

const (
	mostTopics = 64
	pause      = time.Minute
)

// warnOf is warn for what comes from the network, perhaps a hundred thousand times a
// second and from as many sources that are made up: the text is made only when it is
// said, and what is too much for a minute is counted, and said with the next.
func (r *reports) warnOf(now time.Time, key topic, text func() (string, []any)) {
	if len(r.heard) >= mostTopics && r.heard[key] == nil {
		if now.Sub(r.crowded) < pause {
			r.crowd++
			return
		}
		for key, s := range r.heard {
			if now.Sub(s.last) >= pause {
				delete(r.heard, key)
			}
		}
		if r.crowded = now; len(r.heard) >= mostTopics {
			r.crowd++
			return
		}
	}
	r.say(now, r.heard, key, text)
}

func (r *reports) say(now time.Time, said map[topic]*repetition, key topic, text func() (string, []any)) {
	s := said[key]
	if s == nil {
		s = &repetition{last: now.Add(-pause)}
		said[key] = s
	}
	if now.Sub(s.last) < pause {
		s.skipped++
		return
	}
	what, args := text()
	if s.skipped > 0 {
		args = append(args, "not logged since", s.skipped)
	}
	if r.crowd > 0 && key.of.IsValid() {
		args = append(args, "not logged of others", r.crowd)
		r.crowd = 0
	}
	s.last, s.skipped = now, 0
	r.put(report{level: slog.LevelWarn, text: what, args: args})
}

// forget drops the key that was said longest ago.
func forget(said map[topic]*repetition) {
	var oldest topic
	for key, s := range said {
		if oldest == (topic{}) || s.last.Before(said[oldest].last) {
			oldest = key
		}
	}
	delete(said, oldest)
}
