package move

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/ether"
)

// filter has a host load nftables.
func (l *lan) filter(host, rules string) {
	l.t.Helper()
	l.in(host, func() { l.run("nft -f " + l.file(rules)) })
}

// prove has the taker prove its detour, and gives the clients that are missing.
func (l *lan) prove(d *Detour, clients ...netip.Addr) []netip.Addr {
	l.t.Helper()
	const nonce = 7
	var w, other *Witness
	l.in("giver", func() {
		var err error
		if w, err = NewWitness(nonce, d.options.Addresses); err == nil {
			other, err = NewWitness(nonce+1, d.options.Addresses)
		}
		if err != nil {
			l.t.Fatal(err)
		}
	})
	l.in("taker", func() {
		if err := d.Probe(l.t.Context(), nonce, clients); err != nil {
			l.t.Fatal(err)
		}
	})
	ctx, cancel := context.WithTimeout(l.t.Context(), 200*time.Millisecond)
	defer cancel()
	missing, err := w.Missing(ctx, clients)
	if err != nil {
		l.t.Fatal(err)
	}
	if not, err := other.Missing(ctx, clients); err != nil || len(not) != len(clients) {
		l.t.Errorf("somebody else's probes count: %v are missing, %v", not, err)
	}
	for _, w := range []*Witness{w, other} {
		if err := w.Close(); err != nil {
			l.t.Error(err)
		}
	}
	return missing
}

// guard is what a switch with a source guard does at the taker's port, for the
// client's addresses.
const guard = `table bridge guard { chain forward { type filter hook forward priority 0;
	iifname taker ip saddr 10.0.0.1 drop
	iifname taker ip6 saddr fd00::1 drop
}
}`

// TestProveDetour sends probes for clients on the network and behind a router, by
// IPv4, IPv6 and link-local addresses, before the move and after it, and through
// filters of the switch and of the taker.
func TestProveDetour(t *testing.T) {
	o := both()
	l, a := giverOfBoth(t, o)
	c, _ := l.copyOf(o)
	clients := []netip.Addr{
		netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1"),
		netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7"),
	}
	d, _ := l.detour(o, "api", "giver")
	none := func(what string, missing []netip.Addr) {
		t.Helper()
		if len(missing) > 0 {
			t.Errorf("%s: nothing from %v arrives", what, missing)
		}
	}
	near := func(what string, missing []netip.Addr) {
		t.Helper()
		if !slices.Equal(missing, clients[:2]) {
			t.Errorf("%s: nothing from %v arrives, want %v", what, missing, clients[:2])
		}
	}
	none("before the move", l.prove(d, clients...))
	open := []*session{l.dial("client", "10.0.0.10"), l.dial("client", "fd00::10")}
	l.in("giver", func() {
		got, err := c.Clients(t.Context())
		if slices.SortFunc(got, netip.Addr.Compare); err != nil || !slices.Equal(got, clients[:2]) {
			t.Errorf("the clients are %v, %v; want %v", got, err, clients[:2])
		}
	})
	l.handOver("giver", a, c, "taker", l.address("taker", o), d)
	none("after the move", l.prove(d, clients...))
	l.filter("switch", guard)
	near("through the switch", l.prove(d, clients...))
	l.in("switch", func() { l.run("nft flush ruleset") })
	l.filter("taker", strings.NewReplacer("bridge", "inet", "forward", "output", "iifname taker ", "").Replace(guard))
	near("through the taker's own filter", l.prove(d, clients...))
	l.in("taker", func() { l.run("nft delete table inet guard") })
	none("without the filters", l.prove(d, clients...))
	l.filter("giver", "table inet own {\nchain input { type filter hook prerouting priority -300\ntcp dport 9 drop\n}\n}")
	none("with a filter of the giver's that is not for segments of connections", l.prove(d, clients...))
	for _, s := range open {
		l.answered(s, "giver") // nothing was done to the connections
	}
	l.in("giver", func() { // of one client's address, and not of the other's
		if cut, err := c.Cut(t.Context(), clients[:1]); err != nil || cut != 1 {
			t.Errorf("%d connections were reset, %v; want 1", cut, err)
		}
	})
	if text, err := open[0].ask(); err == nil {
		t.Errorf("the connection that was reset answers %q", text)
	}
	l.answered(open[1], "giver")
	l.remove("taker", d)
	l.end(c)
}

// A probe is no more than a probe: it has checksums that are right, and it can be
// told apart from what anybody else sends.
func TestProbePacket(t *testing.T) {
	for _, addresses := range []string{"10.0.0.1 10.0.0.10", "fd00::1 fd00::10"} {
		from, to, _ := strings.Cut(addresses, " ")
		client, target := netip.MustParseAddr(from), netip.MustParseAddr(to)
		p := probe{client: client, vip: target}
		segment := p.segment(7)
		pseudo := append(append(client.AsSlice(), target.AsSlice()...), 0, 0, 0, byte(len(segment)), 0, 0, 0, 6)
		if sum := ether.Checksum(0, append(pseudo, segment...)); sum != 0 {
			t.Errorf("%s: the checksum is off by %#x", addresses, sum)
		}
		packet := p.packet(7)
		w := Witness{nonce: 7, vip: []netip.Addr{target}}
		if got, ok := w.client(packet); !ok || got != client {
			t.Errorf("%s: got %v, %v", addresses, got, ok)
		}
		for n := range packet {
			if _, ok := w.client(packet[:n]); ok {
				t.Errorf("%s: %d bytes are taken for a probe", addresses, n)
			}
		}
		w.nonce++
		if _, ok := w.client(packet); ok {
			t.Errorf("%s: another nonce is taken", addresses)
		}
	}
	d, err := NewDetour(DetourOptions{Name: "api", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.10")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Probe(t.Context(), 7, make([]netip.Addr, MaxProbed+1)); err == nil {
		t.Error("probes for any number of clients are sent")
	}
}
