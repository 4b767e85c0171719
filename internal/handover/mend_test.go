package handover

import (
	"context"
	"net/netip"
	"testing"

	"holdfast/internal/peer"
	"holdfast/internal/status"
)

// TestProofUnknown has a taker that cannot prove: that says nothing of the network.
func TestProofUnknown(t *testing.T) {
	enterHost(t)
	c := newController(t, "ctl1")
	v := c.spec.VIPs[0]
	c.opt.Ask = func(context.Context, string, string, any, any) error {
		return &peer.Error{Controller: "ctl2", Refusal: `no command "prove"`}
	}
	missing, err := c.proof(t.Context(), v, "ctl2", []netip.Addr{netip.MustParseAddr("127.0.0.9")})
	if err == nil || len(missing) != 1 {
		t.Errorf("missing %v, %v", missing, err)
	}
	// One that says that it sent them, and of which nothing arrives.
	var got proveRequest
	c.opt.Ask = func(_ context.Context, _, _ string, req, _ any) error {
		got = req.(proveRequest)
		return nil
	}
	missing, err = c.proof(t.Context(), v, "ctl2", []netip.Addr{netip.MustParseAddr("127.0.0.9")})
	if err != nil || len(missing) != 1 || got.VIP != "api" || got.Nonce == 0 || len(got.Clients) != 1 {
		t.Errorf("missing %v, %v, asked for %+v", missing, err, got)
	}
}

// TestBlockedFinding begins and ends with what the proofs say.
func TestBlockedFinding(t *testing.T) {
	c := newController(t, "ctl1")
	var clients []netip.Addr
	for i := range 5 {
		clients = append(clients, netip.AddrFrom4([4]byte{10, 0, 0, byte(9 - i)}))
	}
	why := c.blocks("api", "ctl2", clients)
	if want := "what ctl2 sends on for clients does not arrive at ctl1, as from 10.0.0.5, 10.0.0.6, 10.0.0.7 and 2 more"; why != want {
		t.Errorf("got %q, want %q", why, want)
	}
	if f := c.findings[status.CodeDetourBlocked+" ctl2"]; len(c.findings) != 1 || f.Code != status.CodeDetourBlocked {
		t.Errorf("the findings are %v", c.findings)
	}
	c.passes("ctl2")
	if len(c.findings) != 0 {
		t.Errorf("the findings are %v", c.findings)
	}
	c.passes("ctl3") // nothing was
}

// TestSomeAreBlocked: what is proved of two clients, one of which nothing comes from, ends neither
// a move that lasts nor one before it begins; where nothing comes from both it does.
func TestSomeAreBlocked(t *testing.T) {
	far := []netip.Addr{netip.MustParseAddr("127.0.0.8"), netip.MustParseAddr("127.0.0.9")}
	for name, test := range map[string]struct {
		missing int
		blocked bool
	}{"none": {0, false}, "one": {1, false}, "both": {2, true}} {
		if why := verdict(far, far[:test.missing], func() string { return "nothing arrives" }); (why != "") != test.blocked {
			t.Errorf("%s: %q", name, why)
		}
	}
}
