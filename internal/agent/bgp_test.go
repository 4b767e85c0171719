package agent

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/bgp/bgptest"
	"holdfast/internal/netnstest"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

const announced = `cloud: test
vips:
  - {name: api, addresses: [203.0.113.10/32], hostname: api.example.org, announce: bgp}
controllers:
  - {name: ctl1, address: 192.0.2.1}
  - {name: ctl2, address: 192.0.2.2}
services:
  keystone: {}
bgp:
  asn: 64710
  graceful_restart: 20s
  peers: [{address: 10.0.0.1, asn: 64800}]
`

const (
	route   = "203.0.113.10/32"
	routers = " neighbor 10.0.0.2 remote-as 64710\n neighbor 10.0.0.2 timers connect 1\n"
)

func isPlain(p bgptest.Path) bool { return p.Community.String == "" && !p.Stale }

// vip gives what d says of the one VIP.
func (d *running) vip() status.VIP {
	d.h.t.Helper()
	all := d.Snapshot().VIPs
	if len(all) != 1 { // it has not begun
		return status.VIP{}
	}
	return all[0]
}

func (d *running) awaitAnnounced(is status.AnnouncedState) {
	d.h.t.Helper()
	d.h.await("the VIP is "+string(is), func() bool { return d.vip().Announced == is })
}

// TestAnnounce has a router learn of the VIP while this controller is well, and only then; and
// keep it while the agent is started again.
func TestAnnounce(t *testing.T) {
	h := newHost(t)
	h.write(announced)
	r := bgptest.New(t, routers)
	server := h.keystone()
	d := h.start()
	r.Await("the route of a controller that is well", route, isPlain)
	d.awaitAnnounced(status.Announced)
	h.await("the session is told", func() bool { s := d.Snapshot().BGP; return len(s) == 1 && s[0].Established && s[0].Routes == 1 })
	if v := d.vip(); v.Holder != "ctl1" || v.State != status.Active || !v.Present || v.Announce != "bgp" {
		t.Errorf("the agent says %+v", v)
	}
	h.awaitAnswer("http://203.0.113.10:5000/v3", "200")

	t.Log("the agent is started again: the router is never without the route")
	r.AwaitRoute(route)
	without := r.Watch(route)
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	r.Await("the route is kept", route, func(p bgptest.Path) bool { return p.Stale })
	d = h.start()
	r.Await("the route is told again", route, isPlain)
	if n := without(); n > 0 {
		t.Errorf("the router was without the route at %d looks", n)
	}

	t.Log("HAProxy is hung: withdrawn")
	d.awaitAnnounced(status.Announced)
	pid := d.Snapshot().HAProxy.PID
	for _, p := range workersOf(t, pid) {
		if err := syscall.Kill(p, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	r.AwaitNone("the route to be withdrawn while HAProxy hangs", route)
	h.await("the address is gone", func() bool { return !d.vip().Present })
	for _, p := range workersOf(t, pid) {
		_ = syscall.Kill(p, syscall.SIGCONT) // it may have been replaced
	}
	r.Await("the route is back", route, isPlain)

	t.Log("no service has a host: withdrawn")
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	r.AwaitNone("the route to be withdrawn without a host", route)
	h.await("the reason is told", func() bool { return d.vip().Reason == "no service has a host" })
}

// workersOf gives the processes of a HAProxy with this master.
func workersOf(t *testing.T, master int) []int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pid)
	}
	return all
}

// TestAnnounceDrained has a drained controller attach GRACEFUL_SHUTDOWN, keep its connection, and
// withdraw when that has ended; and come back.
func TestAnnounceDrained(t *testing.T) {
	h := newHost(t)
	h.write(announced)
	r := bgptest.New(t, routers)
	h.keystone()
	d := h.start()
	r.Await("the route", route, isPlain)
	open, err := net.Dial("tcp", "203.0.113.10:5000")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close() //nolint:errcheck // it was closed
	if _, err := d.drains.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Reason: "kernel", Force: true}); err != nil {
		t.Fatal(err)
	}
	r.Await("GRACEFUL_SHUTDOWN", route, func(p bgptest.Path) bool { return p.Community.String == "graceful-shutdown" })
	if v := d.vip(); v.Announced != status.Draining || v.Reason != "drained: kernel" {
		t.Errorf("the agent says %+v", v)
	}
	r.AwaitNone("the route to be withdrawn", route)
	d.awaitAnnounced(status.Withdrawn)
}

// TestNoBGP has an agent without such a VIP open no port of BGP and run nothing of it.
func TestNoBGP(t *testing.T) {
	h := newHost(t)
	h.keystone()
	d := h.start()
	d.awaitActive()
	buf := make([]byte, 1<<20)
	for one := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(one, "osrg/gobgp") {
			t.Errorf("a goroutine of BGP runs:\n%s", one)
		}
	}
	for _, command := range []string{"ss -Hltn sport = 179", "ss -Hlun sport = 3784"} {
		if out := netnstest.Run(t, command); out != "" {
			t.Errorf("%s: %s", command, out)
		}
	}
}

// TestExternal has the agent only put the address there and take it away.
func TestExternal(t *testing.T) {
	h := newHost(t)
	before, _, _ := strings.Cut(announced, "bgp:\n")
	h.write(before + "bgp: {engine: external}\n")
	server := h.keystone()
	d := h.start()
	d.awaitAnnounced(status.Announced)
	h.awaitAnswer("http://203.0.113.10:5000/v3", "200")
	if s := d.Snapshot(); len(s.BGP) > 0 {
		t.Errorf("the agent has sessions: %+v", s.BGP)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	h.await("the address is gone", func() bool { return !d.vip().Present })
}

// TestAnnounceAnotherWay has a reload take a VIP from VRRP to BGP, and back, with the same address.
func TestAnnounceAnotherWay(t *testing.T) {
	h := newHost(t)
	byBGP := strings.Replace(testSpec, "[192.0.2.10/24]", "[192.0.2.10/32]", 1)
	byBGP = strings.Replace(byBGP, "    interface: eno1\n    vrrp: {router_id: 7, interval: 20ms, startup_delay: 0s}\n", "    announce: bgp\n", 1) + "bgp: {engine: external}\n"
	h.keystone()
	d := h.start()
	d.awaitActive()
	for range 2 {
		h.write(byBGP)
		if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
		d.awaitAnnounced(status.Announced)
		h.await("the address is on lo only", func() bool { return d.vip().Present && !h.hasAddress() })
		h.awaitAnswer("http://192.0.2.10:5000/v3", "200")
		h.write(testSpec)
		if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
		d.awaitActive()
		h.await("the address is on eno1 only", func() bool {
			return h.hasAddress() && netnstest.Run(t, "ip -4 -o address show dev lo scope global") == ""
		})
		h.awaitAnswer("http://192.0.2.10:5000/v3", "200")
	}
	for _, f := range d.wrong() {
		t.Errorf("found: %+v", f)
	}
}
