package look

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"holdfast/internal/doctor"
	"holdfast/internal/netnstest"
	"holdfast/internal/spec"
)

// TestMeet has one controller listen and another try all ways, before and after a filter of
// protocol 112 and of one port.
func TestMeet(t *testing.T) {
	s, findings := spec.Parse("holdfast.yaml", []byte(`
vips: [{name: api, addresses: [10.0.0.10/24], hostname: api.example.org, interface: eth0, vrrp: {router_id: 51}}]
controllers: [{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.2}]
services: {keystone: {}}
`))
	if s == nil {
		t.Fatal(findings)
	}
	bridge := netnstest.NewBridge(t)
	a, b := netnstest.New(t), netnstest.New(t)
	for i, n := range []*netnstest.Namespace{a, b} {
		bridge.Plug([]string{"pa", "pb"}[i], n)
		n.Run("ip address add " + netip.PrefixFrom(s.Controllers[i].Address, 24).String() + " dev eth0")
	}
	ctx, stop := context.WithCancel(t.Context())
	listening := make(chan error, 1)
	met := make(chan Met, 100)
	go func() {
		listening <- a.Do(func() error { return Listen(ctx, s, s.Controllers[0], func(m Met) { met <- m }) })
	}()
	try := func() (all []doctor.Way) {
		t.Helper()
		err := b.Do(func() (err error) { all, err = To(t.Context(), s, s.Controllers[1], s.Controllers[0]); return err })
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	open := func(vrrp, check doctor.Reach) []doctor.Way {
		return []doctor.Way{{What: "tcp 9470", Reach: doctor.Open}, {What: "tcp 9471", Reach: check}, {What: doctor.ProtocolVRRP, Reach: vrrp}}
	}
	var got []doctor.Way
	for !slices.Equal(got, open(doctor.Open, doctor.Open)) { // until it listens
		if got = try(); t.Context().Err() != nil || len(listening) > 0 {
			t.Fatalf("it got %v, and the one that listens %v", got, <-listening)
		}
	}
	heard := map[Met]bool{}
	for len(heard) < 3 {
		select {
		case m := <-met:
			heard[m] = true
		case <-time.After(time.Minute):
			t.Fatalf("only %v were heard", heard)
		}
	}
	for _, what := range []string{"tcp 9470", "tcp 9471", doctor.ProtocolVRRP} {
		if !heard[Met{"b", what}] {
			t.Errorf("b was not heard by %s: %v", what, heard)
		}
	}
	a.Run("nft add table inet planted\nnft add chain inet planted input { type filter hook input priority 0 ; }\n" +
		"nft add rule inet planted input ip protocol 112 drop\nnft add rule inet planted input tcp dport 9471 drop")
	if got := try(); !slices.Equal(got, open(doctor.Silent, doctor.Silent)) {
		t.Errorf("behind a filter: %v", got)
	}
	stop()
	if err := <-listening; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
