package agent

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"holdfast/internal/status"
)

// awaitListener waits until somebody listens where HAProxy's log goes: what comes before
// that nobody counts.
func (h *host) awaitListener() {
	h.t.Helper()
	h.await("a listener for HAProxy's log", func() bool {
		sockets, err := os.ReadFile("/proc/thread-self/net/udp")
		return err == nil && strings.Contains(string(sockets), ":24FF ") // agent.check_port, 9471
	})
}

// What clients get is counted by the log of the real HAProxy, and again by an agent that
// adopts it. Nobody serves here: each request is refused.
func TestClientsAreCounted(t *testing.T) {
	h := newHost(t)
	d := h.start()
	d.awaitActive()
	ask := func() { // one on a connection of its own
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://192.0.2.10:5000/v3")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("nobody serves, and the answer is %d", resp.StatusCode)
		}
	}
	counted := func() (requests, failed uint64) {
		for _, sum := range d.clients.Account().Sums {
			requests, failed = requests+sum.Requests(), failed+sum.Failed
		}
		return requests, failed
	}
	h.awaitListener()
	for range 5 {
		ask()
	}
	defer func() {
		if t.Failed() {
			t.Logf("counted: %+v", d.clients.Account())
		}
	}()
	h.await("five requests are counted", func() bool {
		requests, failed := counted()
		return requests == 5 && failed == 5
	})
	if account := d.clients.Account(); account.Strange > 0 || account.Lost > 0 {
		t.Errorf("%d lines are strange, %d lost", account.Strange, account.Lost)
	}
	h.await("the Snapshot has them", func() bool {
		clients := d.Snapshot().Clients
		return len(clients) == 1 && clients[0].Service == "keystone" && clients[0].Failed == 5
	})
	if err := d.end(); err != nil {
		t.Fatal(err)
	}

	d = h.start()
	d.awaitActive()
	h.await("HAProxy is adopted", func() bool { return d.Snapshot().HAProxy.State == status.HAProxyRunning })
	if !d.Snapshot().HAProxy.Adopted {
		t.Fatal("HAProxy was started anew")
	}
	h.awaitListener()
	for range 3 {
		ask()
	}
	h.await("three requests are counted by the next agent", func() bool { requests, _ := counted(); return requests == 3 })
}
