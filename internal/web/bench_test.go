package web

import (
	"encoding/json"
	"fmt"
	"testing"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web/page"
)

// bigCloud gives the answers of three controllers with 100 services on 50 hosts
// each, of which every tenth host is down: the largest cloud we plan for.
func bigCloud() []cloud.Answer {
	answers := demoAnswers(3)
	for _, a := range answers {
		a.Snapshot.Services = nil
		for i := range 100 {
			s := status.Service{Name: fmt.Sprintf("service%d", i), Port: 10000 + i, State: status.Degraded}
			for j := range 50 {
				h := status.Host{Name: fmt.Sprintf("host%d", j), Address: fmt.Sprintf("10.64.21.%d:%d", j, 10000+i), State: status.Up, Since: ago(0), Check: "GET /healthcheck answered 200"}
				if j%10 == 0 {
					h.State = status.Down
				}
				s.Hosts = append(s.Hosts, h)
			}
			a.Snapshot.Services = append(a.Snapshot.Services, s)
		}
	}
	return answers
}

// BenchmarkMerge is what each second of an open page costs for one agent.
func BenchmarkMerge(b *testing.B) {
	answers := bigCloud()
	for b.Loop() {
		cloud.Merge(demoNow, "", answers)
	}
}

// BenchmarkPage is what each second costs while pages are open, however many.
func BenchmarkPage(b *testing.B) {
	v := viewOf(bigCloud(), nil)
	s := demoServer(v)
	for b.Loop() {
		if got, err := s.fragmentsOf(v); err != nil || len(got) != len(page.Parts()) {
			b.Fatal("not all of the page", err)
		}
	}
}

// BenchmarkDecode is what each answer of a peer costs.
func BenchmarkDecode(b *testing.B) {
	body, err := json.MarshalIndent(bigCloud()[0].Snapshot, "", "  ")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := decodeSnapshot(body); err != nil {
			b.Fatal(err)
		}
	}
}
