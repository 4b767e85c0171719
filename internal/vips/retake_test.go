package vips

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/spec"
)

// What "holdfast diff" says of VIPs is what a reload does to them.
func TestVIPsAreKeptAsDiffSays(t *testing.T) {
	parse := func(text string) *spec.Spec {
		s, findings := spec.Parse("test", []byte(text))
		if s == nil {
			t.Fatal(findings)
		}
		return s
	}
	for name, tt := range map[string]struct {
		old, new string
		kept     bool
	}{
		"nothing":            {"", "", true},
		"interval":           {"interval: 20ms", "interval: 50ms", true},
		"preempt":            {"interval: 20ms", "preempt: true", true},
		"checksum":           {"interval: 20ms", "checksum: keepalived", true},
		"hostname":           {"hostname: api", "hostname: other", true},
		"endpoints":          {"interface: eno1", "interface: eno1\n    endpoints: [public]", true},
		"another controller": {"services:", "  - {name: ctl3, address: 192.0.2.3}\nservices:", true},
		"less preferred":     {"controllers:\n", "controllers:\n  - {name: ctl0, address: 192.0.2.9}\n", true},
		"router id":          {"router_id: 7", "router_id: 8", false},
		"multicast":          {"interval: 20ms", "peers: multicast", false},
		"address":            {"192.0.2.10/24", "192.0.2.11/24", false},
		"prefix":             {"192.0.2.10/24", "192.0.2.10/25", false},
		"one more address":   {"192.0.2.10/24", "192.0.2.10/24, 192.0.2.11/24", false},
		"interface":          {"interface: eno1", "interface: eno2", false},
		"own interface":      {"address: 192.0.2.1}", "address: 192.0.2.1, interface: eno2}", false},
		"its own address":    {"address: 192.0.2.1}", "address: 192.0.2.5}", false},
		"another's":          {"address: 192.0.2.2}", "address: 192.0.2.6, interface: eno2}", true},
		"device":             {"interface: eno1", "interface: eno1\n    device: macvlan", false},
		"name":               {"name: api", "name: apis", false},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := parse(testSpec), parse(strings.Replace(testSpec, tt.old, tt.new, 1))
			a := newVIPs()
			held, err := a.newOwner(before, before.VIPs[0])
			if err != nil {
				t.Fatal(err)
			}
			next, err := a.newOwner(after, after.VIPs[0])
			if err != nil {
				t.Fatal(err)
			}
			kept := a.keep([]*owner{held}, next) != nil
			said := !slices.ContainsFunc(spec.Retakes(before, after), func(r spec.Retake) bool { return slices.Contains(r.Controllers, "ctl1") })
			if kept != tt.kept || said != tt.kept {
				t.Errorf("the agent keeps it: %v, diff says so: %v, want %v", kept, said, tt.kept)
			}
		})
	}
}

// A spec whose VIPs cannot be is refused before any of them is touched.
func TestVIPsThatCannotBe(t *testing.T) {
	s := mustParse(t, testSpec)
	s.Controllers[0].Address = netip.MustParseAddr("2001:db8::1") // and its VIP is IPv4
	a := newVIPs()
	if _, err := a.Make(s); err == nil || !strings.Contains(err.Error(), "vip api: ") {
		t.Errorf("got %v", err)
	}
}
