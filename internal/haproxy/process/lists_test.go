package process

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// A list changes while HAProxy runs, whatever its length, without a reload.
func TestSetList(t *testing.T) {
	b := newBench(t)
	b.spec.Services[0].Access = spec.Access{DenyFile: "/etc/deny.list"}
	copied := haproxy.FileCopy(b.state, "/etc/deny.list")
	if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, []byte("192.0.2.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := b.manager()
	if err := m.SetList(t.Context(), copied, nil); err != nil {
		t.Errorf("while none runs: %v", err)
	}
	b.apply(m, Started)
	worker := m.current().serving().PID
	code := func() int { code, _ := b.get("/"); return code }
	if got := code(); got != 200 {
		t.Errorf("before: %d", got)
	}
	var long []netip.Prefix
	for i := range 300 {
		long = append(long, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i / 250), byte(i % 250)}), 32))
	}
	if err := m.SetList(t.Context(), copied, append(long, netip.MustParsePrefix("127.0.0.0/8"))); err != nil {
		t.Fatal(err)
	}
	if got := code(); got != 403 {
		t.Errorf("denied: %d", got)
	}
	if err := m.SetList(t.Context(), copied, long); err != nil {
		t.Fatal(err)
	}
	if got := code(); got != 200 {
		t.Errorf("not denied any more: %d", got)
	}
	if got := m.current().serving().PID; got != worker {
		t.Error("it was reloaded")
	}
	if err := m.SetList(t.Context(), "/etc/other.list", long); err == nil {
		t.Error("a list that HAProxy does not have: no error")
	}
}
