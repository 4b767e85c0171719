package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab/load"
	"holdfast/internal/status"
)

// TestProposal asks each of the proposal's six services by the VIP's name, as
// a client without any of our own code.
func TestProposal(t *testing.T) {
	c := sharedCloud(t)
	needCurl(t)
	endpoints := c.status().Endpoints
	if len(endpoints) != 6 {
		t.Fatalf("the proposal has 6 services, the lab %d: %v", len(endpoints), endpoints)
	}
	for _, e := range endpoints {
		out, code := c.run("client", "curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code} %header{x-service} %header{x-served-by}", e.URL)
		fields := strings.Fields(out)
		if code != 0 || len(fields) != 3 || fields[0] >= "400" || fields[1] != e.Name {
			t.Errorf("curl %s: exit code %d, %s", e.URL, code, out)
			continue
		}
		if own := fields[2]; e.Name == "designate" && !strings.HasPrefix(own, "dns") || e.Name == "proxy" && !strings.HasPrefix(own, "proxy") {
			t.Errorf("%s was answered by %s, want a host of its own", e.Name, own)
		}
	}
}

func needCurl(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed (make test installs it)")
	}
}

// TestEachControllerAlone powers off any two of the three controllers (R2).
func TestEachControllerAlone(t *testing.T) {
	c := sharedCloud(t)
	controllers := c.others("")
	for _, last := range controllers {
		for _, off := range c.others(last) {
			c.fault("power-off", off)
		}
		c.awaitHolder(last)
		c.await("every service from "+last+" alone", c.allAnswer)
		for _, r := range c.load("--rate", "120", "--duration", "500ms", "--clients", "20", "--connections", "new") {
			own := r.Target == "designate" || r.Target == "proxy"
			if r.Failure != "" || !own && r.Host != last {
				t.Errorf("%s alone: %s was answered by %q, %s", last, r.Target, r.Host, r.Error)
			}
		}
		c.heal()
	}
}

// clientCount is how many client addresses affinity is shown for.
const clientCount = 200

// affinity maps each service and client address to the host that answered.
type affinity map[string]string

// who loads every service from every client until each pair was answered often
// enough by one host, while no host went up or down: a busy machine can make a
// check late, and then clients rightly move. A request that its host left
// unanswered is rightly answered by another one, too, but not twice in a row
// for the same pair: that fails the test. Requests that fail are no business of
// affinity's.
func (c *cloud) who(times int) affinity {
	c.Helper()
	astray := map[string]string{} // in the measurement before
	for range 8 {
		begin := time.Now()
		hosts, wrong := c.ask(times)
		if moved := c.changedSince(begin); moved != "" {
			c.Logf("once more: %s", moved)
			continue
		}
		if len(wrong) == 0 {
			return hosts
		}
		for key, what := range wrong {
			c.Logf("once more: %s %s", key, what)
			if before, again := astray[key]; again {
				c.Errorf("%s %s, and before %s", key, what, before)
			}
		}
		astray = wrong
	}
	c.Skip("this machine is too busy: hosts went up and down in each of eight rounds")
	return nil
}

// ask is one measurement: who answered each pair, and which pairs were
// answered by two.
func (c *cloud) ask(times int) (hosts affinity, wrong map[string]string) {
	c.Helper()
	pairs := len(c.status().Endpoints) * clientCount
	hosts, wrong = affinity{}, map[string]string{}
	counts := map[string]int{}
	for round := 0; round < 5*times && !answered(counts, pairs, times); round++ {
		for _, r := range c.load("--rate", "400", "--duration", fmt.Sprintf("%dms", pairs*1000/400+5),
			"--clients", fmt.Sprint(clientCount), "--connections", "new") {
			if r.Failure != "" {
				continue
			}
			key := r.Target + " " + r.Client
			if before, ok := hosts[key]; ok && before != r.Host {
				wrong[key] = fmt.Sprintf("was answered by %s and, in %v, by %s", before, r.Took, r.Host)
			}
			hosts[key] = r.Host
			counts[key]++
		}
	}
	if !answered(counts, pairs, times) {
		c.Fatalf("of %d pairs of a service and a client %d had an answer", pairs, len(counts))
	}
	return hosts, wrong
}

// answered reports whether every pair has had its answers.
func answered(counts map[string]int, pairs, times int) bool {
	if len(counts) < pairs {
		return false
	}
	for _, n := range counts {
		if n < times {
			return false
		}
	}
	return true
}

// changedSince names a host of a service that some controller saw go up or
// down since begin.
func (c *cloud) changedSince(begin time.Time) string {
	c.Helper()
	for _, name := range c.others("") {
		out, code := c.run("client", "curl", "-sS", "-m", "5", "http://"+name+":9470/status")
		var s status.Snapshot
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 {
			continue // its agent is stopped, so it does not hold the VIP
		}
		for _, service := range s.Services {
			for _, h := range service.Hosts {
				if h.Since.After(begin) {
					return fmt.Sprintf("%s on %s is %s for %s", service.Name, h.Name, h.State, name)
				}
			}
		}
	}
	return ""
}

// TestAffinity follows 200 clients (R4): each stays with one host, also when
// the VIP moves; when a host is lost only its own clients move.
func TestAffinity(t *testing.T) {
	c := sharedCloud(t)
	needCurl(t)
	first := c.who(2)
	checkSpread(t, first)

	giver := c.holder()
	c.fault("agent-stop", giver)
	c.awaitHolder(c.others(giver)...)
	c.await("answers after the move", c.allAnswer)
	checkSame(t, "after the VIP moved", first, c.who(2))

	lost := c.others(giver)[0]
	c.fault("service-kill", lost)
	c.await("the lost host's services to be down", func() error { return c.noneFrom(lost) })
	for key, host := range c.who(2) {
		if host == lost {
			t.Errorf("with %s lost, %s was still answered by it", lost, key)
		}
		if first[key] != lost && first[key] != host {
			t.Errorf("with %s lost, %s moved from %s to %s", lost, key, first[key], host)
		}
	}

	c.heal()
	checkSame(t, "after all was back", first, c.who(2))
}

func checkSame(t *testing.T, when string, before, after affinity) {
	t.Helper()
	for key, host := range after {
		if before[key] != host {
			t.Errorf("%s: %s went from %s to %s", when, key, before[key], host)
		}
	}
}

// checkSpread wants every host to have a fair part of the clients.
func checkSpread(t *testing.T, hosts affinity) {
	t.Helper()
	counts := map[string]map[string]int{}
	for key, host := range hosts {
		service, _, _ := strings.Cut(key, " ")
		if counts[service] == nil {
			counts[service] = map[string]int{}
		}
		counts[service][host]++
	}
	for service, by := range counts {
		if len(by) < 2 {
			t.Errorf("%s: all clients went to one host: %v", service, by)
		}
		for host, n := range by {
			if n < clientCount/len(by)/3 {
				t.Errorf("%s: %s has %d of %d clients: %v", service, host, n, clientCount, by)
			}
		}
	}
}

// noneFrom says whether host still answers anything.
func (c *cloud) noneFrom(host string) error {
	records, err := c.tryLoad("--rate", "300", "--duration", "400ms", "--clients", "50", "--connections", "new")
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Host == host {
			return fmt.Errorf("%s answered by %q, %s", r.Target, r.Host, r.Error)
		}
	}
	return nil
}

// TestEveryFaultHeals injects each fault and waits until every service answers
// again, with nobody's hand where holdfast promises that, and until all is
// whole after the fault is taken back.
func TestEveryFaultHeals(t *testing.T) {
	c := sharedCloud(t)
	for _, kind := range []string{
		"service-kill", "service-hang", "service-errors", "haproxy-kill", "haproxy-hang",
		"agent-kill", "agent-hang", "agent-stop", "agent-reload", "unplug", "power-off",
	} {
		// By its name: after a short hang of its agent the address may change
		// hands between two questions for its holder.
		holder := c.holder()
		c.fault(kind, holder)
		switch kind {
		case "haproxy-hang", "agent-stop", "unplug", "power-off":
			c.await("another holder after "+kind, func() error {
				if holders := c.status().VIPs[0].Holders; !slices.ContainsFunc(holders, func(h string) bool { return h != holder }) {
					return fmt.Errorf("holders %v", holders)
				}
				return nil
			})
		}
		c.await("every service after "+kind, c.allAnswer)
		c.fault("back", holder)
		c.await("a whole lab after "+kind, c.whole)
	}
}

// TestPartition cuts the holder off, with the clients on the other side, and
// then lets both sides see each other again.
func TestPartition(t *testing.T) {
	c := sharedCloud(t)
	holder := c.holder()
	rest := []string{"client", "dns1", "dns2", "proxy1", "proxy2"}
	c.partition(holder, strings.Join(append(rest, c.others(holder)...), ","))
	c.await("a second holder", func() error {
		if n := len(c.status().VIPs[0].Holders); n != 2 {
			return fmt.Errorf("%d holders", n)
		}
		return nil
	})
	c.await("every service on the clients' side", c.allAnswer)
	if out, code := c.run("client", "curl", "-s", "-m", "1", "http://"+holder+":5000/"); code == 0 {
		t.Errorf("the client reached %s through the partition: %s", holder, out)
	}
	c.fault("heal", "")
	c.await("one holder again", c.whole)
	c.await("every service after the partition", c.allAnswer)
}

// TestNoPostTwice loads the services with POST requests, each with a key of its
// own, while they and HAProxy are broken, and counts at the services how often
// each key arrived.
func TestNoPostTwice(t *testing.T) {
	c := sharedCloud(t)
	needCurl(t)
	done := make(chan []load.Record, 1)
	failed := make(chan error, 1)
	go func() {
		records, err := c.tryLoad("--method", "POST", "--body", "2000", "--rate", "150", "--duration", "6s", "--clients", "30", "--timeout", "8s")
		done <- records
		failed <- err
	}()
	holder := c.holder()
	for _, kind := range []string{"service-errors", "service-hang", "service-back", "haproxy-kill"} {
		c.fault(kind, holder)
		c.await("an answer after "+kind, c.allAnswer)
	}
	records := <-done
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	seen := c.seen()
	for _, r := range records {
		if n := seen[r.Key]; n > 1 {
			t.Errorf("a POST to %s, which ended as %d %s, arrived %d times", r.Target, r.Status, r.Failure, n)
		} else if r.Status == 201 && n != 1 {
			t.Errorf("a POST to %s was answered, and arrived %d times", r.Target, n)
		}
	}
	if len(records) != 900 {
		t.Errorf("%d requests, want 900", len(records))
	}
}

// seen asks every host of every service which keys arrived how often.
func (c *cloud) seen() map[string]int {
	c.Helper()
	ports := map[string]string{}
	for _, e := range c.status().Endpoints {
		rest := strings.TrimPrefix(e.URL, "http://")
		hostPort, _, _ := strings.Cut(rest, "/")
		_, ports[e.Name], _ = strings.Cut(hostPort, ":")
	}
	all := map[string]int{}
	for _, n := range c.status().Nodes {
		for _, s := range n.Services {
			url := fmt.Sprintf("http://%s:%s/seen/", n.Name, ports[s.Name])
			out, code := c.run("client", "curl", "-sS", "-m", "5", url)
			counts := map[string]int{}
			if err := json.Unmarshal([]byte(out), &counts); err != nil || code != 0 {
				c.Fatal(errors.Join(err, fmt.Errorf("%s: exit code %d, %.200s", url, code, out)))
			}
			for key, times := range counts {
				all[key] += times
			}
		}
	}
	return all
}
