package move

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/vip"
	"holdfast/internal/vip/conntrack"
)

// trackedBeside counts the TCP and UDP connections that a host tracks to other
// addresses than the VIP's, and those to these.
func (l *lan) trackedBeside(host string) (others, own int) {
	l.t.Helper()
	l.in(host, func() {
		for _, family := range []netlink.InetFamily{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
			if err != nil {
				l.t.Fatal(err)
			}
			for _, f := range flows {
				switch {
				case slices.Contains(vips, f.Forward.SrcIP.String()), slices.Contains(vips, f.Forward.DstIP.String()):
					own++
				case f.Forward.Protocol == unix.IPPROTO_TCP, f.Forward.Protocol == unix.IPPROTO_UDP:
					others++
				}
			}
		}
	})
	return others, own
}

// busy opens connections to the taker's own addresses, and out of it, and has all of
// them used.
func (l *lan) busy(n int) (all []*session) {
	l.t.Helper()
	l.serve("client")
	for range n {
		for from, to := range map[string][]string{"client": {"10.0.0.14", "fd00::14"}, "taker": {"10.0.0.1", "fd00::1"}} {
			for _, a := range to {
				all = append(all, l.dial(from, a))
			}
		}
	}
	return all
}

func (l *lan) used(all []*session) {
	l.t.Helper()
	for _, s := range all {
		if _, err := s.ask(); err != nil {
			l.t.Errorf("%s to %s: %v", s.LocalAddr(), s.RemoteAddr(), err)
		}
	}
}

func (l *lan) isNarrow(d *Detour, want bool) {
	l.t.Helper()
	l.in("taker", func() {
		if is, err := d.Narrow(l.t.Context()); is != want || err != nil {
			l.t.Errorf("only the VIP's are tracked: %v, %v, want %v", is, err, want)
		}
	})
}

// TestDetourTracksOnlyTheVIP has a taker with connections of its own: the VIP's alone
// fill the table, of old connections and new ones, and none is lost.
func TestDetourTracksOnlyTheVIP(t *testing.T) {
	l, a := giverOfBoth(t, both())
	c, _ := l.copyOf(both())
	d, log := l.detour(both(), "api", "giver")
	beside := l.busy(3)
	var old, young []*session
	for _, v := range vips {
		old = append(old, l.dial("client", v))
	}
	l.handOver("giver", a, c, "taker", l.address("taker", both()), d)
	l.isNarrow(d, true)
	for _, v := range vips {
		young = append(young, l.dial("client", v))
	}
	for i := range vips {
		l.answered(old[i], "giver")
		l.answered(young[i], "taker")
	}
	l.used(beside)
	l.used(l.busyAgain())
	if others, own := l.trackedBeside("taker"); others != 0 || own < len(young) {
		t.Errorf("%d connections beside those of the VIP are tracked, and %d of the VIP; want none, and %d at least", others, own, len(young))
	}
	// Another VIP, for which this one's connections must not be lost.
	two, _ := l.detour(vip.Options{Addresses: prefixes("10.0.0.11/24")}, "two", "giver")
	l.install("taker", two)
	l.answered(l.dial("client", vips[0]), "taker")
	l.remove("taker", d)
	l.isNarrow(d, true)
	l.remove("taker", two)
	l.in("taker", func() {
		if out := l.run("nft list tables"); out != "" {
			t.Errorf("left are %q", out)
		}
	})
	if log.String() != "" {
		t.Error(log.String())
	}
}

// busyAgain opens some more connections.
func (l *lan) busyAgain() []*session {
	l.t.Helper()
	return []*session{l.dial("client", "10.0.0.14"), l.dial("taker", "10.0.0.1"), l.dial("client", "fd00::14"), l.dial("taker", "fd00::1")}
}

// firewall lets in what belongs to the taker's own connections, and what begins at
// the servers' port.
const firewall = `table inet mine {
	chain input {
		type filter hook input priority filter; policy drop;
		meta l4proto { icmp, icmpv6 } accept
		ct state established,related accept
		tcp dport 5000 ct state new accept
	}
}
`

// TestDetourBesideAFirewall has a firewall on the taker whose rules know connections:
// all are tracked, and its rules work. It is there before the move, or comes, goes
// and comes again in the midst of it.
func TestDetourBesideAFirewall(t *testing.T) {
	for _, when := range []string{"before", "meanwhile"} {
		t.Run(when, func(t *testing.T) {
			l, a := giverOfBoth(t, both())
			c, _ := l.copyOf(both())
			d, _ := l.detour(both(), "api", "giver")
			load := func() {
				l.in("taker", func() { l.run("nft -f " + l.file(firewall)) })
			}
			if when == "before" {
				load()
			}
			beside := l.busy(1)
			old := []*session{l.dial("client", vips[0]), l.dial("client", vips[1])}
			l.handOver("giver", a, c, "taker", l.address("taker", both()), d)
			if when == "meanwhile" {
				l.isNarrow(d, true)
				load()
				l.in("taker", func() {
					if by, err := d.KeepNarrow(t.Context(), true); by != "nftables, ct in chain mine input" || err != nil {
						t.Errorf("tracked by %q, %v", by, err)
					}
				})
			}
			l.isNarrow(d, false)
			for i := range vips {
				l.answered(old[i], "giver")
				l.answered(l.dial("client", vips[i]), "taker")
			}
			again := l.busyAgain()
			l.used(again)
			if when == "before" {
				l.used(beside)
			}
			if others, _ := l.trackedBeside("taker"); others < len(again) {
				t.Errorf("%d connections are tracked beside those of the VIP, want %d at least", others, len(again))
			}
			// The rules are not those of a moment ago by themselves.
			l.in("taker", func() { l.run("nft delete table inet mine") })
			l.install("taker", d)
			l.isNarrow(d, false)
			l.used(again)
			l.remove("taker", d)
		})
	}
}

// TestDetourTracksAllWithoutAnAgent lets the time of the rules run out, as an agent
// does that is dead: a firewall that comes then works.
func TestDetourTracksAllWithoutAnAgent(t *testing.T) {
	l, a := giverOfBoth(t, both())
	c, _ := l.copyOf(both())
	d, _ := l.detour(both(), "api", "giver")
	l.handOver("giver", a, c, "taker", l.address("taker", both()), d)
	tracked := func() bool {
		l.used(l.busyAgain())
		others, _ := l.trackedBeside("taker")
		return others > 0
	}
	l.serve("client")
	for range 3 {
		if tracked() {
			t.Fatal("others are tracked at once")
		}
		l.in("taker", func() {
			if by, err := d.KeepNarrow(t.Context(), true); by != "" || err != nil {
				t.Fatal(by, err)
			}
		})
	}
	l.await("the time of the rules ends", tracked)
	l.in("taker", func() { l.run("nft -f " + l.file(firewall)) })
	l.used(l.busyAgain())
	l.remove("taker", d)
}

// TestTrackedBy loads rules that need to have connections tracked, and ones that do not.
func TestTrackedBy(t *testing.T) {
	l := newLAN(t)
	for _, tt := range []struct{ chain, rule, want string }{
		{"", "tcp dport 22 counter accept", ""},
		{"", "meta mark set 1 ip saddr 10.0.0.0/8 limit rate 5/second log prefix \"x\" drop", ""},
		{"", "ip saddr { 10.0.0.1, 10.0.0.2 } jump other", ""},
		{"", "iif lo notrack", "nftables, notrack in chain mine c"},
		{"", "ct state invalid drop", "nftables, ct in chain mine c"},
		{"", "tcp flags syn ct count over 100 drop", "nftables, connlimit in chain mine c"},
		{"", "ct mark set 1", "nftables, ct in chain mine c"},
		{"type nat hook prerouting priority dstnat;", "", "nftables, chain mine c of type nat"},
	} {
		chain := tt.chain
		if chain == "" {
			chain = "type filter hook prerouting priority raw;"
		}
		l.in("taker", func() {
			l.run("nft -f " + l.file(fmt.Sprintf("flush ruleset\ntable inet mine {\nchain other { }\nchain c { %s\n%s\n}\n}\n", chain, tt.rule)))
			if by, err := trackedBy(); by != tt.want || err != nil {
				t.Errorf("%s%s: tracked by %q, %v; want %q", tt.chain, tt.rule, by, err, tt.want)
			}
		})
	}
}

// TestTrackingOn finds out whether connections are tracked, without a look at rules.
func TestTrackingOn(t *testing.T) {
	l := newLAN(t)
	for _, tt := range []struct {
		rules string
		want  bool
	}{
		{"", false},
		{"table inet mine {\nchain c {\ntype filter hook input priority 0\nct state invalid counter\n}\n}", true},
		{"table ip6 mine {\nchain c {\ntype filter hook input priority 0\nct state invalid counter\n}\n}", true},
		{"", false},
	} {
		l.in("taker", func() {
			l.run("nft -f " + l.file("flush ruleset\n"+tt.rules+"\n"))
			if on, err := conntrack.On(); on != tt.want || err != nil {
				t.Errorf("with %q: %v, %v; want %v", tt.rules, on, err, tt.want)
			}
		})
	}
}
