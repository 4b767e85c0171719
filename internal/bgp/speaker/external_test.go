package speaker_test

import (
	"net/netip"
	"os"
	"testing"

	"holdfast/internal/bgp/bgptest"
	"holdfast/internal/vip"
)

// TestExternalEngines has FRR, with the file that deploy/bgp has for it, announce what
// a lease puts on lo, and withdraw what it takes away.
func TestExternalEngines(t *testing.T) {
	for name, start := range map[string]func(t *testing.T){
		"FRR": func(t *testing.T) {
			config, err := os.ReadFile("../../../deploy/bgp/frr.conf")
			if err != nil {
				t.Fatal(err)
			}
			bgptest.FRR(t, config)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := bgptest.New(t, bfdNeighbour)
			start(t)
			address, err := vip.New(vip.Options{Name: "api", Addresses: []netip.Prefix{netip.MustParsePrefix(vipAddress)}, Interface: "lo"})
			if err != nil {
				t.Fatal(err)
			}
			defer address.Close() //nolint:errcheck // the test is over
			r.Await("the route", vipAddress, func(bgptest.Path) bool { return true }, func() {
				if err := address.Claim(t.Context()); err != nil { // again and again, as an agent does
					t.Fatal(err)
				}
			})
			if err := address.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.AwaitNone("the route to go", vipAddress)
		})
	}
}
