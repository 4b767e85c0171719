package vip

import (
	"net/netip"
	"strings"
	"testing"
)

func TestUnconnected(t *testing.T) {
	tests := []struct {
		name         string
		vip, present []netip.Prefix
		want         string
	}{
		{"own address", prefixes("10.0.0.10/24"), prefixes("10.0.0.13/24"), ""},
		{"own address of a larger network", prefixes("10.0.0.10/24"), prefixes("10.0.1.13/16"), ""},
		{"nothing", prefixes("10.0.0.10/24", "fd00::10/64"), nil, "10.0.0.0/24 fd00::/64"},
		{"only the VIP", prefixes("10.0.0.10/24"), prefixes("10.0.0.10/32"), "10.0.0.0/24"},
		{"a copy of the VIP", prefixes("10.0.0.10/24"), prefixes("10.0.0.10/24"), "10.0.0.0/24"},
		{"another host address", prefixes("10.0.0.10/24"), prefixes("10.0.0.13/32"), "10.0.0.0/24"},
		{"another network", prefixes("10.0.0.10/24"), prefixes("10.1.0.13/24"), "10.0.0.0/24"},
		{"two of one network", prefixes("10.0.0.10/24", "10.0.0.11/24"), nil, "10.0.0.0/24"},
		{"no network", prefixes("10.0.0.10/32"), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range Unconnected(tt.vip, tt.present) {
				got = append(got, p.String())
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
