package busy

import (
	"slices"
	"sync"
	"time"
)

// catchUp is how much of a delay between two requests of a worker is made good:
// what a timer is late by, so that N workers of D each do N/D requests a second,
// but not the time in which the whole process was stopped.
const catchUp = 10 * time.Millisecond

// A Pool is the workers of a stand-in. Its zero value has a worker for everybody.
type Pool struct {
	mu        sync.Mutex // guards following
	behaviour Behaviour
	busy      int              // workers
	waiting   []chan time.Time // for one, in the order they came; told when their work began
	tokens    float64          // requests that may come now, where the rate is limited
	counted   time.Time        // when tokens were counted last
}

// Set makes the pool behave as b from now on: who waits for a worker that b has
// goes on at once, and who has one keeps it for as long as was said before.
func (p *Pool) Set(b Behaviour) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behaviour = b
	p.tokens, p.counted = b.burst(), time.Now()
	p.dispatch(time.Now())
}

// Behaviour gives the one that was set last.
func (p *Pool) Behaviour() Behaviour {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.behaviour
}

// Enter waits for a worker, and then for as long as a request holds it, and
// gives what sets the worker free. It waits however long that takes, also for a
// client that has gone: a worker does not look who is there.
func (p *Pool) Enter() (leave func()) {
	begin, hold := p.take()
	end := begin.Add(hold)
	time.Sleep(time.Until(end))
	return func() { p.release(end) }
}

// take waits for a worker and gives when its work began, and how long it takes.
func (p *Pool) take() (time.Time, time.Duration) {
	p.mu.Lock()
	if p.free() && len(p.waiting) == 0 {
		p.busy++
		defer p.mu.Unlock()
		return time.Now(), p.behaviour.Hold
	}
	turn := make(chan time.Time, 1)
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	begin := <-turn
	return begin, p.Behaviour().Hold
}

// release sets a worker free whose work should have ended at end.
func (p *Pool) release(end time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.dispatch(end)
}

// dispatch gives workers that are free to those who wait; from is when the
// work of the next may have begun.
func (p *Pool) dispatch(from time.Time) {
	if now := time.Now(); now.Sub(from) > catchUp {
		from = now
	}
	for len(p.waiting) > 0 && p.free() {
		p.busy++
		p.waiting[0] <- from
		p.waiting = slices.Delete(p.waiting, 0, 1)
	}
}

func (p *Pool) free() bool { return p.behaviour.Workers == 0 || p.busy < p.behaviour.Workers }

// Waiting counts those who wait for a worker.
func (p *Pool) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Admits reports whether one more request is within the rate that is taken.
func (p *Pool) Admits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.behaviour
	if !b.Limited {
		return true
	}
	now := time.Now()
	p.tokens = min(b.burst(), p.tokens+b.Rate*now.Sub(p.counted).Seconds())
	p.counted = now
	if p.tokens < 1 {
		return false
	}
	p.tokens--
	return true
}

// burst is how many requests may come at once: a tenth of a second's, one at
// least unless none is taken.
func (b Behaviour) burst() float64 {
	if b.Rate == 0 {
		return 0
	}
	return max(1, b.Rate/10)
}
