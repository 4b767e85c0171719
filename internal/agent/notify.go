package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// loopSilence is how long a VRRP loop may be silent before it counts as stuck.
// It must be less than the unit's WatchdogSec.
const loopSilence = 2 * time.Second

// alive says why the agent stands still, nil when it does not: every VRRP loop
// must have turned lately, since a VIP that nobody renews is lost.
func (a *Agent) alive() error {
	var stuck []error
	for _, o := range a.owners() {
		if silent := time.Since(o.loop.Stats().Turned); silent > loopSilence {
			stuck = append(stuck, fmt.Errorf("the VRRP loop of vip %s has not turned for %s", o.view.Load().vip.Name, silent.Round(time.Millisecond)))
		}
	}
	return errors.Join(stuck...)
}

// notify tells the service manager (sd_notify(3)) that the agent is ready, and
// feeds its watchdog as long as the agent is alive: one that is stuck is to be
// killed and started again.
func (a *Agent) notify(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.tried:
	}
	a.tellManager(daemon.SdNotifyReady)
	defer a.tellManager(daemon.SdNotifyStopping)
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.log.Warn("the service manager's watchdog is not understood; it is not fed", "error", err)
	}
	if every <= 0 {
		<-ctx.Done()
		return
	}
	ticker := time.NewTicker(every / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := a.alive(); err != nil {
				a.log.Error("not feeding the watchdog", "error", err)
				continue
			}
			a.tellManager(daemon.SdNotifyWatchdog)
		}
	}
}

func (a *Agent) tellManager(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Warn("the service manager is not told", "state", state, "error", err)
	}
}
