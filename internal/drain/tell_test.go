package drain

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/web"
)

// carried is what an HAProxy was told, as "CONTROLLER SERVICE" to the state.
type carried struct {
	mu     sync.Mutex
	states map[string]string
	times  int
}

func (c *carried) carry(_ context.Context, controller string, states map[string]string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times++
	for service, state := range states {
		c.states[controller+" "+service] = state
	}
	return nil
}

func (c *carried) all() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.states)
}

// pair has the drains of two controllers that can ask each other.
func pair(t *testing.T) (first, second *bench) {
	t.Helper()
	first, second = newBench(t), newBench(t)
	second.opt.Controller = "ctl2"
	second.state.controller = "ctl2"
	for _, p := range [][2]*bench{{first, second}, {second, first}} {
		from, to := p[0], p[1]
		from.haproxy = 100
		from.opt.Ask = func(ctx context.Context, _, command string, req, resp any) error {
			if from.mute {
				return refusedConnection(to.opt.Controller)
			}
			body, err := json.Marshal(req)
			if err != nil {
				return err
			}
			answer, err := to.Commands()[command](ctx, from.opt.Controller, body)
			if err != nil {
				return err
			}
			if body, err = json.Marshal(answer); err != nil {
				return err
			}
			return json.Unmarshal(body, resp)
		}
	}
	return first, second
}

// TestHAProxysAreToldAtOnce proves that a drain does not wait for the next agent-check
// of anybody, nor does its end, and that a cookie's service comes back by way of drain.
func TestHAProxysAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := pair(t)
		first.spec.Services[1].Affinity = "cookie" // horizon
		second.spec.Services[1].Affinity = "cookie"
		go first.Watch(t.Context())
		go second.Watch(t.Context())
		expect := func(when string, want map[string]string) {
			t.Helper()
			for _, b := range []*bench{first, second} {
				if got := b.carried.all(); !maps.Equal(got, want) {
					t.Errorf("%s, the HAProxy of %s was told %v, want %v", when, b.opt.Controller, got, want)
				}
			}
		}
		time.Sleep(1500 * time.Millisecond)
		expect("at the start", map[string]string{"ctl1 keystone": "ready", "ctl1 horizon": "ready", "ctl2 keystone": "ready", "ctl2 horizon": "ready"})
		if _, err := first.Drain(t.Context(), web.DrainRequest{Controller: "ctl1"}); err != nil {
			t.Fatal(err)
		}
		expect("when ctl1 was drained", map[string]string{"ctl1 keystone": "drain", "ctl1 horizon": "maint", "ctl2 keystone": "ready", "ctl2 horizon": "ready"})
		time.Sleep(time.Minute)
		n := second.carried.times
		time.Sleep(time.Minute)
		if second.carried.times != n {
			t.Errorf("the HAProxy of ctl2 was told %d times more in a minute without a change", second.carried.times-n)
		}
		if _, err := second.Undrain(t.Context(), web.DrainRequest{Controller: "ctl1"}); err != nil { // by way of ctl1's agent
			t.Fatal(err)
		}
		expect("when ctl1 was put back", map[string]string{"ctl1 keystone": "ready", "ctl1 horizon": "drain", "ctl2 keystone": "ready", "ctl2 horizon": "ready"})
		time.Sleep(comeback + 2*interval)
		expect("when it has been checked", map[string]string{"ctl1 keystone": "ready", "ctl1 horizon": "ready", "ctl2 keystone": "ready", "ctl2 horizon": "ready"})
	})
}

// TestFreshHAProxyIsTold proves that an HAProxy that was started knows of the drains
// of others within a second, since none of them tells again what did not change.
func TestFreshHAProxyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := pair(t)
		go first.Watch(t.Context())
		go second.Watch(t.Context())
		if _, err := first.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		clear(second.carried.states)
		second.haproxy = 200
		time.Sleep(interval + time.Millisecond)
		if got := second.carried.all()["ctl1 keystone"]; got != "drain" {
			t.Errorf("the new HAProxy of ctl2 was told %q of ctl1, want drain", got)
		}
		// What is not known is not told, and what is not understood not taken.
		first.state.damaged = errBeingWritten
		clear(second.carried.states)
		first.tell(t.Context())
		second.carry(t.Context(), "ctl1", words{States: map[string]string{"keystone": "ready; shutdown"}})
		if got := second.carried.all(); len(got) > 0 {
			t.Errorf("was told %v by a controller that does not know what it has drained, and by nonsense", got)
		}
	})
}
