package vip

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"
)

// detour gives the taker's rules, not installed.
func (l *lan) detour(o Options, name string) (*Detour, *syncBuffer) {
	l.t.Helper()
	var givers []netip.Addr
	l.in("giver", func() {
		var err error
		givers, err = GiverAddresses("eth0", netip.MustParseAddr("10.0.0.13"), o.Addresses)
		if err != nil {
			l.t.Fatal(err)
		}
	})
	var log syncBuffer
	d, err := NewDetour(DetourOptions{
		Name: name, Addresses: addressesOf(o), Givers: givers, Interface: "eth0",
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return d, &log
}

func (l *lan) install(d *Detour) {
	l.t.Helper()
	l.in("taker", func() {
		if err := d.Install(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	})
}

func (l *lan) forwarded(d *Detour) (n uint64) {
	l.t.Helper()
	l.in("taker", func() {
		var err error
		if n, err = d.Forwarded(context.Background()); err != nil {
			l.t.Error(err)
		}
	})
	return n
}

// handOver moves the VIP from the giver to the taker.
func (l *lan) handOver(a *Address, o Options, c *Copy, d *Detour) (taken *Address) {
	l.t.Helper()
	taken = l.address("taker", o)
	l.install(d)
	l.keep(c, time.Minute)
	l.claim("taker", taken)
	l.withdraw("giver", a)
	return taken
}

func TestHandoverKeepsConnections(t *testing.T) {
	for name, o := range map[string]Options{"direct": both(), "macvlan": macvlan()} {
		t.Run(name, func(t *testing.T) {
			l, a := giverOfBoth(t, o)
			c, _ := l.copyOf(o)
			d, log := l.detour(o, "api")
			var old []*session
			for _, v := range vips {
				s := l.dial("client", v)
				l.answered(s, "giver")
				old = append(old, s)
			}
			l.handOver(a, o, c, d)
			var young []*session
			for _, v := range vips {
				young = append(young, l.dial("client", v))
			}
			for range 3 {
				for i := range vips {
					l.answered(old[i], "giver")
					l.answered(young[i], "taker")
				}
			}
			if n := l.forwarded(d); n < 6 {
				t.Errorf("%d segments forwarded, want at least 6", n)
			}
			if log.String() != "" {
				t.Error(log.String())
			}
		})
	}
}
