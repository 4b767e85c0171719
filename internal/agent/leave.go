package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/vip"
	"holdfast/internal/web"
)

const (
	// leaveTime bounds the handovers of an agent that ends.
	leaveTime = 10 * time.Second
	// finishTime is how long an agent that ends waits for the connections of
	// what it has handed over. The next one goes on with what is left.
	finishTime = 2 * time.Second
)

// leave is the planned end of the agent: it hands every VIP over, and waits a
// moment for their connections.
func (a *Agent) leave(ctx context.Context) {
	a.ending.Store(true)
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if !a.holdsAny() {
		return
	}
	if err := a.handOverAtLast(ctx); err != nil {
		a.stay.Store(true)
		a.log.Warn("nobody takes it; the address stays until its lease ends, for the next agent to go on with", "error", err)
	}
	a.finish(ctx)
}

// handOverAtLast gives every VIP away, and tries more than once: the others may
// be busy with another one.
func (a *Agent) handOverAtLast(ctx context.Context) error {
	const attempts, pause = 3, 300 * time.Millisecond
	var err error
	for i := range attempts {
		if err = a.giveAll(ctx, web.HandoverRequest{Cause: "the agent ends", Force: true}); err == nil || !refused(err) || i == attempts-1 {
			break
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
	return err
}

// refused reports whether err has the word of another agent, or is about a move
// under way: what may be otherwise a moment later.
func refused(err error) bool {
	e, ok := errors.AsType[*peerError](err)
	return ok && e.refusal != "" || errors.Is(err, errMoving)
}

// finish waits until nothing is left of what was handed over, or says what is.
func (a *Agent) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	for ctx.Err() == nil {
		if given, _ := a.moves.names(); len(given) == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(moveInterval / 4):
		}
	}
	given, _ := a.moves.names()
	for _, name := range given {
		g, _ := a.moves.status(name)
		if g == nil || g.Connections == 0 {
			continue
		}
		a.log.Info(fmt.Sprintf("%d connections of vip %s go on without the agent, until %s at the latest", g.Connections, name, g.Until.Format(time.TimeOnly)))
	}
}

// A tenant has the leased address of a VIP for its VRRP loop. It knows when
// connections must survive that the address goes.
type tenant struct {
	*vip.Address
	// moved reports whether the connections go on: at this controller, which
	// has handed the VIP over.
	moved func() bool
	// stay reports whether the address itself is to stay until its lease ends:
	// this agent ends, nobody took the VIP, and the next agent goes on.
	stay func() bool
}

// Release gives the address up, as is due.
func (t tenant) Release(ctx context.Context) error {
	switch {
	case t.stay():
		return nil
	case t.moved():
		return t.Withdraw(ctx)
	}
	return t.Address.Release(ctx)
}
