package handover

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/tick"
)

// A fabric with EVPN takes an address that moves five times in 180 s for one that
// two hosts have, and freezes it where it is, for good (RFC 7432 section 15.1). So
// four moves are said, and planned work that nobody waits for comes later. What a
// person orders is done, with a warning: who moves a VIP for the fifth time in three
// minutes has a reason, and most networks freeze nothing. Failovers wait for nothing.
const (
	paceTime     = 180 * time.Second
	paceMoves    = 4
	paceInterval = time.Second
)

// A pace knows when a VIP has moved lately.
type pace struct {
	holder string
	moves  []time.Time
}

// see takes in who holds the VIP; empty for nobody that is known.
func (p *pace) see(now time.Time, holder string) {
	p.moves = slices.DeleteFunc(p.moves, func(t time.Time) bool { return now.Sub(t) >= paceTime })
	if holder == "" || holder == p.holder {
		return
	}
	if p.holder != "" {
		p.moves = append(p.moves, now)
	}
	p.holder = holder
}

// wait gives how long it takes until another move makes no harm; 0 for not at all.
func (p *pace) wait(now time.Time) time.Duration {
	if len(p.moves) < paceMoves {
		return 0
	}
	return max(0, p.moves[len(p.moves)-paceMoves].Add(paceTime).Sub(now))
}

// watchPace notes, again and again, who holds each VIP.
func (m *Moves) watchPace(ctx context.Context) {
	ticker := time.NewTicker(paceInterval)
	defer ticker.Stop()
	for {
		m.noteHolders(time.Now())
		if !tick.Next(ctx, ticker) {
			return
		}
	}
}

// noteHolders notes who holds each VIP, and says on the holder that one moves often.
func (m *Moves) noteHolders(now time.Time) {
	for _, v := range m.opt.VIPs() {
		name, holder := v.Name, v.Loop.Stats().Holder
		m.mu.Lock()
		p := m.paces[name]
		if p == nil {
			p = &pace{}
			m.paces[name] = p
		}
		p.see(now, holder)
		n, wait := len(p.moves), p.wait(now)
		m.mu.Unlock()
		var f *status.Finding
		if wait > 0 && v.Holds() {
			f = &status.Finding{
				Severity: status.Info, Code: status.CodeVIPMovesOften, Subject: "vip " + name,
				Text:   fmt.Sprintf("vip %s moved %d times in the last %s", name, n, status.Brief(paceTime)),
				Remedy: fmt.Sprintf("let it rest for %v: a fabric with EVPN freezes an address that moves five times in that time; planned work that can wait does, and holdfast events says why it moved", upToSeconds(wait)),
			}
		}
		m.opt.SetFinding(status.CodeVIPMovesOften+" "+name, f)
	}
}

// rest gives for how long planned work on the VIP waits still, since it has moved
// often; 0 for not at all.
func (m *Moves) rest(name string, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.paces[name]
	if p == nil {
		return 0
	}
	return p.wait(now)
}

// restless gives what to say of a VIP that is about to move more often than is
// good; empty for nothing.
func (m *Moves) restless(name string) string {
	wait := m.rest(name, time.Now())
	if wait == 0 {
		return ""
	}
	return fmt.Sprintf("vip %s has moved more than %d times within %s, and a fabric with EVPN freezes such an address for good; on one, let it rest for %v",
		name, paceMoves, status.Brief(paceTime), upToSeconds(wait))
}

// upToSeconds rounds up.
func upToSeconds(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }
