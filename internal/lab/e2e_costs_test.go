package lab_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab/load"
	"holdfast/internal/status"
)

// costs gives what the journals say since a time that clients felt.
func (c *cloud) costs(node string, since time.Time) (all []status.Event) {
	c.Helper()
	out, code := c.run(node, "holdfast", "events", "--kind", "cost", "-o", "json", "--since", since.UTC().Format(time.RFC3339))
	if code != 0 {
		c.Fatalf("exit code %d: %s", code, out)
	}
	var answer struct{ Events []status.Event }
	_, object, _ := strings.Cut(out, "{") // what goes to stderr comes first
	if err := json.NewDecoder(strings.NewReader("{" + object)).Decode(&answer); err != nil {
		c.Fatalf("%v in %s", err, out)
	}
	for _, e := range answer.Events {
		if e.Cost != nil && e.Cost.To.After(since.Add(2*time.Second)) {
			all = append(all, e)
		}
	}
	return all
}

// near reports whether two counts are within 5 % of each other, or two apart.
func near(a, b uint64) bool {
	apart := max(a, b) - min(a, b)
	return apart <= 2 || float64(apart) <= 0.05*float64(max(a, b))
}

// TestCostsAgreeWithClients has the journal say what a fault or planned work cost, and holds
// that against what the clients themselves saw: what failed, how many there were, and the
// longest time without an answer.
func TestCostsAgreeWithClients(t *testing.T) {
	c := newCloud(t, "costs", upgradable)
	c.await("every HAProxy to have checked every host", c.well)
	other := func() string { return c.others(c.holder())[0] }
	for _, step := range []struct {
		name string
		does func()
		mend bool
		// unseen: what was under way at a host that lost power is in nobody's log.
		unseen bool
	}{
		{"service-kill", func() { c.fault("service-kill", other(), "nova") }, true, false},
		{"service-hang", func() { c.fault("service-hang", other(), "nova") }, true, false},
		{"host lost", func() { c.fault("power-off", other()) }, true, false},
		{"drain", func() { c.run(other(), "holdfast", "drain", other()) }, true, false},
		{"handover", func() { c.run(c.holder(), "holdfast", "handover") }, false, false},
		{"all hosts killed", func() {
			for _, n := range c.others("") {
				c.fault("service-kill", n, "nova")
			}
		}, true, false},
		{"haproxy-kill", func() { c.fault("haproxy-kill", c.holder()) }, false, false},
		{"holder lost", func() { c.fault("power-off", c.holder()) }, true, true},
	} {
		t.Run(step.name, func(t *testing.T) {
			c := &cloud{t, c.dir, c.binary}
			time.Sleep(4 * time.Second) // so that what was before has been told
			since := time.Now()
			loaded := make(chan []load.Record)
			go func() {
				records, err := c.tryLoad("--rate", "200", "--duration", "12s", "--timeout", "5s", "--connections", "mixed", "--clients", "20")
				if err != nil {
					t.Error(err)
				}
				loaded <- records
			}()
			time.Sleep(3 * time.Second)
			step.does()
			records := <-loaded
			time.Sleep(5 * time.Second) // a cost is told three seconds after the last failure
			told := c.costs(c.holder(), since)
			var sum status.Cost
			for _, e := range told {
				t.Logf("%s, %s: %s", e.Controller, e.Subject, e.Cost.Words())
				sum = sum.Add(*e.Cost)
			}
			saw := load.Summarize(records, since, since.Add(time.Minute))
			inTime := uint64(0)
			for _, r := range records {
				if end := r.End(); !end.Before(sum.From) && end.Before(sum.To) {
					inTime++
				}
			}
			gap := load.Summarize(records, sum.From, sum.To).LongestGap
			t.Logf("clients: %d of %d failed (%v), %d of that time, longest gap %v", saw.Failed, saw.Requests, saw.Kinds, inTime, gap)
			if !step.unseen && !near(uint64(saw.Failed), sum.Failed) {
				t.Errorf("%d failed, and the journal says %d", saw.Failed, sum.Failed)
			}
			if !step.unseen && len(told) == 1 && !near(inTime, sum.Requests) {
				t.Errorf("%d requests, and the journal says %d", inTime, sum.Requests)
			}
			if step.mend {
				c.run(c.holder(), "holdfast", "undrain", c.others(c.holder())[0])
				c.heal()
			}
			c.await("holdfast to call the lab well", c.well)
		})
	}
}
