package link

import (
	"os"
	"strings"
	"testing"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/vrrp"
)

// keepalived24 gives a keepalived that has auth_hmac, which no distribution has yet:
// scripts/keepalived-hmac.sh builds one and runs these tests.
func keepalived24(t *testing.T) string {
	t.Helper()
	path := os.Getenv("HOLDFAST_KEEPALIVED")
	if path == "" {
		t.Skip("HOLDFAST_KEEPALIVED names no keepalived of version 2.4.2 or later")
	}
	return path
}

// authBlock gives the lines of keepalived's block for the keys of a file.
func authBlock(keys, mode string) string {
	return strings.ReplaceAll(strings.TrimSpace(keys), "\n", "\n        ") + "\n        active_key " + strings.Fields(keys)[1] + "\n        mode " + mode
}

// TestHMACFromKeepalived has a real keepalived 2.4 hold the address, and sign.
func TestHMACFromKeepalived(t *testing.T) {
	path := keepalived24(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		k := theirs.keepalivedAt(t, path, authBlock(oneKey, "enforce"), m, 254, ours)
		await(t, "keepalived to have the address", func() bool { return theirs.has(m.virtual()) })
		o := m.options(ours, ours, theirs)
		o.Checksum, o.Keys = vrrp.PseudoHeader, auth.Policy{Keys: keysOf(t, oneKey+newKey), Mode: auth.Strict}
		a := ours.loop(o)
		a.hears(20)
		if s := a.Stats(); s.State != vrrp.Backup || len(s.Rejected) != 0 {
			t.Errorf("beside keepalived: %+v", s)
		}
		o.Keys = auth.Policy{Keys: keysOf(t, otherKey), Mode: auth.Permissive}
		if err := a.Configure(o); err != nil {
			t.Fatal(err)
		}
		await(t, "its adverts to be dropped", func() bool { return a.Stats().Rejected["signature"] > 0 })
		o.Keys = auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Strict}
		if err := a.Configure(o); err != nil {
			t.Fatal(err)
		}
		a.hears(20)
		k.stop()
		a.await(vrrp.Active)
		if got := a.Stats().Reason; !strings.HasSuffix(got, "resigned") && !strings.Contains(got, "was heard for") {
			t.Errorf("active because %q", got)
		}
	})
}

// TestHMACToKeepalived has a real keepalived 2.4 that takes only what is signed stay Backup
// while a loop is Active, and take over when that ends.
func TestHMACToKeepalived(t *testing.T) {
	path := keepalived24(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		o := m.options(ours, ours, theirs)
		o.Checksum, o.Keys = vrrp.PseudoHeader, auth.Policy{Keys: keysOf(t, newKey), Mode: auth.Strict}
		a := ours.loop(o)
		a.await(vrrp.Active)
		k := theirs.keepalivedAt(t, path, authBlock(newKey, "enforce"), m, 100, ours)
		await(t, "keepalived to start", func() bool { return strings.Contains(k.said(), "Entering BACKUP STATE") })
		sent := a.Stats().AdvertsSent
		await(t, "thirty more adverts", func() bool { return a.Stats().AdvertsSent > sent+30 })
		if theirs.has(m.virtual()) || a.Stats().State != vrrp.Active || strings.Contains(k.said(), "authentication") {
			t.Errorf("keepalived took the address from an active loop, or complains: %+v\n%s", a.Stats(), k.said())
		}
		misses := held(t, m, ours, theirs)
		if err := a.Yield(t.Context(), m.addr(theirs), YieldOptions{}); err != nil {
			t.Fatalf("%v; keepalived says:\n%s", err, k.said())
		}
		a.hears(20)
		if n := misses(); n > 0 || !theirs.has(m.virtual()) || ours.has(m.virtual()) {
			t.Errorf("handed over with %d moments without the address", n)
		}
		a.stop()
		if s := a.Stats(); len(s.Rejected) != 0 {
			t.Errorf("keepalived's adverts: %+v", s)
		}
	})
}

// TestKeepalivedWantsHMAC shows that keepalived drops what this would: the same step of a
// roll-out on both, or two that are next to each other, and no other.
func TestKeepalivedWantsHMAC(t *testing.T) {
	path := keepalived24(t)
	m := modes[0]
	for name, test := range map[string]struct {
		ours   auth.Policy
		theirs string
		both   bool // hold the address
	}{
		"receive-only beside none":       {auth.Policy{Keys: keysOf(t, oneKey)}, "", false},
		"none beside receive-only":       {auth.Policy{}, authBlock(oneKey, "receive-only"), false},
		"permissive beside receive-only": {auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Permissive}, authBlock(oneKey, "receive-only"), false},
		"strict beside permissive":       {auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Strict}, authBlock(oneKey, "permissive"), false},
		"permissive beside enforce":      {auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Permissive}, authBlock(oneKey, "enforce"), false},
		"permissive beside none":         {auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Permissive}, "", true},
		"receive-only beside enforce":    {auth.Policy{Keys: keysOf(t, oneKey)}, authBlock(oneKey, "enforce"), true},
		"another key":                    {auth.Policy{Keys: keysOf(t, otherKey), Mode: auth.Permissive}, authBlock(oneKey, "permissive"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t)
			ours, theirs := l.plug(), l.plug()
			o := m.options(ours, ours, theirs)
			o.Checksum, o.Keys = vrrp.PseudoHeader, test.ours
			a := ours.loop(o)
			a.await(vrrp.Active)
			k := theirs.keepalivedAt(t, path, test.theirs, m, 100, ours)
			await(t, "keepalived to start", func() bool { return strings.Contains(k.said(), "Entering BACKUP STATE") })
			if test.both {
				await(t, "keepalived to take the address too", func() bool { return theirs.has(m.virtual()) })
				return
			}
			for sent := a.Stats().AdvertsSent; a.Stats().AdvertsSent < sent+30; {
				time.Sleep(10 * time.Millisecond)
			}
			if theirs.has(m.virtual()) {
				t.Errorf("keepalived took the address: %s", k.said())
			}
		})
	}
}
