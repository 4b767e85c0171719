package agent

import (
	"slices"
	"testing"
)

func TestLackingCapabilities(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"Name:\tx\nCapEff:\t000001ffffffffff\n", nil},
		{"CapEff:\t0000000000000000\n", []string{"CAP_NET_ADMIN", "CAP_NET_RAW"}},
		{"CapEff:\t0000000000001000\n", []string{"CAP_NET_RAW"}},
		{"CapEff:\t0000000000002000\n", []string{"CAP_NET_ADMIN"}},
	} {
		if got, err := lackingCapabilities(test.text); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q: lacks %v, %v; want %v", test.text, got, err, test.want)
		}
	}
	if _, err := lackingCapabilities("Name: x\n"); err == nil {
		t.Error("a status without capabilities is taken for one")
	}
}
