package watch_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"holdfast/internal/conflict/watch"
	"holdfast/internal/vrrp"
)

// TestOnce has a machine find who has an address, of either family, and which router
// advertises, by multicast, and nobody else.
func TestOnce(t *testing.T) {
	l := newLAN(t)
	here, there := l.plug(), l.plug()
	nobody4, nobody6 := netip.MustParseAddr("10.77.0.99"), netip.MustParseAddr("fd77::99")
	stop := make(chan struct{})
	sent := make(chan error, 1)
	go func() {
		sent <- there.Do(func() error {
			conn, err := net.ListenPacket("ip4:112", there.four().String())
			if err != nil {
				return err
			}
			defer conn.Close()
			advert := vrrp.Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr("10.77.0.50")}}
			data, err := advert.Append(nil, vrrp.MessageOnly, there.four(), vrrp.Group4())
			if err != nil {
				return err
			}
			for {
				select {
				case <-stop:
					return nil
				case <-time.After(20 * time.Millisecond):
				}
				if _, err := conn.WriteTo(data, &net.IPAddr{IP: vrrp.Group4().AsSlice()}); err != nil {
					return err
				}
			}
		})
	}()
	var heard watch.Heard
	err := here.Do(func() (err error) {
		heard, err = watch.Once(t.Context(), "eth0", []netip.Addr{there.four(), there.six(), nobody4, nobody6}, time.Second)
		return err
	})
	close(stop)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	who := map[netip.Addr]string{}
	for _, c := range heard.Claims {
		who[c.Address] = c.MAC.String()
	}
	for _, a := range []netip.Addr{there.four(), there.six()} {
		if who[a] != there.mac() {
			t.Errorf("%v is said to be at %q, and is at %s", a, who[a], there.mac())
		}
	}
	if who[nobody4] != "" || who[nobody6] != "" {
		t.Errorf("somebody has what nobody has: %v", who)
	}
	if len(heard.Adverts) != 1 || heard.Adverts[0].RouterID != 51 || heard.Adverts[0].Source != there.four() {
		t.Errorf("heard %+v, want one router", heard.Adverts)
	}
}
