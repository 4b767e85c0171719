package listen

import (
	"context"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

// look is how often it is looked whether a cost is to be told, while one is.
const look = time.Second

// tellCosts writes into the journal what it cost clients, some seconds after a fault or a
// move.
func (l *Listener) tellCosts(ctx context.Context) {
	events, stop := l.opt.Follow()
	defer stop()
	var costs traffic.Costs
	timer := time.NewTimer(look)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			costs.Note(e)
		case <-timer.C:
		}
		if from, to, about, due := costs.Due(time.Now()); due {
			l.mu.Lock()
			cost := l.book.Cost(from, to)
			l.mu.Unlock()
			if e, ok := traffic.CostEvent(about, cost); ok {
				l.opt.Event(e)
			}
		}
		if costs.Open() {
			timer.Reset(look)
		}
	}
}

// Account gives what was counted since the agent began.
func (l *Listener) Account() traffic.Account {
	s := l.opt.Spec()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.use(s)
	return traffic.Account{Sums: l.book.Sums(), Lost: l.lost, Strange: l.strange}
}

// ratesHold is how long rates are given again.
const ratesHold = time.Second

// Rates gives what clients got in the last minute. Nobody writes into it.
func (l *Listener) Rates() []status.Client {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.ratesAt).Abs() < ratesHold {
		return l.rates
	}
	l.rates, l.ratesAt = traffic.Clients(l.book.Rates(now)), now
	return l.rates
}
