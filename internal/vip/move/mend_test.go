package move

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast/internal/vip"
)

// mend has the giver put back what is missing, and fails the test unless it says so.
func (l *lan) mend(c *Copy, want string) {
	l.t.Helper()
	l.in("giver", func() {
		missing, err := c.Mend(l.t.Context(), time.Minute)
		if err != nil || want == "" && missing != "" || !strings.Contains(missing, want) {
			l.t.Errorf("put back %q, %v; want %q", missing, err, want)
		}
		if missing, err := c.Mend(l.t.Context(), time.Minute); err != nil || missing != "" {
			l.t.Errorf("and again %q, %v", missing, err)
		}
	})
}

// TestMendCopy removes from the giver, one after the other, what a copy needs: the
// connections go on once it is mended.
func TestMendCopy(t *testing.T) {
	o := vip.Options{Addresses: prefixes("10.0.0.10/24", "fd00::10/64", "172.16.0.10/24")}
	l, a := giverOfBoth(t, o)
	l.in("client", func() { l.run("ip address add 172.16.0.1/24 dev eth0") })
	open := map[string]*session{}
	for _, address := range []string{"10.0.0.10", "fd00::10", "172.16.0.10"} {
		open[address] = l.dial("client", address)
	}
	c, _ := l.copyOf(o)
	d, _ := l.detour(o, "api", "giver")
	l.handOver("giver", a, c, "taker", l.address("taker", o), d)
	l.mend(c, "")
	for _, tt := range []struct{ command, want string }{
		{"ip address del 10.0.0.10/32 dev lo", "10.0.0.10 on lo"},
		{"ip address del fd00::10/128 dev lo", "fd00::10 on lo"},
		{"ip route del local 10.0.0.10 dev lo table local", "the local route to 10.0.0.10"},
		{"ip -6 route del local fd00::10 dev lo table local", "the local route to fd00::10"},
		{"ip route del 172.16.0.0/24 dev eth0", "the route to 172.16.0.0/24 on eth0"},
		{"ip address flush dev lo scope host", "10.0.0.10 on lo, 172.16.0.10 on lo"},
	} {
		l.in("giver", func() { l.run(tt.command) })
		l.mend(c, tt.want)
		for _, s := range open {
			l.answered(s, "giver")
		}
	}
	l.remove("taker", d)
	l.end(c)
}

// TestWholeDetour flushes all rules of the taker, or some of them: it is seen.
func TestWholeDetour(t *testing.T) {
	o := both()
	l, a := giverOfBoth(t, o)
	c, _ := l.copyOf(o)
	d, _ := l.detour(o, "api", "giver")
	s := l.dial("client", "10.0.0.10")
	l.handOver("giver", a, c, "taker", l.address("taker", o), d)
	ctx, cancel := context.WithCancel(t.Context())
	changed, watched := make(chan struct{}, 100), make(chan error, 1)
	go func() { watched <- l.watchIn(ctx, "taker", changed) }()
	<-changed // it watches
	for _, command := range []string{
		"nft flush ruleset", "nft flush table ip holdfast-detour-api", "nft flush chain ip6 holdfast-detour-api prerouting",
		"nft delete table ip6 holdfast-detour-api",
	} {
		l.in("taker", func() {
			if err := d.Whole(t.Context()); err != nil {
				t.Errorf("before %s: %v", command, err)
			}
			for len(changed) > 0 {
				<-changed
			}
			l.run(command)
			if err := d.Whole(t.Context()); !errors.Is(err, ErrNoDetour) {
				t.Errorf("after %s: %v", command, err)
			}
			<-changed
			if err := d.Install(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		l.answered(s, "giver")
	}
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	l.remove("taker", d)
	l.end(c)
}

// watchIn watches the rules of a host, on a thread of its own.
func (l *lan) watchIn(ctx context.Context, host string, changed chan<- struct{}) error {
	return l.hosts[host].Do(func() error {
		return WatchRules(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	})
}
