package agent

import (
	"fmt"
	"slices"
	"time"

	"holdfast/internal/status"
)

// A fabric with EVPN takes an address that moves five times in 180 s for one that
// two hosts have, and freezes it where it is, for good (RFC 7432 section 15.1). So
// four moves are said, and what is not pressing waits.
const (
	codeMovesOften = "vip-moves-often"
	paceTime       = 180 * time.Second
	paceMoves      = 4
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

// watchPace notes who holds each VIP, and says on the holder that one moves often.
func (a *Agent) watchPace(now time.Time) {
	for _, o := range a.owners() {
		name, holder := o.view.Load().vip.Name, o.loop.Stats().Holder
		a.mu.Lock()
		p := a.paces[name]
		if p == nil {
			p = &pace{}
			a.paces[name] = p
		}
		p.see(now, holder)
		n, wait := len(p.moves), p.wait(now)
		a.mu.Unlock()
		var f *status.Finding
		if wait > 0 && o.holds() {
			f = &status.Finding{
				Severity: status.Info, Code: codeMovesOften, Subject: "vip " + name,
				Text:   fmt.Sprintf("vip %s moved %d times in the last %v", name, n, paceTime),
				Remedy: fmt.Sprintf("let it rest for %v: a fabric with EVPN freezes an address that moves five times in that time; holdfast events says why it moved", wait.Round(time.Second)),
			}
		}
		a.setFinding(codeMovesOften+" "+name, f)
	}
}

// rests reports whether the VIP moved so often that what is not pressing waits.
func (a *Agent) rests(name string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.paces[name]
	return p != nil && p.wait(now) > 0
}
