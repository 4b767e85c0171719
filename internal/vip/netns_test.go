package vip

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"holdfast/internal/netnstest"
)

// A world is a cable, of which the test is at the controller's end.
type world struct{ *netnstest.Cable }

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{netnstest.NewCable(t)}
}

// withOwn gives the controller its own addresses, 10.0.0.13 and fd00::13.
func (w *world) withOwn() *world {
	w.Run("ip address add 10.0.0.13/24 dev eth0")
	w.Run("ip address add fd00::13/64 dev eth0 nodad")
	return w
}

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// address gives an Address on eth0 and what it logs.
func (w *world) address(o Options) (*Address, *netnstest.Log) {
	w.T.Helper()
	var log netnstest.Log
	o.Name = "api"
	if o.Interface == "" {
		o.Interface = "eth0"
	}
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	a, err := New(o)
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() {
		if err := a.Close(); err != nil {
			w.T.Error(err)
		}
	})
	return a, &log
}

func (w *world) claim(a *Address) {
	w.T.Helper()
	if err := a.Claim(context.Background()); err != nil {
		w.T.Fatal(err)
	}
}

// present fails the test unless Present says want.
func (w *world) present(a *Address, want bool) {
	w.T.Helper()
	if got, err := a.Present(); err != nil || got != want {
		w.T.Fatalf("Present() = %v, %v; want %v", got, err, want)
	}
}
