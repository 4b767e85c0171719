package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
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

// notify tells the service manager (sd_notify(3)) that the agent is ready, and
// feeds its watchdog as long as the agent is alive: one that is stuck is to be
// killed and started again.
func (a *Agent) notify(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.rollout.Tried():
	}
	m := serviceManager()
	defer m.close()
	a.tell(&m, daemon.SdNotifyReady)
	defer a.tell(&m, daemon.SdNotifyStopping)
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
	for ticked(ctx, ticker) {
		if err := a.alive(); err != nil {
			a.log.Error("not feeding the watchdog", "error", err)
			continue
		}
		a.tell(&m, daemon.SdNotifyWatchdog)
	}
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

func (a *Agent) tell(m *manager, state string) {
	if err := m.tell(state); err != nil {
		a.log.Warn("the service manager is not told", "state", state, "error", err)
	}
}

// A manager is the service manager's socket. It stays open: an agent that is out
// of descriptors must not be killed by its watchdog for that.
type manager struct {
	path string // empty: nobody is to be told
	conn net.Conn
}

// serviceManager gives the one that systemd has named.
func serviceManager() manager { return manager{path: os.Getenv("NOTIFY_SOCKET")} }

func (m *manager) tell(state string) error {
	if m.path == "" {
		return nil
	}
	if m.conn != nil {
		if _, err := m.conn.Write([]byte(state)); err == nil {
			return nil
		}
		m.close() // it may have started anew
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		return err
	}
	m.conn = conn
	_, err = conn.Write([]byte(state))
	return err
}

func (m *manager) close() {
	if m.conn != nil {
		_ = m.conn.Close() //nolint:errcheck // each message was written or reported
		m.conn = nil
	}
}
