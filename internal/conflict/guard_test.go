package conflict

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"holdfast/internal/ether"
)

// TestGuard runs testdata/guard. Each command happens "at" a time, and then the guard is
// stepped whenever it asks for that, until the time of "run". Below stands what it asks
// for, with the time. Run with -rewrite to write the answers anew.
//
//	guard [others=false] [delay=]    a new guard, nobody heard, the interface just up
//	facts [active=] [heard=] [forwards=] [up=]   what is so from now on; the rest stays
//	doubt, claim                     the loop starts; another machine has the address
//	run                              nothing happens
func TestGuard(t *testing.T) {
	g := &simulation{t: t}
	datadriven.RunTest(t, "testdata/guard", g.run)
}

type simulation struct {
	t     *testing.T
	guard *Guard
	facts Facts
	up    time.Time // when the interface came up
	now   time.Time
	last  Output
	said  []string
}

func (s *simulation) run(t *testing.T, d *datadriven.TestData) string {
	s.said = nil
	at := s.now
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "at":
			at = time.Unix(0, 0).Add(s.duration(a.Vals[0]))
		case "guard", "others", "delay", "active", "heard", "forwards", "up":
		default:
			d.Fatalf(t, "unknown argument %q", a.Key)
		}
	}
	if d.Cmd == "guard" {
		s.now = time.Unix(0, 0)
		s.guard = &Guard{Others: s.arg(d, "others") != "false", Delay: 30 * time.Second, Interval: 100 * time.Millisecond}
		if delay := s.arg(d, "delay"); delay != "" {
			s.guard.Delay = s.duration(delay)
		}
		s.facts, s.up, s.last = Facts{}, s.now, Output{}
		return ""
	}
	s.until(at)
	switch d.Cmd {
	case "facts":
		for key, field := range map[string]*bool{"active": &s.facts.Active, "heard": &s.facts.Heard, "forwards": &s.facts.Forwards} {
			if v := s.arg(d, key); v != "" {
				*field = v == "true"
			}
		}
		if v := s.arg(d, "up"); v != "" {
			s.up = s.now.Add(-s.duration(v))
		}
	case "doubt":
		s.guard.Doubt(s.now)
	case "claim":
		s.guard.Claimed(s.now, Claim{MAC: ether.MAC{2, 0, 0, 0, 0, 9}, Address: netip.MustParseAddr("10.0.0.10")})
	case "run":
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	s.step()
	if len(s.said) == 0 {
		return "nothing\n"
	}
	return strings.Join(s.said, "\n") + "\n"
}

// until steps the guard whenever it asks for that, up to at.
func (s *simulation) until(at time.Time) {
	for n := 0; !s.last.Next.IsZero() && !s.last.Next.After(at); n++ {
		if n > 10_000 || !s.last.Next.After(s.now) {
			s.t.Fatalf("it does not end: at %v it wants %v", s.now.Sub(time.Unix(0, 0)), s.last.Next.Sub(time.Unix(0, 0)))
		}
		s.now = s.last.Next
		s.step()
	}
	s.now = at
}

// step steps the guard, and notes what is new.
func (s *simulation) step() {
	s.facts.Up = s.now.Sub(s.up)
	out := s.guard.Step(s.now, s.facts)
	var what []string
	note := func(on bool, format string, args ...any) {
		if on {
			what = append(what, fmt.Sprintf(format, args...))
		}
	}
	note(out.Probe, "probe")
	note(out.Answer, "answer")
	note(out.Counts != s.last.Counts, "silence counts: %v", out.Counts)
	note(out.Counts && !s.last.Counts && !out.Since.IsZero(), "since %v", out.Since.Sub(time.Unix(0, 0)))
	note(out.Humble != s.last.Humble, "humble: %v", out.Humble)
	note(out.Taken != s.last.Taken, "taken: %v", out.Taken)
	why, _, _ := strings.Cut(out.Why, ":")
	was, _, _ := strings.Cut(s.last.Why, ":")
	note(why != was && why != "", "because %s", why)
	if len(what) > 0 {
		s.said = append(s.said, fmt.Sprintf("%v %s", s.now.Sub(time.Unix(0, 0)), strings.Join(what, ", ")))
	}
	s.last = out
}

func (s *simulation) arg(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals[0]
		}
	}
	return ""
}

func (s *simulation) duration(text string) time.Duration {
	v, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}
