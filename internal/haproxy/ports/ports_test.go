package ports

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseListeners(t *testing.T) {
	const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:2454 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1
   2: 0100007F:1F90 0100007F:8888 01 00000000:00000000 00:00000000 00000000     0        0 4713 1
   3: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4714 1
   4: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4715 1
   5: garbage`
	want := []listener{
		{netip.MustParseAddrPort("127.0.0.1:8080"), 4711, 33},
		{netip.MustParseAddrPort("0.0.0.0:9300"), 4712, 0},
		{netip.MustParseAddrPort("[::]:80"), 4714, 0},
		{netip.MustParseAddrPort("[2001:db8::1]:443"), 4715, 0},
	}
	same := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if d := cmp.Diff(want, parseListeners(tcp), cmp.AllowUnexported(listener{}), same); d != "" {
		t.Error(d)
	}
}

func FuzzParseListeners(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 33 0 4711 1")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range parseListeners(text) {
			if !l.at.IsValid() {
				t.Errorf("%+v", l)
			}
		}
	})
}
