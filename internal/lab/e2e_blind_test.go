package lab_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// said gives the first of the findings in what "holdfast status" prints, on
// one line.
func said(out string) string {
	found := regexp.MustCompile(`(?m)^(?:ERROR|warning|info) .*\n(?: {9}.*\n)*`).FindString(out)
	return flat(found)
}

// flat gives text, which is folded for 80 columns, on one line.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// held has the VIP be at a controller.
func (c *cloud) held(at string) {
	c.Helper()
	if holder := c.holder(); holder != at {
		c.handOver(holder, at)
	}
}

// TestBlindHolder has the holder reach no service on another node, while adverts,
// agents and clients do get through: it gives the address away by itself, to one
// that reaches them. Nobody gives it back, unless he insists.
func TestBlindHolder(t *testing.T) {
	c := sharedCloud(t)
	names := c.others("")
	first := names[0]
	c.held(first)
	done := c.fault("blind", first)
	c.awaitHolder(names[1:]...)
	t.Logf("the address moved %v after the fault", time.Since(done.Time))
	c.await("every service through the VIP", c.allAnswer)
	t.Logf("every service answered %v after the fault", time.Since(done.Time))
	taker := c.holder()
	if out, _ := c.run(first, "holdfast", "events", "-n", "1000", "--controller", first); !strings.Contains(out, "vip api was handed over from "+first+" to "+taker) ||
		!strings.Contains(out, "HAProxy of "+first+" reaches no host of designate and proxy, and that of "+taker+" does") {
		t.Errorf("the events of %s say nothing of why:\n%s", first, out)
	}
	c.await("status to name the controller first", func() error {
		out, code := c.run(taker, "holdfast", "status")
		if line := said(out); code != 1 || !strings.Contains(line, "controller "+first+": its HAProxy reaches no host of designate, proxy, and ") {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	})

	// Without --to the first of the spec would be the blind one.
	out, code := c.run(taker, "holdfast", "handover")
	if now := c.holder(); code != 0 || now == first || now == taker {
		t.Errorf("handover: exit code %d, %s has the VIP: %s", code, now, out)
	}
	out, code = c.run(taker, "holdfast", "handover", "--to", first)
	if code != 1 || !strings.Contains(out, first+": its HAProxy reaches no host of designate and proxy, and that of ") || !strings.Contains(out, "--force") {
		t.Errorf("handover to the blind one: exit code %d: %s", code, out)
	}
	if out, code = c.run(taker, "holdfast", "handover", "--to", first, "--force"); code != 0 {
		t.Errorf("handover by force: exit code %d: %s", code, out)
	}
	time.Sleep(12 * time.Second) // longer than it takes to give it away
	if now := c.holder(); now != first {
		t.Errorf("%s has the VIP, want %s, where somebody insisted to have it", now, first)
	}
	c.await("status to say what ends it", func() error {
		out, code := c.run(taker, "holdfast", "status")
		if line := said(out); code != 1 || !strings.Contains(line, "so clients get errors; holdfast handover --to ") {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	})
}

// TestStatusOfPartition asks for the status on both sides of a partition.
func TestStatusOfPartition(t *testing.T) {
	c := sharedCloud(t)
	names := c.others("")
	first := names[0]
	c.partition(first, strings.Join(append([]string{"client", "dns1", "dns2", "proxy1", "proxy2"}, names[1:]...), ","))
	c.await("the side that is alone to say so first", func() error {
		out, code := c.run(first, "holdfast", "status")
		if line := said(out); code != 1 || !strings.Contains(line, "controller "+first+": this controller reaches no other (") || !strings.Contains(line, "may hold VIP api too") {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	})
	c.await("the other side to say that it may hold the address too", func() error {
		out, code := c.run(names[1], "holdfast", "status")
		if code != 1 || !strings.Contains(said(out), "controller "+first+": its agent does not answer: ") || !strings.Contains(said(out), "it may hold VIP api too") {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	})
}
