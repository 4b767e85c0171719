package health_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/health"
	"holdfast/internal/status"
)

const (
	every     = 100 * time.Millisecond
	checkTime = 500 * time.Millisecond
)

// A model is a host as the agent sees it: it does what a test says, and shows
// counters, sockets and answers to probes that go with that.
type model struct {
	key     health.Key
	reading health.Reading

	rate    float64 // answers a second while it answers
	given   float64
	silent  bool // nothing comes from it
	gone    bool // nor does it accept
	refuses bool
	probeIn time.Duration // how long a probe takes while it answers
	probe   *health.Probe
	heard   time.Time
}

// A cloud is some hosts of one service in virtual time.
type cloud struct {
	t     *testing.T
	start time.Time
	now   time.Time
	judge *health.Judge
	hosts []*model
	look  []health.Key
	log   []string // what was done, with its time
	last  health.Output
}

func newCloud(t *testing.T, names ...string) *cloud {
	start := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	c := &cloud{t: t, start: start, now: start, judge: health.NewJudge()}
	for _, name := range names {
		key := health.Key{Service: "nova", Host: name}
		c.hosts = append(c.hosts, &model{
			key: key, probeIn: 2 * time.Millisecond, heard: start,
			reading: health.Reading{Key: key, InUse: true, Check: health.Passed, Words: "GET /healthcheck answered 200", CheckTime: checkTime},
		})
	}
	return c
}

func (c *cloud) host(name string) *model {
	i := slices.IndexFunc(c.hosts, func(m *model) bool { return m.key.Host == name })
	return c.hosts[i]
}

// read gives the reading of m at now.
func (c *cloud) read(m *model) health.Reading {
	if !m.silent && !m.gone && !m.refuses {
		m.given += m.rate * every.Seconds()
		if m.rate > 0 {
			m.heard = c.now
		}
	}
	if p := m.probe; p != nil && !p.Ended && !m.gone {
		p.Connected = true
		if !m.silent && c.now.Sub(p.Begun) >= m.probeIn {
			p.Ended, p.Answered, p.Took = true, true, max(m.probeIn, time.Millisecond)
		}
	}
	r := m.reading
	r.Answers = uint64(m.given)
	if m.probe != nil {
		p := *m.probe
		r.Probe = &p
	}
	if slices.Contains(c.look, m.key) {
		r.Sockets = &health.Sockets{Waiting: r.InFlight, Longest: c.now.Sub(m.heard), Heard: c.now.Sub(m.heard)}
	}
	return r
}

// run lets the time d pass.
func (c *cloud) run(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(every)
		c.step()
	}
}

func (c *cloud) step() {
	var readings []health.Reading
	for _, m := range c.hosts {
		readings = append(readings, c.read(m))
	}
	out := c.judge.Step(c.now, every, readings)
	c.last, c.look = out, out.Look
	for _, key := range out.TakeOut {
		c.note("out", key)
		m := c.host(key.Host)
		m.reading.InUse, m.reading.Down = false, true
	}
	for _, key := range out.Keep {
		c.note("keep", key)
		c.host(key.Host).reading.Falling = false
	}
	for key := range out.Cut {
		c.note("cut", key)
	}
	for _, key := range out.Ask {
		m := c.host(key.Host)
		m.probe = &health.Probe{Begun: c.now}
		if m.refuses {
			m.probe.Ended, m.probe.Refused = true, true
		}
	}
}

func (c *cloud) note(what string, key health.Key) {
	c.log = append(c.log, fmt.Sprintf("%s %s %v", what, key.Host, c.now.Sub(c.start)))
}

// did gives what was done beginning with what.
func (c *cloud) did(what string) []string {
	return slices.DeleteFunc(slices.Clone(c.log), func(s string) bool { return !strings.HasPrefix(s, what+" ") })
}

func (c *cloud) condition(name string) status.Condition {
	return c.last.Verdicts[health.Key{Service: "nova", Host: name}].Condition
}

// hangs has a host fall silent from now on with requests under way.
func (c *cloud) hangs(name string, inFlight int) *model {
	m := c.host(name)
	m.silent, m.reading.InFlight, m.heard = true, inFlight, c.now
	return m
}

// tookOut fails the test unless one host was taken out, once.
func (c *cloud) tookOut() {
	c.t.Helper()
	if len(c.did("out")) != 1 {
		c.t.Errorf("did %v, want one host taken out", c.log)
	}
}

// want fails the test unless the host's condition is so.
func (c *cloud) want(name string, want status.Condition) {
	c.t.Helper()
	if got := c.condition(name); got != want {
		c.t.Errorf("after %v %s is %q, want %q (%s)", c.now.Sub(c.start), name, got, want, c.last.Verdicts[health.Key{Service: "nova", Host: name}].Evidence)
	}
}

// nothing fails the test if anything of the kind was done.
func (c *cloud) nothing(what string) {
	c.t.Helper()
	if did := c.did(what); len(did) > 0 {
		c.t.Errorf("%s: %v, want none", what, did)
	}
}

// busy has every host answer with requests under way.
func (c *cloud) busy(rate float64, inFlight int) {
	for _, m := range c.hosts {
		m.rate, m.reading.InFlight = rate, inFlight
	}
}

// served has every host answer for a while, and then nobody ask.
func (c *cloud) served(rate float64, inFlight int, d time.Duration) {
	c.busy(rate, inFlight)
	c.run(d)
	c.busy(0, 0)
}

func TestHungUnderLoad(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 1)
	c.run(5 * time.Second)
	c.want("a", status.Well)
	a := c.host("a")
	a.silent, a.reading.InFlight = true, 20
	c.run(time.Second)
	c.want("a", status.Hung)
	c.want("b", status.Well)
	if out := c.did("out"); len(out) != 1 || out[0] > "out a 5.7s" {
		t.Errorf("%v, want a out within 700 ms", out)
	}
	if len(c.did("cut")) == 0 {
		t.Error("no connection was cut")
	}
	a.silent = false
	c.run(2 * time.Second)
	a.reading.InUse, a.reading.Down, a.reading.InFlight = true, false, 1
	c.run(time.Second)
	c.want("a", status.Well)
}

// A request comes alone to a host that hangs: the others are asked, and answer.
func TestHungIdle(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.served(20, 0, time.Second)
	c.run(4 * time.Second)
	a := c.host("a")
	a.silent, a.heard = true, c.now
	c.run(3 * time.Second)
	c.nothing("out") // nothing waits there
	a.reading.InFlight, a.heard = 1, c.now
	c.run(800 * time.Millisecond)
	c.want("a", status.Hung)
	if out := c.did("out"); len(out) != 1 || out[0] > "out a 8.7s" {
		t.Errorf("%v, want a out within 700 ms", out)
	}
}

// A check that waits finds out a host that hangs with nobody asking it, in its
// time: another controller's clients may keep the host busy.
func TestHungByItsCheck(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.run(time.Second)
	a := c.host("a")
	a.silent, a.reading.Checking, a.heard = true, true, c.now
	c.run(4 * time.Second)
	c.want("a", status.Late)
	c.run(8 * time.Second)
	c.want("a", status.Hung)
	c.nothing("out")
	c.run(20 * time.Second)
	c.tookOut()
}

// A host that is switched off accepts nothing, and no crowd explains that.
func TestGoneByItsCheck(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.run(time.Second)
	a := c.host("a")
	a.silent, a.gone, a.reading.Checking, a.heard = true, true, true, c.now
	c.run(1500 * time.Millisecond)
	a.reading.Check, a.reading.Falling = health.Unreachable, true
	c.run(4 * time.Second)
	c.want("a", status.Dead)
	c.tookOut()
}

// The controller without the address sees checks alone, which wait ever longer,
// as those that others serve fill the host's queue; so does the next holder.
func TestBusyBySomebodyElse(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	a := c.host("a")
	for wait := time.Second; wait < 12*time.Second; wait += time.Second {
		a.reading.Checking, a.probeIn = true, wait
		c.run(wait)
		a.reading.Checking, a.reading.CheckTook = false, wait
		c.run(2 * time.Second)
	}
	a.reading.Checking, a.probeIn, a.reading.InFlight = true, 12*time.Second, 40
	c.run(12 * time.Second)
	c.want("a", status.Late)
	c.nothing("out")
	c.nothing("cut")
}

func TestGone(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 1)
	c.run(5 * time.Second)
	a := c.host("a")
	a.silent, a.gone, a.reading.InFlight = true, true, 20
	c.run(time.Second)
	c.want("a", status.Dead)
	if len(c.did("out")) != 1 || len(c.did("cut")) == 0 {
		t.Errorf("did %v", c.log)
	}
}

// Every host answers, each check waits in the queue for longer than its time,
// and HAProxy's own checks give up: none is out, and none is cut.
func TestBusyIsNotDead(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(80, 200)
	for _, m := range c.hosts {
		m.probeIn, m.reading.Checking = 3*time.Second, true
	}
	c.run(3 * time.Second)
	c.want("a", status.Late)
	for range 10 {
		for _, m := range c.hosts {
			m.reading.Falling, m.reading.Check = true, health.Silent
		}
		c.run(2500 * time.Millisecond)
	}
	c.want("b", status.Late)
	c.nothing("out")
	c.nothing("cut")
	if n := len(c.did("keep")); n != 30 {
		t.Errorf("kept %d times, want each of three hosts ten times", n)
	}
	c.busy(20, 1)
	for _, m := range c.hosts {
		m.probeIn, m.reading.Checking, m.reading.Check = time.Millisecond, false, health.Passed
	}
	c.run(5 * time.Second)
	c.want("a", status.Well)
}

// One host has all the load of a single client, and answers every 300 ms.
func TestOneBusyHost(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	a := c.host("a")
	a.rate, a.probeIn = 3, 4*time.Second
	a.reading.InFlight, a.reading.Checking = 15, true
	c.run(30 * time.Second)
	c.want("a", status.Late)
	c.nothing("out")
	c.nothing("cut")
}

// What a host was late before, and is no more, delays no judgement.
func TestHungAfterLate(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.served(20, 0, time.Second)
	a := c.host("a")
	a.reading.Checking = true
	c.run(4 * time.Second)
	a.reading.Checking, a.reading.CheckTook = false, 4*time.Second
	c.run(time.Second)
	a.reading.CheckTook = time.Millisecond
	c.run(time.Second)
	c.hangs("a", 1)
	c.run(time.Second)
	c.want("a", status.Hung)
}

// An overload that is over, however long it made answers take, delays no judgement.
func TestHungAfterOverload(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(80, 300)
	c.run(20 * time.Second)
	c.busy(1, 0)
	c.run(40 * time.Second)
	c.hangs("a", 1)
	c.run(800 * time.Millisecond)
	c.want("a", status.Hung)
}

// A crowd comes after a rest to hosts each of which has threads that share a
// processor: a request takes 300 ms alone, and five together take five times that.
func TestCrowdAfterRest(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	for _, m := range c.hosts {
		for range 10 {
			m.reading.InFlight = 1
			c.run(300 * time.Millisecond)
			m.given, m.heard, m.reading.InFlight = m.given+1, c.now, 0
			c.run(200 * time.Millisecond)
		}
	}
	c.hangs("a", 5)
	c.run(2500 * time.Millisecond)
	c.nothing("out")
	c.run(time.Second)
	if out := c.did("out"); len(out) != 1 {
		t.Errorf("%v, want a out once it took twice as long as five requests take", out)
	}
}

// A crowd comes after a rest, in which requests were easy, and its are hard. One
// host gives its first answer, and then another one, and the third needs no more than
// half as long again.
func TestHardCrowd(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.served(20, 0, 2*time.Second)
	c.run(time.Second)
	for _, m := range c.hosts {
		m.silent, m.heard, m.reading.InFlight = true, c.now, 4
	}
	answer := func(name string, after time.Duration) {
		c.run(after)
		m := c.host(name)
		m.given, m.heard = m.given+1, c.now
	}
	for range 5 {
		answer("b", 400*time.Millisecond)
		answer("c", 100*time.Millisecond)
		c.run(100 * time.Millisecond)
		answer("a", 100*time.Millisecond)
	}
	c.nothing("out")
	for range 15 { // a hangs, and these go on
		answer("b", 300*time.Millisecond)
		answer("c", 100*time.Millisecond)
	}
	c.tookOut()
}

// Nothing is known of a service that was never asked, but that a host of it is
// silent for half a second, as one may be whose threads all have a hard request.
func TestStranger(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.run(time.Second)
	c.hangs("a", 4)
	c.run(1500 * time.Millisecond)
	c.nothing("out")
	c.run(time.Second)
	c.want("a", status.Hung)
}

// A host that is switched off gives no connection: nobody has to know for that
// how long the requests of its service take.
func TestStrangerIsGone(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.run(time.Second)
	c.hangs("a", 1).gone = true
	c.run(800 * time.Millisecond)
	c.want("a", status.Dead)
	c.tookOut()
}

// Threads that share a processor finish together: twelve requests that take two
// seconds each come to an end in bursts, and between these is silence.
func TestBursts(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(40, 1)
	a := c.host("a")
	a.rate, a.probeIn, a.reading.InFlight = 6, time.Hour, 12
	c.run(5 * time.Second)
	a.rate = 0
	for range 20 {
		c.run(2 * time.Second)
		a.given, a.heard = a.given+12, c.now
	}
	c.nothing("out")
}

// All hosts become slow, one a moment after the others: that it answered last
// makes none of them better.
func TestAllSlowOneAfterTheOther(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 1)
	c.run(5 * time.Second)
	for _, m := range c.hosts {
		m.silent, m.reading.InFlight = true, 20
		c.run(every)
	}
	c.run(600 * time.Millisecond)
	c.nothing("out")
}

// An overload is over, and nobody asked since. A request comes to a host that hangs.
func TestHungIdleAfterOverload(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.served(80, 160, 20*time.Second) // each takes two seconds
	c.run(5 * time.Second)
	c.hangs("a", 1)
	c.run(900 * time.Millisecond)
	c.want("a", status.Hung)
}

// A service was slow until a moment ago, and its requests are quick again.
func TestHungSoonAfterLate(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 67) // each takes a second
	c.run(20 * time.Second)
	c.busy(67, 1)
	c.run(3 * time.Second)
	a := c.host("a")
	a.silent, a.reading.InFlight = true, 20
	c.run(900 * time.Millisecond)
	c.want("a", status.Hung)
}

// A host was late, and one question waited for so long that it was answered after
// all others were quick again: it is not late any more.
func TestHungSoonAfterALastLateAnswer(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 1)
	c.run(3 * time.Second)
	a := c.host("a")
	a.probe = &health.Probe{Begun: c.now.Add(-time.Second), Connected: true, Ended: true, Answered: true, Took: time.Second}
	c.run(time.Second)
	a.silent, a.reading.InFlight = true, 20
	c.run(900 * time.Millisecond)
	c.want("a", status.Hung)
}

// A host that gives one answer in two seconds is not silent after one.
func TestRareAnswers(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	a := c.host("a")
	a.rate, a.probeIn, a.reading.InFlight = 0.5, time.Hour, 3
	c.run(time.Minute)
	c.nothing("out")
	a.silent = true
	c.run(15 * time.Second)
	c.tookOut()
}

// All hosts stand still together: a database. Nobody is out, nothing is cut.
func TestStandstill(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 1)
	c.run(5 * time.Second)
	for _, m := range c.hosts {
		m.silent, m.reading.InFlight, m.reading.Checking = true, 60, true
	}
	c.run(3 * time.Second)
	c.want("a", status.Late)
	for _, m := range c.hosts { // one after the other
		m.silent, m.reading.InFlight, m.reading.Checking = false, 1, false
		c.run(200 * time.Millisecond)
	}
	c.run(3 * time.Second)
	c.want("a", status.Well)
	c.nothing("out")
	c.nothing("cut")
}

// A standstill that does not end is said. There is nobody better, so all stay in.
func TestLongStandstill(t *testing.T) {
	c := newCloud(t, "a", "b")
	c.busy(67, 1)
	c.run(time.Second)
	for _, m := range c.hosts {
		m.silent, m.reading.InFlight, m.reading.Checking = true, 60, true
	}
	c.run(12 * time.Second)
	c.want("a", status.Hung)
	before := len(c.did("keep"))
	c.host("a").reading.Falling, c.host("a").reading.Check = true, health.Silent
	c.run(3 * time.Second)
	if len(c.did("keep")) != before+1 {
		t.Error("HAProxy was not told to keep a host than which none is better")
	}
	c.nothing("out")
	c.nothing("cut")
}

// All hosts of a service are out of reach at once: the controller may be what is
// cut off. None does better, and all the same none is kept that accepts nothing;
// with clients that wait, and without.
func TestAllCutOff(t *testing.T) {
	for _, clients := range []int{0, 20} {
		c := newCloud(t, "a", "b")
		c.busy(67, 1)
		c.run(5 * time.Second)
		for _, m := range c.hosts {
			m.silent, m.gone, m.rate, m.reading.InFlight = true, true, 0, clients
		}
		check := func() { // as HAProxy does it: every two seconds, in vain after 1.5
			for _, m := range c.hosts {
				m.reading.Checking = true
			}
			c.run(1500 * time.Millisecond)
			for _, m := range c.hosts {
				m.reading.Checking, m.reading.Falling, m.reading.Check = false, true, health.Unreachable
			}
			c.run(500 * time.Millisecond)
		}
		for range 4 {
			check()
		}
		if got := c.condition("a"); got == status.Dead {
			t.Errorf("%d clients: dead after %v: all may stand still together for a while", clients, c.now.Sub(c.start))
		}
		for range 3 {
			check()
		}
		c.want("a", status.Dead)
		c.want("b", status.Dead)
		before := len(c.did("keep"))
		check()
		if kept := len(c.did("keep")) - before; kept > 0 {
			t.Errorf("%d clients: %d times HAProxy was told to keep a host that accepts nothing", clients, kept)
		}
		c.nothing("out")
	}
}

// A host whose queue is full accepts nothing either, and answers all the same.
func TestFullIsNotCutOff(t *testing.T) {
	c := newCloud(t, "a")
	c.busy(67, 60)
	c.run(5 * time.Second)
	a := c.host("a")
	a.reading.Check, a.reading.Falling, a.probeIn = health.Unreachable, true, time.Minute
	for range 20 {
		a.reading.Falling = true
		c.run(time.Second)
		if got := c.condition("a"); got == status.Dead {
			t.Fatalf("a host that answers its clients is dead after %v", c.now.Sub(c.start))
		}
	}
}

// A service that ends gracefully refuses, and finishes an upload.
func TestGracefulStop(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(20, 1)
	c.run(2 * time.Second)
	a := c.host("a")
	a.refuses, a.silent, a.reading.InFlight = true, true, 10
	c.run(time.Second)
	a.reading.InUse, a.reading.Down, a.reading.Check, a.reading.Words = false, true, health.Refused, "connection refused"
	c.run(5 * time.Second)
	c.want("a", status.Dead)
	c.nothing("out")
	c.nothing("cut")
}

// A long request on a quiet service: the host answers when it is asked, and is
// not asked all the time.
func TestLongRequest(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	a := c.host("a")
	a.reading.InFlight = 1
	asked := 0
	for range 100 {
		before := a.probe
		c.run(every)
		if a.probe != before {
			asked++
		}
	}
	c.want("a", status.Well)
	c.nothing("out")
	if asked == 0 || asked > 11 {
		t.Errorf("asked %d times in 10 s, want about once a second", asked)
	}
}

// A host alone in its service is never out: there is no other.
func TestAlone(t *testing.T) {
	c := newCloud(t, "a")
	c.busy(67, 1)
	c.run(time.Second)
	c.host("a").silent, c.host("a").reading.InFlight = true, 9
	c.run(5 * time.Second)
	c.want("a", status.Late)
	c.nothing("out")
}

// The next host needs more evidence while one is out, and the last never goes.
func TestOneAtATime(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 1)
	c.run(time.Second)
	for _, name := range []string{"a", "b"} {
		c.host(name).silent, c.host(name).reading.InFlight = true, 9
	}
	c.run(900 * time.Millisecond)
	if out := c.did("out"); len(out) != 1 {
		t.Errorf("out after 0.9 s: %v, want one", out)
	}
	c.run(2 * time.Second)
	if out := c.did("out"); len(out) != 2 {
		t.Errorf("out after 2.9 s: %v, want two", out)
	}
	c.host("c").silent, c.host("c").reading.InFlight = true, 9
	c.run(5 * time.Second)
	if out := c.did("out"); len(out) != 2 {
		t.Errorf("the last one, too: %v", out)
	}
}

// One that answers as soon as it was taken out gets more time from then on.
func TestMisjudged(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 1)
	pause := func(d time.Duration) int {
		before := len(c.did("out"))
		c.host("a").silent, c.host("a").reading.InFlight = true, 9
		c.run(d)
		c.host("a").silent, c.host("a").reading.InFlight = false, 1
		c.run(time.Second)
		c.host("a").reading.InUse, c.host("a").reading.Down = true, false
		c.run(2 * time.Second)
		return len(c.did("out")) - before
	}
	c.run(2 * time.Second)
	if n := pause(800 * time.Millisecond); n != 1 {
		t.Fatalf("a pause of 0.8 s: out %d times, want 1", n)
	}
	if n := pause(800 * time.Millisecond); n != 0 {
		t.Errorf("the same again: out %d times, want 0", n)
	}
}

// An agent that did not run for a while takes nobody out for that.
func TestLateStep(t *testing.T) {
	c := newCloud(t, "a", "b", "c")
	c.busy(67, 1)
	c.run(time.Second)
	a := c.host("a")
	a.silent, a.reading.InFlight = true, 2
	c.run(300 * time.Millisecond)
	c.now = c.now.Add(time.Second)
	c.step()
	c.nothing("out")
}

// What fails its clients is out until HAProxy has it back.
func TestFailsItsClients(t *testing.T) {
	c := newCloud(t, "a", "b")
	c.busy(67, 1)
	c.run(time.Second)
	a := c.host("a")
	a.reading.Fails = "it fails them"
	c.run(every)
	a.reading.Fails = ""
	c.run(time.Second)
	c.want("a", status.Failing)
	if len(c.did("out")) != 1 {
		t.Errorf("did %v", c.log)
	}
	c.nothing("cut")
	a.reading.InUse, a.reading.Down = true, false
	c.run(2 * time.Second)
	c.want("a", status.Well)
}

// One that HAProxy itself gave up, while no agent ran, comes back when it answers
// late; one that hangs does not.
func TestBackThoughLate(t *testing.T) {
	for in, want := range map[time.Duration]int{3 * time.Second: 1, time.Hour: 0} {
		c := newCloud(t, "a", "b")
		a := c.host("a")
		a.probeIn = in
		a.reading.InUse, a.reading.Down, a.reading.Check, a.reading.Words = false, true, health.Silent, "GET /healthcheck: no answer within 2.5s"
		c.run(9 * time.Second)
		if got := len(c.did("keep")); got < want || want == 0 && got > 0 {
			t.Errorf("answers after %v: kept %d times, want %d", in, got, want)
		}
	}
}

func TestDrained(t *testing.T) {
	c := newCloud(t, "a", "b")
	c.busy(67, 1)
	a := c.host("a")
	a.reading.InUse, a.reading.Drained, a.silent = false, true, true
	c.run(3 * time.Second)
	c.want("a", "")
	c.nothing("out")
}
