package move

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/netnstest"
	"holdfast/internal/vip"
)

// handOver moves the VIP from one host to another, where it installs the rules
// unless they are there.
func (l *lan) handOver(from string, a *vip.Address, c *Copy, to string, b *vip.Address, d *Detour) {
	l.t.Helper()
	var there []string
	l.in(to, func() {
		var err error
		if there, err = Detours(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	})
	if len(there) == 0 {
		l.install(to, d)
	}
	l.in(from, func() {
		if err := c.Keep(context.Background(), time.Minute); err != nil {
			l.t.Fatal(err)
		}
	})
	l.claim(to, b)
	l.withdraw(from, a)
}

// Every segment of the connections that the giver has arrives there, and every
// one of those that begin at the taker stays there.
func TestHandoverKeepsConnections(t *testing.T) {
	for name, o := range map[string]vip.Options{"direct": both(), "macvlan": macvlan()} {
		for _, loose := range []string{"0", "1"} {
			t.Run(name+" loose "+loose, func(t *testing.T) {
				l, a := giverOfBoth(t, o)
				c, _ := l.copyOf(o)
				d, log := l.detour(o, "api", "giver")
				var old, young []*session
				for _, v := range slices.Concat(vips, vips) {
					s := l.dial("client", v)
					l.answered(s, "giver")
					old = append(old, s)
				}
				taken := l.address("taker", o)
				l.install("taker", d)
				l.in("taker", func() { l.run("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=" + loose) })
				l.handOver("giver", a, c, "taker", taken, d)
				for _, v := range vips {
					young = append(young, l.dial("client", v))
				}
				for range 3 {
					for i := range vips {
						l.answered(old[i], "giver")
						l.answered(old[i+2], "giver")
						l.answered(young[i], "taker")
					}
				}
				l.connections(c, 4, 0)
				l.beginAnew(old[2:])
				l.goesOn(d, young)
				if log.String() != "" {
					t.Error(log.String())
				}

				// Removed, the rules leave what is unknown to the kernel: a reset.
				l.remove("taker", d)
				for i := range vips {
					if _, err := old[i].ask(); !errors.Is(err, unix.ECONNRESET) {
						t.Errorf("%s: %v, want a reset", vips[i], err)
					}
					l.answered(young[i], "taker")
				}
				l.in("taker", func() {
					if _, err := d.Forwarded(t.Context()); !errors.Is(err, ErrNoDetour) {
						t.Errorf("Forwarded() without rules: %v", err)
					}
				})
			})
		}
	}
}

// beginAnew ends connections to the giver, and fails the test if others to the
// taker from the same ports do not work.
func (l *lan) beginAnew(old []*session) {
	l.t.Helper()
	for _, s := range old {
		if who, err := s.say("bye"); who != "giver" || err != nil {
			l.t.Fatal(who, err)
		}
		if err := netnstest.End(s); !errors.Is(err, io.EOF) {
			l.t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			l.t.Fatal(err)
		}
		port := s.LocalAddr().(*net.TCPAddr).Port
		to, _, _ := net.SplitHostPort(s.RemoteAddr().String())
		again := l.dialFrom("client", port, to, "5000")
		l.answered(again, "taker")
		l.answered(again, "taker")
	}
}

// goesOn fails the test if a segment of one of the taker's own connections is
// sent on, to which the giver would answer with a reset, even when conntrack
// has forgotten them all, or the rules are new.
func (l *lan) goesOn(d *Detour, young []*session) {
	l.t.Helper()
	if n := l.forwarded("taker", d); n < 6 {
		l.t.Errorf("%d segments were sent on, want 6 at least", n)
	}
	answered := func() {
		l.t.Helper()
		for range 2 { // the reset would come after the first answer
			for _, s := range young {
				l.answered(s, "taker")
			}
		}
	}
	l.in("taker", func() {
		l.run("nft flush set ip holdfast-detour-api seen")
		l.run("nft flush set ip6 holdfast-detour-api seen")
	})
	answered() // by conntrack
	l.install("taker", d)
	l.in("taker", func() { l.run("conntrack -F") })
	answered() // they were there before the rules
	for _, v := range vips {
		young = append(young, l.dial("client", v))
	}
	l.in("taker", func() { l.run("conntrack -F") })
	answered() // they began after the rules
}

// Clients on the taker's own host have connections to the giver, too, and from
// the move on the address is their host's.
func TestHandoverKeepsConnectionsOfTheTakersHost(t *testing.T) {
	for _, tt := range []struct {
		device        vip.Device
		loose, filter string
	}{{vip.Direct, "0", "0"}, {vip.Direct, "1", "1"}, {vip.Direct, "1", "2"}, {vip.Macvlan, "0", "1"}, {vip.Macvlan, "1", "0"}} {
		t.Run(fmt.Sprintf("%s loose %s rp_filter %s", tt.device, tt.loose, tt.filter), func(t *testing.T) {
			o := macvlan()
			o.Device = tt.device
			l, a := giverOfBoth(t, o)
			c, _ := l.copyOf(o)
			d, log := l.detour(o, "api", "giver")
			settings := func() string {
				return l.run("sysctl net.ipv4.conf.eth0.accept_local net.ipv4.conf.eth0.rp_filter")
			}
			var before string
			l.in("taker", func() {
				l.run("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=" + tt.loose)
				l.run("sysctl -qw net.ipv4.conf.all.rp_filter=" + tt.filter)
				before = settings()
			})
			var old []*session
			for _, v := range vips {
				old = append(old, l.dial("taker", v))
			}
			l.install("taker", d)
			for _, v := range vips { // still before the move
				old = append(old, l.dial("taker", v))
			}
			l.handOver("giver", a, c, "taker", l.address("taker", o), d)
			l.connections(c, 4, 0)
			for range 3 {
				for _, s := range old {
					l.answered(s, "giver")
				}
				for _, v := range vips {
					l.answered(l.dial("taker", v), "taker")
				}
			}
			l.remove("taker", d)
			l.in("taker", func() {
				if after := settings(); after != before {
					t.Errorf("settings left: %s", after)
				}
			})
			if log.String() != "" {
				t.Error(log.String())
			}
		})
	}
}

func TestTransfersGoOnAcrossTheMove(t *testing.T) {
	for _, v := range vips {
		t.Run(v, func(t *testing.T) {
			l, a := giverOfBoth(t, both())
			c, _ := l.copyOf(both())
			d, _ := l.detour(both(), "api", "giver")
			taken := l.address("taker", both())
			const size = 48 << 20
			down, up := l.dial("client", v), l.dial("client", v)
			if who, err := down.say(fmt.Sprintf("send %d", size)); who != "giver" || err != nil {
				t.Fatal(who, err)
			}
			begun, moved, uploaded := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() { uploaded <- upload(up, size, begun, moved) }()
			<-begun
			l.handOver("giver", a, c, "taker", taken, d)
			close(moved)
			if n, err := io.CopyN(io.Discard, down.lines, size); err != nil {
				t.Errorf("download: %v after %d bytes", err, n)
			}
			if err := <-uploaded; err != nil {
				t.Errorf("upload: %v", err)
			}
			l.answered(down, "giver")
			if n := l.forwarded("taker", d); n < 100 {
				t.Errorf("%d segments were sent on: it was over before the move", n)
			}
		})
	}
}

// upload sends size bytes: a third before it tells that it has begun, and the
// last third only after the move.
func upload(s *session, size int64, begun, moved chan struct{}) error {
	if _, err := fmt.Fprintf(s, "take %d\n", size); err != nil {
		return err
	}
	third := func() error {
		_, err := io.CopyN(s, zeros{}, size/3)
		return err
	}
	if err := third(); err != nil {
		return err
	}
	close(begun)
	if err := third(); err != nil {
		return err
	}
	<-moved
	if err := third(); err != nil {
		return err
	}
	if answer, err := s.lines.ReadString('\n'); err != nil || answer != fmt.Sprintf("giver take %d\n", size) {
		return fmt.Errorf("answered by %q, %w", answer, err)
	}
	return nil
}

// The giver has to ask where its clients are, and does not do so in the name of
// the VIP: that would take it back from the taker.
func TestGiverDoesNotTakeTheAddressBack(t *testing.T) {
	for name, o := range map[string]vip.Options{"direct": both(), "macvlan": macvlan()} {
		t.Run(name, func(t *testing.T) {
			l, a := giverOfBoth(t, o)
			l.in("client", func() { l.run("sysctl -qw net.ipv4.neigh.eth0.locktime=0") })
			c, _ := l.copyOf(o)
			d, _ := l.detour(o, "api", "giver")
			var old []*session
			for _, v := range vips {
				old = append(old, l.dial("client", v))
			}
			l.handOver("giver", a, c, "taker", l.address("taker", o), d)
			for i, v := range vips {
				l.in("giver", func() { l.run("ip neigh flush all") })
				l.answered(old[i], "giver")
				l.answered(l.dial("client", v), "taker")
			}
		})
	}
}

// Clients may also be behind the taker's host: in containers, say.
func TestHandoverKeepsConnectionsThroughTheTakersHost(t *testing.T) {
	for _, tt := range []struct {
		loose string
		anew  bool // the rules are installed again
	}{{"0", false}, {"1", false}, {"1", true}} {
		t.Run(fmt.Sprintf("loose %s anew %v", tt.loose, tt.anew), func(t *testing.T) {
			l, a := giverOfBoth(t, both())
			l.behindTaker()
			c, _ := l.copyOf(both())
			d, _ := l.detour(both(), "api", "giver")
			var old []*session
			for _, v := range vips {
				old = append(old, l.dial("box", v))
			}
			l.install("taker", d)
			l.in("taker", func() { l.run("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=" + tt.loose) })
			for _, v := range vips {
				old = append(old, l.dial("box", v))
			}
			for _, s := range old { // conntrack sees both directions
				l.answered(s, "giver")
			}
			if tt.anew {
				l.install("taker", d)
			}
			l.handOver("giver", a, c, "taker", l.address("taker", both()), d)
			for range 2 {
				for _, s := range old {
					l.answered(s, "giver")
				}
				for _, v := range vips {
					l.answered(l.dial("box", v), "taker")
				}
			}
		})
	}
}

// behindTaker adds the host box, which the taker routes for.
func (l *lan) behindTaker() {
	l.t.Helper()
	l.namespace("box")
	l.in("taker", func() {
		l.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
		l.run("ip link add box up type veth peer name eth0 netns " + l.hosts["box"].Path())
		l.run("ip address add 10.0.1.1/24 dev box")
		l.run("ip address add fd01::1/64 dev box nodad")
	})
	l.in("box", func() {
		l.run("ip link set eth0 up")
		l.run("ip address add 10.0.1.2/24 dev eth0")
		l.run("ip address add fd01::2/64 dev eth0 nodad")
		l.run("ip route add default via 10.0.1.1")
		l.run("ip -6 route add default via fd01::1")
	})
	l.in("giver", func() {
		l.run("ip route add 10.0.1.0/24 via 10.0.0.14")
		l.run("ip -6 route add fd01::/64 via fd00::14")
	})
}

// The VIP goes on to a third host while the first one still has connections:
// their segments take the long way.
func TestHandoverFromHandToHand(t *testing.T) {
	l, a := giverOfBoth(t, both())
	l.host("third", 15)
	l.serve("third")
	first, _ := l.copyOf(both())
	second, _ := l.copyOf(both())
	toGiver, _ := l.detour(both(), "api", "giver")
	toTaker, _ := l.detour(both(), "api", "taker")
	b := l.address("taker", both())
	open := map[string][]*session{}
	dial := func(at string, hosts ...string) {
		for _, from := range hosts {
			for _, v := range vips {
				s := l.dial(from, v)
				l.answered(s, at)
				open[at] = append(open[at], s)
			}
		}
	}
	answered := func() {
		t.Helper()
		for range 2 {
			for at, sessions := range open {
				for _, s := range sessions {
					l.answered(s, at)
				}
			}
		}
	}
	dial("giver", "client", "taker", "third")
	l.handOver("giver", a, first, "taker", b, toGiver)
	dial("taker", "client", "taker", "third")
	answered()
	l.handOver("taker", b, second, "third", l.address("third", both()), toTaker)
	dial("third", "client", "third") // the taker's host is its own holder up to the end
	answered()
}

// A taker that had the VIP before has connections that conntrack did not see
// when it gave it away, and they go on when it takes it back; so do those of
// the other one.
func TestHandoverThereAndBack(t *testing.T) {
	for _, loose := range []string{"0", "1"} {
		t.Run("loose "+loose, func(t *testing.T) {
			l, a := giverOfBoth(t, both())
			for _, host := range []string{"giver", "taker"} {
				l.in(host, func() { l.run("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=" + loose) })
			}
			c, _ := l.copyOf(both())
			there, _ := l.detour(both(), "api", "giver")
			back, _ := l.detour(both(), "api", "taker")
			b := l.address("taker", both())
			var first, second, third []*session
			dial := func() (all []*session) {
				for _, v := range vips {
					all = append(all, l.dial("client", v))
				}
				return all
			}
			answered := func(all []*session, want string) {
				t.Helper()
				for _, s := range all {
					l.answered(s, want)
				}
			}
			first = dial()
			l.handOver("giver", a, c, "taker", b, there)
			second = dial()
			answered(first, "giver")
			l.handOver("taker", b, c, "giver", a, back)
			l.remove("taker", there)
			third = dial()
			for range 2 {
				answered(first, "giver")
				answered(second, "taker")
				answered(third, "giver")
			}
		})
	}
}
