package lab_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
)

const withHosts = `
cloud: withhosts
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: api.example.org
    interface: eno1
    vrrp: {router_id: 7, interval: 100ms}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services:
  keystone: {}
  designate:
    hosts:
      - {name: dns1, address: 10.64.20.23}
      - {name: dns2, address: 10.64.20.24}
`

// badLinkTime is how long the holder may take to give the address away: the move
// itself goes over the bad link, and may need more than one try.
const badLinkTime = 4 * time.Minute

// TestBadLink has the link of the holder lose a third of all frames, while all
// services are well: it gives the address away by itself, and status names the
// controller and not the hosts. The link of a controller that does not hold it, here
// one that holds every frame for 200 ms, and services that hang, are no reason.
func TestBadLink(t *testing.T) {
	c := newCloud(t, "badlink", withHosts)
	c.await("holdfast to call the lab well", c.well)
	c.held("ctl1") // whoever came up first has it
	c.linkFault("delay", "200ms", "ctl3")
	c.fault("service-hang", "dns1")
	c.fault("service-hang", "dns2")
	c.await("status to name the other controller first", c.saysBadLink("ctl1", "ctl3", "longer than from"))
	time.Sleep(8 * time.Second) // longer than it would take
	if now := c.holder(); now != "ctl1" {
		t.Errorf("%s has the address, want ctl1 to have kept it", now)
	}
	c.fault("back", "dns1")
	c.fault("back", "dns2")
	c.fault("heal", "")
	c.await("holdfast to call the lab well", c.well)
	c.givesAway("ctl1", "loss", "30", "get no answer at first")
}

func (c *cloud) linkFault(fault, value, node string) lab.Fault {
	c.Helper()
	done, err := lab.Inject(c.Context(), c.dir, lab.Fault{Kind: fault, Node: node, Value: value})
	if err != nil {
		c.Fatal(err)
	}
	return done
}

// saysBadLink looks whether status, asked at one controller, begins with the link of another.
func (c *cloud) saysBadLink(at, of, how string) func() error {
	return func() error {
		out, code := c.run(at, "holdfast", "status")
		if line := said(out); code != 1 || !strings.Contains(line, "controller "+of+": ") || !strings.Contains(line, how) {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	}
}

// givesAway has the holder give the address away for its link, heals that, and
// looks whether all is well then.
func (c *cloud) givesAway(holder, fault, value, how string) {
	c.Helper()
	taker := ""
	done := c.linkFault(fault, value, holder)
	gave := regexp.MustCompile("vip api was handed over from " + holder + " to (ctl[123])")
	c.awaitFor(badLinkTime, holder+" to give the address away for its link", func() error {
		out, _ := c.run(holder, "holdfast", "events", "-n", "1000", "--controller", holder)
		found := gave.FindStringSubmatch(out)
		if found == nil || !strings.Contains(out, "connections from "+holder+" to ") {
			return fmt.Errorf("it did not:\n%s", out)
		}
		taker = found[1]
		return nil
	})
	c.Logf("%s %s: the address moved %v after the fault", fault, value, time.Since(done.Time))
	c.await("every service through the VIP", c.allAnswer)
	c.await("status to name the controller first", c.saysBadLink(taker, holder, how))
	// Over such a link it hears none of the taker's adverts now and then, for as
	// long as it would wait for them if it did not know.
	time.Sleep(20 * time.Second)
	if now := c.holder(); now != taker {
		c.Errorf("%s has the address, want %s to have kept it", now, taker)
	}
	out, _ := c.run(holder, "holdfast", "events", "-n", "1000", "--controller", holder)
	if after := out[strings.LastIndex(out, " to "+taker):]; strings.Contains(after, "vip api is active here") {
		c.Errorf("%s took the address back:\n%s", holder, after)
	}
	c.fault("heal", "")
	c.await("a whole lab", c.whole)
	c.await("holdfast to call the lab well", c.well)
}
