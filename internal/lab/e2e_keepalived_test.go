package lab_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

const migrated = `
cloud: migrated
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services:
  keystone: {}
  glance: {}
`

// A migration moves a cloud under load from one system to another, with the same
// address, one controller at a time, as docs/runbooks/keepalived.md says.
type migration struct {
	*cloud
	moves [][2]time.Time // when the address may have gone from one controller to another
}

// to has all controllers run kind, those without the address first, in the runbook's
// order, and what has it last.
func (m *migration) to(kind string) {
	m.Helper()
	holder := m.holder()
	for _, n := range m.others(holder) {
		m.change(kind, n)
		if now := m.holder(); now != holder {
			m.Fatalf("%s took the address from %s, which runs as before: %s has it", n, holder, now)
		}
	}
	begun := time.Now()
	m.fault("agent-stop", holder) // it stops keepalived where that runs
	m.awaitHolder(m.others(holder)...)
	m.moves = append(m.moves, [2]time.Time{begun, time.Now()})
	m.change(kind, holder)
}

// change is one controller's.
func (m *migration) change(kind, node string) {
	m.Helper()
	if err := lab.Switch(m.Context(), m.dir, kind, node); err != nil {
		m.Fatal(err)
	}
}

// lost says which requests failed, but for those that were open while the address moved,
// or came until a second after.
func (m *migration) lost(records []load.Record) (failed int, lost []string) {
	for _, r := range records {
		if r.Failure == "" && r.Status < 500 {
			continue
		}
		failed++
		excused := slices.ContainsFunc(m.moves, func(move [2]time.Time) bool {
			return r.End().After(move[0]) && r.Due.Before(move[1].Add(time.Second))
		})
		if !excused {
			lost = append(lost, fmt.Sprintf("%s %s %d %s", r.Due.Format(time.StampMilli), r.Method, r.Status, r.Failure))
		}
	}
	return failed, lost
}

// TestFromKeepalivedAndBack takes a cloud of kolla-ansible's HAProxy and keepalived
// (VRRP version 2, multicast), which has the address, to holdfast; from there to a
// keepalived set up by hand (version 3, unicast); and back again. Nothing fails but what was
// open while the address moved, no controller takes it out of its turn, and no POST is
// carried out twice.
func TestFromKeepalivedAndBack(t *testing.T) {
	m := &migration{cloud: newCloudOf(t, "migration", migrated, lab.UpOptions{Peer: "kolla"})}
	const long = 24 * time.Second
	done := make(chan []load.Record, 1)
	failed := make(chan error, 1)
	begun := time.Now()
	go func() {
		records, err := m.tryLoad("--rate", "100", "--duration", long.String(), "--timeout", "8s", "--method", "GET,GET,GET,GET,POST")
		failed <- err
		done <- records
	}()
	for _, kind := range []string{"", "tuned", ""} {
		m.to(kind)
		m.await("answers", m.allAnswer)
	}
	if took := time.Since(begun); took > long {
		t.Logf("the last of it took until %v, and the load ended at %v", took, long)
	}
	records := <-done
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	n, lost := m.lost(records)
	t.Logf("%d of %d requests failed in %d moves of the address", n, len(records), len(m.moves))
	if len(lost) > 0 {
		t.Errorf("%d requests failed while the address stayed:\n%s", len(lost), strings.Join(lost, "\n"))
	}
	for key, times := range m.seen() {
		if times > 1 && slices.ContainsFunc(records, func(r load.Record) bool { return r.Key == key && r.Method == "POST" }) {
			t.Errorf("the POST %s was carried out %d times", key, times)
		}
	}
	m.await("a whole cloud of holdfast", m.whole)
}
