package cloud_test

import (
	"testing"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

func TestClients(t *testing.T) {
	of := func(service string, requests, failed uint64, p99 time.Duration) status.Client {
		return status.Client{Service: service, Requests: requests, Failed: failed, PerSecond: float64(requests) / 60, P99: p99, Span: time.Minute}
	}
	c := cloud.Cloud{Controllers: []cloud.Controller{
		{Snapshot: &status.Snapshot{Clients: []status.Client{of("nova", 600, 3, 40*time.Millisecond), of("glance", 9, 0, time.Second)}}},
		{},
		{Snapshot: &status.Snapshot{Clients: []status.Client{of("nova", 60, 0, time.Second)}}},
	}}
	got, any := c.Clients("nova")
	if want := (status.Client{Service: "nova", Requests: 660, Failed: 3, PerSecond: 11, P99: 40 * time.Millisecond, Span: time.Minute}); !any || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if words := got.Words(); words != "11/s 0.45% 40ms" {
		t.Errorf("said %q", words)
	}
	if _, any := c.Clients("heat"); any {
		t.Error("a service without clients has some")
	}
}
