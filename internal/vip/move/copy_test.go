package move

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/netnstest"
	"holdfast/internal/rtnl"
	"holdfast/internal/vip"
)

// The connections that the giver has go on without the address on its
// interface, whatever the VIP's device was: the replies leave by the interface.
func TestCopyKeepsConnections(t *testing.T) {
	for name, o := range map[string]vip.Options{"direct": both(), "macvlan": macvlan()} {
		t.Run(name, func(t *testing.T) {
			l, a := giverOfBoth(t, o)
			c, _ := l.copyOf(o)
			var open []*session
			for _, v := range vips {
				s := l.dial("client", v)
				l.answered(s, "giver")
				open = append(open, s)
			}
			l.keep(c, time.Minute)
			l.withdraw("giver", a)
			l.connections(c, 2, 0)
			l.pointAtGiver()
			for _, s := range open {
				l.answered(s, "giver")
			}
		})
	}
}

// pointAtGiver has the client send what is for the VIP to the MAC address of
// the giver's interface, as a taker's rules do.
func (l *lan) pointAtGiver() {
	l.t.Helper()
	var hw string
	l.in("giver", func() { hw = netnstest.MAC(l.t, "eth0") })
	l.in("client", func() {
		for _, v := range vips {
			l.run("ip neigh replace " + v + " lladdr " + hw + " dev eth0")
		}
	})
}

// Where nothing but the VIP connects its network, its route goes with it.
func TestCopyKeepsTheRoute(t *testing.T) {
	for name, o := range map[string]vip.Options{"direct": both(), "macvlan": macvlan()} {
		t.Run(name, func(t *testing.T) {
			l := newLAN(t)
			l.serve("giver")
			l.in("giver", func() {
				l.run("ip address del 10.0.0.13/24 dev eth0")
				l.run("ip address del fd00::13/64 dev eth0")
			})
			a := l.address("giver", o)
			l.claim("giver", a)
			var open []*session
			for _, v := range vips {
				open = append(open, l.dial("client", v))
			}
			c, _ := l.copyOf(o)
			l.keep(c, time.Minute)
			l.withdraw("giver", a)
			l.pointAtGiver()
			for _, s := range open {
				l.answered(s, "giver")
			}
			l.end(c)
			l.in("giver", func() {
				if out := l.run("ip route show 10.0.0.0/24") + l.run("ip -6 route show fd00::/64"); out != "" {
					t.Errorf("a route is left: %s", out)
				}
			})
		})
	}
}

// resolved reports whether somebody tells the client where the address is.
func (l *lan) resolved(address string) (yes bool) {
	l.t.Helper()
	l.in("client", func() {
		l.run("ip neigh flush to " + address)
		c, err := net.DialTimeout("tcp", net.JoinHostPort(address, "5001"), time.Second)
		if err == nil {
			c.Close() //nolint:errcheck // nobody listens there
		}
		yes = strings.Contains(l.run("ip neigh show to "+address), "lladdr")
	})
	return yes
}

func TestCopyAnswersNoNeighbour(t *testing.T) {
	l, a := giverOfBoth(t, both())
	l.in("client", func() { // or the test takes three seconds
		l.run("sysctl -qw net.ipv4.neigh.eth0.retrans_time_ms=100 net.ipv6.neigh.eth0.retrans_time_ms=100")
	})
	c, _ := l.copyOf(both())
	for _, v := range vips {
		if !l.resolved(v) {
			t.Fatalf("nobody answers for %s, which the giver has", v)
		}
	}
	l.keep(c, time.Minute)
	for _, v := range vips {
		if !l.resolved(v) {
			t.Errorf("nobody answers for %s, which the giver has still", v)
		}
	}
	l.withdraw("giver", a)
	for _, v := range vips {
		if l.resolved(v) {
			t.Errorf("the giver answers for %s, which it has on lo", v)
		}
	}
	l.in("giver", func() { l.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0") })
	if !l.resolved("10.0.0.10") {
		t.Error("without the setting nobody answers: this test shows nothing")
	}
}

func TestKeepHidesFromARP(t *testing.T) {
	l := newLAN(t)
	c, _ := l.copyOf(both())
	for _, tt := range []struct{ all, own, want string }{
		{"0", "0", "1"}, {"0", "1", "1"}, {"0", "2", "2"}, {"1", "0", "1"}, {"0", "8", "8"}, {"5", "1", ""},
	} {
		l.in("giver", func() {
			l.run("sysctl -qw net.ipv4.conf.all.arp_ignore=" + tt.all + " net.ipv4.conf.eth0.arp_ignore=" + tt.own)
			err := c.Keep(t.Context(), time.Minute)
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), "arp_ignore=5 has no meaning; set it to 1") {
					t.Errorf("%+v: %v", tt, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if now := l.highest("arp_ignore"); now != tt.want {
				t.Errorf("%+v: it is %s now", tt, now)
			}
			if now := l.highest("arp_announce"); now != "2" {
				t.Errorf("%+v: arp_announce is %s now", tt, now)
			}
			if err := c.Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{"all.arp_ignore": tt.all, "eth0.arp_ignore": tt.own, "all.arp_announce": "0"} {
				if now := strings.TrimSpace(l.run("sysctl -n net.ipv4.conf." + name)); now != want {
					t.Errorf("%+v: %s is not put back, it is %s", tt, name, now)
				}
			}
		})
	}
}

// A second interface of the giver in the VIP's network does not answer either.
func TestCopyAnswersOnNoInterface(t *testing.T) {
	l, a := giverOfBoth(t, both())
	l.in("switch", func() {
		l.run("ip link add second type veth peer name eth1 netns " + l.hosts["giver"].Path())
		l.run("ip link set second up master br0")
	})
	l.in("giver", func() {
		l.run("ip link set eth1 up")
		l.run("ip address add 10.0.0.113/24 dev eth1")
	})
	c, _ := l.copyOf(both())
	l.keep(c, time.Minute)
	l.withdraw("giver", a)
	if l.resolved("10.0.0.10") {
		t.Error("a second interface of the giver tells a neighbour that the VIP is here")
	}
	l.in("giver", func() { l.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0") })
	if !l.resolved("10.0.0.10") {
		t.Error("without the setting nobody answers: this test shows nothing")
	}
}

// What was changed is written down before it is, once.
func TestSettingsOutliveTheAgent(t *testing.T) {
	l := newLAN(t)
	l.in("taker", func() {
		l.run("sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.all.rp_filter=0")
		var kept []vip.Setting
		var s *vip.Settings
		s = vip.NewSettings(nil, func() error { kept = s.Changed(); return nil })
		for range 2 { // as for two VIPs
			if err := s.AcceptLocal("eth0"); err != nil {
				t.Fatal(err)
			}
		}
		want := []vip.Setting{{Path: "ipv4/conf/eth0/accept_local", Value: "0"}, {Path: "ipv4/conf/eth0/rp_filter", Value: "1"}}
		if !slices.Equal(kept, want) {
			t.Errorf("written down: %v, want %v", kept, want)
		}
		if now := l.run("sysctl -n net.ipv4.conf.eth0.accept_local net.ipv4.conf.eth0.rp_filter"); now != "1\n2\n" {
			t.Errorf("they are %q", now)
		}
		next := vip.NewSettings(append(kept, vip.Setting{Path: "ipv4/conf/gone0/rp_filter", Value: "1"}), nil)
		if err := next.Restore(); err != nil {
			t.Fatal(err)
		}
		if now := l.run("sysctl -n net.ipv4.conf.eth0.accept_local net.ipv4.conf.eth0.rp_filter"); now != "0\n1\n" {
			t.Errorf("put back, they are %q", now)
		}
		if left := next.Changed(); left != nil {
			t.Errorf("left to be put back: %v", left)
		}
	})
}

func TestKeepAgainStartsTheTimeAnew(t *testing.T) {
	l := newLAN(t)
	c, _ := l.copyOf(both())
	present := func(want bool) {
		t.Helper()
		l.in("giver", func() {
			if got, err := c.Present(); got != want || err != nil {
				t.Fatalf("Present() = %v, %v; want %v", got, err, want)
			}
		})
	}
	present(false)
	l.keep(c, 1001*time.Millisecond)
	present(true)
	l.in("giver", func() {
		out := l.run("ip -o address show dev lo")
		for _, want := range []string{"10.0.0.10/32 scope host", "fd00::10/128", "valid_lft 2sec preferred_lft 0sec"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in %s", want, out)
			}
		}
	})
	l.keep(c, time.Hour)
	l.in("giver", func() {
		out := l.run("ip -o address show dev lo")
		if strings.Count(out, "10.0.0.10/") != 1 || strings.Count(out, "fd00::10/") != 1 || strings.Contains(out, "valid_lft 2sec") {
			t.Errorf("not each once, for an hour: %s", out)
		}
	})
	l.keep(c, time.Second)
	l.in("giver", func() {
		l.await("the kernel removes both", func() bool {
			out := l.run("ip -o address show dev lo")
			return !strings.Contains(out, "10.0.0.10/") && !strings.Contains(out, "fd00::10/")
		})
	})
	present(false)
	for _, bad := range []time.Duration{0, -time.Second, MaxKeep + 1} {
		if err := c.Keep(t.Context(), bad); err == nil {
			t.Errorf("kept for %s", bad)
		}
	}
}

// A host that holds the VIP again has no copy, and its connections go on.
func TestDropKeepsConnections(t *testing.T) {
	var claimed netnstest.Log
	o := both()
	o.Log = slog.New(slog.NewTextHandler(&claimed, nil))
	l, a := giverOfBoth(t, o)
	var open []*session
	for _, v := range vips {
		open = append(open, l.dial("client", v), l.dial("giver", v))
	}
	c, log := l.copyOf(both())
	l.keep(c, time.Minute)
	l.withdraw("giver", a)
	l.claim("giver", a)
	if claimed.String() != "" {
		t.Errorf("the claim minds the copy: %s", &claimed)
	}
	for i := range 2 { // again it does nothing
		l.in("giver", func() {
			if err := c.Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if present, err := c.Present(); present || err != nil {
				t.Errorf("Present() = %v, %v", present, err)
			}
			if present, err := a.Present(); !present || err != nil {
				t.Errorf("drop %d: the VIP's Present() = %v, %v", i, present, err)
			}
		})
		for _, s := range open {
			l.answered(s, "giver")
		}
	}
	// So does End then.
	l.keep(c, time.Minute)
	if cut := l.end(c); cut != 0 {
		t.Errorf("%d connections of the VIP that this host holds were cut", cut)
	}
	for _, s := range open {
		l.answered(s, "giver")
	}
	if !strings.Contains(log.String(), "holds the vip again") {
		t.Errorf("the log does not say so: %q", log)
	}
}

func TestEndCuts(t *testing.T) {
	l, a := giverOfBoth(t, both())
	l.serveAt("giver", ":5001", net.ListenConfig{}) // not transparent
	c, log := l.copyOf(both())
	var open []*session
	for _, v := range vips {
		open = append(open, l.dial("client", v), l.dialFrom("client", 0, v, "5001"))
	}
	other := l.dial("client", "10.0.0.13")
	l.keep(c, time.Minute)
	l.withdraw("giver", a)
	l.connections(c, 4, 0)
	l.pointAtGiver()
	if cut := l.end(c); cut != 4 {
		t.Errorf("%d connections were cut, want 4", cut)
	}
	for _, s := range open {
		if err := netnstest.End(s); !strings.Contains(fmt.Sprint(err), "reset") {
			t.Errorf("the client finds out by %v", err)
		}
	}
	l.answered(other, "giver")
	l.connections(c, 0, 0)
	if cut := l.end(c); cut != 0 {
		t.Errorf("%d connections were cut by the second end", cut)
	}
	l.in("giver", func() {
		for _, left := range []string{l.run("ip rule"), l.run("ip -6 rule"), l.run("ip address show dev lo")} {
			if strings.Contains(left, "10.0.0.10") || strings.Contains(left, "fd00::10") {
				t.Errorf("left behind: %s", left)
			}
		}
	})
	if log.String() != "" {
		t.Error(log.String())
	}
}

// At the end no process of the giver fails to connect: what it has goes on for
// a while, what is new goes to the taker.
func TestEndLeadsLocalConnectionsAway(t *testing.T) {
	for _, v := range vips {
		t.Run(v, func(t *testing.T) {
			l, a := giverOfBoth(t, both())
			c, log := l.copyOf(both())
			old, slow := l.dial("giver", v), l.dial("giver", v)
			l.keep(c, time.Minute)
			taken := l.address("taker", both())
			l.claim("taker", taken)
			l.withdraw("giver", a)
			l.connections(c, 0, 2)
			l.answered(old, "giver")

			var stop atomic.Bool
			results := make(chan string, 1)
			go knock(l.hosts["giver"], v, &stop, results)
			if first := <-results; first != "giver" {
				t.Fatalf("before the end: %s", first)
			}
			busy := make(chan error)
			go func() { // longer than it takes to begin
				for range 5 {
					if _, err := slow.ask(); err != nil {
						busy <- err
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				busy <- nil
			}()
			cut := l.end(c)
			stop.Store(true)
			if err := <-busy; err != nil {
				t.Errorf("a connection of the giver with itself did not get through: %v", err)
			}
			if cut == 0 {
				t.Error("idle connections were not cut")
			}
			for _, s := range []*session{old, slow} {
				if who, err := s.ask(); err == nil {
					t.Errorf("%s answers still", who)
				}
			}
			answers := map[string]int{}
			for r := range results {
				answers[r]++
			}
			// While it waited for the others.
			if answers["taker"] == 0 {
				t.Error("new connections did not go to the taker")
			}
			delete(answers, "giver")
			delete(answers, "taker")
			if len(answers) > 0 {
				t.Errorf("new connections failed: %v", answers)
			}
			l.answered(l.dial("giver", v), "taker")
			if log.String() != "" {
				t.Error(log.String())
			}
		})
	}
}

// knock connects from the host, one connection after the other, until stopped,
// and tells who answers, or the error.
func knock(host *netnstest.Namespace, address string, stop *atomic.Bool, results chan<- string) {
	defer close(results)
	err := host.Do(func() error {
		all := make(chan string, 1<<20)
		for !stop.Load() {
			r := "giver"
			c, err := net.DialTimeout("tcp", net.JoinHostPort(address, "5000"), 5*time.Second)
			if err == nil {
				s := &session{c, bufio.NewReader(c)}
				r, err = s.ask()
				c.Close() //nolint:errcheck // it was asked
			}
			if err != nil {
				r = err.Error()
			}
			select {
			case results <- r: // the first
			default:
				all <- r
			}
			time.Sleep(time.Millisecond)
		}
		close(all)
		for r := range all {
			results <- r
		}
		return nil
	})
	if err != nil {
		results <- err.Error()
	}
}

// What a killed agent leaves of an end is ended by the next one.
func TestCleanupEndsAnEnd(t *testing.T) {
	l, a := giverOfBoth(t, both())
	c, _ := l.copyOf(both())
	open := []*session{l.dial("client", vips[0]), l.dial("client", vips[1])}
	l.keep(c, time.Minute)
	l.withdraw("giver", a)
	l.pointAtGiver()
	l.in("giver", func() {
		err := c.onKernel(func(k *rtnl.Conn) error {
			lo, err := k.LinkByName("lo")
			c.leadAway(k, lo.Index)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := Cleanup(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		for _, left := range []string{l.run("ip rule"), l.run("ip -6 rule"), l.run("ip address show dev lo")} {
			if strings.Contains(left, "10.0.0.10") || strings.Contains(left, "fd00::10") {
				t.Errorf("left behind: %s", left)
			}
		}
		if left := l.run("ip route show table all") + l.run("ip -6 route show table all"); strings.Contains(left, "table 1751544692") {
			t.Errorf("left behind: %s", left)
		}
	})
	for _, s := range open {
		if err := netnstest.End(s); !strings.Contains(fmt.Sprint(err), "reset") {
			t.Errorf("the client finds out by %v", err)
		}
	}
}

func TestNewCopyRefuses(t *testing.T) {
	for _, o := range []CopyOptions{
		{Name: "api", Interface: "eth0"},
		{Name: "api", Addresses: prefixes("10.0.0.10/24")},
		{Name: "api", Addresses: prefixes("127.0.0.1/8"), Interface: "eth0"},
	} {
		if _, err := NewCopy(o); err == nil {
			t.Errorf("took %+v", o)
		}
	}
}

// highest gives the higher value of a setting for all interfaces and that for eth0, each
// of one digit.
func (l *lan) highest(name string) string {
	l.t.Helper()
	read := func(iface string) string {
		return strings.TrimSpace(l.run("sysctl -n net.ipv4.conf." + iface + "." + name))
	}
	return max(read("all"), read("eth0"))
}
