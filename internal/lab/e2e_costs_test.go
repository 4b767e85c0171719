package lab_test

import (
	"encoding/json"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
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

// allCosts has every fault of the lab done by TestCostsOfAllFaults, or these: that takes half
// an hour, so "make test" does without.
var allCosts = flag.String("costs", "", "the faults of which TestCostsOfAllFaults compares the costs, with commas between them, or all")

// A costStep is a fault, or planned work, whose cost the journal tells.
type costStep struct {
	name string
	does func(*cloud)
	mend bool
	// unseen: some of it is in nobody's log, as what was under way at a host that lost power, at
	// an HAProxy that hung until it was killed, or on connections of an address that is
	// elsewhere now; or it is told by an agent that ended meanwhile.
	unseen bool
}

// TestCostsAgreeWithClients has the journal say what a fault or planned work cost, and holds
// that against what the clients themselves saw: what failed, how many there were, and the
// longest time without an answer.
func TestCostsAgreeWithClients(t *testing.T) {
	c := newCloud(t, "costs", upgradable)
	c.agreeOnCosts([]costStep{
		{"service-kill", func(c *cloud) { c.fault("service-kill", c.other(), "nova") }, true, false},
		{"service-hang", func(c *cloud) { c.fault("service-hang", c.other(), "nova") }, true, false},
		{"host lost", func(c *cloud) { c.fault("power-off", c.other()) }, true, false},
		{"drain", func(c *cloud) { c.run(c.other(), "holdfast", "drain", c.other()) }, true, false},
		{"handover", func(c *cloud) { c.run(c.holder(), "holdfast", "handover") }, false, false},
		{"all hosts killed", func(c *cloud) {
			for _, n := range c.others("") {
				c.fault("service-kill", n, "nova")
			}
		}, true, false},
		{"haproxy-kill", func(c *cloud) { c.fault("haproxy-kill", c.holder()) }, false, false},
		{"holder lost", func(c *cloud) { c.fault("power-off", c.holder()) }, true, true},
	})
}

// TestCostsOfAllFaults does the same with the lab's other faults, by the argument -costs, and
// prints a table: docs/faults.md has what came of it.
func TestCostsOfAllFaults(t *testing.T) {
	if *allCosts == "" {
		t.Skip("for a person, with -costs all: it takes half an hour")
	}
	on := func(kind, value string) func(*cloud) {
		return func(c *cloud) { c.inject(lab.Fault{Kind: kind, Node: c.other(), Value: value}) }
	}
	nova := func(kind, value string) func(*cloud) {
		return func(c *cloud) { c.inject(lab.Fault{Kind: kind, Node: c.other(), Service: "nova", Value: value}) }
	}
	holder := func(kind, value string) func(*cloud) {
		return func(c *cloud) { c.inject(lab.Fault{Kind: kind, Node: c.holder(), Value: value}) }
	}
	all := []costStep{
		{"service-errors", nova("service-errors", ""), true, false},
		{"service-restart", nova("service-restart", ""), true, false},
		{"graceful-restart", nova("graceful-restart", ""), true, false},
		{"late", nova("late", "500ms"), true, false},
		{"busy", nova("busy", "2x100ms"), true, false},
		{"service-stall", nova("service-stall", "2s"), true, false},
		{"stall", func(c *cloud) { c.inject(lab.Fault{Kind: "stall", Service: "nova", Value: "2s"}) }, true, false},
		{"push-back", nova("push-back", "5"), true, false},
		{"haproxy-hang", holder("haproxy-hang", ""), true, true},
		{"agent-kill", holder("agent-kill", ""), true, true},
		{"agent-hang", holder("agent-hang", ""), true, true},
		{"agent-stop", holder("agent-stop", ""), true, true},
		{"agent-restart", holder("agent-restart", ""), true, true},
		{"agent-reload", holder("agent-reload", ""), true, false},
		{"unplug", holder("unplug", ""), true, true},
		{"unplug another", on("unplug", ""), true, false},
		{"blind", on("blind", ""), true, false},
		{"blind holder", holder("blind", ""), true, false},
		{"delay", on("delay", "50ms"), true, false},
		{"loss", on("loss", "10"), true, false},
		{"flap", on("flap", "2s"), true, false},
		{"disk-full", holder("disk-full", ""), true, false},
		{"read-only", holder("read-only", ""), true, false},
		{"no-run-dir", holder("no-run-dir", ""), true, false},
		{"log-stuck", holder("log-stuck", ""), true, false},
		{"no-files", holder("no-files", ""), true, false},
		{"haproxy-no-files", holder("haproxy-no-files", ""), true, false},
		{"clock", holder("clock", "+3h"), true, false},
		{"mac-change", holder("mac-change", ""), true, false},
		{"device-remade", holder("device-remade", ""), true, true},
		{"conntrack-full", on("conntrack-full", ""), true, false},
		{"adverts-blocked", holder("adverts-blocked", "out"), true, false},
		{"flush-rules", holder("flush-rules", ""), true, false},
	}
	if *allCosts != "all" {
		names := strings.Split(*allCosts, ",")
		all = slices.DeleteFunc(all, func(s costStep) bool { return !slices.Contains(names, s.name) })
	}
	newCloud(t, "costs-all", upgradable).agreeOnCosts(all)
}

// other gives a controller that does not hold the VIP.
func (c *cloud) other() string { return c.others(c.holder())[0] }

// agreeOnCosts does one step after the other under load, and holds what the journals say that it
// cost to what the clients saw.
func (c *cloud) agreeOnCosts(steps []costStep) {
	c.Cleanup(func() {
		if c.Failed() {
			c.logs()
		}
	})
	c.await("every HAProxy to have checked every host", c.well)
	for _, step := range steps {
		c.T.Run(step.name, func(t *testing.T) { (&cloud{t, c.dir, c.binary}).agreeOnCost(step) })
	}
}

func (c *cloud) agreeOnCost(step costStep) {
	time.Sleep(4 * time.Second) // so that what was before has been told
	since := time.Now()
	loaded := make(chan []load.Record)
	go func() {
		records, err := c.tryLoad("--rate", "200", "--duration", "12s", "--timeout", "5s", "--connections", "mixed", "--clients", "20")
		if err != nil {
			c.Error(err)
		}
		loaded <- records
	}()
	time.Sleep(3 * time.Second)
	step.does(c)
	records := <-loaded
	time.Sleep(5 * time.Second) // a cost is told three seconds after the last failure
	told := c.costs(c.holder(), since)
	var sum status.Cost
	for _, e := range told {
		c.Logf("%s, %s: %s", e.Controller, e.Subject, e.Cost.Words())
		sum = sum.Add(*e.Cost)
	}
	saw := load.Summarize(records, since, since.Add(time.Minute))
	inTime, last := uint64(0), time.Time{}
	for _, r := range records {
		end := r.End()
		if !end.Before(sum.From) && end.Before(sum.To) {
			inTime++
		}
		if end.After(last) {
			last = end
		}
	}
	if sum.To.After(last) {
		sum.To = last // from then on nobody asks
	}
	gap := load.Summarize(records, sum.From, sum.To).LongestGap
	c.Logf("| %s | %d of %d | %d of %d | %s | %s |", step.name, saw.Failed, inTime, sum.Failed, sum.Requests, gap.Round(time.Millisecond), sum.Gap.Round(time.Millisecond))
	c.Logf("clients: %d of %d failed (%v), %d of that time, longest gap %v", saw.Failed, saw.Requests, saw.Kinds, inTime, gap)
	if !step.unseen && !near(uint64(saw.Failed), sum.Failed) {
		c.Errorf("%d failed, and the journal says %d", saw.Failed, sum.Failed)
	}
	if !step.unseen && len(told) == 1 && !near(inTime, sum.Requests) {
		c.Errorf("%d requests, and the journal says %d", inTime, sum.Requests)
	}
	if len(told) == 1 && !nearGap(gap, sum.Gap, saw.Late) {
		c.Errorf("the longest gap was %v, and the journal says %v", gap, sum.Gap)
	}
	if step.mend {
		c.run(c.holder(), "holdfast", "undrain", c.others(c.holder())[0])
		c.heal()
	}
	c.await("holdfast to call the lab well", c.well)
}

// nearGap reports whether two gaps are within 5 % of each other or, since who asks and who is
// asked wait for what a busy machine lets them have, 100 ms apart and what the one who asks was late.
func nearGap(a, b, late time.Duration) bool {
	return (a - b).Abs() <= max(100*time.Millisecond+late, max(a, b)/20)
}
