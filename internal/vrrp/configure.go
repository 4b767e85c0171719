package vrrp

import "time"

// configure takes c and keeps the state.
func (m *Machine) configure(now time.Time, c Config) {
	old := m.cfg
	m.cfg = c
	switch m.state {
	case Initialize: // has nothing that depends on it
	case Backup:
		m.reconfigureBackup(now)
	case Active:
		if c.Interval != old.Interval || c.Priority != old.Priority {
			m.reconfigureActive(now, old.Interval)
		}
	}
}

func (m *Machine) reconfigureBackup(now time.Time) {
	b := &m.backup
	if !b.learned {
		b.interval = m.cfg.Interval
	}
	if m.deadline.IsZero() {
		return // nobody is waited for, see Silence
	}
	wait := m.downInterval()
	if b.resigned {
		wait = m.skewTime()
	}
	m.deadline = b.since.Add(wait)
	if m.deadline.Before(now) {
		m.deadline = now
	}
}

// reconfigureActive advertises the new values at once. Adverts with a longer
// interval go out at the old pace at first, so that a Backup router which misses
// one does not take over.
func (m *Machine) reconfigureActive(now time.Time, old time.Duration) {
	const adverts = 3 // after this one
	m.advertise(now)
	m.active.slow = 0
	if m.cfg.Interval > old {
		m.active.slow, m.active.pace = adverts-1, old
	}
	m.deadline = now.Add(min(m.cfg.Interval, old))
}
