package vrrp_test

import (
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/vrrp"
)

// A driver tells a machine the time and what happened, and does what each Output asks
// for. Here the clock is a variable, and nobody else is on the network.
func ExampleMachine_Step() {
	begin := time.Now()
	now := begin
	m := vrrp.NewMachine(vrrp.Config{Priority: 200, Interval: 100 * time.Millisecond, Source: netip.MustParseAddr("10.64.20.13")})
	step := func(e vrrp.Event) {
		out := m.Step(now, e)
		fmt.Printf("%-6s %T: %s, send %v, claim %v, release %v\n", now.Sub(begin).Round(time.Millisecond), e, out.State, out.Send, out.Claim, out.Release)
		now = out.Deadline
	}
	step(vrrp.Startup{})
	step(vrrp.Timer{}) // nobody was heard
	step(vrrp.Timer{}) // time for the next advert
	step(vrrp.Eligible{Reason: "haproxy died"})
	// Output:
	// 0s     vrrp.Startup: backup, send [], claim false, release false
	// 322ms  vrrp.Timer: active, send [200], claim true, release false
	// 422ms  vrrp.Timer: active, send [200], claim false, release false
	// 522ms  vrrp.Eligible: initialize, send [0], claim false, release true
}

// An advert as it goes over the network, and back.
func ExampleAdvert() {
	src, dst := netip.MustParseAddr("10.64.20.13"), netip.MustParseAddr("10.64.20.14")
	sent := vrrp.Advert{VRID: 51, Priority: 200, Interval: 100 * time.Millisecond, Addresses: []netip.Addr{netip.MustParseAddr("10.64.20.10")}}
	b, err := sent.Append(nil, vrrp.MessageOnly, src, dst)
	fmt.Printf("%x %v\n", b, err)

	var heard vrrp.Advert
	form, err := heard.Unmarshal(b, src, dst)
	fmt.Println(heard.VRID, heard.Priority, heard.Interval, heard.Addresses, form, err)

	b[2]++ // somebody writes another priority
	_, err = heard.Unmarshal(b, src, dst)
	fmt.Println(err)
	// Output:
	// 3133c801000ae8760a40140a <nil>
	// 51 200 100ms [10.64.20.10] rfc <nil>
	// its checksum is wrong
}
