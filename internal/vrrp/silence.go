package vrrp

import "time"

// silence takes in whether the silence of others counts.
func (m *Machine) silence(now time.Time, e Silence) {
	deferred := m.defers
	m.unsure, m.defers = !e.Counts, !e.Counts && e.All
	b := &m.backup
	if deferred && !m.defers && m.state == Backup && !b.resigned {
		// The silence of before says nothing, and others begin to count it, too.
		m.deadline, b.since = now.Add(m.downInterval()), now
	}
	if m.state != Backup || b.learned || b.resigned || b.lower.Src.IsValid() {
		return // somebody was heard, whose silence always counts
	}
	if m.unsure {
		m.deadline = time.Time{}
		return
	}
	if e.Since.After(b.since) {
		b.since = e.Since
	}
	m.await(now)
}

// waits reports whether this router takes over from nobody by silence.
func (m *Machine) waits() bool { return m.defers && m.state == Backup && !m.backup.resigned }

// await begins to wait for the silence to be long enough, if it did not count before.
func (m *Machine) await(now time.Time) {
	if !m.deadline.IsZero() {
		return
	}
	if m.deadline = m.backup.since.Add(m.downInterval()); m.deadline.Before(now) {
		m.deadline = now
	}
}

// giveWay leaves Active without a word.
func (m *Machine) giveWay(now time.Time, e GiveWay) {
	if m.state != Active {
		return
	}
	m.unsure, m.defers, m.out.Release = true, true, true
	m.yielded = e.To.WithZone("")
	m.toBackup(now, Cause{Kind: CauseGaveWay, Peer: e.To, Own: m.cfg.Priority})
}
