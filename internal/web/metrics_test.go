package web

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

// TestMetrics holds every metric's name, help and value to a golden file, the
// descriptions to what is collected, and the names to Prometheus's own rules.
func TestMetrics(t *testing.T) {
	snap := demoController(0, 3)
	snap.Services = snap.Services[3:5]
	snap.Drains = []status.Drained{{Service: "nova", Since: time.Unix(1790000000, 0)}}
	snap.VIPs[0].Rejected = map[string]uint64{"source": 7}
	snap.VIPs[0].Certificate = &status.Certificate{NotAfter: time.Unix(1800000000, 0), Refused: true}
	snap.VIPs = append(snap.VIPs, status.VIP{Name: "routed", Announce: "bgp", Announced: status.Draining, State: status.Active, Since: time.Unix(1790000000, 0), Present: true})
	snap.BGP = []status.BGPSession{
		{Peer: "10.64.20.1", ASN: 64800, State: "established", Established: true, Since: time.Unix(1790000000, 0), Routes: 1, BFD: "up"},
		{Peer: "fe80::1%eno1", ASN: 64800, State: "active"},
	}
	snap.Services[0].State, snap.Services[0].Hosts[1].State = status.Degraded, status.Down
	snap.Services[1].Hosts[0].State = status.Drain
	snap.Config.Rejected = []status.Finding{
		{Severity: status.Error, Code: status.CodeUnknownKey, Text: "bad"}, {Severity: status.Error, Code: status.CodeConfigRolledBack},
	}
	snap.Findings = []status.Finding{
		{Severity: status.Warning, Code: status.CodeDiskFull},
		{Severity: status.Info, Code: status.CodeHAProxyReplaced}, {Severity: status.Info, Code: status.CodeHAProxyReplaced},
	}
	snap.Paths = []status.Path{
		{Host: "dns1", Address: "10.64.20.23", RTT: 1500 * time.Microsecond, Sent: 20, Lost: 5},
		{Host: "dns2", Address: "10.64.20.24", Sent: 20, Lost: 20}, {Host: "dns3", Address: "10.64.20.25"},
	}
	registry := prometheus.NewPedanticRegistry()
	account := func() traffic.Account { return traffic.Account{Sums: clientSums(), Lost: 3, Strange: 1} }
	if err := errors.Join(registry.Register(newCollector(func() status.Snapshot { return snap })), registry.Register(newClientCollector(account))); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "metrics.txt", text.Bytes())
}

// clientSums is of two services, one with much to tell.
func clientSums() []traffic.Sum {
	book := traffic.NewBook()
	book.Use(map[string]traffic.Key{"a": traffic.KeyOf("nova", "api", []string{"public", "internal"}), "b": traffic.KeyOf("glance", "api", []string{"public"})})
	for _, end := range []string{
		"0/0/1/4/6 200 9 - - ---- 1/1/1/1/0 0/0", "0/40/1/800/900 200 9 - - ---- 1/1/1/1/0 0/0", "0/0/1/4/6 404 9 - - ---- 1/1/1/1/+2 0/0",
		"0/-1/-1/-1/0 503 9 - - SC-- 1/1/1/1/0 0/0", "0/0/0/2/90 200 9 - - SD-- 1/1/1/1/0 0/0", "0/0/0/-1/9000 -1 9 - - CH-- 1/1/1/1/0 0/0", "0/-1/-1/-1/0 400 9 - - CR-- 1/1/1/1/0 0/0",
	} {
		book.AddLine(time.Unix(1790000000, 0), []byte("10.0.0.9:1 [x] a nova/ctl1 "+end))
	}
	return book.Sums()
}

// TestMetricsOfAnything proves that no Snapshot, however odd, ends the agent.
func TestMetricsOfAnything(t *testing.T) {
	odd := status.Snapshot{
		Version: "\xff", Started: time.Time{},
		VIPs:     []status.VIP{{Name: "a"}, {Name: "a"}},
		Services: []status.Service{{Name: "s", Hosts: []status.Host{{}, {}}}},
	}
	s := demoServer(view{})
	s.opt.Snapshot = func() status.Snapshot { return odd }
	resp, body := get(t, "GET", start(t, s)+"/metrics")
	if resp.StatusCode != 200 || !strings.Contains(body, "holdfast_haproxy_state") {
		t.Errorf("%d\n%s", resp.StatusCode, body)
	}
}
