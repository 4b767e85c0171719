package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
	"holdfast/internal/status"
)

// atWork is a spec of three controllers with a service each of whose hosts does
// 40 requests a second: 4 workers, 100 ms a request, checks among them.
const (
	atWork  = three + "  nova: {}\n"
	workers = "4x100ms"
	could   = 120 // requests a second, of all three hosts
)

// nova sends GETs to nova through the VIP from a dozen addresses.
func (c *cloud) nova(rate int, d time.Duration) []load.Record {
	c.Helper()
	return c.load("--url", "nova=http://api.example.org:8774/v2.1", "--connections", "new", "--clients", "12",
		"--rate", fmt.Sprint(rate), "--duration", d.String(), "--timeout", "30s")
}

// served wants every request to have been answered well.
func (c *cloud) allServed(records []load.Record) {
	c.Helper()
	failed := map[string]int{}
	for _, r := range records {
		if r.Failure != "" {
			failed[fmt.Sprintf("%s %d %s", r.Failure, r.Status, r.Error)]++
		}
	}
	if len(failed) > 0 || len(records) == 0 {
		c.Errorf("of %d requests failed %v", len(records), failed)
	}
}

// nobodyOut wants that no controller has taken a host for dead, nor cut anything.
func (c *cloud) nobodyOut() {
	c.Helper()
	for _, name := range c.others("") {
		out, _ := c.run(name, "holdfast", "events", "-n", "1000", "--controller", name)
		for line := range strings.Lines(out) {
			for _, word := range []string{"to down", "took nova", "took keystone", "cut "} {
				if strings.Contains(line, word) {
					c.Errorf("%s: %s", name, line)
				}
			}
		}
	}
}

// novaIs gives the conditions of the hosts of nova, as the holder sees them.
func (c *cloud) novaIs() (service status.Service, conditions map[string]status.Condition) {
	c.Helper()
	conditions = map[string]status.Condition{}
	for _, s := range c.snapshot(c.holder()).Services {
		if s.Name == "nova" {
			service = s
			for _, h := range s.Hosts {
				conditions[h.Name] = h.Condition
			}
		}
	}
	return service, conditions
}

// TestBusyIsNotDead has a service with more to do than it can: its checks wait
// in the same queue, and are late, and it serves everybody. Then all its hosts
// stand still together for 3 s, as when a database does.
func TestBusyIsNotDead(t *testing.T) {
	c := newCloudOf(t, "notdead", atWork, lab.UpOptions{Workers: workers})
	t.Run("overload", func(t *testing.T) {
		c := &cloud{t, c.dir, c.binary}
		c.allServed(c.nova(could*14/10, 6*time.Second))
		late := false
		for _, name := range c.others("") {
			out, _ := c.run(name, "holdfast", "events", "-n", "1000", "--controller", name)
			late = late || strings.Contains(out, "nova") && strings.Contains(out, "is late; it stays in use")
		}
		if !late {
			t.Error("no event says that a host was late; the test proves nothing")
		}
		c.nobodyOut()
	})
	t.Run("standstill", func(t *testing.T) {
		c := &cloud{t, c.dir, c.binary}
		c.inject(lab.Fault{Kind: "stall", Value: "3s", Service: "nova"})
		c.allServed(c.nova(could/4, 2*time.Second))
		c.nobodyOut()
	})
	t.Run("back to well", func(t *testing.T) {
		c := &cloud{t, c.dir, c.binary}
		c.await("every host to be well", func() error {
			if s, is := c.novaIs(); s.State != status.Up || is["ctl1"] != status.Well || is["ctl2"] != status.Well || is["ctl3"] != status.Well {
				return fmt.Errorf("nova is %s: %v", s.State, is)
			}
			return nil
		})
	})
}

// TestGracefulRestartKeepsUploads ends a host gracefully while uploads run on:
// its check is refused, and nothing is cut.
func TestGracefulRestartKeepsUploads(t *testing.T) {
	c := newCloud(t, "graceful", three+"  nova: {}\n")
	uploads := make(chan error, 1)
	go func() {
		records, err := c.tryLoad("--url", "nova=http://api.example.org:8774/v2.1", "--clients", "12",
			"--uploads", "12", "--upload-time", "4s", "--rate", "20", "--duration", "5s", "--timeout", "30s")
		n := 0
		for _, r := range records {
			if r.Kind == load.Upload {
				n++
			}
			if r.Failure != "" {
				err = fmt.Errorf("%s ended with %d %s %s", r.Method, r.Status, r.Failure, r.Error)
			}
		}
		if err == nil && n < 12 {
			err = fmt.Errorf("%d uploads", n)
		}
		uploads <- err
	}()
	time.Sleep(time.Second) // they are under way
	c.inject(lab.Fault{Kind: "graceful-restart", Node: "ctl1", Service: "nova"})
	if err := <-uploads; err != nil {
		t.Error(err)
	}
	for _, name := range c.others("") {
		if out, _ := c.run(name, "holdfast", "events", "-n", "1000", "--controller", name); strings.Contains(out, "cut ") {
			t.Errorf("%s cut something:\n%s", name, out)
		}
	}
}

// TestLastResort has every host of a service fail its check: those that accept a
// connection are asked all the same, and status says so. When all refuse, a
// client is told to come again.
func TestLastResort(t *testing.T) {
	c := newCloud(t, "lastresort", three+"  nova: {}\n")
	for _, node := range c.others("") {
		c.fault("service-errors", node, "nova")
	}
	c.await("nova to be served by hosts of last resort", func() error {
		if s, is := c.novaIs(); !s.LastResort || s.State != status.Degraded || is["ctl1"] != status.Failing {
			return fmt.Errorf("%+v, %v", s, is)
		}
		return nil
	})
	ask := func() string {
		out, _ := c.run("client", "curl", "-si", "http://api.example.org:8774/v2.1")
		return strings.ToLower(out)
	}
	if out := ask(); !strings.Contains(out, "x-served-by: ctl") {
		t.Errorf("no host was asked: %s", out)
	}
	if out, code := c.run("ctl1", "holdfast", "status"); code != 1 || !strings.Contains(flat(out), "no host passes its check; those that accept a connection serve all the same") {
		t.Errorf("status, exit code %d:\n%s", code, out)
	}
	for _, node := range c.others("") {
		c.fault("service-kill", node, "nova")
	}
	c.await("a client to be told to come again", func() error {
		if out := ask(); !strings.Contains(out, " 503 ") || !strings.Contains(out, "retry-after: 5") || !strings.Contains(out, "no host of nova") {
			return fmt.Errorf("answered %s", out)
		}
		return nil
	})
}
