package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
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
	if !a.holdsAny() {
		return
	}
	err := a.tryToLeave(ctx)
	if err != nil && a.opt.KeepAddress > 0 {
		err = a.lastOfAll(ctx, err)
	}
	if err != nil {
		a.stay.Store(true)
		a.sayLast(err)
	}
	a.finish(ctx)
}

// tryToLeave hands every VIP over, or says why it cannot.
func (a *Agent) tryToLeave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	return a.handOverAtLast(ctx)
}

const (
	// keepInterval is how often the last of all looks whether its VIPs are still its
	// own, and offerInterval how often it offers them to other agents again.
	keepInterval, offerInterval = time.Second, 10 * time.Second
	// extendedStop is what systemd is asked for, each second anew, while the last of all
	// does not end: it must outlive an offer.
	extendedStop = leaveTime + 20*time.Second
)

// lastOfAll goes on with what nobody takes, for as long as the options say, until
// somebody does: another agent, or whoever speaks VRRP for the same virtual router
// in the set-up that is to follow, with any priority. It gives why it is still not
// taken. Only the agent's own end is put off; all else of it goes on.
func (a *Agent) lastOfAll(ctx context.Context, why error) error {
	until := time.Now().Add(a.opt.KeepAddress)
	a.lastHere.Store(true)
	a.settlePriorities()
	for _, v := range a.held() {
		a.journal.add(status.Event{
			Kind: status.EventVIPKept, Subject: "vip " + v.Name, Cause: why.Error(),
			Text: fmt.Sprintf("the agent was told to end, and nobody takes vip %s: it stays here until somebody does, for %v at most", v.Name, a.opt.KeepAddress),
		})
	}
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	offered := time.Now()
	for ticked(ctx, ticker) && a.holdsAny() {
		if time.Now().After(until) {
			return why
		}
		a.systemd.Tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=ends when somebody takes what it holds: %v", extendedStop.Microseconds(), why))
		if time.Since(offered) < offerInterval {
			continue
		}
		if offered = time.Now(); !a.otherFit(ctx) {
			continue
		}
		if err := a.tryToLeave(ctx); err == nil {
			return nil
		}
	}
	if a.holdsAny() {
		return why
	}
	return nil
}

// held gives the VIPs that this controller holds.
func (a *Agent) held() []spec.VIP {
	var all []spec.VIP
	for _, o := range a.owners() {
		if o.holds() {
			all = append(all, o.view.Load().vip)
		}
	}
	return all
}

// sayLast says that what this controller holds ends with its agent: to the log and the
// journal, which are read afterwards, and to systemctl.
func (a *Agent) sayLast(why error) {
	var names []string
	for _, v := range a.held() {
		names = append(names, v.Name)
		var addresses []string
		for _, at := range v.Addrs() {
			addresses = append(addresses, at.String())
		}
		are := "is"
		if len(addresses) > 1 {
			are = "are"
		}
		a.journal.add(status.Event{
			Kind: status.EventVIPLeft, Subject: "vip " + v.Name, Cause: why.Error(),
			Text: fmt.Sprintf("the agent ends and nobody takes vip %s: unless an agent starts within 2s, %s %s gone from the network, and clients reach no service. HAProxy goes on, with nobody to serve",
				v.Name, status.And(addresses), are),
		})
	}
	a.systemd.Tell(fmt.Sprintf("STATUS=ended as the last: nobody has vip %s now (%v)", status.And(names), why))
}

// handOverAtLast gives every VIP away, and tries more than once: the others may
// be busy with another one.
func (a *Agent) handOverAtLast(ctx context.Context) error {
	const attempts, pause = 3, 300 * time.Millisecond
	var err error
	for i := range attempts {
		if _, err = a.giveAll(ctx, web.HandoverRequest{Cause: "the agent ends", Force: true}, false); err == nil || !refused(err) || i == attempts-1 {
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
	e, ok := errors.AsType[*peer.Error](err)
	return ok && e.Refusal != "" || errors.Is(err, errMoving)
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
