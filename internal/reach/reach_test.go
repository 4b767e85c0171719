package reach

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/status"
)

// view makes a View of words: "a b !c" has a host of a and of b, and none of c.
func view(controller, words string, at time.Time) View {
	v := View{Controller: controller, At: at, Spec: "one", Services: map[string]bool{}}
	for word := range strings.FieldsSeq(words) {
		name, lacks := strings.CutPrefix(word, "!")
		v.Services[name] = !lacks
	}
	return v
}

func TestServices(t *testing.T) {
	host := func(word string) status.Host {
		state, condition, _ := strings.Cut(word, "/")
		return status.Host{State: status.ServiceState(state), Condition: status.Condition(condition)}
	}
	for hosts, want := range map[string]string{
		"up/well":              "serves",
		"up/late":              "serves",
		"up/failing down/dead": "serves",
		"down/dead down/dead":  "none",
		"down/failing":         "none",
		"up/dead up/dead":      "none", // HAProxy has not found out yet
		"up/dead drain":        "none",
		"up/hung up/hung":      "", // all stand still together, for everybody
		"up/hung down/dead":    "",
		"drain drain":          "",
		"unknown down":         "",
		"":                     "",
	} {
		svc := status.Service{Name: "nova"}
		for word := range strings.FieldsSeq(hosts) {
			svc.Hosts = append(svc.Hosts, host(word))
		}
		got := ""
		if has, known := Services([]status.Service{svc})["nova"]; known {
			got = map[bool]string{true: "serves", false: "none"}[has]
		}
		if got != want {
			t.Errorf("hosts %q: %q, want %q", hosts, got, want)
		}
		svc.LastResort = true
		if has, known := Services([]status.Service{svc})["nova"]; known && !has {
			t.Errorf("hosts %q, of which some accept: none", hosts)
		}
	}
}

func TestBest(t *testing.T) {
	own := view("ctl1", "nova glance !dns", time.Time{})
	views := map[string]View{
		"ctl2": view("ctl2", "!nova !glance !dns", time.Time{}),
		"ctl3": view("ctl3", "nova glance !dns", time.Time{}),
		"ctl5": view("ctl5", "nova glance dns", time.Time{}),
		"ctl6": view("ctl6", "nova !glance dns", time.Time{}),
	}
	names := []string{"ctl2", "ctl3", "ctl4", "ctl5", "ctl6"} // ctl4 says nothing
	want := []string{"ctl5", "ctl3", "ctl4", "ctl6", "ctl2"}
	if diff := cmp.Diff(want, Best(own, names, views)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"glance", "nova"}, Lost(own, views["ctl2"])); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	if lost := Lost(own, views["ctl4"]); lost != nil {
		t.Errorf("lost by a move to one of which nothing is known: %v", lost)
	}
}

// A play is a holder in virtual time that is asked what to do every second.
type play struct {
	t     *testing.T
	judge *Judge
	now   time.Time
	begun time.Time
	holds bool
	came  Arrival
	own   string
	see   map[string]string // what others see
	age   map[string]time.Duration
	unfit map[string]string
	spec  map[string]string
	moves []string
}

func newPlay(t *testing.T) *play {
	begun := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	return &play{
		t: t, judge: NewJudge(), now: begun, begun: begun, holds: true,
		own: "nova dns", see: map[string]string{"ctl2": "nova dns", "ctl3": "nova dns"},
		age: map[string]time.Duration{}, unfit: map[string]string{}, spec: map[string]string{},
	}
}

// run lets seconds pass. A move takes the VIP away only if the test says so.
func (p *play) run(seconds int) {
	for range seconds {
		p.now = p.now.Add(time.Second)
		var others []View
		for _, name := range []string{"ctl2", "ctl3"} {
			v := view(name, p.see[name], p.now.Add(-p.age[name]))
			v.Unfit = p.unfit[name]
			if p.spec[name] != "" {
				v.Spec = p.spec[name]
			}
			others = append(others, v)
		}
		m := p.judge.Step(p.now, p.holds, p.came, view("ctl1", p.own, p.now), others)
		if m.To != "" {
			p.moves = append(p.moves, m.To+" for "+strings.Join(m.Services, " and ")+" at "+p.now.Sub(p.begun).String())
			p.judge.Moved(p.now)
		}
	}
}

func (p *play) want(moves ...string) {
	p.t.Helper()
	if diff := cmp.Diff(moves, p.moves); diff != "" {
		p.t.Errorf("moves (-want +got):\n%s", diff)
	}
}

// A holder that is worse for some seconds gives away, to the first that is best.
func TestBlindHolder(t *testing.T) {
	p := newPlay(t)
	p.run(60)
	p.want()
	p.own = "nova !dns"
	p.run(6)
	p.want()
	p.run(1)
	p.want("ctl2 for dns at 1m7s")
}

func TestTheBestTakes(t *testing.T) {
	p := newPlay(t)
	p.own, p.see["ctl2"], p.see["ctl3"] = "!nova !dns !image", "nova !dns !image", "nova dns !image"
	p.run(10)
	p.want("ctl3 for dns and nova at 7s")
}

// What is no reason to move, however long it lasts.
func TestNoMove(t *testing.T) {
	for name, change := range map[string]func(p *play){
		"down for everybody": func(p *play) { p.own, p.see["ctl2"], p.see["ctl3"] = "nova !dns", "nova !dns", "nova !dns" },
		"each sees something else": func(p *play) {
			p.own, p.see["ctl2"], p.see["ctl3"] = "nova dns !image", "nova !dns image", "!nova dns image"
		},
		"others reach more, and not all that this one does": func(p *play) {
			p.own, p.see["ctl2"], p.see["ctl3"] = "nova !dns !image", "!nova dns image", "!nova dns image"
		},
		"others are worse":               func(p *play) { p.see["ctl2"], p.see["ctl3"] = "!nova dns", "nova !dns" },
		"the service is unknown here":    func(p *play) { p.own = "nova" },
		"the service is unknown to them": func(p *play) { p.own, p.see["ctl2"], p.see["ctl3"] = "nova !dns", "nova", "nova" },
		"they are drained":               func(p *play) { p.own, p.unfit["ctl2"], p.unfit["ctl3"] = "nova !dns", "drained", "drained" },
		"their word is old":              func(p *play) { p.own, p.age["ctl2"], p.age["ctl3"] = "nova !dns", 5*time.Second, time.Hour },
		"they have another spec":         func(p *play) { p.own, p.spec["ctl2"], p.spec["ctl3"] = "nova !dns", "two", "two" },
		"it does not hold the VIP":       func(p *play) { p.own, p.holds = "nova !dns", false },
		"somebody insisted":              func(p *play) { p.own, p.came = "nova !dns", Arrival{At: p.now, Insisted: true} },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			change(p)
			p.run(3600)
			p.want()
		})
	}
}

// A service that comes and goes everywhere, and is seen to by one HAProxy some
// seconds after another, moves nothing.
func TestFlappingService(t *testing.T) {
	p := newPlay(t)
	for range 100 {
		p.own = "nova !dns"
		p.run(5)
		p.see["ctl2"], p.see["ctl3"] = "nova !dns", "nova !dns"
		p.run(3)
		p.see["ctl2"], p.see["ctl3"] = "nova dns", "nova dns"
		p.run(5) // the others have it back sooner
		p.own = "nova dns"
		p.run(3)
	}
	p.want()
}

// Who is better must be so all the time, and the same one.
func TestOneAfterTheOther(t *testing.T) {
	p := newPlay(t)
	p.own = "nova !dns"
	for range 20 {
		p.see["ctl2"], p.see["ctl3"] = "nova dns", "!nova dns"
		p.run(4)
		p.see["ctl2"], p.see["ctl3"] = "!nova dns", "nova dns"
		p.run(4)
	}
	p.want()
}

// A link that comes and goes moves the address once in some minutes, at most:
// counted where it went from, and where it came to.
func TestPause(t *testing.T) {
	p := newPlay(t)
	p.own = "nova !dns"
	p.run(7)
	p.want("ctl2 for dns at 7s")
	p.holds = false
	p.run(30)
	p.holds = true // it is back, as by a failover, and nothing is better than before
	p.run(200)
	p.want("ctl2 for dns at 7s")
	p.run(100)
	p.want("ctl2 for dns at 7s", "ctl2 for dns at 5m7s")

	taker := newPlay(t)
	taker.run(5)
	taker.holds, taker.own = false, "nova !dns"
	taker.run(1)
	taker.holds, taker.came = true, Arrival{At: taker.now, Unasked: true}
	taker.run(299)
	taker.want()
	taker.run(10)
	taker.want("ctl2 for dns at 5m6s")

	// An ordinary handover is no reason to wait: nobody knew.
	asked := newPlay(t)
	asked.own, asked.came = "nova !dns", Arrival{At: asked.now}
	asked.run(7)
	asked.want("ctl2 for dns at 7s")
}

// Who insisted is heard for as long as this controller holds the VIP.
func TestInsisted(t *testing.T) {
	p := newPlay(t)
	p.own, p.came = "nova !dns", Arrival{At: p.now, Insisted: true}
	p.run(1000)
	p.holds = false
	p.run(1)
	p.holds = true // it came again by itself
	p.run(6)
	p.want()
	p.run(1)
	p.want("ctl2 for dns at 16m48s")
}

func TestFailedMove(t *testing.T) {
	j := NewJudge()
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	tries := 0
	for range 100 {
		now = now.Add(time.Second)
		own, other := view("ctl1", "!nova", now), view("ctl2", "nova", now)
		if m := j.Step(now, true, Arrival{}, own, []View{other}); m.To != "" {
			tries++
			j.Failed(now)
		}
	}
	if tries != 4 { // after 7, 37, 67 and 97 s
		t.Errorf("%d tries in 100 s, want 4", tries)
	}
}
