package speaker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast/internal/bgp"
	"holdfast/internal/bgp/bgptest"
	"holdfast/internal/bgp/speaker"
	"holdfast/internal/netnstest"
	"holdfast/internal/spec"
)

// inNamespace is set in the environment of the process that runs the tests in a network
// namespace of its own: the engine's sockets are opened by whichever thread.
const inNamespace = "HOLDFAST_TEST_NAMESPACE"

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" && os.Geteuid() == 0 {
		os.Exit(runInNamespace())
	}
	if lo, err := netlink.LinkByName("lo"); os.Getenv(inNamespace) != "" && (err != nil || netlink.LinkSetUp(lo) != nil) {
		fmt.Fprintln(os.Stderr, "lo stays down:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func runInNamespace() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// start starts a speaker with the router.
func start(t *testing.T, opt speaker.Options, routes ...bgp.Route) *speaker.Speaker {
	t.Helper()
	if opt.Peers == nil {
		opt.Peers = []speaker.Peer{{BGPPeer: spec.BGPPeer{Address: netip.MustParseAddr("10.0.0.1"), ASN: 64800, Port: 179}}}
	}
	opt.ASN, opt.RouterID = 64710, netip.MustParseAddr("10.0.0.2")
	if opt.HoldTime == 0 {
		opt.HoldTime = 9 * time.Second
	}
	opt.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := speaker.Start(t.Context(), opt, routes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t *testing.T, s *speaker.Speaker, keep bool) {
	t.Helper()
	if err := s.Stop(context.Background(), keep); err != nil {
		t.Error(err)
	}
}

func route(prefix string, med uint32, prepend int, communities ...uint32) bgp.Route {
	return bgp.Route{Prefix: netip.MustParsePrefix(prefix), MED: med, Prepend: prepend, Communities: communities}
}

func any1(bgptest.Path) bool { return true }

// session gives the one of s, once it is as it should be.
func session(t *testing.T, s *speaker.Speaker, what string, is func(speaker.Session) bool) speaker.Session {
	t.Helper()
	var one speaker.Session
	bgptest.Wait(t, what, func() bool {
		all, err := s.Sessions(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%d sessions, %v", len(all), err)
		}
		one = all[0]
		return is(one)
	})
	return one
}

const vipAddress = "203.0.113.10/32"

// TestRoutesArrive has a router of FRR get routes with their attributes, get them anew
// without a withdrawal between, and lose them.
func TestRoutesArrive(t *testing.T) {
	r := bgptest.New(t, " neighbor 10.0.0.2 remote-as 64710\n neighbor 10.0.0.2 timers connect 1\n no bgp network import-check\n network 198.51.100.0/24\n")
	s := start(t, speaker.Options{GracefulRestart: 5 * time.Second}, route(vipAddress, 20, 2, 64710<<16|100))
	defer stop(t, s, false)
	p := r.Await("the route to arrive", vipAddress, any1)
	if p.MED != 20 || p.Aspath.String != "64710 64710 64710" || p.Community.String != "64710:100" || p.Nexthops[0].IP != "10.0.0.2" {
		t.Errorf("the route arrived as %+v", p)
	}
	is := session(t, s, "the session to be told", func(one speaker.Session) bool { return one.Established && one.Told == 1 })
	if is.State != "established" || is.Since.IsZero() || is.BFD {
		t.Errorf("the session is %+v", is)
	}
	if err := s.Announce([]bgp.Route{route(vipAddress, 0, 0, spec.GracefulShutdown), route("203.0.113.11/32", 0, 0)}); err != nil {
		t.Fatal(err)
	}
	p = r.Await("GRACEFUL_SHUTDOWN to arrive", vipAddress, func(p bgptest.Path) bool { return p.Community.String != "" && p.Aspath.String == "64710" })
	t.Logf("FRR has it with GRACEFUL_SHUTDOWN as %+v", p)
	if p.Community.String != "graceful-shutdown" {
		t.Errorf("its communities are %q", p.Community.String)
	}
	r.Await("the second route", "203.0.113.11/32", any1)
	if err := s.Announce([]bgp.Route{route("203.0.113.11/32", 0, 0)}); err != nil {
		t.Fatal(err)
	}
	r.AwaitNone("the route to be withdrawn", vipAddress)
	r.Await("the second route still", "203.0.113.11/32", any1)
	if known := s.Known(t); !slices.Equal(known, []string{"203.0.113.11/32"}) {
		t.Errorf("it would tell %q to other routers", known)
	}
}

// TestIPv6 has an IPv6 session carry an IPv6 route, and an IPv4 one by RFC 8950.
func TestIPv6(t *testing.T) {
	r := bgptest.New(t, ` neighbor fd00::2 remote-as 64710
 neighbor fd00::2 timers connect 1
 neighbor fd00::2 capability extended-nexthop
 address-family ipv6 unicast
  neighbor fd00::2 activate
 exit-address-family
`)
	s := start(t, speaker.Options{GracefulRestart: 5 * time.Second, Peers: []speaker.Peer{{BGPPeer: spec.BGPPeer{Address: netip.MustParseAddr("fd00::1"), ASN: 64800, Port: 179}}}},
		route("2001:db8:f::10/128", 0, 0), route(vipAddress, 0, 0))
	defer stop(t, s, false)
	six := r.Await("the IPv6 route", "2001:db8:f::10/128", any1)
	four := r.Await("the IPv4 route", vipAddress, any1)
	hasHop := func(p bgptest.Path) bool {
		return slices.ContainsFunc(p.Nexthops, func(h struct {
			IP string `json:"ip"`
		},
		) bool {
			return h.IP == "fd00::2"
		})
	}
	if !hasHop(six) || !hasHop(four) || !four.Valid {
		t.Errorf("the routes arrived as %+v and %+v", six, four)
	}
}

// TestLinkLocal has a session between link-local addresses carry both, with BFD.
func TestLinkLocal(t *testing.T) {
	r := bgptest.New(t, ` neighbor fe80::2 remote-as 64710
 neighbor fe80::2 interface peer
 neighbor fe80::2 timers connect 1
 neighbor fe80::2 bfd
 neighbor fe80::2 capability extended-nexthop
 address-family ipv6 unicast
  neighbor fe80::2 activate
 exit-address-family
`)
	s := start(t, speaker.Options{
		GracefulRestart: 5 * time.Second, BFD: &spec.BFD{Interval: 300 * time.Millisecond, Multiplier: 3},
		Peers: []speaker.Peer{{BGPPeer: spec.BGPPeer{Address: netip.MustParseAddr("fe80::1%" + r.Link), ASN: 64800, Port: 179}}},
	}, route("2001:db8:f::10/128", 0, 0), route(vipAddress, 0, 0))
	defer stop(t, s, false)
	session(t, s, "the session to be told", func(one speaker.Session) bool { return one.Established && one.Told == 2 })
	for _, prefix := range []string{"2001:db8:f::10/128", vipAddress} {
		if p := r.Await("a route", prefix, any1); !p.Valid {
			t.Errorf("it arrived as %+v", p)
		}
	}
	session(t, s, "BFD to be up", func(one speaker.Session) bool { return one.BFDUp })
}

// TestPeerKeys has sessions that both ends protect, or that may go through other routers, come up.
func TestPeerKeys(t *testing.T) {
	for name, c := range map[string]struct {
		router   string
		peer     spec.BGPPeer
		password string
	}{
		"ttl_security":  {"ttl-security hops 1", spec.BGPPeer{TTLSecurity: true}, ""},
		"password_file": {"password s3cret", spec.BGPPeer{}, "s3cret"},
		"multihop":      {"ebgp-multihop 2", spec.BGPPeer{Multihop: 2}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := bgptest.New(t, " neighbor 10.0.0.2 remote-as 64710\n neighbor 10.0.0.2 timers connect 1\n neighbor 10.0.0.2 "+c.router+"\n")
			c.peer.Address, c.peer.ASN, c.peer.Port = netip.MustParseAddr("10.0.0.1"), 64800, 179
			s := start(t, speaker.Options{GracefulRestart: 5 * time.Second, Peers: []speaker.Peer{{BGPPeer: c.peer, Password: c.password}}}, route(vipAddress, 0, 0))
			defer stop(t, s, false)
			r.Await("the route", vipAddress, any1)
		})
	}
}

const bfdNeighbour = ` neighbor 10.0.0.2 remote-as 64710
 neighbor 10.0.0.2 timers connect 1
 neighbor 10.0.0.2 bfd
`

// TestBFD has both ends see the session of BFD, and the router drop the route within three
// intervals, and not the hold time, once nothing arrives any more.
func TestBFD(t *testing.T) {
	r := bgptest.New(t, bfdNeighbour+" neighbor 10.0.0.2 bfd 3 300 300\n")
	s := start(t, speaker.Options{GracefulRestart: 30 * time.Second, HoldTime: 90 * time.Second, BFD: &spec.BFD{Interval: 300 * time.Millisecond, Multiplier: 3}}, route(vipAddress, 0, 0))
	defer stop(t, s, false)
	r.Await("the route", vipAddress, any1)
	session(t, s, "BFD to come up", func(one speaker.Session) bool { return one.Established && one.BFD && one.BFDUp })
	deafen(t, r)
	begun := time.Now()
	r.AwaitNone("the route to go", vipAddress)
	t.Logf("FRR dropped the route %v after nothing arrived any more, with BFD 300ms x 3", time.Since(begun))
	is := session(t, s, "this end to know", func(one speaker.Session) bool { return !one.Established && !one.BFDUp })
	if is.Reason == "" {
		t.Errorf("nothing says why the session ended: %+v", is)
	}
}

// deafen has nothing of this host arrive at the router, whose link stays up: frames go to nobody.
func deafen(t *testing.T, r *bgptest.Router) {
	t.Helper()
	netnstest.Run(t, "ip neigh replace 10.0.0.1 lladdr 02:00:00:00:00:99 nud permanent dev "+r.Link)
}

// TestRestart has a router keep the route of a speaker that ends without a word, and go on
// with it, without a moment in which it has none, when the next one is there; and drop it at
// once where the speaker says that it ends.
func TestRestart(t *testing.T) {
	r := bgptest.New(t, " neighbor 10.0.0.2 remote-as 64710\n neighbor 10.0.0.2 timers connect 1\n")
	opt := speaker.Options{GracefulRestart: time.Minute}
	s := start(t, opt, route(vipAddress, 0, 0))
	r.Await("the route", vipAddress, any1)
	session(t, s, "the session", func(one speaker.Session) bool { return one.Established })
	r.AwaitRoute(vipAddress)
	without := r.Watch(vipAddress)
	stop(t, s, true)
	r.Await("the route to be kept as stale", vipAddress, func(p bgptest.Path) bool { return p.Stale })
	opt.Restarting = true
	s = start(t, opt, route(vipAddress, 0, 0))
	r.Await("the route to be told again", vipAddress, func(p bgptest.Path) bool { return !p.Stale })
	if n := without(); n > 0 {
		t.Errorf("the router was without the route at %d looks", n)
	}
	stop(t, s, false)
	begun := time.Now()
	r.AwaitNone("the route to go", vipAddress)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a speaker that ended with a word was dropped after %v only", took)
	}
}

// TestRestartUnderBFD writes down what FRR makes of a speaker that is started again while it
// has BFD, which goes with it: ADR 18 has it.
func TestRestartUnderBFD(t *testing.T) {
	if os.Getenv("HOLDFAST_TRY_BFD") == "" {
		t.Skip("it is about FRR, and takes half a minute of an idle machine: HOLDFAST_TRY_BFD=1")
	}
	for _, c := range []struct {
		name, config string
		kept         bool // the route, while nobody speaks
		lost         bool // the route, when the link is cut
	}{
		{"as it is", bfdNeighbour, false, true},
		{"check-control-plane-failure", bfdNeighbour + " neighbor 10.0.0.2 bfd check-control-plane-failure\n", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := bgptest.New(t, c.config)
			opt := speaker.Options{GracefulRestart: 20 * time.Second, HoldTime: 90 * time.Second, BFD: &spec.BFD{Interval: 300 * time.Millisecond, Multiplier: 3}}
			s := start(t, opt, route(vipAddress, 0, 0))
			r.Await("the route", vipAddress, any1)
			session(t, s, "BFD to come up", func(one speaker.Session) bool { return one.BFDUp })
			stop(t, s, true)
			bgptest.Wait(t, "FRR to see BFD down", func() bool {
				out, _ := r.Ask("show bfd peers json")
				return strings.Contains(out, `"status":"down"`) || len(r.Paths(vipAddress)) == 0
			})
			time.Sleep(2 * time.Second)
			if kept := len(r.Paths(vipAddress)) == 1; kept != c.kept {
				t.Errorf("FRR keeps the route while nobody speaks: %v", kept)
			}
			opt.Restarting = true
			s = start(t, opt, route(vipAddress, 0, 0))
			defer stop(t, s, false)
			r.Await("the route to be told again", vipAddress, func(p bgptest.Path) bool { return !p.Stale })
			session(t, s, "BFD to come up again", func(one speaker.Session) bool { return one.BFDUp })
			deafen(t, r)
			time.Sleep(3 * time.Second)
			if lost := len(r.Paths(vipAddress)) == 0; lost != c.lost {
				t.Errorf("FRR drops the route of a host that is lost: %v", lost)
			}
		})
	}
}
