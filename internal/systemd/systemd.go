// Package systemd tells the service manager how a daemon is (sd_notify(3)). What makes
// it alive the daemon knows.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"holdfast/internal/tick"
)

// A Manager is the service manager. Its socket stays open: an agent that is out of
// descriptors must not be killed by its watchdog for that.
type Manager struct {
	path string // empty: nobody is to be told
	log  *slog.Logger

	mu   sync.Mutex // guards following
	conn net.Conn
}

// New gives the one that has started this process, if one has.
func New(log *slog.Logger) *Manager { return &Manager{path: os.Getenv("NOTIFY_SOCKET"), log: log} }

// Notify tells that the daemon is ready, once ready is closed, and feeds the watchdog until
// ctx ends, as long as alive gives no reason not to: a daemon that is stuck is to be
// killed and started again.
func (m *Manager) Notify(ctx context.Context, ready <-chan struct{}, alive func() error) {
	select {
	case <-ctx.Done():
		return
	case <-ready:
	}
	m.Tell(daemon.SdNotifyReady)
	defer m.Tell(daemon.SdNotifyStopping)
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("the service manager's watchdog is not understood; it is not fed", "error", err)
	}
	if every <= 0 {
		<-ctx.Done()
		return
	}
	ticker := time.NewTicker(every / 3)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		if err := alive(); err != nil {
			m.log.Error("not feeding the watchdog", "error", err)
			continue
		}
		m.Tell(daemon.SdNotifyWatchdog)
	}
}

// Tell has the manager know a state, in the words of sd_notify(3).
func (m *Manager) Tell(state string) {
	if err := m.tell(state); err != nil {
		m.log.Warn("the service manager is not told", "state", state, "error", err)
	}
}

func (m *Manager) tell(state string) error {
	if m.path == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		if _, err := m.conn.Write([]byte(state)); err == nil {
			return nil
		}
		_ = m.conn.Close() // it may have started anew
		m.conn = nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		return err
	}
	m.conn = conn
	_, err = conn.Write([]byte(state))
	return err
}

// StandsStill says that what turned last at turned has been silent for too long, which
// is a reason not to feed the watchdog; nil: it has not.
func StandsStill(what string, turned time.Time, most time.Duration) error {
	if silent := time.Since(turned); silent > most {
		return fmt.Errorf("%s has not turned for %s", what, silent.Round(time.Millisecond))
	}
	return nil
}
