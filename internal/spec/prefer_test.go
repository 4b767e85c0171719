package spec_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/internal/spec"

	"github.com/google/go-cmp/cmp"
)

// preferSpec is a spec of so many VIPs on so many controllers; extra is of the first VIP.
func preferSpec(vips, controllers int, extra string) string {
	var b strings.Builder
	b.WriteString("vips:\n")
	for i := range vips {
		fmt.Fprintf(&b, "  - {name: v%d, addresses: [10.64.20.%d/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: %d}%s}\n", i, 100+i, i+1, extra)
		extra = ""
	}
	b.WriteString("controllers:\n")
	for i := range controllers {
		fmt.Fprintf(&b, "  - {name: c%d, address: 10.64.20.%d}\n", i+1, i+1)
	}
	return b.String() + "services: {glance: {}}\n"
}

// TestPrefer holds the order of each VIP: another first one for each, and in the next
// round the others turned, unless the file says who.
func TestPrefer(t *testing.T) {
	for _, tt := range []struct {
		name              string
		vips, controllers int
		extra             string
		want              []string
	}{
		{"one", 1, 3, "", []string{"c1 c2 c3"}},
		{"as many as controllers", 3, 3, "", []string{"c1 c2 c3", "c2 c3 c1", "c3 c1 c2"}},
		{"twice as many", 6, 3, "", []string{"c1 c2 c3", "c2 c3 c1", "c3 c1 c2", "c1 c3 c2", "c2 c1 c3", "c3 c2 c1"}},
		{"one controller", 2, 1, "", []string{"c1", "c1"}},
		{"two controllers", 3, 2, "", []string{"c1 c2", "c2 c1", "c1 c2"}},
		{"by name", 2, 3, ", prefer: [c3]", []string{"c3 c1 c2", "c2 c3 c1"}},
		{"all by name", 1, 3, ", prefer: [c2, c3, c1]", []string{"c2 c3 c1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustParse(t, preferSpec(tt.vips, tt.controllers, tt.extra))
			var got []string
			for _, v := range s.VIPs {
				got = append(got, strings.Join(v.Prefer, " "))
				for i, name := range v.Prefer {
					if p := s.Priority(v, name); p != 254-24*i {
						t.Errorf("%s has priority %d for %s, the place %d", name, p, v.Name, i)
					}
				}
				if first := s.Prefers(v, s.Controllers)[0].Name; first != v.Prefer[0] {
					t.Errorf("%s is to have %s, not %s", v.Prefer[0], v.Name, first)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPreferFallsEvenly: whichever controller is lost, the others get as many of its VIPs,
// and then each has as many.
func TestPreferFallsEvenly(t *testing.T) {
	s := mustParse(t, preferSpec(6, 3, ""))
	for _, lost := range s.ControllerNames() {
		held := map[string]int{}
		for _, v := range s.VIPs {
			order := s.Prefers(v, s.Others(lost))
			held[order[0].Name]++
		}
		for name, n := range held {
			if n != 3 {
				t.Errorf("without %s, %s has %d of 6", lost, name, n)
			}
		}
	}
}

// TestPriorityOfMany: with very many controllers the steps are smaller, never 0 or over 254.
func TestPriorityOfMany(t *testing.T) {
	s := mustParse(t, preferSpec(2, 60, ""))
	v := s.VIPs[1]
	for i, name := range v.Prefer {
		if p := s.Priority(v, name); p != 254-4*i || p < 1 {
			t.Errorf("%s, in place %d, has priority %d", name, i, p)
		}
	}
	if p := s.Priority(v, "nobody"); p != 0 {
		t.Errorf("who is no controller has priority %d", p)
	}
	if p := (&spec.Spec{Controllers: s.Controllers}).Priority(spec.VIP{}, "c1"); p != 254 {
		t.Errorf("the first of a VIP without an order has priority %d", p)
	}
}
