package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/web"
)

const (
	// leaveTime bounds the handovers of an agent that ends.
	leaveTime = 10 * time.Second
	// finishTime is how long an agent that ends waits for the connections of
	// what it has handed over. The next one goes on with what is left.
	finishTime = 2 * time.Second
	// keepInterval is how often the last of all looks whether its VIPs are still its
	// own, and offerInterval how often it offers them to other agents again.
	keepInterval, offerInterval = 50 * time.Millisecond, 10 * time.Second
	// extendedStop is what systemd is asked for, each tellInterval anew, while the last of all
	// does not end: it must outlive an offer.
	extendedStop = leaveTime + 20*time.Second
	tellInterval = time.Second
)

// Leave is the planned end of the agent: it hands every VIP over, and waits a
// moment for their connections. What nobody takes it keeps for as long as keep, until
// somebody does. tell has the service manager know what it waits for (sd_notify(3)).
func (m *Moves) Leave(ctx context.Context, keep time.Duration, tell func(state string)) {
	m.ending.Store(true)
	if len(m.held()) == 0 {
		return
	}
	err := m.tryToLeave(ctx)
	if err != nil && keep > 0 {
		err = m.lastOfAll(ctx, keep, tell, err)
	}
	if err != nil {
		m.stay.Store(true)
		m.sayLast(tell, err)
	}
	m.finish(ctx)
}

// tryToLeave hands every VIP over, or says why it cannot. It tries more than once:
// the others may be busy with another one.
func (m *Moves) tryToLeave(ctx context.Context) error {
	const attempts, pause = 3, 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	var err error
	for i := range attempts {
		if _, err = m.GiveAll(ctx, web.HandoverRequest{Cause: "the agent ends", Force: true}, false); err == nil || !refused(err) || i == attempts-1 {
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

// lastOfAll goes on with what nobody takes, for as long as keep, until
// somebody does: another agent, whoever speaks VRRP for the same virtual router
// in the set-up that is to follow, with any priority, or who says that it has the
// address in VRRP of another version, which no loop obeys. It gives why it is still not
// taken. Only the agent's own end is put off; all else of it goes on.
func (m *Moves) lastOfAll(ctx context.Context, keep time.Duration, tell func(string), why error) error {
	begun := time.Now()
	m.lastHere.Store(true)
	m.opt.Settle()
	for _, v := range m.held() {
		m.opt.Event(status.Event{
			Kind: status.EventVIPKept, Subject: "vip " + v.Name, Cause: why.Error(),
			Text: fmt.Sprintf("the agent was told to end, and nobody takes vip %s: it stays here until somebody does, for %v at most", v.Name, keep),
		})
	}
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	offered, told := time.Now(), time.Time{}
	for tick.Next(ctx, ticker) && len(m.held()) > 0 {
		if time.Since(begun) > keep {
			return why
		}
		if !slices.ContainsFunc(m.held(), func(v VIP) bool { return !v.Rival().After(begun) }) {
			return nil // each is another router's
		}
		if time.Since(told) >= tellInterval {
			told = time.Now()
			tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=ends when somebody takes what it holds: %v", extendedStop.Microseconds(), why))
		}
		if time.Since(offered) < offerInterval {
			continue
		}
		if offered = time.Now(); !m.otherFit(ctx) {
			continue
		}
		if err := m.tryToLeave(ctx); err == nil {
			return nil
		}
	}
	if len(m.held()) > 0 {
		return why
	}
	return nil
}

// sayLast says that what this controller holds ends with its agent: to the log and the
// journal, which are read afterwards, and to systemctl.
func (m *Moves) sayLast(tell func(string), why error) {
	var names []string
	for _, v := range m.held() {
		names = append(names, v.Name)
		var addresses []string
		for _, at := range v.Addrs() {
			addresses = append(addresses, at.String())
		}
		are := "is"
		if len(addresses) > 1 {
			are = "are"
		}
		m.opt.Event(status.Event{
			Kind: status.EventVIPLeft, Subject: "vip " + v.Name, Cause: why.Error(),
			Text: fmt.Sprintf("the agent ends and nobody takes vip %s: unless an agent starts within 2s, %s %s gone from the network, and clients reach no service. HAProxy goes on, with nobody to serve",
				v.Name, status.And(addresses), are),
		})
	}
	tell(fmt.Sprintf("STATUS=ended as the last: nobody has vip %s now (%v)", status.And(names), why))
}

// refused reports whether err has the word of another agent, or is about a move
// under way: what may be otherwise a moment later.
func refused(err error) bool {
	e, ok := errors.AsType[*peer.Error](err)
	return ok && e.Refusal != "" || errors.Is(err, peer.ErrLater)
}

// finish waits until nothing is left of what was handed over, or says what is.
func (m *Moves) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	for ctx.Err() == nil {
		if given, _ := m.names(); len(given) == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(moveInterval / 4):
		}
	}
	given, _ := m.names()
	for _, name := range given {
		g, _ := m.Status(name)
		if g == nil || g.Connections == 0 {
			continue
		}
		m.opt.Log.Info(fmt.Sprintf("%s of vip %s may go on without the agent, until %s at the latest", status.Count(g.Connections, "connection"), name, g.Until.Format(time.TimeOnly)))
	}
}
