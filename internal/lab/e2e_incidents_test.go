package lab_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// An incident is one as "holdfast events --incidents -o json" has it.
type incident struct {
	ID, Kind, State, Subject, Text, By string
	Planned                            bool
	Begin                              time.Time
	Duration                           time.Duration `json:"duration_ns"`
	Events                             []struct{ Controller, Text string }
}

// incidents gives those since a time as a node is told them.
func (c *cloud) incidents(node string, since time.Time) ([]incident, error) {
	out, code := c.run(node, "holdfast", "events", "--incidents", "-o", "json", "--since", since.UTC().Format(time.RFC3339))
	if code != 0 {
		return nil, fmt.Errorf("exit code %d: %s", code, out)
	}
	var answer struct{ Incidents []incident }
	_, object, _ := strings.Cut(out, "{") // what goes to stderr comes first
	if err := json.NewDecoder(strings.NewReader("{" + object)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%w in %s", err, out)
	}
	return answer.Incidents, nil
}

// one waits until there is one incident since a time, of a kind, in a state.
func (c *cloud) one(node string, since time.Time, kind, state string) (found incident) {
	c.Helper()
	c.await("one incident, "+kind+", "+state, func() error {
		all, err := c.incidents(node, since)
		if err != nil {
			return err
		}
		if len(all) != 1 || all[0].Kind != kind || all[0].State != state {
			return fmt.Errorf("there are %+v", all)
		}
		found = all[0]
		return nil
	})
	return found
}

// TestIncidents has each of some faults be one incident, that begins, says what it is, and
// ends, on every controller alike.
func TestIncidents(t *testing.T) {
	c := newCloud(t, "incidents", upgradable) // of its own: it moves the VIP more than a fabric likes
	c.await("every HAProxy to have checked every host", c.well)
	lost := c.holder()
	others := c.others(lost)
	pause := func() time.Time { // so that what comes is another incident
		time.Sleep(3 * time.Second)
		return time.Now().Truncate(time.Second)
	}

	since := pause()
	c.fault("power-off", lost)
	open := c.one(others[0], since, "host-lost", "open")
	if open.Subject != "controller "+lost || !strings.Contains(open.Text, lost+" is lost; vip api moved from "+lost+" to ") {
		t.Errorf("the loss of %s is %+v", lost, open)
	}
	if other := c.one(others[1], since, "host-lost", "open"); other.ID != open.ID {
		t.Errorf("%s calls it %s, and %s %s", others[0], open.ID, others[1], other.ID)
	}
	c.fault("back", lost)
	over := c.one(lost, since, "host-lost", "over")
	if over.ID != open.ID || over.Duration < open.Duration {
		t.Errorf("it was %s for %v, and is over as %s after %v", open.ID, open.Duration, over.ID, over.Duration)
	}
	c.await("a whole lab again", c.whole)
	c.await("holdfast to call the lab well", c.well)

	since = pause()
	holder := c.holder()
	c.fault("haproxy-kill", holder)
	if is := c.one(lost, since, "haproxy-lost", "over"); is.Subject != "haproxy on "+holder || is.Planned {
		t.Errorf("the death of HAProxy is %+v", is)
	}
	c.await("holdfast to call the lab well", c.well)

	since = pause()
	victim := c.holder()
	if out, code := c.run(lost, "holdfast", "drain", victim, "--reason", "a test"); code != 0 {
		t.Fatalf("drain: exit code %d: %s", code, out)
	}
	if is := c.one(victim, since, "drain", "open"); !is.Planned || is.By != "root on "+lost {
		t.Errorf("the drain is %+v", is)
	}
	if out, code := c.run(lost, "holdfast", "undrain", victim); code != 0 {
		t.Fatalf("undrain: exit code %d: %s", code, out)
	}
	c.one(victim, since, "drain", "over")
}
