package move

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"holdfast/internal/netnstest"
	"holdfast/internal/vip"
	"holdfast/internal/vip/conntrack"
)

// detour gives the rules of a host, not installed, that send on to another.
func (l *lan) detour(o vip.Options, name, to string) (*Detour, *netnstest.Log) {
	l.t.Helper()
	var givers []netip.Addr
	l.in(to, func() {
		var err error
		if givers, err = GiverAddresses("eth0", netip.Addr{}, o.Addresses); err != nil {
			l.t.Fatal(err)
		}
	})
	var log netnstest.Log
	d, err := NewDetour(DetourOptions{
		Name: name, Addresses: addressesOf(o), Givers: givers, Interface: "eth0",
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return d, &log
}

func (l *lan) install(on string, d *Detour) {
	l.t.Helper()
	l.in(on, func() {
		if err := d.Install(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	})
}

func (l *lan) forwarded(on string, d *Detour) (n uint64) {
	l.t.Helper()
	l.in(on, func() {
		var err error
		if n, err = d.Forwarded(context.Background()); err != nil {
			l.t.Error(err)
		}
	})
	return n
}

func (l *lan) remove(on string, d *Detour) {
	l.t.Helper()
	l.in(on, func() {
		if err := d.Remove(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	})
}

// A client takes a port again that conntrack on the taker knows still: of a
// connection to it that has ended since conntrack does not look any more. A
// liberal one would take the segments of the giver's connection for those of
// that one; another does only if they are in its window.
func TestInstallForgetsEndedConnections(t *testing.T) {
	for _, v := range vips {
		t.Run(v, func(t *testing.T) {
			l, a := giverOfBoth(t, both())
			c, _ := l.copyOf(both())
			d, log := l.detour(both(), "api", "giver")
			b := l.address("taker", both())
			const port = 45678
			l.withdraw("giver", a)
			l.install("taker", d)
			l.claim("taker", b)
			s := l.dialFrom("client", port, v, "5000")
			l.answered(s, "taker")
			l.in("taker", func() { l.run("sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=1") })
			l.remove("taker", d)
			if who, err := s.say("bye"); who != "taker" || err != nil {
				t.Fatal(who, err)
			}
			if err := netnstest.End(s); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			l.withdraw("taker", b)
			l.claim("giver", a)
			again := l.dialFrom("client", port, v, "5000")
			l.answered(again, "giver")
			l.handOver("giver", a, c, "taker", b, d)
			l.answered(again, "giver")
			if log.String() != "" {
				t.Error(log.String())
			}
		})
	}
}

// segment sends a lone ACK from the client to the VIP, of a connection that
// nobody knows.
func (l *lan) segment(to string, hops int) {
	l.t.Helper()
	b := binary.BigEndian.AppendUint16(nil, 33333)
	b = binary.BigEndian.AppendUint16(b, 5000)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 1, 5<<4, 0x10, 1, 0, 0, 0, 0, 0)
	l.in("client", func() {
		a := netip.MustParseAddr(to)
		family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TTL
		var target unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte(a.AsSlice()[:4])}
		if a.Is6() {
			family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
			target = &unix.SockaddrInet6{Addr: a.As16()}
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			l.t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, level, option, hops); err != nil {
			l.t.Fatal(err)
		}
		if err := unix.Sendto(fd, b, 0, target); err != nil {
			l.t.Fatal(err)
		}
	})
}

// Two hosts that send on to each other do so until the hops are used up.
func TestDetourDoesNotLoopForEver(t *testing.T) {
	for _, v := range vips {
		t.Run(v, func(t *testing.T) {
			l, a := giverOfBoth(t, both())
			l.withdraw("giver", a)
			there, _ := l.detour(both(), "api", "giver")
			back, _ := l.detour(both(), "api", "taker")
			l.install("taker", there)
			l.install("giver", back)
			l.claim("taker", l.address("taker", both()))
			l.segment(v, 1) // must not go further
			const hops = 10
			l.segment(v, hops)
			both := func() [2]uint64 { return [2]uint64{l.forwarded("taker", there), l.forwarded("giver", back)} }
			// 10 at the taker, 9 at the giver, 8 at the taker, …, 2 at the taker; 1 is dropped.
			l.await("it has gone to and fro", func() bool { return both() == [2]uint64{5, 4} })
			time.Sleep(50 * time.Millisecond) // for one too many
			if n := both(); n != [2]uint64{5, 4} {
				t.Errorf("sent on %d times by the taker and the giver", n)
			}
		})
	}
}

// Rules of other VIPs, and of others, are left alone.
func TestDetoursByName(t *testing.T) {
	l := newLAN(t)
	const odd = `a b/"{};ü_%s` + "\n"
	one, _ := l.detour(both(), "api", "giver")
	two, _ := l.detour(vip.Options{Addresses: prefixes("10.0.0.11/24")}, odd, "giver")
	l.in("taker", func() {
		l.run("nft add table ip holdfast-detour-_zz")
		l.run("nft add table ip mine")
		names := func(want ...string) {
			t.Helper()
			if got, err := Detours(t.Context()); err != nil || !slices.Equal(got, want) {
				t.Errorf("Detours() = %q, %v; want %q", got, err, want)
			}
		}
		names()
		for _, d := range []*Detour{one, two, one, two} {
			if err := d.Install(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		names(odd, "api")
		// Administrators can save them and load them again.
		l.run("nft -c -f " + l.file("flush ruleset\n"+l.run("nft list ruleset")))
		for range 2 {
			if err := one.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			names(odd)
		}
		if err := one.Install(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := Cleanup(t.Context(), nil, "api", "other"); err != nil {
			t.Fatal(err)
		}
		names("api")
		// Somebody flushes everything.
		l.run("nft flush ruleset")
		names()
		if _, err := one.Forwarded(t.Context()); !errors.Is(err, ErrNoDetour) {
			t.Errorf("Forwarded() = %v", err)
		}
		l.run("nft add table ip holdfast-detour-_zz")
		l.run("nft add table ip mine")
		if err := Cleanup(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if out := l.run("nft list tables"); out != "table ip holdfast-detour-_zz\ntable ip mine\n" {
			t.Errorf("left are %q", out)
		}
	})
}

func TestInstallSaysWhatIsWrong(t *testing.T) {
	l := newLAN(t)
	l.in("taker", func() {
		l.run("ip route add 192.0.2.0/24 via 10.0.0.1")
		l.run("ip route add unreachable 198.51.100.0/24")
	})
	all := addressesOf(both())
	for _, tt := range []struct {
		name   string
		givers string
		want   string
	}{
		{"none", "", "the giver has no address of the family of 10.0.0.10"},
		{"one family", "10.0.0.13", "the giver has no address of the family of fd00::10"},
		{"gateway", "192.0.2.1 fd00::13", "the giver, 192.0.2.1, is behind a gateway: segments reach it only in a network that both are in"},
		{"gateway first", "192.0.2.1 10.0.0.13 fd00::13", ""},
		{"itself", "10.0.0.14 fd00::13", "the giver's address 10.0.0.14 is one of this host"},
		{"no route", "203.0.113.1 fd00::13", "look up the route to the giver, 203.0.113.1"},
		{"unreachable", "198.51.100.1 fd00::13", "look up the route to the giver, 198.51.100.1"},
		{"link-local", "10.0.0.13 fe80::13", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := DetourOptions{Name: "api", Addresses: all, Interface: "eth0"}
			for g := range strings.FieldsSeq(tt.givers) {
				o.Givers = append(o.Givers, netip.MustParseAddr(g))
			}
			d, err := NewDetour(o)
			if err != nil {
				t.Fatal(err)
			}
			l.in("taker", func() { err = d.Install(t.Context()) })
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "send on what belongs to the giver of vip api: ") {
				t.Errorf("%v does not say what was being done", err)
			}
			l.remove("taker", d)
		})
	}
}

// Controllers that the spec knows by an IPv4 address only reach each other by
// link-local addresses for an IPv6 VIP.
func TestDetourByLinkLocalAddress(t *testing.T) {
	o := vip.Options{Addresses: prefixes("fd00::10/64")}
	l, a := giverOfBoth(t, o)
	for _, host := range []string{"giver", "taker"} {
		number := map[string]string{"giver": "13", "taker": "14"}[host]
		l.in(host, func() { l.run("ip address del fd00::" + number + "/64 dev eth0") })
	}
	l.withdraw("giver", a)
	l.claim("giver", a) // with a route of its own
	c, _ := l.copyOf(o)
	s := l.dial("client", "fd00::10")
	d, _ := l.detour(o, "api", "giver")
	l.handOver("giver", a, c, "taker", l.address("taker", o), d)
	l.answered(s, "giver")
	if l.forwarded("taker", d) == 0 {
		t.Error("nothing was sent on")
	}
}

func TestNewDetourRefuses(t *testing.T) {
	vip := []netip.Addr{netip.MustParseAddr("10.0.0.10")}
	for _, o := range []DetourOptions{
		{Name: "api"},
		{Name: strings.Repeat("ü", 100), Addresses: vip},
		{Name: "api", Addresses: []netip.Addr{{}}},
		{Name: "api", Addresses: vip, Givers: vip},
		{Name: "api", Addresses: vip, Givers: []netip.Addr{netip.MustParseAddr("fe80::1%eth0")}},
	} {
		if _, err := NewDetour(o); err == nil {
			t.Errorf("took %+v", o)
		}
	}
}

// As many connections as a busy controller has fit into the rules.
func TestManyEarlierConnections(t *testing.T) {
	l := newLAN(t)
	l.in("taker", func() {
		w := way{addresses: []netip.Addr{netip.MustParseAddr("fd00::10")}, giver: netip.MustParseAddr("fd00::13"), device: 1}
		local := netip.AddrPortFrom(w.addresses[0], 5000)
		var had []conntrack.Ends
		for i := range 50_000 {
			remote := netip.AddrFrom16([16]byte{0xfd, 13: byte(i >> 14), 14: byte(i >> 7), 15: byte(i)})
			had = append(had, conntrack.Ends{Remote: netip.AddrPortFrom(remote, uint16(i)), Local: local})
		}
		if err := replaceTables(tableName("api"), []way{w}, known{had: had}, false); err != nil {
			t.Fatal(err)
		}
		c, err := openNFT(0)
		if err != nil {
			t.Fatal(err)
		}
		table := tableOf(tableName("api"), local.Addr())
		set := &nftables.Set{Table: table, Name: hadName, KeyType: layoutOf(local.Addr()).key}
		elements, err := c.GetSetElements(set)
		if err != nil || len(elements) != len(had) {
			t.Errorf("%d elements, %v; want %d", len(elements), err, len(had))
		}
	})
}

// Without the right to do so, errors say which right that is.
func TestHandoverNeedsRights(t *testing.T) {
	l := newLAN(t)
	c, _ := l.copyOf(both())
	d, _ := l.detour(both(), "api", "giver")
	defer withoutRights(t)()
	for what, err := range map[string]error{
		"keep": c.Keep(t.Context(), time.Minute), "install": d.Install(t.Context()),
	} {
		if err == nil || !strings.Contains(err.Error(), "run as root") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// withoutRights takes the capabilities of the test's thread until the function
// that it gives is called.
func withoutRights(t *testing.T) (restore func()) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		t.Fatal(err)
	}
	without := had
	without[0].Effective, without[1].Effective = 0, 0
	if err := unix.Capset(&header, &without[0]); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Capset(&header, &had[0]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTableNames(t *testing.T) {
	for name, want := range map[string]string{
		"api": "holdfast-detour-api", "a_b": "holdfast-detour-a_5fb", "": "holdfast-detour-", "x.y-1 ": "holdfast-detour-x.y-1_20",
	} {
		if got := tableName(name); got != want {
			t.Errorf("tableName(%q) = %q, want %q", name, got, want)
		}
	}
	for _, other := range []string{"api", "holdfast-detour-a_5", "holdfast-detour-a_5FB", "holdfast-detour-a_zz", "holdfast-detour-a_61", "holdfast-detour-ü"} {
		if vip, ok := vipOf(other); ok {
			t.Errorf("%q is taken for the table of %q", other, vip)
		}
	}
}

func FuzzTableName(f *testing.F) {
	f.Add("api")
	f.Add("a b_\x00ü")
	f.Fuzz(func(t *testing.T, name string) {
		if got, ok := vipOf(tableName(name)); !ok || got != name {
			t.Errorf("%q became %q, %v", name, got, ok)
		}
	})
}
