package agent

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// loopSilence is how long a VRRP loop may be silent before it counts as stuck.
// It must be less than the unit's WatchdogSec.
const loopSilence = 2 * time.Second

const (
	// supervisorSilence is that of HAProxy's supervisor, which may be at a reload.
	supervisorSilence = time.Minute
	// watchInterval is how often watchHAProxy turns with nothing to do, and
	// watchSilence how long it may not.
	watchInterval = time.Second
	watchSilence  = 10 * time.Second
)

// alive says why the agent stands still, nil when it does not: every VRRP loop
// must have turned lately, since a VIP that nobody renews is lost; and so must who
// starts HAProxy again and who tells VRRP of its state, without which a VIP stays
// where nothing answers.
func (a *Agent) alive() error {
	watched := a.started.Add(time.Duration(a.watchTurned.Load()))
	stuck := []error{
		standsStill("HAProxy's supervisor", a.haproxy.Turned(), supervisorSilence),
		standsStill("who watches HAProxy for VRRP", watched, watchSilence),
	}
	for _, o := range a.owners() {
		stuck = append(stuck, standsStill("the VRRP loop of vip "+o.view.Load().vip.Name, o.loop.Stats().Turned, loopSilence))
	}
	return errors.Join(stuck...)
}

// standsStill says that what turned last at turned has been silent for too long.
func standsStill(what string, turned time.Time, most time.Duration) error {
	if silent := time.Since(turned); silent > most {
		return fmt.Errorf("%s has not turned for %s", what, silent.Round(time.Millisecond))
	}
	return nil
}

// ticked waits for the next tick, and reports whether there is one before ctx ends.
func ticked(ctx context.Context, ticker *time.Ticker) bool {
	select {
	case <-ctx.Done():
		return false
	case <-ticker.C:
		return true
	}
}
