package splitbrain

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

const testSpec = `cloud: test
vips:
  - name: api
    addresses: [10.0.0.10/24]
    hostname: api.example.org
    interface: eno1
    vrrp: {router_id: 7, interval: 20ms}
controllers:
  - {name: ctl1, address: 10.0.0.1}
  - {name: ctl2, address: 10.0.0.2}
  - {name: ctl3, address: 10.0.0.3}
services:
  keystone: {}
`

// A cloud is three controllers with what passes between them: adverts (filtered) and the
// agents' channel (cut).
type cloud struct {
	t    *testing.T
	spec *spec.Spec

	mu       sync.Mutex // guards following
	filtered map[[2]string]bool
	cut      map[[2]string]bool
	old      map[string]bool // its agent knows no such command
	all      map[string]*controller
	begun    time.Time
	log      []string
	patience time.Duration // of who hears nobody; 0 for three intervals of 20 ms
}

// A controller has a VIP's loop as simple as can be: it takes the VIP when it hears nobody
// for three intervals, unless it defers, and concedes to a higher priority that it hears.
type controller struct {
	*SplitBrain
	c        *cloud
	name     string
	address  netip.Addr
	priority uint8
	state    vrrp.State
	since    time.Time
	heard    map[string]time.Time
	insisted bool
	// elsewhere is how often it was told that another one has the address.
	elsewhere int
	deferred  string
	dead      bool
	// ineligible says that it may not have the VIP.
	ineligible bool
	silence    time.Time // began
}

func newCloud(t *testing.T) *cloud {
	s, findings := spec.Parse("test.yaml", []byte(testSpec))
	if s == nil {
		t.Fatal(findings)
	}
	c := &cloud{
		t: t, spec: s, filtered: map[[2]string]bool{}, cut: map[[2]string]bool{}, old: map[string]bool{}, all: map[string]*controller{}, begun: time.Now(),
	}
	for i, of := range s.Controllers {
		one := &controller{c: c, name: of.Name, address: of.Address, priority: uint8(254 - 24*i), state: vrrp.Backup, heard: map[string]time.Time{}, silence: time.Now()}
		one.SplitBrain = New(Options{
			Controller: of.Name, Log: slog.New(slog.DiscardHandler), Spec: func() *spec.Spec { return s },
			VIPs: func() []VIP { return []VIP{{VIP: s.VIPs[0], Loop: one}} }, Ask: one.ask, GiveWay: one.giveWay,
		})
		c.all[of.Name] = one
	}
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	for _, one := range c.all {
		tasks.Go(func() { one.Watch(ctx) })
	}
	tasks.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			c.interval(n)
			time.Sleep(20 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); tasks.Wait() })
	return c
}

// interval lets everybody advertise, and every two seconds the agents ask whom they hear.
func (c *cloud) interval(n int) {
	c.mu.Lock()
	now := time.Now()
	names := []string{"ctl1", "ctl2", "ctl3"}
	for _, from := range names {
		for _, to := range names {
			f, o := c.all[from], c.all[to]
			if from == to || f.dead || f.state != vrrp.Active || c.filtered[[2]string{from, to}] {
				continue
			}
			o.heard[from], o.silence = now, now
			if o.state == vrrp.Active && f.priority > o.priority {
				o.become(vrrp.Backup, "concedes to "+from)
			}
		}
	}
	for _, name := range names {
		o := c.all[name]
		wait := cmp.Or(c.patience, 60*time.Millisecond) + time.Duration(256-int(o.priority))*20*time.Millisecond/256
		if !o.dead && !o.ineligible && o.state == vrrp.Backup && o.deferred == "" && now.Sub(o.silence) > wait {
			o.become(vrrp.Active, "hears nobody")
			o.Poke()
		}
	}
	c.mu.Unlock()
	if n%100 == 0 {
		for _, from := range names {
			for _, to := range names {
				if from != to {
					word, _ := json.Marshal(c.all[from].Word())
					var answer json.RawMessage
					if c.all[from].converse(to, func(o *controller) error { o.Hears(from, word); return nil }) == nil {
						_ = c.all[from].converse(to, func(o *controller) error { answer, _ = json.Marshal(o.Word()); return nil })
						c.all[from].Hears(to, answer)
					}
				}
			}
		}
	}
}

// become changes the state; c.mu is held.
func (o *controller) become(s vrrp.State, why string) {
	o.state, o.since, o.silence = s, time.Now(), time.Now()
	o.c.log = append(o.c.log, fmt.Sprintf("%v %s %v: %s", time.Since(o.c.begun).Round(10*time.Millisecond), o.name, s, why))
}

func (o *controller) Stats() link.Stats {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	s := link.Stats{State: o.state, Since: o.since, Priority: o.priority}
	for name, at := range o.heard {
		if time.Since(at) < 80*time.Millisecond {
			s.Holder = name
		}
	}
	return s
}

func (o *controller) Hearing() map[netip.Addr]link.Hearing {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	all := map[netip.Addr]link.Hearing{}
	for name, one := range o.c.all {
		h := link.Hearing{Ago: -1}
		if at, heard := o.heard[name]; heard {
			h.Ago = time.Since(at)
		}
		all[one.address] = h
	}
	return all
}

func (o *controller) Defer(why string) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	if o.deferred != "" && why == "" {
		o.silence = time.Now()
	}
	o.deferred = why
}

func (o *controller) Insist() {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	o.insisted = true
}

func (o *controller) Elsewhere() {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	o.elsewhere++
}

func (o *controller) giveWay(_ context.Context, vip, to string, keep bool) error {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	if o.state != vrrp.Active || vip != "api" {
		return errors.New("it does not hold it")
	}
	if !o.c.all[to].insisted {
		return errors.New("clients may believe it for good: " + to + " does not announce the address")
	}
	o.become(vrrp.Backup, fmt.Sprintf("gives way to %s, keeps connections: %v", to, keep))
	return nil
}

// converse lets o talk to another agent.
func (o *controller) converse(to string, f func(*controller) error) error {
	o.c.mu.Lock()
	other := o.c.all[to]
	gone := o.dead || other == nil || other.dead || o.c.cut[[2]string{o.name, to}] || o.c.cut[[2]string{to, o.name}]
	o.c.mu.Unlock()
	if gone {
		return &peer.Error{Controller: to, Err: context.DeadlineExceeded}
	}
	return f(other)
}

func (o *controller) ask(ctx context.Context, to, command string, req, resp any) error {
	var answer any
	err := o.converse(to, func(other *controller) error {
		body, err := json.Marshal(req)
		if err != nil {
			return err
		}
		o.c.mu.Lock()
		old := o.c.old[to]
		o.c.mu.Unlock()
		if old {
			return &peer.Error{Controller: to, Refusal: "unknown command"}
		}
		if answer, err = other.Commands()[command](ctx, o.name, body); err != nil {
			return &peer.Error{Controller: to, Refusal: err.Error()}
		}
		return nil
	})
	if _, silent := errors.AsType[*peer.Error](err); silent && peer.Unanswered(err) {
		<-ctx.Done()
	}
	if err != nil {
		return err
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(body)).Decode(resp)
}

func (c *cloud) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// filter drops the adverts between two, both ways.
func (c *cloud) filter(a, b string, drop bool) {
	c.set(func() { c.filtered[[2]string{a, b}], c.filtered[[2]string{b, a}] = drop, drop })
}

func (c *cloud) said() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	log := c.log
	c.log = nil
	return log
}

// holders gives who holds the VIP.
func (c *cloud) holders() (all []string) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range []string{"ctl1", "ctl2", "ctl3"} {
		if o := c.all[name]; o.state == vrrp.Active && !o.dead {
			all = append(all, name)
		}
	}
	return all
}

// within waits until one alone holds the VIP, and gives after how long.
func (c *cloud) within(limit time.Duration, want string) time.Duration {
	c.t.Helper()
	begun := time.Now()
	for !slices.Equal(c.holders(), []string{want}) {
		if time.Since(begun) > limit {
			c.t.Fatalf("after %v %v hold it, not %s alone: %q", limit, c.holders(), want, c.said())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begun)
}

// stays fails the test if anybody else holds the VIP in a while.
func (c *cloud) stays(want string) {
	c.t.Helper()
	for range 1000 {
		if got := c.holders(); !slices.Equal(got, []string{want}) {
			c.t.Fatalf("%v hold it, not %s alone: %q", got, want, c.said())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestFiltered filters the adverts between two of three, and between one and all: in three
// seconds one alone holds the VIP, and keeps it; when it dies the next one does.
func TestFiltered(t *testing.T) {
	for name, tt := range map[string]struct {
		pairs [][2]string
		next  string // after the death of the first
	}{
		"two of three": {[][2]string{{"ctl1", "ctl2"}}, "ctl3"}, // which hears both, and so is the quicker one
		"one and all":  {[][2]string{{"ctl1", "ctl2"}, {"ctl1", "ctl3"}}, "ctl2"},
		"all":          {[][2]string{{"ctl1", "ctl2"}, {"ctl1", "ctl3"}, {"ctl2", "ctl3"}}, "ctl2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud(t)
				time.Sleep(10 * time.Second)
				if got := c.holders(); !slices.Equal(got, []string{"ctl1"}) {
					t.Fatalf("%v hold it at first", got)
				}
				for _, p := range tt.pairs {
					c.filter(p[0], p[1], true)
				}
				time.Sleep(100 * time.Millisecond)
				if got := c.holders(); len(got) < 2 {
					t.Fatalf("%v hold it, want two", got)
				}
				t.Logf("after %v: %q", c.within(3*time.Second-100*time.Millisecond, "ctl1"), c.said())
				c.stays("ctl1")
				c.set(func() { c.all["ctl1"].dead = true })
				t.Logf("after %v: %q", c.within(5*time.Second, tt.next), c.said())
				c.stays(tt.next)
			})
		})
	}
}

// TestFilterEnds lets adverts through again: the one that gave way hears who holds the VIP.
func TestFilterEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		time.Sleep(10 * time.Second)
		c.filter("ctl1", "ctl2", true)
		time.Sleep(5 * time.Second)
		c.stays("ctl1")
		c.filter("ctl1", "ctl2", false)
		time.Sleep(time.Second)
		c.stays("ctl1")
		c.set(func() { c.all["ctl1"].dead = true })
		if took := c.within(time.Second, "ctl2"); took > 200*time.Millisecond {
			t.Errorf("a takeover took %v", took)
		}
	})
}

// TestApart lets no frame pass between two, which the third one reaches.
func TestApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		time.Sleep(10 * time.Second)
		c.filter("ctl1", "ctl2", true)
		c.set(func() { c.cut[[2]string{"ctl1", "ctl2"}] = true })
		time.Sleep(100 * time.Millisecond)
		took := c.within(3*time.Second-100*time.Millisecond, "ctl1")
		said := c.said()
		t.Logf("after %v: %q", took, said)
		if n := len(said); n == 0 || said[n-1][len(said[n-1])-len("connections: false"):] != "connections: false" {
			t.Errorf("its connections are to be reset: %q", said)
		}
		c.stays("ctl1")
		c.set(func() { c.all["ctl1"].dead = true })
		c.within(time.Second, "ctl3")
		c.stays("ctl3")
	})
}

// TestHearsayEnds has one wait for a holder whose adverts do not arrive, and another one,
// which may not have the VIP itself, learn that from it after the holder's death: they do
// not tell each other for ever.
func TestHearsayEnds(t *testing.T) {
	for _, late := range []time.Duration{0, 130 * time.Millisecond, 770 * time.Millisecond, 1370 * time.Millisecond} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud(t)
				c.set(func() {
					c.all["ctl3"].ineligible = true
					c.patience = time.Second // longer than they take to tell each other
				})
				time.Sleep(10 * time.Second)
				c.filter("ctl1", "ctl2", true)
				time.Sleep(5 * time.Second)
				c.stays("ctl1")
				time.Sleep(late)
				c.set(func() { c.all["ctl1"].dead = true })
				t.Logf("after %v: %q", c.within(5*time.Second, "ctl2"), c.said())
				c.stays("ctl2")
			})
		})
	}
}

// TestOneWay is for VRRP: nobody gives way.
func TestOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		time.Sleep(10 * time.Second)
		c.said()
		c.set(func() { c.filtered[[2]string{"ctl1", "ctl2"}] = true })
		time.Sleep(10 * time.Second)
		for _, line := range c.said() {
			if bytes.Contains([]byte(line), []byte("gives way")) {
				t.Error(line)
			}
		}
	})
}

// TestLeftover has one that does not hear the holder know of it by its agent, and so
// release what a former process left. The holder keeps what it has.
func TestLeftover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.set(func() {
			for _, of := range []string{"ctl2", "ctl3"} {
				c.filtered[[2]string{of, "ctl1"}] = true
			}
			c.all["ctl1"].deferred = "it is told to wait"
		})
		time.Sleep(10 * time.Second)
		told := map[string]bool{}
		c.set(func() {
			for name, o := range c.all {
				told[name] = o.elsewhere > 0
			}
		})
		if got := c.holders(); !slices.Equal(got, []string{"ctl2"}) || !told["ctl1"] || told["ctl2"] {
			t.Errorf("%v hold it, and they were told: %v", got, told)
		}
	})
}

// TestOldAgent has a holder whose agent knows none of this: nobody gives way without its
// word, as long as that is so.
func TestOldAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.set(func() { c.old["ctl1"] = true })
		time.Sleep(10 * time.Second)
		c.filter("ctl1", "ctl2", true)
		time.Sleep(10 * time.Second)
		if got := c.holders(); !slices.Equal(got, []string{"ctl1", "ctl2"}) {
			t.Errorf("%v hold it", got)
		}
		c.set(func() { c.old["ctl1"] = false })
		c.within(3*time.Second, "ctl1")
	})
}

// TestBeats has who stays: of two always one, and the same by both.
func TestBeats(t *testing.T) {
	h := func(priority int, d time.Duration) Holding { return Holding{Priority: priority, For: d} }
	for _, tt := range []struct {
		a, b Holding
		want bool
	}{
		{h(254, time.Second), h(230, time.Hour), true},
		{h(230, time.Hour), h(254, time.Second), false},
		{h(100, time.Hour), h(100, time.Minute), true},
		{h(100, time.Minute), h(100, time.Hour), false},
		{h(100, time.Minute), h(100, time.Minute+time.Second/2), true}, // by the name
		{h(100, time.Minute+time.Second/2), h(100, time.Minute), true},
	} {
		if got := tt.a.beats(tt.b, "ctl1", "ctl2"); got != tt.want {
			t.Errorf("%+v beats %+v: %v", tt.a, tt.b, got)
		}
		if tt.a.beats(tt.b, "ctl1", "ctl2") == tt.b.beats(tt.a, "ctl2", "ctl1") {
			t.Errorf("%+v and %+v: both say the same", tt.a, tt.b)
		}
	}
}
