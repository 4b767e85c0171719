package lab_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// spread is a cloud whose three VIPs share one name.
const spread = `
cloud: spread
vips:
  - {name: one, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 7, interval: 50ms, preempt: true}}
  - {name: two, addresses: [10.64.20.11/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 8, interval: 50ms, preempt: true}}
  - {name: three, addresses: [10.64.20.12/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 9, interval: 50ms, preempt: true}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services:
  keystone: {hosts: [{name: svc1, address: 10.64.20.23}, {name: svc2, address: 10.64.20.24}]}
  glance: {hosts: [{name: svc1, address: 10.64.20.23}, {name: svc2, address: 10.64.20.24}]}
`

// awaitSpread waits until each VIP is where want has it: "ctl1 ctl2 ctl3".
func (c *cloud) awaitSpread(want string) {
	c.Helper()
	c.await("the VIPs to be on "+want, func() error {
		var holders []string
		for _, v := range c.status().VIPs {
			holders = append(holders, strings.Join(v.Holders, "+"))
		}
		if got := strings.Join(holders, " "); got != want {
			return fmt.Errorf("they are on %s", got)
		}
		return nil
	})
}

// TestSpread has three VIPs on three controllers. While each has a download under way one
// controller is drained and comes back: its VIP goes to the next one of its own order, and
// comes back, and nothing is lost. When a host dies what it had goes on elsewhere, and the
// other two notice nothing.
func TestSpread(t *testing.T) {
	c := newCloud(t, "spread", spread)
	needCurl(t)
	c.awaitSpread("ctl1 ctl2 ctl3")
	c.await("holdfast to call the lab well", c.well)
	addresses := []string{"10.64.20.10", "10.64.20.11", "10.64.20.12"}

	// talk has a download and many requests through each address, for so many seconds.
	talk := func(seconds int, addresses []string, meanwhile func()) {
		t.Helper()
		download := `curl -sS -m 40 "http://%[1]s:5000/stream/300000?s=%[2]d" -o /dev/null -w '%%{http_code} %%{size_download} %%{errormsg}\n'`
		requests := `curl -sS -m 20 --rate 20/s "http://%[1]s:9292/?[1-%[3]d]" -o /dev/null -w '%%{errormsg}\n' | sort | uniq -c`
		results := make([][2]string, len(addresses))
		var running sync.WaitGroup
		for i, a := range addresses {
			running.Go(func() { results[i][0], _ = c.run("client", "bash", "-c", fmt.Sprintf(download, a, seconds)) })
			running.Go(func() {
				results[i][1], _ = c.run("client", "bash", "-c", fmt.Sprintf(requests, a, seconds, 20*seconds))
			})
		}
		time.Sleep(time.Second) // all have begun
		meanwhile()
		running.Wait()
		for i, a := range addresses {
			if got := strings.TrimSpace(results[i][0]); got != "200 300000" {
				t.Errorf("the download through %s: %q", a, got)
			}
			if got := strings.TrimSpace(results[i][1]); got != fmt.Sprint(20*seconds) {
				t.Errorf("the requests through %s: %q, want %d without an error", a, got, 20*seconds)
			}
		}
	}

	talk(10, addresses, func() {
		if out, code := c.run("ctl1", "holdfast", "drain", "ctl2"); code != 0 {
			t.Errorf("drain: exit code %d: %s", code, out)
		}
		c.awaitSpread("ctl1 ctl3 ctl3")
		if out, code := c.run("ctl1", "holdfast", "undrain", "ctl2"); code != 0 {
			t.Errorf("undrain: exit code %d: %s", code, out)
		}
		// By itself it asks for it a minute after it lost it; without --to it is the first of
		// the order that gets it.
		c.await("ctl2 to take it again", func() error {
			if out, code := c.run("ctl3", "holdfast", "handover", "--vip", "two"); code != 0 {
				return fmt.Errorf("exit code %d: %s", code, out)
			}
			return nil
		})
		c.awaitSpread("ctl1 ctl2 ctl3")
	})
	c.await("nothing to be left of the handovers", c.settled)

	talk(5, addresses[:2], func() {
		c.fault("power-off", "ctl3")
		c.awaitSpread("ctl1 ctl2 ctl1")
	})
	c.fault("back", "ctl3")
	c.await("a whole lab", c.whole)
	c.awaitSpread("ctl1 ctl2 ctl3")
	c.await("holdfast to call the lab well", c.well)
}
