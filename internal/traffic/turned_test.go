package traffic_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

// Those that a rule of the spec turned away are told apart, by what HAProxy logs of them: no
// fault of the cloud, and counted in the finding for ten minutes.
func TestTurnedAway(t *testing.T) {
	book := traffic.NewBook()
	book.Use(map[string]traffic.Key{"p/nova": traffic.KeyOf("nova", "api", nil), "f": traffic.KeyOf("keystone", "api", nil), "g": traffic.KeyOf("nova", "api", nil), "h": traffic.KeyOf("mariadb", "api", nil)})
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	var turned traffic.Turned
	add := func(frontend string, code int, term string, n int) {
		for range n {
			book.AddLine(now, fmt.Appendf(nil, `192.0.2.1:43204 [01/Dec/2026:11:40:33.951] %s %[1]s/<NOSRV> 0/-1/-1/-1/0 %d 192 - - %s-- 1/1/0/0/0 0/0 {id} {} "GET / HTTP/1.1"`, frontend, code, term))
		}
	}
	add("f", 429, "PR", 5)
	turned.Add(now, book.Sums()) // of before the agent looked
	if f := turned.Finding(); f != nil {
		t.Errorf("at the beginning: %v", f)
	}
	add("f", 429, "PR", 500)
	add("g", 429, "PR", 30)
	for range 10 { // through a port that services share
		book.AddLine(now, []byte(`192.0.2.1:43204 [01/Dec/2026:11:40:33.951] p~ p/<NOSRV> 0/-1/-1/-1/0 429 192 - - PR-- 1/1/0/0/0 0/0 {id|nova} {} "GET / HTTP/1.1"`))
	}
	add("f", 429, "LR", 7)
	add("g", 403, "PR", 3)
	add("g", 503, "PR", 3) // in maintenance: told, and no failure
	book.AddLine(now, []byte(`192.0.2.1:43204 [01/Dec/2026:11:40:33.951] h h/<NOSRV> -1/-1/0 0 PR 1/1/0/0/0 0/0`))
	turned.Add(now, book.Sums())
	want := "540 over their client's limit (keystone 500, nova 40); 7 to log in, after too many that failed (keystone 7); 4 from addresses that may not (nova 3, mariadb 1)"
	if f := turned.Finding(); f == nil || f.Severity != status.Info || f.Code != status.CodeClientsLimited || !strings.HasSuffix(f.Text, ": "+want) {
		t.Errorf("%+v, want %q", f, want)
	}
	for _, s := range book.Sums() {
		if s.Failed > 0 {
			t.Errorf("%s: %d failed, and were only turned away", s.Service, s.Failed)
		}
	}
	turned.Add(now.Add(10*time.Minute), book.Sums())
	if f := turned.Finding(); f != nil {
		t.Errorf("after ten minutes: %+v", f)
	}
}
