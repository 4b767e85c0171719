package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	overview "holdfast/internal/cloud"
	"holdfast/internal/lab/load"
	"holdfast/internal/status"
)

// drainSpec is of three controllers and a service of each affinity.
const drainSpec = three + `
  horizon: {affinity: cookie}
  glance: {affinity: none}
`

// drainClients is from how many addresses the services are asked.
const drainClients = 60

// A drainCloud is a lab in which controllers are drained.
type drainCloud struct{ *cloud }

func newDrainCloud(t *testing.T, name string) *drainCloud {
	t.Helper()
	c := &drainCloud{newCloud(t, name, drainSpec)}
	c.await("a whole lab", c.whole)
	c.await("every HAProxy to find all up", func() error { return c.everyHost(func(string) status.ServiceState { return status.Up }) })
	return c
}

// must runs holdfast on a controller and gives what it printed; it fails the
// test unless that ends with code.
func (c *drainCloud) must(code int, node string, args ...string) string {
	c.Helper()
	out, got := c.run(node, append([]string{"holdfast"}, args...)...)
	if got != code {
		c.Fatalf("holdfast %s on %s: exit code %d, want %d:\n%s", strings.Join(args, " "), node, got, code, out)
	}
	return out
}

// A runningLoad is a load that goes on while something is done.
type runningLoad struct {
	c    *drainCloud
	done chan []load.Record
	err  chan error
}

// begin loads keystone and glance, for as long as done does, and a little more.
func (c *drainCloud) begin(duration time.Duration) *runningLoad {
	l := &runningLoad{c, make(chan []load.Record, 1), make(chan error, 1)}
	go func() {
		records, err := c.tryLoad("--rate", "300", "--duration", duration.String(), "--clients", fmt.Sprint(drainClients), "--connections", "mixed",
			"--url", "keystone=http://api.example.org:5000/v3", "--url", "glance=http://api.example.org:9292/")
		l.done <- records
		l.err <- err
	}()
	return l
}

// end gives the records, in the order in which requests were due. None failed.
func (l *runningLoad) end() []load.Record {
	l.c.Helper()
	records := <-l.done
	if err := <-l.err; err != nil {
		l.c.Fatal(err)
	}
	l.c.noneFailed(records)
	slices.SortStableFunc(records, func(a, b load.Record) int { return a.Due.Compare(b.Due) })
	return records
}

// everyHost says which controllers see a host of a service in another state than want.
func (c *drainCloud) everyHost(want func(host string) status.ServiceState) error {
	var all overview.Cloud
	out, _ := c.run("ctl1", "holdfast", "status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var wrong []string
	for _, cc := range all.Controllers {
		if cc.Snapshot == nil {
			wrong = append(wrong, cc.Name+" does not answer")
			continue
		}
		for _, s := range cc.Snapshot.Services {
			for _, h := range s.Hosts {
				if h.State != want(h.Name) {
					wrong = append(wrong, fmt.Sprintf("%s has %s on %s as %s", cc.Name, s.Name, h.Name, h.State))
				}
			}
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// seesDrained says which controllers do not see node drained, and all others up.
func (c *drainCloud) seesDrained(node string) error {
	return c.everyHost(func(host string) status.ServiceState {
		if host == node {
			return status.Drain
		}
		return status.Up
	})
}

// cookieClient asks horizon with the cookie that it has been given.
type cookieClient struct {
	c   *drainCloud
	jar string
}

func (c *drainCloud) cookieClient() *cookieClient {
	return &cookieClient{c, filepath.Join(c.TempDir(), "jar")}
}

// ask gives the host that answers, and whether that came with a new cookie.
func (k *cookieClient) ask() (host string, fresh bool) {
	k.c.Helper()
	before, _ := os.ReadFile(k.jar)
	out, code := k.c.run("client", "curl", "-sS", "-m", "5", "-o", "/dev/null", "-b", k.jar, "-c", k.jar, "-w", "%{http_code} %header{x-served-by} %header{set-cookie}", "http://api.example.org/")
	fields := strings.Fields(out)
	if code != 0 || len(fields) < 2 || fields[0] >= "400" {
		k.c.Fatalf("horizon: exit code %d, %s", code, out)
	}
	if len(fields) == 2 && len(before) == 0 {
		k.c.Fatalf("horizon gave no cookie: %s", out)
	}
	return fields[1], len(fields) > 2
}

// cookieOf gives a client whose cookie leads to host.
func (c *drainCloud) cookieOf(host string) *cookieClient {
	c.Helper()
	for range 30 {
		k := c.cookieClient()
		if got, _ := k.ask(); got == host {
			return k
		}
	}
	c.Fatalf("horizon on %s answers nobody", host)
	return nil
}

// slowly has a client that host answers ask keystone for an answer that takes
// so many seconds, and gives what becomes of it.
func (c *drainCloud) slowly(host string, seconds int) <-chan string {
	c.Helper()
	for _, r := range c.load("--rate", "300", "--duration", "400ms", "--clients", fmt.Sprint(drainClients), "--connections", "new", "--url", "keystone=http://api.example.org:5000/v3") {
		if r.Host != host || r.Failure != "" {
			continue
		}
		done := make(chan string, 1)
		go func() {
			out, code := c.run("client", "curl", "-sS", "-m", "30", "-o", "/dev/null", "--interface", r.Client,
				"-w", "%{http_code} %header{x-served-by}", fmt.Sprintf("http://api.example.org:5000/slow?s=%d", seconds))
			done <- fmt.Sprintf("%d %s", code, out)
		}()
		return done
	}
	c.Fatalf("keystone on %s answers nobody", host)
	return nil
}

// TestDrain drains a controller that does not hold the VIP, and then the one
// that does, under load: no request fails, one that takes long finishes, and
// clients with an affinity move once and come back.
func TestDrain(t *testing.T) {
	c := newDrainCloud(t, "drain")
	needCurl(t)
	c.drainUnderLoad(c.others(c.holder())[0])
	holder := c.holder()
	c.drainUnderLoad(holder)
	if c.holder() == holder {
		t.Errorf("%s holds the VIP still, or again", holder)
	}
}

func (c *drainCloud) drainUnderLoad(node string) {
	c.Helper()
	asker := c.others(node)[1]
	cookie := c.cookieOf(node)
	slow := c.slowly(node, 4)
	l := c.begin(14 * time.Second)
	time.Sleep(time.Second) // of how it was before
	c.must(0, asker, "drain", node, "--wait", "--reason", "a test")
	drained := time.Now()
	select {
	case got := <-slow:
		if want := "0 200 " + node; got != want {
			c.Errorf("a request that ran on %s: %q, want %q", node, got, want)
		}
	default:
		c.Errorf("--wait did not wait for a request that runs on %s", node)
	}
	if err := c.seesDrained(node); err != nil {
		c.Error(err)
	}
	if out := flat(c.must(0, node, "status")); !strings.Contains(out, "controller "+node+": drained") || !strings.Contains(out, ": a test; holdfast undrain "+node+" when done") {
		c.Errorf("status does not tell of the drain:\n%s", out)
	}
	moved, fresh := cookie.ask()
	if again, _ := cookie.ask(); moved == node || !fresh || again != moved {
		c.Errorf("a client with a cookie of %s went to %s (new cookie: %v) and then to %s", node, moved, fresh, again)
	}
	undrained := time.Now() // before the command, which returns after HAProxys know
	c.must(0, asker, "undrain", node)
	c.await("no drain", c.well)
	c.checkMoves(l.end(), node, drained, undrained)
	if back, _ := cookie.ask(); back != moved {
		c.Errorf("a client whose cookie was of %s, and then of %s, moved once more, to %s", node, moved, back)
	}
}

// checkMoves checks that node got no request between two moments, and that each
// client of keystone moved at most once there and once back to where it was.
func (c *drainCloud) checkMoves(records []load.Record, node string, from, to time.Time) {
	c.Helper()
	way, when := map[string][]string{}, map[string][]string{}
	for _, r := range records {
		if r.Due.After(from) && r.Due.Before(to) && r.Host == node {
			c.Errorf("%s: %s was answered by %s, %v after it was drained", r.Due.Format("15:04:05.000"), r.Target, node, r.Due.Sub(from))
		}
		hosts := way[r.Client]
		if r.Target == "keystone" && (len(hosts) == 0 || hosts[len(hosts)-1] != r.Host) {
			way[r.Client] = append(hosts, r.Host)
			when[r.Client] = append(when[r.Client], fmt.Sprintf("%s at %s after %v", r.Host, r.Due.Format("15:04:05.000"), r.Took))
		}
	}
	came := 0
	for client, hosts := range way {
		switch {
		case len(hosts) == 1 && hosts[0] != node:
		case len(hosts) == 3 && hosts[0] == node && hosts[2] == node:
			came++
		default:
			c.Errorf("client %s went to %s (drained at %s, undrained at %s)", client, strings.Join(when[client], ", "), from.Format("15:04:05.000"), to.Format("15:04:05.000"))
		}
	}
	if came == 0 {
		c.Errorf("of %d clients none was on %s and came back", len(way), node)
	}
	c.Logf("%s: %d of %d clients moved and came back", node, came, len(way))
}

// TestDrainStays restarts all there is while a controller is drained, and lets
// a drain end by itself.
func TestDrainStays(t *testing.T) {
	c := newDrainCloud(t, "drainstays")
	node := c.others(c.holder())[0]
	other := c.others(node)[0]
	c.must(0, node, "drain", node, "--wait")
	for _, kind := range []string{"agent-kill", "haproxy-kill", "agent-reload", "power-off"} {
		c.fault(kind, node)
		if kind == "power-off" {
			c.fault("back", node)
		}
		c.await("the drain after "+kind+" there", func() error { return c.seesDrained(node) })
	}
	c.fault("haproxy-kill", other)
	c.await("the drain after another HAProxy was killed", func() error { return c.seesDrained(node) })
	c.fault("service-kill", node)
	c.await("the drain when the services are stopped", func() error { return c.seesDrained(node) })
	c.await("a cloud that is well all the same", c.well)
	c.fault("service-back", node)
	if err := c.noneFrom(node); err != nil {
		t.Error(err)
	}
	c.must(0, other, "drain", node, "--for", "3s")
	c.await("its end by itself", func() error {
		if c.seesDrained(node) == nil {
			return errors.New("it is drained still")
		}
		return nil
	})
	if out := c.must(0, node, "events"); !strings.Contains(out, node+" is drained no more, took ") || !strings.Contains(out, "cause: its time was over") {
		t.Errorf("the journal does not tell of its end:\n%s", out)
	}
	if out := c.must(0, other, "undrain", node); out != "nothing is drained on "+node+"\n" {
		t.Errorf("to undrain what is not drained: %q", out)
	}
}

// TestDrainRefused drains more than there may be, at the same moment too.
func TestDrainRefused(t *testing.T) {
	c := newDrainCloud(t, "drainrefused")
	c.must(0, "ctl1", "drain", "ctl2", "--service", "glance")
	c.must(0, "ctl1", "drain", "ctl3", "--service", "glance", "--service", "keystone")
	out := c.must(1, "ctl3", "drain", "ctl1", "--service", "keystone,glance,horizon")
	if want := "keystone, glance and horizon on ctl1 are not drained: glance would be left without a host: ctl2 is drained, ctl3 is drained; mend"; !strings.Contains(out, want) {
		t.Errorf("%s, want %s", out, want)
	}
	if out := c.must(1, "ctl2", "drain", "ctl1"); !strings.Contains(out, "ctl1 is not drained: glance would be left") {
		t.Error(out)
	}
	c.must(0, "ctl1", "undrain", "ctl2")
	c.must(0, "ctl1", "undrain", "ctl3")
	c.must(0, "ctl3", "drain", "ctl3", "--wait")

	// Of the two that are left one may be drained, whoever asks for it at the same moment.
	type answer struct {
		out  string
		code int
	}
	answers := make(chan answer, 2)
	for _, node := range []string{"ctl1", "ctl2"} {
		go func() {
			out, code := c.run(node, "holdfast", "drain", node)
			answers <- answer{out, code}
		}()
	}
	refused := 0
	for range 2 {
		if a := <-answers; a.code == 1 {
			refused++
			if !strings.Contains(a.out, "is not drained: ") || !strings.Contains(a.out, "ctl3 is drained") || !strings.Contains(a.out, "--force") {
				t.Errorf("refused: %s", a.out)
			}
		}
	}
	if refused == 0 {
		t.Error("both of the last two controllers were drained at the same moment")
	}
	for _, node := range []string{"ctl1", "ctl2"} {
		c.must(0, "ctl1", "undrain", node)
	}
	c.must(0, "ctl1", "undrain", "ctl3", "--wait")

	// An agent that does not answer cannot drain anything.
	c.fault("agent-stop", "ctl2")
	if out := c.must(1, "ctl1", "drain", "ctl2"); !strings.Contains(out, "the agent of ctl2 does not answer at 10.64.20.14:9471: connection refused; only that agent") {
		t.Error(out)
	}
	c.fault("back", "ctl2")
	c.await("a whole lab", c.whole)

	c.must(0, "ctl1", "drain", "ctl2")
	if out := c.must(0, "ctl1", "drain", "ctl1", "--force", "--service", "keystone"); strings.Contains(out, "by force") {
		t.Errorf("ctl3 is there still: %s", out)
	}
	out = c.must(0, "ctl3", "drain", "ctl3", "--force", "--service", "keystone")
	if !strings.Contains(out, "by force: keystone would be left without a host: ctl1 is drained, ctl2 is drained") {
		t.Errorf("a drain by force does not say what it costs: %s", out)
	}
}

// TestDrainedIsLast drains the controller that is preferred to all others: it
// takes the VIP only when nobody else can, and hands it over when somebody can again.
func TestDrainedIsLast(t *testing.T) {
	c := newDrainCloud(t, "drainlast")
	c.must(0, "ctl2", "drain", "ctl1", "--wait")
	first := c.holder()
	second := "ctl2"
	if first == second {
		second = "ctl3"
	}
	c.fault("power-off", first)
	c.awaitHolder(second)
	c.fault("power-off", second)
	c.awaitHolder("ctl1")
	c.must(0, "ctl1", "undrain", "ctl1", "--reason", "to see that it answers")
	c.await("every service from ctl1 alone", c.allAnswer)
	c.must(1, "ctl1", "drain", "ctl1")
	out := c.must(0, "ctl1", "drain", "ctl1", "--force")
	if !strings.Contains(out, "by force: keystone, horizon and glance would be left without a host") || !strings.Contains(out, "vip api stays on ctl1: ") {
		t.Errorf("the only controller there is was drained, and it says: %s", out)
	}
	c.fault("back", second)
	c.awaitHolder(second)
	c.fault("back", first)
	c.await("a whole lab", c.whole)
	c.await("only ctl1 to be drained", func() error { return c.seesDrained("ctl1") })
	if got := c.holder(); got != second {
		t.Errorf("%s holds the VIP, want %s", got, second)
	}
	if events := c.must(0, "ctl1", "events"); !strings.Contains(events, "; cause: to see that it answers") {
		t.Errorf("the journal does not tell why the drain ended:\n%s", events)
	}
}
