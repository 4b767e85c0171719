package auth

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"
)

// The vectors of draft-cassen-vrrp-auth-hmac, which keepalived's test/auth_hmac_test.c
// has too: router id 51, priority 200, interval 1 s, the key of 00 to 1f with the id 1,
// sequence 68000000 8000 0000.
var vectors = []struct {
	name, src        string
	message, trailer string
}{
	{
		"IPv4", "198.51.100.10", "3133c80100644402c0000264",
		"0101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265",
	},
	{
		"IPv6", "fe80::10", "3133c8010064a2e9fe800000000000000000000000000100",
		"010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78",
	},
}

var (
	router      = Router{Version: 3, VRID: 51}
	vectorClock = time.Unix(0x68000000, 5e8)
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	keys := mustParse(t, "hex:"+digits)
	for _, v := range vectors {
		src, message, trailer := netip.MustParseAddr(v.src), unhex(t, v.message), unhex(t, v.trailer)
		s := NewSigner(keys, router, 0, 0)
		s.Next(vectorClock)
		if got := s.Append(nil, message, src); !bytes.Equal(got, trailer) {
			t.Errorf("%s: signed %x, want %x", v.name, got, trailer)
		}
		for _, fresh := range []Freshness{0, 5} {
			if got := NewReceiver(keys, router, fresh, nil).Check(vectorClock, src, message, trailer); got != Proven {
				t.Errorf("%s: %v", v.name, got)
			}
		}
		for _, test := range []struct {
			name string
			at   int
			want Verdict
		}{
			{"priority", 2, Forged},
			{"interval", 5, Forged},
			{"checksum", 6, Proven}, // the kernel of the sender may write it
			{"address", len(message) - 1, Forged},
			{"type of trailer", len(message), Malformed},
			{"key", len(message) + 1, UnknownKey},
			{"zero", len(message) + 2, Malformed},
			{"seconds", len(message) + 4, Forged},
			{"counter", len(message) + 11, Forged},
			{"hmac", len(message) + TrailerLen - 1, Forged},
		} {
			packet := append(bytes.Clone(message), trailer...)
			packet[test.at] ^= 1
			if got := NewReceiver(keys, router, 0, nil).Check(vectorClock, src, packet[:len(message)], packet[len(message):]); got != test.want {
				t.Errorf("%s with another %s: %v, want %v", v.name, test.name, got, test.want)
			}
		}
		for name, got := range map[string]Verdict{
			"from elsewhere":      NewReceiver(keys, router, 0, nil).Check(vectorClock, src.Next(), message, trailer),
			"of another router":   NewReceiver(keys, Router{3, 52}, 0, nil).Check(vectorClock, src, message, trailer),
			"of another version":  NewReceiver(keys, Router{2, 51}, 0, nil).Check(vectorClock, src, message, trailer),
			"by another key":      NewReceiver(mustParse(t, "hex:"+digits[2:]+"20"), router, 0, nil).Check(vectorClock, src, message, trailer),
			"with a longer key":   NewReceiver(mustParse(t, "hex:"+digits+"20"), router, 0, nil).Check(vectorClock, src, message, trailer),
			"with half a trailer": NewReceiver(keys, router, 0, nil).Check(vectorClock, src, message, trailer[:14]) + Forged - Malformed,
			"with half a message": NewReceiver(keys, router, 0, nil).Check(vectorClock, src, message[:4], trailer) + Forged - Malformed,
		} {
			if got != Forged {
				t.Errorf("%s %s: %v", v.name, name, got)
			}
		}
	}
}

// TestReplay has a receiver hear, and hear again, what one of two senders signs.
func TestReplay(t *testing.T) {
	keys := mustParse(t, "hex:"+digits)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	message := unhex(t, vectors[0].message)
	s := NewSigner(keys, router, 0, 0)
	sign := func(at time.Time, src netip.Addr) []byte {
		s.Next(at)
		return s.Append(nil, message, src)
	}
	r := NewReceiver(keys, router, 0, nil)
	now := vectorClock
	first, second := sign(now, a), sign(now.Add(time.Second), a)
	back := sign(now.Add(-time.Hour), a) // the clock was set back: the sequence grows all the same
	steps := []struct {
		what    string
		src     netip.Addr
		trailer []byte
		want    Verdict
	}{
		{"the first", a, first, Proven},
		{"it again", a, first, Replayed},
		{"the second", a, second, Proven},
		{"the first again", a, first, Replayed},
		{"after the clock was set back", a, back, Proven},
		{"the second again", a, second, Replayed},
		{"of another sender", b, sign(now, b), Proven},
		{"forged", b, append(bytes.Clone(first[:TrailerLen-1]), 0), Forged},
	}
	for _, step := range steps {
		if got := r.Check(now, step.src, message, step.trailer); got != step.want {
			t.Errorf("%s: %v, want %v", step.what, got, step.want)
		}
	}
	// A reload has other keys, and knows what was heard.
	r = NewReceiver(mustParse(t, "key 1 hex:"+digits+"\nkey 2 hex:"+digits), router, 0, r)
	if got := r.Check(now, a, message, second); got != Replayed {
		t.Errorf("after a reload: %v", got)
	}
	// A sender that has begun anew with its clock set back, and says so when asked.
	was := r.Latest(a)
	s = NewSigner(keys, router, 0, 0)
	anew := sign(now.Add(-2*time.Hour), a)
	if got := r.Check(now, a, message, anew); got != Replayed {
		t.Errorf("it began anew: %v", got)
	}
	r.Told(a, was, s.Last())
	if got := r.Check(now, a, message, anew); got != Replayed {
		t.Errorf("what it had sent before it was asked: %v", got)
	}
	if got := r.Check(now, a, message, sign(now.Add(-2*time.Hour), a)); got != Proven {
		t.Errorf("what it has sent since: %v", got)
	}
	// An answer that comes late takes nothing back.
	latest := r.Latest(a)
	r.Told(a, latest-1, latest-1)
	r.Told(a, 0, 0)
	if r.Latest(a) != latest {
		t.Error("what is known of a sender went back")
	}
}

// TestRecorded has a controller begin that has heard nobody: what was recorded before
// counts until the sender has said where it is, and not after.
func TestRecorded(t *testing.T) {
	keys := mustParse(t, "hex:"+digits)
	src, message := netip.MustParseAddr("192.0.2.1"), unhex(t, vectors[0].message)
	s := NewSigner(keys, router, 0, 0)
	s.Next(vectorClock)
	recorded := s.Append(nil, message, src)
	s.Next(vectorClock.Add(time.Hour))
	r := NewReceiver(keys, router, 0, nil)
	r.Told(src, 0, s.Last())
	if got := r.Check(vectorClock, src, message, recorded); got != Replayed {
		t.Errorf("what was recorded an hour ago: %v", got)
	}
}

// TestFreshness has clocks that differ, as keepalived's anti_replay time has it.
func TestFreshness(t *testing.T) {
	keys := mustParse(t, "hex:"+digits)
	src, message := netip.MustParseAddr("192.0.2.1"), unhex(t, vectors[0].message)
	const fresh = 5
	for ahead, want := range map[time.Duration]Verdict{
		0: Proven, 5 * time.Second: Proven, -5 * time.Second: Proven,
		7 * time.Second: Stale, -7 * time.Second: Stale, -100 * time.Hour: Stale,
	} {
		s := NewSigner(keys, router, fresh, 0)
		s.Next(vectorClock.Add(ahead))
		trailer := s.Append(nil, message, src)
		if got := NewReceiver(keys, router, fresh, nil).Check(vectorClock, src, message, trailer); got != want {
			t.Errorf("%v ahead: %v, want %v", ahead, got, want)
		}
		if got := NewReceiver(keys, router, 0, nil).Check(vectorClock, src, message, trailer); got != Proven {
			t.Errorf("%v ahead, where clocks do not count: %v", ahead, got)
		}
	}
	// One clock is set back on the sender, and then on both: it starts anew, and the
	// receiver forgets what is now in its future.
	s, r := NewSigner(keys, router, fresh, 0), NewReceiver(keys, router, fresh, nil)
	for _, step := range []struct {
		sender, receiver time.Duration
		want             Verdict
	}{
		{0, 0, Proven},
		{-3 * time.Second, 0, Proven}, // within what is taken: the sequence goes on
		{-time.Hour, 0, Stale},
		{-time.Hour, -time.Hour, Proven},
		{-time.Hour + time.Second, -time.Hour, Proven},
	} {
		s.Next(vectorClock.Add(step.sender))
		if got := r.Check(vectorClock.Add(step.receiver), src, message, s.Append(nil, message, src)); got != step.want {
			t.Errorf("%v, %v: %v, want %v", step.sender, step.receiver, got, step.want)
		}
	}
	for interval, want := range map[time.Duration]Freshness{10 * time.Millisecond: 5, time.Second: 5, 2 * time.Second: 6, 40950 * time.Millisecond: 120} {
		if got := FreshnessOf(interval); got != want {
			t.Errorf("%v: %d s, want %d", interval, got, want)
		}
	}
}

// TestManySenders proves that what is remembered is bounded, and forgets the oldest.
func TestManySenders(t *testing.T) {
	keys := mustParse(t, "hex:"+digits)
	message := unhex(t, vectors[1].message)
	s, r := NewSigner(keys, router, 0, 0), NewReceiver(keys, router, 0, nil)
	first := netip.MustParseAddr("fe80::1")
	for i, src := 0, first; i < 3*maxSenders; i, src = i+1, src.Next() {
		s.Next(vectorClock)
		if got := r.Check(vectorClock, src, message, s.Append(nil, message, src)); got != Proven {
			t.Fatalf("%v: %v", src, got)
		}
		s.Next(vectorClock)
		r.Check(vectorClock, first, message, s.Append(nil, message, first)) // who goes on sending
	}
	if len(r.senders) != maxSenders || r.Latest(first) != s.Last() {
		t.Errorf("%d senders; the one that goes on is at %d of %d", len(r.senders), r.Latest(first), s.Last())
	}
}

// TestSequenceWraps has a sequence at its end, as in the year 2106.
func TestSequenceWraps(t *testing.T) {
	last := Sequence(1<<64 - 1)
	if !Sequence(0).After(last) || last.After(0) {
		t.Error("0 does not follow the last one")
	}
	if a, b := AtClock(time.Unix(1<<32-1, 0)), AtClock(time.Unix(1<<32, 0)); !b.After(a) || !Freshness(5).allows(time.Unix(1<<32, 0), a) {
		t.Errorf("%x does not follow %x", b, a)
	}
}

// FuzzCheck proves that only what was signed is proven.
func FuzzCheck(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.message), unhex(f, v.trailer))
	}
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, message, trailer []byte) {
		keys := mustParse(t, "hex:"+digits)
		for _, v := range vectors {
			got := NewReceiver(keys, router, 0, nil).Check(vectorClock, netip.MustParseAddr(v.src), message, trailer)
			same := bytes.Equal(trailer, unhex(t, v.trailer)) && len(message) >= minMessage
			if want := unhex(t, v.message); same {
				m := bytes.Clone(message)
				copy(m[checksumAt:checksumEnd], want[checksumAt:])
				same = bytes.Equal(m, want)
			}
			if (got == Proven) != same {
				t.Errorf("%v: %x %x", got, message, trailer)
			}
		}
	})
}

// BenchmarkTrailer is what a key adds to one advert for its sender, and for each receiver.
func BenchmarkTrailer(b *testing.B) {
	keys := mustParse(b, "hex:"+digits)
	src, message := netip.MustParseAddr(vectors[0].src), unhex(b, vectors[0].message)
	now := vectorClock
	b.Run("sign", func(b *testing.B) {
		s, buf := NewSigner(keys, router, 0, 0), make([]byte, 0, 64)
		b.ReportAllocs()
		for b.Loop() {
			s.Next(now)
			buf = s.Append(buf[:0], message, src)
		}
	})
	b.Run("check", func(b *testing.B) {
		s, r := NewSigner(keys, router, 0, 0), NewReceiver(keys, router, 0, nil)
		buf := make([]byte, 0, 64)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			s.Next(now)
			buf = s.Append(buf[:0], message, src)
			b.StartTimer()
			if r.Check(now, src, message, buf) != Proven {
				b.Fatal("not proven")
			}
		}
	})
	b.Run("refuse", func(b *testing.B) {
		r, trailer := NewReceiver(keys, router, 0, nil), unhex(b, vectors[1].trailer)
		b.ReportAllocs()
		for b.Loop() {
			if r.Check(now, src, message, trailer) != Forged {
				b.Fatal("not refused")
			}
		}
	})
}
