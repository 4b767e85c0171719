package status

import (
	"testing"
	"time"
)

func TestCostWords(t *testing.T) {
	at := time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC)
	one := Cost{From: at.Add(time.Second), To: at.Add(2 * time.Second), Requests: 500, Failed: 2, Cut: 1, Gap: 62 * time.Millisecond}
	other := Cost{From: at, To: at.Add(3 * time.Second), Requests: 300, Retried: 7, Gap: 30 * time.Millisecond}
	sum := Cost{}.Add(one).Add(other)
	if !sum.From.Equal(at) || !sum.To.Equal(at.Add(3*time.Second)) {
		t.Errorf("it is from %v to %v", sum.From, sum.To)
	}
	for want, c := range map[string]Cost{
		"2 of 800 requests failed, 1 of them cut off, 7 retried, longest gap 62ms": sum,
		"no request failed of 300, 7 retried, longest gap 30ms":                    other,
		"no request failed of 0": {},
	} {
		if got := c.Words(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
