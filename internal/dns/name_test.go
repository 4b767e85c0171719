package dns

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewer(t *testing.T) {
	n := func(v uint32) *uint32 { return &v }
	for _, c := range []struct {
		a, b *uint32
		want bool
	}{{n(2), n(1), true}, {n(1), n(2), false}, {n(1), n(1), false}, {n(3), n(4294967295), true}, {n(4294967295), n(3), false}, {n(1), nil, true}, {nil, n(1), false}, {nil, nil, false}} {
		if got := newer(c.a, c.b); got != c.want {
			t.Errorf("newer(%v, %v) = %v", c.a, c.b, got)
		}
	}
}

func TestNames(t *testing.T) {
	if got := Canonical("API.Example.ORG."); got != "api.example.org" {
		t.Errorf("canonical: %q", got)
	}
	if got := Canonical("."); got != "" {
		t.Errorf("canonical root: %q", got)
	}
	var up []string
	for n := "a.b.org"; n != ""; n = Parent(n) {
		up = append(up, n)
	}
	if diff := cmp.Diff([]string{"a.b.org", "b.org", "org"}, up); diff != "" {
		t.Error(diff)
	}
	if !IsBelow("a.b.org", "b.org") || !IsBelow("b.org", "b.org") || IsBelow("ab.org", "b.org") || !IsBelow("a", "") {
		t.Error("isBelow is wrong")
	}
}
