package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestTranscripts runs the files of testdata. Each line is a command, with the
// time since the beginning at which it happens ("at", the last one's if not
// given), and below it what the machine asks for. Run with -rewrite to write
// the answers anew.
//
//	machine [priority=] [interval=] [preempt=] [source=]   a new machine
//	startup, timer, shutdown, eligible, ineligible         events; the reason stands below
//	advert from= priority= [interval=] [directed=true]     an advert is received
//	yield [to=] wait= [any=true], stay                     a handover
//	silence counts= [since=] [all=true]                    whether silence counts
//	giveway to=                                            for one that is not heard
//	configure [priority=] [interval=] [preempt=] [patient=] what is not given stays
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		tr := &transcript{}
		datadriven.RunTest(t, path, tr.run)
	})
}

type transcript struct {
	m   *Machine
	now time.Duration
}

func (tr *transcript) run(t *testing.T, d *datadriven.TestData) string {
	if d.Cmd == "machine" {
		c := Config{Priority: 230, Interval: 100 * time.Millisecond, Source: netip.MustParseAddr("10.0.0.2")}
		tr.m, tr.now = NewMachine(readConfig(t, d, c)), 0
		return fmt.Sprintf("%v, priority %d, interval %v, preempt %v\n",
			tr.m.State(), tr.m.Config().Priority, tr.m.Config().Interval, tr.m.Config().Preempt)
	}
	if s := arg(d, "at"); s != "" {
		tr.now = duration(t, s)
	}
	before := tr.m.State()
	out := tr.m.Step(time.Unix(0, 0).Add(tr.now), tr.event(t, d))
	return describe(before, out)
}

func (tr *transcript) event(t *testing.T, d *datadriven.TestData) Event {
	reason := strings.TrimSpace(d.Input)
	switch d.Cmd {
	case "startup":
		return Startup{}
	case "timer":
		return Timer{}
	case "shutdown":
		return Shutdown{}
	case "eligible":
		return Eligible{OK: true, Reason: reason}
	case "ineligible":
		return Eligible{Reason: reason}
	case "configure":
		return Configure{readConfig(t, d, tr.m.Config())}
	case "advert":
		c := readConfig(t, d, Config{Interval: 100 * time.Millisecond})
		return AdvertReceived{
			Src: netip.MustParseAddr(arg(d, "from")), Priority: c.Priority, Interval: c.Interval,
			Directed: arg(d, "directed") == "true",
		}
	case "yield":
		e := Yield{AnySource: arg(d, "any") == "true", Wait: duration(t, arg(d, "wait"))}
		if to := arg(d, "to"); to != "" {
			e.To = netip.MustParseAddr(to)
		}
		return e
	case "stay":
		return Stay{}
	case "silence":
		e := Silence{Counts: arg(d, "counts") == "true", All: arg(d, "all") == "true"}
		if since := arg(d, "since"); since != "" {
			e.Since = time.Unix(0, 0).Add(duration(t, since))
		}
		return e
	case "elsewhere":
		return Elsewhere{}
	case "giveway":
		return GiveWay{To: netip.MustParseAddr(arg(d, "to"))}
	}
	d.Fatalf(t, "unknown command %q", d.Cmd)
	return nil
}

// describe says what out asks for, a line each, in the order of its fields.
func describe(before State, out Output) string {
	var b strings.Builder
	if out.Yield.IsValid() {
		fmt.Fprintf(&b, "send 0 to %v\n", out.Yield)
	}
	for _, p := range out.Send {
		fmt.Fprintf(&b, "send %d\n", p)
	}
	for _, do := range []struct {
		what string
		on   bool
	}{{"release", out.Release}, {"claim", out.Claim}, {"announce", out.Announce}} {
		if do.on {
			fmt.Fprintln(&b, do.what)
		}
	}
	if out.State != before {
		fmt.Fprintf(&b, "%v: %v\n", out.State, out.Cause)
	}
	if out.Late > 0 {
		fmt.Fprintf(&b, "late by %v\n", out.Late)
	}
	if out.Deadline.IsZero() {
		fmt.Fprintln(&b, "no deadline")
	} else {
		fmt.Fprintf(&b, "deadline %v\n", out.Deadline.Sub(time.Unix(0, 0)))
	}
	return b.String()
}

func arg(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) == 1 {
			return a.Vals[0]
		}
	}
	return ""
}

func duration(t *testing.T, s string) time.Duration {
	v, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readConfig gives c with what d sets in it.
func readConfig(t *testing.T, d *datadriven.TestData, c Config) Config {
	for _, a := range d.CmdArgs {
		if len(a.Vals) != 1 {
			d.Fatalf(t, "argument %q has no value", a.Key)
		}
		v := a.Vals[0]
		switch a.Key {
		case "priority":
			if _, err := fmt.Sscan(v, &c.Priority); err != nil {
				t.Fatal(err)
			}
		case "interval":
			c.Interval = duration(t, v)
		case "preempt":
			c.Preempt = v == "true"
		case "patient":
			c.Patient = v == "true"
		case "source":
			c.Source = netip.MustParseAddr(v)
		case "from", "at", "directed":
		default:
			d.Fatalf(t, "unknown argument %q", a.Key)
		}
	}
	return c
}
