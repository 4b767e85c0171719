package vip

import (
	"testing"
	"time"
)

// The connections that the giver has go on without the address on its
// interface, whatever the VIP's device was: the replies leave by the interface.
func TestCopyKeepsConnections(t *testing.T) {
	for name, o := range map[string]Options{"direct": both(), "macvlan": macvlan()} {
		t.Run(name, func(t *testing.T) {
			l, a := giverOfBoth(t, o)
			c, _ := l.copyOf(o)
			var open []*session
			for _, v := range vips {
				s := l.dial("client", v)
				l.answered(s, "giver")
				open = append(open, s)
			}
			l.keep(c, time.Minute)
			l.withdraw("giver", a)
			l.connections(c, 2, 0)
			// What a taker's rule would do: it comes to the giver's MAC address.
			l.in("client", func() {
				mac := l.giverMAC()
				for _, v := range vips {
					l.run("ip neigh replace " + v + " lladdr " + mac + " dev eth0")
				}
			})
			for _, s := range open {
				l.answered(s, "giver")
			}
		})
	}
}

func (l *lan) giverMAC() (mac string) {
	l.in("giver", func() {
		w := &world{t: l.t}
		mac = w.mac("eth0").String()
	})
	return mac
}

func TestEndLeadsLocalConnectionsAway(t *testing.T) {
	l, a := giverOfBoth(t, both())
	c, log := l.copyOf(both())
	var open []*session
	for _, v := range vips {
		s := l.dial("giver", v)
		l.answered(s, "giver")
		open = append(open, s)
	}
	l.keep(c, time.Minute)
	l.claim("taker", l.address("taker", both()))
	l.withdraw("giver", a)
	l.connections(c, 0, 2)
	for _, s := range open {
		l.answered(s, "giver")
	}
	if cut := l.end(c); cut == 0 {
		t.Error("no connection was cut")
	}
	for _, s := range open {
		if who, err := s.ask(); err == nil {
			t.Errorf("%s answers still", who)
		}
	}
	for _, v := range vips {
		l.answered(l.dial("giver", v), "taker")
	}
	if log.String() != "" {
		t.Error(log.String())
	}
}
