package listen

import (
	"context"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/tick"
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
		if !costs.Open() {
			continue
		}
		if e, told := l.costAt(&costs, time.Now()); told {
			l.opt.Event(e)
		}
		if costs.Open() {
			timer.Reset(look)
		}
	}
}

// costAt gives what is to be written into the journal at now, false for nothing.
func (l *Listener) costAt(costs *traffic.Costs, now time.Time) (status.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	span, due := costs.Due(now, l.book.FailedShare)
	if !due {
		return status.Event{}, false
	}
	if l.opt.Lives != nil && l.opt.Lives(span.Former) {
		span = span.Served()
	}
	return traffic.CostEvent(span.About, l.book.CostOf(span))
}

// Account gives what was counted since the agent began.
func (l *Listener) Account() traffic.Account {
	s := l.opt.Spec()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.use(s)
	return traffic.Account{Sums: l.book.Sums(), Lost: l.lost, Strange: l.strange}
}

// Point gives what clients got in a stretch of the last minute, see traffic.Book.Point.
func (l *Listener) Point(number int64) []traffic.Rate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.Point(number)
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

// turnedEvery is how often it is counted how many clients were turned away.
const turnedEvery = 5 * time.Second

// tellTurned says in the findings how many clients rules of the spec turned away.
func (l *Listener) tellTurned(ctx context.Context) {
	var turned traffic.Turned
	ticker := time.NewTicker(turnedEvery)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		turned.Add(time.Now(), l.Account().Sums)
		l.opt.SetFinding(status.CodeClientsLimited, turned.Finding())
	}
}
