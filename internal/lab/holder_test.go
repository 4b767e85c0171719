package lab

import (
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"holdfast/internal/spec"
)

var (
	testVIP   = netip.MustParseAddr("10.64.20.10")
	testStart = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
)

func at(ms int) time.Time { return testStart.Add(time.Duration(ms) * time.Millisecond) }

func TestTakeoverOf(t *testing.T) {
	took := func(ms int, node string) Holding { return Holding{at(ms), testVIP, node, true} }
	lost := func(ms int, node string) Holding { return Holding{at(ms), testVIP, node, false} }
	other := Holding{at(1010), netip.MustParseAddr("10.64.20.11"), "c", true}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	tests := []struct {
		name    string
		changes []Holding
		want    Takeover // between 1000 and 5000
	}{
		{"nobody ever", nil, Takeover{Taken: -1}},
		{"nothing happens", []Holding{took(0, "a")}, Takeover{From: []string{"a"}, To: []string{"a"}, Taken: -1}},
		{"moves", []Holding{took(0, "a"), lost(1010, "a"), other, took(1040, "b")}, Takeover{From: []string{"a"}, To: []string{"b"}, Taken: ms(40)}},
		{
			"two for a while",
			[]Holding{took(0, "a"), took(1070, "b"), lost(3000, "a")},
			Takeover{From: []string{"a"}, To: []string{"b"}, Taken: ms(70), Two: ms(1930)},
		},
		{
			"two to the end",
			[]Holding{took(0, "a"), took(1100, "b"), took(6000, "c")},
			Takeover{From: []string{"a"}, To: []string{"a", "b"}, Taken: ms(100), Two: ms(3900)},
		},
		{
			"two from before",
			[]Holding{took(0, "a"), took(500, "b"), lost(1200, "b")},
			Takeover{From: []string{"a", "b"}, To: []string{"a"}, Taken: -1, Two: ms(200)},
		},
		{"lost and taken again by the same", []Holding{took(0, "a"), lost(1100, "a"), took(1300, "a")}, Takeover{From: []string{"a"}, To: []string{"a"}, Taken: -1}},
		{"taken from nobody", []Holding{took(0, "a"), lost(10, "a"), took(1500, "b")}, Takeover{From: []string{}, To: []string{"b"}, Taken: ms(500)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := TakeoverOf(tt.changes, testVIP, at(1000), at(5000))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("takeover (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHolderLog holds the log to one line a change: a refreshed lease, an
// address of somebody else's and one on lo are none.
func TestHolderLog(t *testing.T) {
	d := Dir(t.TempDir())
	s := &spec.Spec{VIPs: []spec.VIP{{Addresses: []netip.Prefix{netip.PrefixFrom(testVIP, 24)}}}}
	h, err := newHolderLog(s, d.addressesFile(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	update := func(ms int, node string, link int, ip string, added bool) {
		h.take(node, netlink.AddrUpdate{LinkIndex: link, LinkAddress: net.IPNet{IP: net.ParseIP(ip)}, NewAddr: added}, at(ms))
	}
	update(0, "a", 2, "10.64.20.10", true)
	update(100, "a", 2, "10.64.20.10", true) // its lease is refreshed
	update(110, "a", 2, "10.64.20.13", true) // its own address
	update(120, "b", 1, "10.64.20.10", true) // on lo
	update(130, "b", 7, "10.64.20.10", true)
	if diff := cmp.Diff([]string{"a", "b"}, h.holders(testVIP)); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
	update(140, "a", 2, "10.64.20.10", false)
	update(150, "a", 2, "10.64.20.10", false)
	h.gone("b")
	update(160, "b", 7, "10.64.20.10", true) // its last words
	got, err := ReadHoldings(d)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[3].Node != "b" || got[3].Held {
		t.Fatalf("recorded %+v, want a and b taking it, then a and b losing it", got)
	}
	want := []Holding{{at(0), testVIP, "a", true}, {at(130), testVIP, "b", true}, {at(140), testVIP, "a", false}}
	if diff := cmp.Diff(want, got[:3], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if _, err := ReadHoldings(Dir(filepath.Join(t.TempDir(), "none"))); err == nil {
		t.Error("no error for a lab that is not there")
	}
}
