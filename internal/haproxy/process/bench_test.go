package process

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// Checking and reloading a large configuration: 100 services on 50 hosts.
func BenchmarkApply100x50(b *testing.B) {
	bench := newBench(b)
	s := bench.spec
	s.Services = nil
	for i := range 100 {
		svc := spec.Service{
			Name: fmt.Sprintf("service%d", i), Port: bench.port + i,
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck"},
		}
		for h := range 50 {
			svc.Hosts = append(svc.Hosts, spec.Host{Name: fmt.Sprintf("ctl%d", h), Address: netip.AddrFrom4([4]byte{127, bench.net[1], bench.net[2], byte(100 + h)})})
		}
		s.Services = append(s.Services, svc)
	}
	nofile, err := NoFile()
	if err != nil {
		b.Fatal(err)
	}
	m, _ := bench.manager(func(o *Options) { o.Log = nil })
	cfg := func(i int) *haproxy.Config {
		s.Services[0].Timeout.Server = time.Duration(i+1) * time.Second
		return haproxy.Render(s, haproxy.Local{RunDir: bench.run, StateDir: bench.state, MaxConn: haproxy.MaxConn(s, nofile)})
	}
	if _, err := m.Apply(b.Context(), cfg(0)); err != nil {
		b.Fatal(err)
	}
	for i := 1; b.Loop(); i++ {
		r, err := m.Apply(b.Context(), cfg(i))
		if err != nil || r.Action != Reloaded {
			b.Fatalf("%v, %v", r, err)
		}
	}
}

// From the start of the agent's supervisor to a HAProxy that serves.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		bench := newBench(b)
		cfg := bench.cfg()
		b.StartTimer()
		m, stop := bench.manager(func(o *Options) { o.Log = nil })
		if _, err := m.Apply(b.Context(), cfg); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stop()
		bench.killHAProxy()
		b.StartTimer()
	}
}
