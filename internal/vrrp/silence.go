package vrrp

import "time"

// silence takes in whether the silence of others counts.
func (m *Machine) silence(now time.Time, e Silence) {
	m.unsure = !e.Counts
	b := &m.backup
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
	m.unsure, m.out.Release = true, true
	m.yielded = e.To.WithZone("")
	m.toBackup(now, Cause{Kind: CauseGaveWay, Peer: e.To, Own: m.cfg.Priority})
}
