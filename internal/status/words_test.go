package status

import (
	"strings"
	"testing"
	"time"
)

func TestBrief(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": -time.Second, "0.4ms": 400 * time.Microsecond, "41ms": 41900 * time.Microsecond, "1.2s": 1240 * time.Millisecond,
		"41s": 41 * time.Second, "39m": 39*time.Minute + 59*time.Second, "2h5m": 125 * time.Minute, "3d4h": 76 * time.Hour,
	} {
		if got := Brief(d); got != want {
			t.Errorf("Brief(%d) is %s, want %s", d, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 42, 7, 0, time.UTC)
	for want, since := range map[string]time.Time{
		"": {}, "0s": now.Add(time.Hour), "3s": now.Add(-3900 * time.Millisecond), "12s": now.Add(-12 * time.Second), "1h0m": now.Add(-time.Hour),
	} {
		if got := Age(now, since); got != want {
			t.Errorf("Age(now, %s) is %s, want %s", since, got, want)
		}
	}
}

func TestAndOthers(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a", "a b": "a and b", "a b c": "a, b and c",
		"a b c d e f g": "a, b, c, d, e, f and g", "a b c d e f g h": "a, b, c, d, e, f and others",
	} {
		if got := AndOthers(strings.Fields(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
