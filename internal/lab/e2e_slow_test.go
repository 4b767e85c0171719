package lab_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/status"
)

// A slowFault is one that lets a node go on, but badly.
type slowFault struct {
	name   string
	fault  func(c *cloud, holder string) lab.Fault
	lasts  time.Duration
	moves  int // of the address while it lasts, at most
	during func(c *cloud, holder string)
}

// on gives a fault of the holder.
func on(kind, value string) func(*cloud, string) lab.Fault {
	return func(_ *cloud, holder string) lab.Fault { return lab.Fault{Kind: kind, Node: holder, Value: value} }
}

// TestSlowFaults has the holder go on, but badly, in each way there is. While it
// lasts the address ends to be on two by itself, it does not go to and fro, no
// agent dies, and all is well again by itself afterwards.
//
// A loss is learned in its first second, in which a controller or two may take
// over for a moment: each counts as a move there and one back.
func TestSlowFaults(t *testing.T) {
	c := sharedCloud(t)
	for _, f := range []slowFault{
		{name: "10 % loss", fault: on("loss", "10"), lasts: 4 * time.Second, moves: 4},
		{name: "30 % loss", fault: on("loss", "30"), lasts: 6 * time.Second, moves: 6},
		{name: "200 ms delay", fault: on("delay", "200ms"), lasts: 3 * time.Second, moves: 2},
		{name: "one-way to the next", fault: oneWayToNext, lasts: 4 * time.Second, moves: 2, during: (*cloud).served},
		{name: "flapping link", fault: on("flap", "800ms"), lasts: 6 * time.Second, moves: 2, during: (*cloud).served},
		{name: "full disk", fault: on("disk-full", ""), lasts: 2 * time.Second, during: (*cloud).saysFullDisk},
		{name: "read-only disk", fault: on("read-only", ""), lasts: 2 * time.Second, during: (*cloud).saysReadOnly},
		{name: "no run directory", fault: on("no-run-dir", ""), lasts: 2 * time.Second, during: (*cloud).makesRunDir},
		{name: "stuck log", fault: on("log-stuck", ""), lasts: 2 * time.Second, moves: 4, during: (*cloud).livesWithoutLog},
		{name: "no descriptors", fault: on("no-files", ""), lasts: 3 * time.Second, during: (*cloud).served},
		{name: "another MAC address", fault: on("mac-change", ""), lasts: 3 * time.Second, during: (*cloud).answersNow},
		{name: "interface made anew", fault: on("device-remade", ""), lasts: 3 * time.Second, moves: 2, during: (*cloud).served},
		{name: "conntrack's table full", fault: on("conntrack-full", ""), lasts: 4 * time.Second, moves: 2, during: (*cloud).saysFullTable},
		{name: "no descriptors for HAProxy", fault: on("haproxy-no-files", ""), lasts: 3 * time.Second, moves: 2, during: (*cloud).served},
	} {
		t.Run(f.name, func(t *testing.T) { (&cloud{t, c.dir, c.binary}).suffer(f) })
	}
}

// TestSplitBrain has two controllers hold the VIP that do not hear each other: adverts are
// filtered both ways, or no frame passes between the two and the third one reaches both.
// Their agents end that while it lasts, and nobody takes the address again.
func TestSplitBrain(t *testing.T) {
	c := sharedCloud(t)
	for _, f := range []slowFault{
		{name: "adverts are filtered", fault: on("adverts-blocked", "both"), lasts: 8 * time.Second, moves: 3, during: (*cloud).gaveWay},
		{name: "two are apart", fault: apartFromNext, lasts: 8 * time.Second, moves: 2, during: (*cloud).gaveWay},
	} {
		t.Run(f.name, func(t *testing.T) { (&cloud{t, c.dir, c.binary}).suffer(f) })
	}
}

// apartFromNext lets nothing pass between the holder and another controller.
func apartFromNext(c *cloud, holder string) lab.Fault {
	return lab.Fault{Kind: "partition", Sets: [][]string{{holder}, {c.others(holder)[0]}}}
}

// gaveWay has one hold the VIP alone, and the events say that another one gave way.
func (c *cloud) gaveWay(holder string) {
	c.Helper()
	now := c.holder()
	said := ""
	for _, node := range append(c.others(holder), holder) {
		out, _ := c.run(node, "holdfast", "events", "-n", "1000", "--controller", node)
		said += out
	}
	if !strings.Contains(said, "neither hears the other's adverts") {
		c.Errorf("nobody gave way:\n%s", said)
	}
	c.Logf("%s had it, %s has it", holder, now)
	c.served(holder)
}

// suffer lives through f, and checks all that must hold.
func (c *cloud) suffer(f slowFault) {
	holder, restarts := c.holder(), c.restarts()
	done, err := lab.Inject(c.Context(), c.dir, f.fault(c, holder))
	if err != nil {
		if strings.Contains(err.Error(), "operation not permitted") { // to mount, inside some containers
			c.Skip(err)
		}
		c.Fatal(err)
	}
	time.Sleep(f.lasts) // a fault has to last for what it does to show
	if f.during != nil {
		f.during(c, holder)
	}
	c.checkHolders(done.Time, f)
	c.fault("back", holder)
	c.fault("heal", "")
	c.await("a whole lab", c.whole)
	c.await("every service through the VIP", c.allAnswer)
	c.await("holdfast to call the lab well", c.well)
	if got := c.restarts(); got != restarts {
		c.Errorf("agents were started again %d times, want none to have died", got-restarts)
	}
}

// checkHolders counts how often the address was taken since the fault f, and for
// how long two had it. How fast a machine ends that is for the benchmark to say;
// here it has to end before f does.
func (c *cloud) checkHolders(since time.Time, f slowFault) {
	c.Helper()
	changes, err := lab.ReadHoldings(c.dir)
	if err != nil {
		c.Fatal(err)
	}
	vip := netip.MustParsePrefix(c.status().VIPs[0].Address).Addr()
	taken, held, longest := 0, map[string]bool{}, time.Duration(0)
	var both time.Time
	for _, h := range append(changes, lab.Holding{Time: time.Now(), Address: vip}) {
		if h.Address != vip {
			continue
		}
		if len(held) > 1 && h.Time.After(since) {
			longest = max(longest, h.Time.Sub(both))
		}
		if h.Held && h.Time.After(since) {
			taken++
		}
		was := len(held)
		if h.Held {
			held[h.Node] = true
		} else {
			delete(held, h.Node)
		}
		if was < 2 && len(held) > 1 {
			both = h.Time
		}
	}
	if taken > f.moves {
		c.Errorf("the address was taken %d times, want %d at most", taken, f.moves)
	}
	if longest >= f.lasts {
		c.Errorf("two had the address for %v, which is as long as the fault lasted", longest)
	}
	c.Logf("taken %d times; two had the address for %v", taken, longest)
}

// restarts counts how often any unit started its agent again.
func (c *cloud) restarts() int {
	c.Helper()
	n := 0
	for _, node := range c.status().Nodes {
		if node.Agent != nil {
			n += node.Agent.Restarts
		}
	}
	return n
}

// served says that every service answers while the fault lasts.
func (c *cloud) served(string) {
	c.Helper()
	c.await("every service through the VIP, during the fault", c.allAnswer)
}

// answersNow has every service answer at the first try.
func (c *cloud) answersNow(holder string) {
	c.Helper()
	if err := c.allAnswer(); err != nil {
		c.Errorf("while the fault lasts: %v", err)
	}
	if got := c.holder(); got != holder {
		c.Errorf("%s has the address, want %s to have kept it", got, holder)
	}
}

// saysFullTable reads it in the journal of the controller, from which the VIP
// has gone to one that takes connections.
func (c *cloud) saysFullTable(holder string) {
	c.Helper()
	c.served(holder)
	c.await("the journal to tell of the table", func() error {
		out, _ := c.run(holder, "holdfast", "events", "-n", "1000", "--controller", holder)
		if !strings.Contains(out, "table of tracked connections is filling up") {
			return errors.New(out)
		}
		c.Logf("%s has the address, %s had it:\n%s", c.holder(), holder, out)
		return nil
	})
}

// saysFullDisk reads it in the status of a controller, which serves all the same.
func (c *cloud) saysFullDisk(holder string) {
	c.Helper()
	c.await("the status to tell of the disk", func() error {
		if out, code := c.run(holder, "holdfast", "status"); code != 1 || !strings.Contains(flat(out), "is full") {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	})
	c.served(holder)
	if got := c.holder(); got != holder {
		c.Errorf("%s has the address, want %s to have kept it", got, holder)
	}
}

// saysReadOnly reads it in the status of a controller, which serves all the same and
// refuses a changed spec.
func (c *cloud) saysReadOnly(holder string) {
	c.Helper()
	c.await("the status to tell of the disk", func() error {
		if out, code := c.run(holder, "holdfast", "status"); code != 1 || !strings.Contains(flat(out), "is read-only") {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	})
	c.served(holder)
}

// makesRunDir wants the agent and HAProxy to answer on their sockets again, and to be
// those that they were.
func (c *cloud) makesRunDir(holder string) {
	c.Helper()
	c.served(holder)
	c.await("the agent and HAProxy to be whole again", func() error {
		s := c.snapshot(holder)
		if len(s.Findings) > 0 || s.HAProxy.Reloads == 0 {
			return fmt.Errorf("findings %v, HAProxy %+v", s.Findings, s.HAProxy)
		}
		return nil
	})
	if s := c.snapshot(holder); s.HAProxy.Restarts > 0 {
		c.Errorf("HAProxy was started again: %+v", s.HAProxy)
	}
}

// livesWithoutLog has the holder's HAProxy die twice: that it runs again is known to
// VRRP each time, though nobody takes a line of what is said of it.
func (c *cloud) livesWithoutLog(holder string) {
	c.Helper()
	before := c.snapshot(holder).HAProxy.Restarts
	for i := range 2 {
		c.fault("haproxy-kill", holder)
		c.await("another HAProxy on "+holder, func() error {
			if s := c.snapshot(holder).HAProxy; s.State != status.HAProxyRunning || s.Restarts != before+i+1 {
				return fmt.Errorf("it is %+v", s)
			}
			return nil
		})
	}
	c.served(holder)
}

// oneWayToNext lets nothing pass from the holder to another controller.
func oneWayToNext(c *cloud, holder string) lab.Fault {
	return lab.Fault{Kind: "one-way", Node: holder, To: c.others(holder)[0]}
}

// TestWireFaults checks that loss, delay and one-way do what they say, and end.
func TestWireFaults(t *testing.T) {
	c := sharedCloud(t)
	ping := func(from, to string, args ...string) string {
		out, _ := c.run(from, append(append([]string{"ping"}, args...), to)...)
		return out
	}
	if _, code := c.run("client", "ping", "-V"); code != 0 {
		t.Skip("ping is not installed")
	}
	inject := func(f lab.Fault) {
		t.Helper()
		if _, err := lab.Inject(t.Context(), c.dir, f); err != nil {
			t.Fatal(err)
		}
	}
	inject(lab.Fault{Kind: "delay", Node: "dns1", Value: "60ms"})
	out := ping("client", "dns1", "-c", "1", "-W", "5")
	_, took, _ := strings.Cut(out, "time=")
	took, _, _ = strings.Cut(took, " ms")
	if ms, err := strconv.ParseFloat(took, 64); err != nil || ms < 120 {
		t.Errorf("60 ms there and 60 ms back: %s", out)
	}
	inject(lab.Fault{Kind: "back", Node: "dns1"})
	inject(lab.Fault{Kind: "one-way", Node: "dns1", To: "dns2"})
	if out := ping("dns2", "dns1", "-c", "1", "-W", "1"); !strings.Contains(out, " 0 received") {
		t.Errorf("an answer that had to pass from dns1 to dns2: %s", out)
	}
	if out := ping("client", "dns1", "-c", "1", "-W", "5"); !strings.Contains(out, " 1 received") {
		t.Errorf("from dns1 to another node: %s", out)
	}
	inject(lab.Fault{Kind: "heal"})
	inject(lab.Fault{Kind: "loss", Node: "dns1", Value: "100"})
	if out := ping("client", "dns1", "-c", "2", "-i", "0.2", "-W", "1"); !strings.Contains(out, " 0 received") {
		t.Errorf("with all lost: %s", out)
	}
	inject(lab.Fault{Kind: "loss", Node: "dns1", Value: "0"})
	c.await("an answer after the loss", func() error {
		if out := ping("dns2", "dns1", "-c", "1", "-W", "1"); !strings.Contains(out, " 1 received") {
			return errors.New(out)
		}
		return nil
	})
	for _, bad := range []lab.Fault{
		{Kind: "loss", Node: "dns1", Value: "101"},
		{Kind: "loss", Node: "dns1", Value: "x"},
		{Kind: "delay", Node: "dns1", Value: "-1s"},
		{Kind: "one-way", Node: "dns1", To: "dns1"},
		{Kind: "flap", Node: "dns1", Value: "1ns"},
		{Kind: "disk-full", Node: "dns1"},
		{Kind: "blind", Node: "dns1"},
	} {
		if _, err := lab.Inject(t.Context(), c.dir, bad); err == nil {
			t.Errorf("%+v was done, want an error", bad)
		}
	}
}
