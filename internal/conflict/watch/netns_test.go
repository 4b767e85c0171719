package watch_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/conflict/watch"
	"holdfast/internal/netnstest"
	"holdfast/internal/rtnl"
	"holdfast/internal/status"
	"holdfast/internal/vip"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

// A lan is a bridge with machines; machine i has 10.77.0.i and fd77::i on eth0.
type lan struct {
	t      *testing.T
	bridge netnstest.Bridge
	n      int
}

type machine struct {
	*netnstest.Namespace
	t *testing.T
	n int
}

func newLAN(t *testing.T) *lan { return &lan{t: t, bridge: netnstest.NewBridge(t)} }

func (l *lan) plug() *machine {
	l.t.Helper()
	l.n++
	m := &machine{Namespace: netnstest.New(l.t), t: l.t, n: l.n}
	m.Write("/proc/sys/net/ipv6/conf/default/accept_dad", "0")
	l.bridge.Plug(fmt.Sprintf("p%d", m.n), m.Namespace)
	m.Run(fmt.Sprintf("ip address add %v/24 dev eth0\nip address add %v/64 dev eth0", m.four(), m.six()))
	return m
}

func (m *machine) four() netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(m.n)}) }
func (m *machine) six() netip.Addr  { return netip.MustParseAddr(fmt.Sprintf("fd77::%d", m.n)) }

func (m *machine) mac() string {
	m.t.Helper()
	mac := ""
	err := m.Do(func() error { mac = netnstest.MAC(m.t, "eth0"); return nil })
	if err != nil {
		m.t.Fatal(err)
	}
	return mac
}

// A kind is a way to advertise.
type kind struct {
	name           string
	six, multicast bool
}

func kinds() []kind {
	return []kind{{"IPv4 unicast", false, false}, {"IPv4 multicast", false, true}, {"IPv6 unicast", true, false}, {"IPv6 multicast", true, true}}
}

func (k kind) of(m *machine) netip.Addr {
	if k.six {
		return m.six()
	}
	return m.four()
}

func (k kind) virtual() netip.Prefix {
	if k.six {
		return netip.MustParsePrefix("fd77::100/64")
	}
	return netip.MustParsePrefix("10.77.0.100/24")
}

// A holder puts the address on eth0.
type holder struct {
	at    netip.Addr
	links rtnl.Conn
	index int
}

func (h *holder) lease() error {
	l, err := h.links.LinkByName("eth0")
	if err != nil {
		return err
	}
	h.index = l.Index
	_, err = h.links.Lease(l.Index, h.at, 2)
	return err
}

func (h *holder) Claim(context.Context) error { return h.lease() }
func (h *holder) Hold(context.Context) error  { return h.lease() }
func (h *holder) Announce()                   {}
func (h *holder) Release(context.Context) error {
	if h.index == 0 {
		return nil
	}
	return h.links.DeleteAddress(h.index, rtnl.HostPrefix(h.at))
}
func (h *holder) Withdraw(ctx context.Context) error { return h.Release(ctx) }

// A controller is a loop with its watch.
type controller struct {
	*link.Loop
	t     *testing.T
	watch *watch.Watch
	log   *netnstest.Log
	stop  func()

	mu        sync.Mutex // guards following
	findings  map[string]status.Finding
	all       []string // that there ever were
	announced int
	was       []string // its states, with the reasons
}

// controller runs one on m, with others as the spec's other controllers.
func (m *machine) controller(k kind, delay time.Duration, others ...*machine) *controller {
	m.t.Helper()
	c := &controller{t: m.t, log: &netnstest.Log{}, findings: map[string]status.Finding{}}
	peers := map[netip.Addr]string{}
	for _, o := range others {
		peers[k.of(o)] = fmt.Sprintf("ctl%d", o.n)
	}
	log := slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	c.Loop, err = link.New(link.Options{
		Name: "api", Controller: fmt.Sprintf("ctl%d", m.n), VRID: 51, Priority: uint8(255 - m.n), Interval: 20 * time.Millisecond,
		Interface: "eth0", Source: k.of(m), Peers: peers, Multicast: k.multicast, Addresses: []netip.Addr{k.virtual().Addr()},
		Guarded: true, Holder: &holder{at: k.virtual().Addr()}, Log: log, Checksum: vrrp.PseudoHeader,
		OnTransition: func(t link.Transition) {
			c.mu.Lock()
			c.was = append(c.was, fmt.Sprintf("%v: %s", t.To, t.Reason))
			c.mu.Unlock()
			c.watch.Poke()
		},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	c.watch = watch.New(watch.Options{
		Name: "api", Interface: "eth0", Addresses: []netip.Addr{k.virtual().Addr()}, RouterID: 51, Multicast: k.multicast,
		Interval: 20 * time.Millisecond, Source: k.of(m),
		Peers: func() map[netip.Addr]string { return peers }, Delay: func() time.Duration { return delay },
		Loop: c.Loop, Log: log,
		Announce: func() { c.mu.Lock(); c.announced++; c.mu.Unlock() },
		Report: func(code, key string, f *status.Finding) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if f == nil {
				delete(c.findings, key)
				return
			}
			c.findings[key] = *f
			c.all = append(c.all, f.Text)
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.Do(func() error { return c.Run(ctx) }); err != nil {
			m.t.Error(err)
		}
	})
	wg.Go(func() { _ = m.Do(func() error { c.watch.Run(ctx); return nil }) })
	c.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	m.t.Cleanup(func() {
		c.stop()
		if m.t.Failed() || testing.Verbose() {
			m.t.Logf("ctl%d: %v\n%s", m.n, c.all, c.log)
		}
	})
	c.SetEligible(true, "haproxy is ready")
	return c
}

func (c *controller) await(s vrrp.State) {
	c.t.Helper()
	netnstest.Await(c.t, fmt.Sprint("the state ", s), func() bool { return c.Stats().State == s })
}

// finds waits for a finding of the code with all the words, and gives its text.
func (c *controller) finds(code string, words ...string) string {
	c.t.Helper()
	text := ""
	netnstest.Await(c.t, fmt.Sprint("a finding ", code, words), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, f := range c.findings {
			text = f.Text
			has := f.Code == code && f.Severity == status.Error
			for _, w := range words {
				has = has && strings.Contains(text, w)
			}
			if has {
				return true
			}
		}
		return false
	})
	return text
}

// count gives the findings of a code, and how often the address was announced.
func (c *controller) count(code string) (n, announced int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.findings {
		if f.Code == code {
			n++
		}
	}
	return n, c.announced
}

// neverActive fails the test if the controller ever was.
func (c *controller) neverActive() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.was {
		if strings.HasPrefix(s, "active") {
			c.t.Errorf("it took the address: %q", c.was)
		}
	}
}

// keepalived runs Debian's keepalived on m, as kolla-ansible has it: version 2 and
// multicast, or for IPv6 version 3, since there is no other.
func (m *machine) keepalived(k kind) (stop func()) {
	m.t.Helper()
	path, err := exec.LookPath("keepalived")
	if err != nil {
		m.t.Skip("keepalived is not installed: apt-get install keepalived")
	}
	dir := m.t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	six := ""
	if k.six {
		six = "version 3\nnative_ipv6\n"
	}
	config := fmt.Sprintf("vrrp_instance kolla_internal_vip_51 {\nstate BACKUP\nnopreempt\ninterface eth0\nvirtual_router_id 51\n"+
		"priority 2\nadvert_int 1\n%svirtual_ipaddress {\n%v dev eth0\n}\n}\n", six, k.virtual())
	if err := os.WriteFile(in("keepalived.conf"), []byte(config), 0o600); err != nil {
		m.t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(path, "--dont-fork", "--log-console", "--vrrp", "--use-file", in("keepalived.conf"),
		"--pid", in("pid"), "--vrrp_pid", in("vrrp.pid"), "--checkers_pid", in("checkers.pid"))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := m.Do(cmd.Start); err != nil {
		m.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			m.t.Error(err)
		}
		_ = cmd.Wait()
		if m.t.Failed() {
			m.t.Logf("keepalived says:\n%s", out.String())
		}
	})
	m.t.Cleanup(stop)
	netnstest.Await(m.t, "keepalived to have the address", func() bool {
		has := false
		_ = m.Do(func() error {
			out, err := exec.Command("ip", "-o", "address", "show", "dev", "eth0").Output()
			has = strings.Contains(string(out), k.virtual().Addr().String()+"/")
			return err
		})
		return has
	})
	return stop
}

// TestBesideKeepalived starts a controller beside a keepalived that has the address and
// speaks what the controller does not: it must not take it, must say whose it is, and
// take it once the other one has stopped.
func TestBesideKeepalived(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t)
			ours, theirs, other := l.plug(), l.plug(), l.plug()
			stop := theirs.keepalived(k)
			c := ours.controller(k, 30*time.Second, other)
			if k.six && k.multicast {
				// Any router on the link is believed there: it is heard, and followed.
				netnstest.Await(t, "an advert", func() bool { return c.Stats().AdvertsSeen > 0 })
			} else {
				begun := time.Now()
				t.Logf("after %v: %s", time.Since(begun), c.finds(status.CodeVIPConflict, theirs.mac(), k.virtual().Addr().String()))
				version := "version 2"
				if k.six {
					version = "version 3"
				}
				t.Log(c.finds(status.CodeForeignRouter, theirs.mac(), version, "router id 51", "priority 2", k.virtual().Addr().String()))
				if got := c.Stats().Reason; !strings.Contains(got, "another machine has") {
					t.Errorf("it waits because %q", got)
				}
			}
			time.Sleep(2500 * time.Millisecond) // it is asked again and again
			c.neverActive()
			stop()
			c.await(vrrp.Active)
			netnstest.Await(t, "the conflict to be over", func() bool { n, _ := c.count(status.CodeVIPConflict); return n == 0 })
		})
	}
}

// TestSecondMachine gives the address to another machine while a controller holds it, in
// silence and with a word.
func TestSecondMachine(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t)
			ours, second, other := l.plug(), l.plug(), l.plug()
			c := ours.controller(k, 30*time.Second, other)
			c.await(vrrp.Active)
			if n, _ := c.count(status.CodeVIPConflict); n != 0 || c.watch.Claims() != 0 {
				t.Errorf("%d conflicts and %d claims without another machine", n, c.watch.Claims())
			}
			second.takes(k)
			text := c.finds(status.CodeVIPConflict, second.mac(), "so does this controller")
			t.Log(text)
			if _, announced := c.count(""); announced == 0 || c.watch.Claims() == 0 {
				t.Errorf("answered %d times, counted %d", announced, c.watch.Claims())
			}
			if s := c.Stats().State; s != vrrp.Active {
				t.Errorf("the holder is %v", s)
			}
		})
	}
}

// takes puts the address on eth0 of m, and says so once.
func (m *machine) takes(k kind) {
	m.t.Helper()
	err := m.Do(func() error {
		a, err := vip.New(vip.Options{Name: "stolen", Addresses: []netip.Prefix{k.virtual()}, Interface: "eth0", Device: vip.Direct, RouterID: 9, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		if err := a.Claim(m.t.Context()); err != nil {
			return err
		}
		a.Announce()
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// TestBlockedPort starts the preferred controller behind a port of the switch that does
// not forward yet, beside one that serves: that one goes on, whether the first waits, or
// does not wait long enough and both have the address for as long as the port is blocked.
func TestBlockedPort(t *testing.T) {
	for name, delay := range map[string]time.Duration{"waits": 30 * time.Second, "does not wait for long enough": time.Second} {
		for _, k := range kinds()[:2] {
			t.Run(name+", "+k.name, func(t *testing.T) {
				t.Parallel()
				l := newLAN(t)
				first, second := l.plug(), l.plug()
				serving := second.controller(k, 0, first)
				serving.await(vrrp.Active)
				l.bridge.Run("bridge link set dev p1 state 1") // listening: nothing passes
				c := first.controller(k, delay, second)
				if delay > time.Minute/3 {
					netnstest.Await(t, "it to say why it waits", func() bool { return strings.Contains(c.Stats().Reason, "startup_delay") })
					time.Sleep(500 * time.Millisecond)
					c.neverActive()
				} else {
					c.await(vrrp.Active)
				}
				l.bridge.Run("bridge link set dev p1 state 3")
				netnstest.Await(t, "it to hear the one that serves", func() bool {
					s := c.Stats()
					return s.State == vrrp.Backup && s.Holder == "ctl2"
				})
				time.Sleep(500 * time.Millisecond)
				if s := serving.Stats(); s.State != vrrp.Active || s.Transitions != 2 {
					t.Errorf("the one that serves did not go on: %+v", s)
				}
				if strings.Contains(c.log.String(), "the same priority") {
					t.Error("both were humble")
				}
			})
		}
	}
}

// TestBootAlone starts a controller whose only other one is dead, on a link with a router.
func TestBootAlone(t *testing.T) {
	l := newLAN(t)
	ours, router, dead := l.plug(), l.plug(), l.plug()
	ours.Run(fmt.Sprintf("ip route add default via %v", router.four()))
	dead.Run("ip link set eth0 down")
	c := ours.controller(kinds()[0], 30*time.Second, dead)
	begun := time.Now()
	c.await(vrrp.Active)
	if waited := time.Since(begun); waited > 20*time.Second {
		t.Errorf("it waited for %v although the router answers", waited)
	}
}
