package lab_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

// crowded is a spec of two controllers with a service that has workers and one
// that speaks no HTTP.
const crowded = `
cloud: crowded
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 7, interval: 100ms}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  nova: {}
  database: {type: database, port: 3306, mode: tcp}
`

// direct sends requests to a host itself, past HAProxy: what a fault does to the
// host is what is tested here, not what holdfast makes of it.
func (c *cloud) direct(host, path string, n int, args ...string) []load.Record {
	c.Helper()
	return c.load(append([]string{
		"--url", fmt.Sprintf("nova=http://%s:8774%s", host, path), "--connections", "new",
		"--rate", fmt.Sprint(100 * n), "--duration", "10ms",
	}, args...)...)
}

// serviceState gives how nova on node is, and its process.
func (c *cloud) serviceState(node, service string) (string, int) {
	c.Helper()
	for _, n := range c.status().Nodes {
		for _, s := range n.Services {
			if n.Name == node && s.Name == service {
				return s.State, s.PID
			}
		}
	}
	c.Fatalf("no service %s on %s", service, node)
	return "", 0
}

func (c *cloud) inject(f lab.Fault) lab.Fault {
	c.Helper()
	done, err := lab.Inject(c.Context(), c.dir, f)
	if err != nil {
		c.Fatal(err)
	}
	return done
}

// TestBusyFaults does to a service each thing that keeps it from answering at
// once, and looks at the host itself. Each ends with "service-back".
func TestBusyFaults(t *testing.T) {
	c := newCloud(t, "busy", crowded)
	for _, one := range []struct {
		name string
		do   func(*cloud)
	}{
		{"late", (*cloud).late},
		{"busy", (*cloud).busy},
		{"stall", (*cloud).stall},
		{"graceful restart", (*cloud).gracefulRestart},
		{"push back", (*cloud).pushBack},
		{"refused", (*cloud).refused},
	} {
		t.Run(one.name, func(t *testing.T) {
			c := &cloud{t, c.dir, c.binary}
			c.answers() // the one before may have started it just now
			one.do(c)
		})
	}
}

// like checks how nova on ctl1 is, and that "service-back" ends it.
func (c *cloud) like(want string) {
	c.Helper()
	if got, _ := c.serviceState("ctl1", "nova"); got != want {
		c.Errorf("nova is %q, want %q", got, want)
	}
	c.fault("service-back", "ctl1", "nova")
	if got, _ := c.serviceState("ctl1", "nova"); got != "up" {
		c.Errorf("nova is %q after service-back", got)
	}
	c.answers()
}

// answers waits until nova on ctl1, which may have been started just now, answers.
func (c *cloud) answers() {
	c.Helper()
	c.await("an answer of nova on ctl1", func() error {
		for _, r := range c.direct("ctl1", "/v2.1", 1) {
			if r.Failure != "" {
				return fmt.Errorf("%s %s", r.Failure, r.Error)
			}
		}
		return nil
	})
}

func (c *cloud) late() {
	c.inject(lab.Fault{Kind: "late", Node: "ctl1", Service: "nova", Value: "300ms"})
	for _, r := range c.direct("ctl1", "/v2.1", 5) {
		if r.Failure != "" || r.Took < 300*time.Millisecond {
			c.Errorf("answered %d %s after %v, want 300 ms or more", r.Status, r.Failure, r.Took)
		}
	}
	c.like("late")
}

// busy has one worker, and five who want it: the last waits for all others.
func (c *cloud) busy() {
	const each = 200 * time.Millisecond
	c.inject(lab.Fault{Kind: "busy", Node: "ctl1", Value: "1x200ms"}) // of all services: the database has no workers
	slowest := time.Duration(0)
	records := c.direct("ctl1", "/v2.1", 5)
	for _, r := range records {
		slowest = max(slowest, r.Took)
		if r.Failure != "" {
			c.Errorf("%s %s", r.Failure, r.Error)
		}
	}
	if len(records) != 5 || slowest < 4*each { // they leave within 10 ms
		c.Errorf("%d requests, the slowest took %v", len(records), slowest)
	}
	if got, _ := c.serviceState("ctl1", "database"); got != "up" {
		c.Errorf("the database is %q", got)
	}
	c.inject(lab.Fault{Kind: "service-restart", Node: "ctl1", Service: "nova"}) // as busy as before
	c.like("busy")
}

// stall lets a request of each host wait for its end, and of one host alone.
func (c *cloud) stall() {
	const d = time.Second
	for _, f := range []lab.Fault{{Kind: "stall", Service: "nova"}, {Kind: "service-stall", Node: "ctl1", Service: "nova"}} {
		f.Value = d.String()
		done := c.inject(f)
		if got, _ := c.serviceState("ctl1", "nova"); got != "stalled" {
			c.Errorf("%s: nova on ctl1 is %q", f.Kind, got)
		}
		want := map[string]string{"stall": "stalled", "service-stall": "up"}[f.Kind]
		if got, _ := c.serviceState("ctl2", "nova"); got != want {
			c.Errorf("%s: nova on ctl2 is %q, want %q", f.Kind, got, want)
		}
		for _, r := range c.direct("ctl1", "/v2.1", 3) {
			if r.Failure != "" || r.End().Before(done.Time.Add(d)) {
				c.Errorf("%s: answered %d %s after %v", f.Kind, r.Status, r.Failure, r.End().Sub(done.Time))
			}
		}
	}
	c.inject(lab.Fault{Kind: "stall", Value: "10m"})
	c.fault("service-back", "ctl2")
	c.like("stalled")
}

// gracefulRestart has a request in flight: it is answered, while others are
// refused, and then there is another process.
func (c *cloud) gracefulRestart() {
	_, before := c.serviceState("ctl1", "nova")
	seen, err := lab.ReadCounts(c.dir, "nova")
	if err != nil {
		c.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		records, err := c.tryLoad("--url", "nova=http://ctl1:8774/slow?s=1.5", "--rate", "100", "--duration", "10ms")
		if err == nil && (len(records) != 1 || records[0].Status != 200) {
			err = fmt.Errorf("answered %+v", records)
		}
		answered <- err
	}()
	c.await("a request in flight", func() error {
		now, err := lab.ReadCounts(c.dir, "nova")
		if err == nil && now.Keyed == seen.Keyed {
			err = errors.New("none")
		}
		return err
	})
	c.inject(lab.Fault{Kind: "graceful-restart", Node: "ctl1", Service: "nova"})
	if got, pid := c.serviceState("ctl1", "nova"); got != "finishing" || pid != before {
		c.Errorf("nova is %q in process %d, want it finishing in %d", got, pid, before)
	}
	c.await("the listener to be closed", func() error {
		for _, r := range c.direct("ctl1", "/v2.1", 1) {
			if r.Failure != load.Refused {
				return fmt.Errorf("answered %d %s", r.Status, r.Failure)
			}
		}
		return nil
	})
	if err := <-answered; err != nil {
		c.Error(err)
	}
	c.await("another process", func() error {
		if got, pid := c.serviceState("ctl1", "nova"); got != "up" || pid == before {
			return fmt.Errorf("nova is %q in process %d", got, pid)
		}
		return nil
	})
}

// pushBack answers 503, and all of it is counted, whichever process it came to.
func (c *cloud) pushBack() {
	before, err := lab.ReadCounts(c.dir, "nova")
	if err != nil {
		c.Fatal(err)
	}
	c.inject(lab.Fault{Kind: "push-back", Node: "ctl1", Service: "nova", Value: "0"})
	c.inject(lab.Fault{Kind: "closes", Node: "ctl1", Service: "nova"})
	for _, r := range c.direct("ctl1", "/v2.1", 4) {
		if r.Status != 503 {
			c.Errorf("answered %d %s", r.Status, r.Failure)
		}
	}
	c.like("push-back, closes")
	c.fault("service-kill", "ctl1", "nova")
	c.fault("service-back", "ctl1", "nova")
	c.answers()
	c.await("the requests of the load, and checks, to be counted", func() error {
		after, err := lab.ReadCounts(c.dir, "nova")
		// Those above, and one that was answered after each of two returns.
		if got := after.Sub(before); err != nil || got.Keyed != 6 || got.Requests < 6 || got.Checks == 0 {
			return fmt.Errorf("seen %+v, %w, want 6 requests of the load, and checks", got, err)
		}
		return nil
	})
}

// refused are faults that cannot be done.
func (c *cloud) refused() {
	for _, bad := range []lab.Fault{
		{Kind: "late", Node: "ctl1", Value: "soon"},
		{Kind: "busy", Node: "ctl1", Value: "8"},
		{Kind: "busy", Node: "ctl1", Service: "database", Value: "8x1s"},
		{Kind: "push-back", Node: "ctl1", Value: "-1"},
		{Kind: "late", Node: "client", Value: "1s"},
		{Kind: "stall", Value: "0s"},
		{Kind: "stall", Value: "1s", Service: "swift"},
		{Kind: "service-stall", Node: "ctl1", Value: "x"},
	} {
		if _, err := lab.Inject(c.Context(), c.dir, bad); err == nil {
			c.Errorf("%+v was done, want an error", bad)
		}
	}
}

// TestWorkersFromTheStart has stand-ins that are as busy as real ones from their
// start on.
func TestWorkersFromTheStart(t *testing.T) {
	c := newCloudOf(t, "workers", crowded, lab.UpOptions{Workers: "1x100ms"})
	for _, r := range c.direct("ctl2", "/v2.1", 1) {
		if r.Failure != "" || r.Took < 100*time.Millisecond {
			t.Errorf("answered %d %s after %v", r.Status, r.Failure, r.Took)
		}
	}
}
