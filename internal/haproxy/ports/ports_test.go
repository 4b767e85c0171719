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
	want := []Listener{
		{netip.MustParseAddrPort("127.0.0.1:8080"), 4711, 33},
		{netip.MustParseAddrPort("0.0.0.0:9300"), 4712, 0},
		{netip.MustParseAddrPort("[::]:80"), 4714, 0},
		{netip.MustParseAddrPort("[2001:db8::1]:443"), 4715, 0},
	}
	same := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if d := cmp.Diff(want, ParseListeners(tcp), same); d != "" {
		t.Error(d)
	}
}

func TestProcAddress(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000000000000000000000000000:2382": "[::]:9090",
		"00000000:2382":                         "0.0.0.0:9090",
	} {
		if got, ok := procAddress(text); !ok || got != netip.MustParseAddrPort(want) {
			t.Errorf("%s: %v, %v, want %s", text, got, ok, want)
		}
	}
	for _, bad := range []string{"", "0100007F", "01:1", "zz00007F:1F90", "0100007F:zz"} {
		if got, ok := procAddress(bad); ok {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func FuzzParseListeners(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 33 0 4711 1")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range ParseListeners(text) {
			if !l.At.IsValid() {
				t.Errorf("%+v", l)
			}
		}
	})
}
