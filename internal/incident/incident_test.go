package incident

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

var begun = time.Date(2026, 12, 1, 2, 14, 0, 0, time.UTC)

// at makes an event of a controller, that long after begun.
func at(after time.Duration, controller, kind, subject, text string) status.Event {
	return status.Event{Time: begun.Add(after), Controller: controller, Kind: kind, Subject: subject, Text: text}
}

func because(e status.Event, cause string, took time.Duration) status.Event {
	e.Cause, e.Took = cause, took
	return e
}

const ms = time.Millisecond

func active(after time.Duration, controller, cause string) status.Event {
	return because(at(after, controller, status.EventVIPActive, "vip api", "vip api is active here, was backup"), cause, 62*ms)
}

func host(after time.Duration, teller, kind, service, host string) status.Event {
	return because(at(after, teller, kind, status.HostSubject(service, host), service+" on "+host+" "+kind), "no answer to its check", 0)
}

// settled is what came before: ctl1 holds the VIP since yesterday.
func settled() []status.Event {
	return []status.Event{
		at(-24*time.Hour, "ctl1", status.EventAgentStarted, "agent", "agent started"),
		active(-24*time.Hour, "ctl1", "no other controller was heard for 3s"),
		at(-24*time.Hour+ms, "ctl2", status.EventAgentStarted, "agent", "agent started"),
		at(-24*time.Hour+2*ms, "ctl3", status.EventAgentStarted, "agent", "agent started"),
	}
}

// lostHost is the loss of ctl1, which holds the VIP, and its return.
func lostHost() []status.Event {
	all := []status.Event{active(0, "ctl2", "no advert from ctl1 for 62ms")}
	for i, teller := range []string{"ctl2", "ctl3"} {
		for j, service := range []string{"glance", "keystone", "nova"} {
			all = append(all, host(2*time.Second+time.Duration(10*i+j)*ms, teller, status.EventHostDown, service, "ctl1"))
		}
	}
	all = append(all,
		at(40*time.Second, "ctl1", status.EventAgentStarted, "agent", "agent started"),
		at(41*time.Second, "ctl1", status.EventVIPBackup, "vip api", "vip api is backup here, was initialize"))
	for i, teller := range []string{"ctl2", "ctl3"} {
		for j, service := range []string{"glance", "keystone", "nova"} {
			all = append(all, host(45*time.Second+time.Duration(10*i+j)*ms, teller, status.EventHostUp, service, "ctl1"))
		}
	}
	return all
}

// TestGroup has a story for each kind of incident.
func TestGroup(t *testing.T) {
	for _, test := range []struct {
		name   string
		events []status.Event
		silent []string
		want   []Incident // Kind, Planned, State, Subject, Text, Duration and, as Events, their number
	}{
		{name: "nothing"},
		{name: "a VIP is announced by BGP from the start", events: []status.Event{
			at(0, "ctl1", status.EventBGPAnnounced, "vip api", "vip api is announced from here"),
			at(time.Second, "ctl1", status.EventBGPSessionUp, "bgp 10.0.0.1", "the BGP session with 10.0.0.1 is up"),
		}},
		{name: "a VIP is withdrawn for want of hosts, and announced again", events: []status.Event{
			because(at(0, "ctl1", status.EventBGPWithdrawn, "vip api", "vip api is not announced from here any more"), "no service has a host", 0),
			at(time.Minute, "ctl1", status.EventBGPAnnounced, "vip api", "vip api is announced from here"),
		}, want: []Incident{{
			Kind: VIPUnfit, State: Over, Subject: "vip api", Duration: time.Minute, Text: "ctl1 does not announce vip api", Cause: "no service has a host", Events: make([]status.Event, 2),
		}}},
		{name: "a controller that announces is drained", events: []status.Event{
			at(0, "ctl1", status.EventDrainBegun, "controller ctl1", "ctl1 is drained"),
			at(ms, "ctl1", status.EventBGPDraining, "vip api", "routers are told to prefer other controllers for vip api"),
			at(5*time.Second, "ctl1", status.EventBGPWithdrawn, "vip api", "vip api is not announced from here any more"),
			at(time.Minute, "ctl1", status.EventDrainEnded, "controller ctl1", "ctl1 is back"),
			at(time.Minute+ms, "ctl1", status.EventBGPAnnounced, "vip api", "vip api is announced from here"),
		}, want: []Incident{{
			Kind: Drain, Planned: true, State: Over, Subject: "controller ctl1", Duration: time.Minute + ms, Text: "ctl1 is drained", Events: make([]status.Event, 5),
		}}},
		{name: "a router is lost, and comes back", events: []status.Event{
			at(0, "ctl1", status.EventBGPSessionLost, "bgp 10.0.0.1", "the BGP session with 10.0.0.1 is down"),
			at(ms, "ctl1", status.CodeBGPSessionDown, "bgp 10.0.0.1", "the BGP session with router 10.0.0.1 is down"),
			at(time.Minute, "ctl1", status.EventBGPSessionUp, "bgp 10.0.0.1", "the BGP session with 10.0.0.1 is up"),
			at(time.Minute+ms, "ctl1", status.CodeBGPSessionDown, "bgp 10.0.0.1", "over: the BGP session with router 10.0.0.1 is down"),
		}, want: []Incident{{
			Kind: Kind(status.CodeBGPSessionDown), State: Over, Subject: "bgp 10.0.0.1", Duration: time.Minute, Text: "the BGP session with router 10.0.0.1 is down", Events: make([]status.Event, 3),
		}}},
		{name: "the holder's host is lost and comes back", events: lostHost(), want: []Incident{{
			Kind: HostLost, State: Over, Subject: "controller ctl1", Duration: 45012*ms + 62*ms,
			Text:   "ctl1 is lost; vip api moved from ctl1 to ctl2; glance, keystone and nova degraded",
			Events: make([]status.Event, 15),
		}}},
		{name: "it is lost still", events: lostHost()[:7], want: []Incident{{
			Kind: HostLost, State: Open, Subject: "controller ctl1", Duration: time.Hour + 62*ms,
			Text:   "ctl1 is lost; vip api moved from ctl1 to ctl2; glance, keystone and nova degraded",
			Events: make([]status.Event, 7),
		}}},
		{name: "another host is lost, and does not answer", events: []status.Event{
			host(0, "ctl1", status.EventHostDown, "nova", "ctl3"), host(ms, "ctl2", status.EventHostDown, "nova", "ctl3"),
		}, silent: []string{"ctl3"}, want: []Incident{{
			Kind: HostLost, State: Open, Subject: "controller ctl3", Duration: time.Hour, Text: "ctl3 is lost; nova degraded", Events: make([]status.Event, 2),
		}}},
		{name: "a service is down on one host, then on another", events: []status.Event{
			host(0, "ctl1", status.EventHostDown, "nova", "ctl2"), host(ms, "ctl2", status.EventHostDown, "nova", "ctl2"),
			host(5*time.Minute, "ctl1", status.EventHostDown, "nova", "ctl3"),
			host(6*time.Minute, "ctl1", status.EventHostUp, "nova", "ctl3"), host(6*time.Minute, "ctl1", status.EventHostUp, "nova", "ctl2"),
			host(6*time.Minute+ms, "ctl2", status.EventHostUp, "nova", "ctl2"),
		}, want: []Incident{{
			Kind: ServiceDown, State: Over, Subject: "service nova", Duration: 6*time.Minute + ms, Text: "nova is down on ctl2 and ctl3", Events: make([]status.Event, 6),
		}}},
		{name: "two services fail, minutes apart", events: []status.Event{
			host(0, "ctl1", status.EventHostDown, "nova", "ctl2"), host(5*time.Minute, "ctl1", status.EventHostDown, "glance", "ctl3"),
			host(6*time.Minute, "ctl1", status.EventHostUp, "nova", "ctl2"),
		}, want: []Incident{
			{Kind: ServiceDown, State: Over, Subject: "service nova", Duration: 6 * time.Minute, Text: "nova is down on ctl2", Events: make([]status.Event, 2)},
			{Kind: ServiceDown, State: Open, Subject: "service glance", Duration: 55 * time.Minute, Text: "glance is down on ctl3", Events: make([]status.Event, 1)},
		}},
		{name: "HAProxy is killed on the holder", events: []status.Event{
			because(at(0, "ctl1", status.EventHAProxyDown, "haproxy", "HAProxy is down, was running"), "killed by signal 9", 0),
			at(ms, "ctl1", status.EventVIPInitialize, "vip api", "vip api is initialize here, was active"),
			active(10*ms, "ctl2", "ctl1 resigned"),
			at(200*ms, "ctl1", status.EventHAProxyRunning, "haproxy", "HAProxy is running, was starting"),
			at(201*ms, "ctl1", status.EventVIPBackup, "vip api", "vip api is backup here, was initialize"),
		}, want: []Incident{{
			Kind: HAProxyLost, State: Over, Subject: "haproxy on ctl1", Duration: 253 * ms, Text: "HAProxy on ctl1 ended; vip api moved from ctl1 to ctl2", Events: make([]status.Event, 5),
		}}},
		{name: "one controller reaches nobody", events: []status.Event{
			host(0, "ctl1", status.EventHostDown, "nova", "ctl2"), host(ms, "ctl1", status.EventHostDown, "nova", "ctl3"),
			host(2*ms, "ctl1", status.EventHostDown, "glance", "ctl3"),
		}, want: []Incident{{
			Kind: NotReached, State: Open, Subject: "controller ctl1", Duration: time.Hour, Text: "ctl1 does not reach glance and nova on ctl2 and ctl3", Events: make([]status.Event, 3),
		}}},
		{name: "a partition", events: []status.Event{
			active(0, "ctl3", "no advert from ctl1 for 62ms"),
			host(2*time.Second, "ctl1", status.EventHostDown, "nova", "ctl3"), host(2*time.Second, "ctl3", status.EventHostDown, "nova", "ctl1"),
			host(2*time.Second+ms, "ctl3", status.EventHostDown, "nova", "ctl2"), host(2*time.Second, "ctl2", status.EventHostDown, "nova", "ctl3"),
		}, want: []Incident{{
			Kind: CutOff, State: Open, Subject: "controller ctl3", Duration: time.Hour + 62*ms,
			Text: "ctl3 is cut off from ctl1 and ctl2; vip api moved from ctl1 to ctl3", Events: make([]status.Event, 5),
		}}},
		{name: "a planned move", events: []status.Event{
			active(0, "ctl2", "ctl1 resigned"),
			at(ms, "ctl1", status.EventVIPBackup, "vip api", "vip api is backup here, was active"),
			at(2*ms, "ctl1", status.EventHandover, "vip api", "vip api was handed over from ctl1 to ctl2; 3 open connections go on"),
			at(9*time.Second, "ctl1", status.EventHandoverDone, "vip api", "the last connection has ended"),
		}, want: []Incident{{
			Kind: Handover, Planned: true, State: Over, Subject: "vip api", Duration: 64 * ms, Text: "vip api was handed over from ctl1 to ctl2", Events: make([]status.Event, 4),
		}}},
		{name: "a move that nobody asked for", events: func() []status.Event {
			e := because(at(2*ms, "ctl1", status.EventHandover, "vip api", "vip api was handed over from ctl1 to ctl2"), "it reaches less", 0)
			e.Unasked = true
			return []status.Event{active(0, "ctl2", "ctl1 resigned"), e}
		}(), want: []Incident{{
			Kind: Handover, State: Over, Subject: "vip api", Duration: 64 * ms, Text: "vip api was handed over from ctl1 to ctl2", Events: make([]status.Event, 2),
		}}},
		{name: "a controller gives a VIP away, and its host is lost some seconds later", events: []status.Event{
			active(0, "ctl2", "handed over by ctl1"),
			host(12*time.Second, "ctl2", status.EventHostDown, "nova", "ctl1"), host(12*time.Second+ms, "ctl2", status.EventHostDown, "glance", "ctl1"),
		}, silent: []string{"ctl1"}, want: []Incident{
			{Kind: Handover, Planned: true, State: Over, Subject: "vip api", Duration: 62 * ms, Text: "vip api was handed over from ctl1 to ctl2", Events: make([]status.Event, 1)},
			{Kind: HostLost, State: Open, Subject: "controller ctl1", Duration: time.Hour - 12*time.Second, Text: "ctl1 is lost; glance and nova degraded", Events: make([]status.Event, 2)},
		}},
		{name: "a controller that reaches less gives the VIP away, and says so", events: func() []status.Event {
			e := because(at(2*ms, "ctl1", status.EventHandover, "vip api", "vip api was handed over from ctl1 to ctl2"), "it reaches less", 0)
			e.Unasked = true
			return []status.Event{active(0, "ctl2", "handed over by ctl1"), e, at(time.Second, "ctl1", status.CodeBlind, "controller ctl1", "it reaches no host of nova")}
		}(), want: []Incident{{
			Kind: Handover, State: Open, Subject: "vip api", Duration: time.Hour + 62*ms, Text: "vip api was handed over from ctl1 to ctl2", Events: make([]status.Event, 3),
		}}},
		{name: "the holder is drained, and worked on", events: []status.Event{
			because(at(0, "ctl1", status.EventDrainBegun, "controller ctl1", "ctl1 is drained"), "new kernel", 0),
			active(20*ms, "ctl2", "ctl1 resigned"),
			at(21*ms, "ctl1", status.EventHandover, "vip api", "vip api was handed over from ctl1 to ctl2"),
			host(time.Second, "ctl2", status.EventHostDrain, "nova", "ctl1"),
			host(10*time.Minute, "ctl2", status.EventHostDown, "nova", "ctl1"),
			host(11*time.Minute, "ctl2", status.EventHostUp, "nova", "ctl1"),
			at(20*time.Minute, "ctl1", status.EventDrainEnded, "controller ctl1", "ctl1 is drained no more"),
		}, want: []Incident{{
			Kind: Drain, Planned: true, State: Over, Subject: "controller ctl1", Duration: 20*time.Minute + 42*ms,
			Text: "ctl1 is drained; vip api moved from ctl1 to ctl2; nova degraded", Events: make([]status.Event, 7),
		}}},
		{name: "the holder's agent is killed", events: []status.Event{
			active(0, "ctl2", "no advert from ctl1 for 62ms"),
			at(100*ms, "ctl1", status.EventAgentStarted, "agent", "agent started"),
		}, want: []Incident{{
			Kind: AgentLost, State: Over, Subject: "controller ctl1", Duration: 162 * ms,
			Text: "the agent of ctl1 ended without a word, and was started again; vip api moved from ctl1 to ctl2", Events: make([]status.Event, 2),
		}}},
		{name: "an agent is upgraded", events: []status.Event{
			at(0, "ctl3", status.EventAgentEnded, "agent", "agent ended"), at(time.Second, "ctl3", status.EventAgentStarted, "agent", "agent started"),
		}, want: []Incident{{
			Kind: Agent, Planned: true, State: Over, Subject: "controller ctl3", Duration: time.Second, Text: "the agent of ctl3 was started again", Events: make([]status.Event, 2),
		}}},
		{name: "a spec comes into force everywhere", events: []status.Event{
			at(0, "ctl1", status.EventReload, "spec", "spec abc is in force"), at(time.Second, "ctl2", status.EventReload, "spec", "spec abc is in force"),
		}, want: []Incident{{
			Kind: Spec, Planned: true, State: Over, Subject: "spec", Duration: time.Second, Text: "spec abc is in force, on ctl1 and ctl2", Events: make([]status.Event, 2),
		}}},
		{name: "a disk is full, and is not", events: []status.Event{
			at(0, "ctl1", status.CodeDiskFull, "agent", "the disk is full"), at(time.Minute, "ctl1", status.CodeDiskFull, "agent", "over: the disk is full"),
		}, want: []Incident{{
			Kind: "disk-full", State: Over, Subject: "agent", Duration: time.Minute, Text: "the disk is full", Events: make([]status.Event, 2),
		}}},
		{name: "two faults, some seconds apart, and a move", events: []status.Event{
			host(0, "ctl1", status.EventHostDown, "nova", "ctl2"), host(ms, "ctl1", status.EventHostDown, "glance", "ctl2"),
			host(2*time.Second, "ctl1", status.EventHostUp, "nova", "ctl2"), host(2*time.Second, "ctl1", status.EventHostUp, "glance", "ctl2"),
			host(7*time.Second, "ctl1", status.EventHostDown, "nova", "ctl3"), host(8*time.Second, "ctl1", status.EventHostUp, "nova", "ctl3"),
			because(at(9*time.Second, "ctl1", status.EventHAProxyDown, "haproxy", "HAProxy is down"), "killed", 0),
			active(9*time.Second+10*ms, "ctl2", "ctl1 resigned"),
			at(9*time.Second+90*ms, "ctl1", status.EventHAProxyRunning, "haproxy", "HAProxy is running"),
			active(10*time.Second, "ctl3", "ctl2 resigned"),
			at(10*time.Second, "ctl2", status.EventHandover, "vip api", "vip api was handed over from ctl2 to ctl3"),
			at(11*time.Second, "ctl2", status.EventAgentEnded, "agent", "agent ended"),
			at(12*time.Second, "ctl2", status.EventAgentStarted, "agent", "agent started"),
		}, want: []Incident{
			{Kind: ServiceDown, State: Over, Subject: "host ctl2", Duration: 2 * time.Second, Text: "glance and nova are down on ctl2", Events: make([]status.Event, 4)},
			{Kind: ServiceDown, State: Over, Subject: "service nova", Duration: time.Second, Text: "nova is down on ctl3", Events: make([]status.Event, 2)},
			{Kind: HAProxyLost, State: Over, Subject: "haproxy on ctl1", Duration: 142 * ms, Text: "HAProxy on ctl1 ended; vip api moved from ctl1 to ctl2", Events: make([]status.Event, 3)},
			{Kind: Agent, Planned: true, State: Over, Subject: "controller ctl2", Duration: 2062 * ms, Text: "the agent of ctl2 was started again; vip api moved from ctl2 to ctl3", Events: make([]status.Event, 4)},
		}},
		{name: "a holder of which nothing more is known is lost", events: []status.Event{
			active(0, "ctl2", "no advert from ctl9 for 62ms"),
		}, want: []Incident{{
			Kind: VIPMoved, State: Over, Subject: "vip api", Duration: 62 * ms, Text: "vip api moved from ctl9 to ctl2", Events: make([]status.Event, 1),
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Group(append(settled(), test.events...), View{Now: begun.Add(time.Hour), Silent: test.silent})
			if len(got) != len(test.want) {
				t.Fatalf("there are %d incidents, want %d: %s", len(got), len(test.want), texts(got))
			}
			for i, want := range test.want {
				is := got[i]
				if is.Kind != want.Kind || is.Planned != want.Planned || is.State != want.State || is.Subject != want.Subject || is.Text != want.Text ||
					is.Duration != want.Duration || len(is.Events) != len(want.Events) {
					t.Errorf("it is %s, planned %v, %s, %q, %v, %d events: %q\nwant %s, planned %v, %s, %q, %v, %d events: %q",
						is.Kind, is.Planned, is.State, is.Subject, is.Duration, len(is.Events), is.Text,
						want.Kind, want.Planned, want.State, want.Subject, want.Duration, len(want.Events), want.Text)
				}
			}
		})
	}
}

func texts(all []Incident) string {
	var out []string
	for _, in := range all {
		out = append(out, string(in.Kind)+": "+in.Text)
	}
	return strings.Join(out, "\n")
}

// TestCostsAddUp has an incident cost what its events did.
func TestCostsAddUp(t *testing.T) {
	events := append(settled(), lostHost()...)
	for _, cost := range []status.Event{
		{Controller: "ctl2", Subject: "vip api", Cost: &status.Cost{Failed: 2, Gap: 62 * ms}},
		{Controller: "ctl3", Subject: "service nova on ctl1", Cost: &status.Cost{Retried: 7, Gap: 30 * ms}},
	} {
		cost.Kind, cost.Time = "cost", begun.Add(50*time.Second)
		events = append(events, cost)
	}
	got := Group(events, View{Now: begun})
	if len(got) != 1 || got[0].Cost == nil || *got[0].Cost != (status.Cost{Failed: 2, Retried: 7, Gap: 62 * ms}) || len(got[0].Events) != 17 {
		t.Errorf("it cost %+v", got)
	}
}

// TestIDStays whoever groups, and however much has come since.
func TestIDStays(t *testing.T) {
	events := slices.Concat(settled(), lostHost())
	for i := range events {
		events[i].Seq = uint64(i + 1)
	}
	for n := 5; n <= len(events); n++ {
		got := Group(events[:n], View{Now: begun})
		if len(got) != 1 || got[0].ID != "ctl2-5" {
			t.Errorf("after %d events: %s", n, texts(got))
		}
	}
}

// TestMerge puts events of three journals into order, of which one's clock is wrong.
func TestMerge(t *testing.T) {
	one := func(controller string, seq uint64, after, clock time.Duration, kind string) status.Event {
		return status.Event{Controller: controller, Seq: seq, Time: begun.Add(after + clock), ClockAhead: clock, Kind: kind}
	}
	const wrong = 3 * time.Hour
	got := Merge(
		Journal{Controller: "ctl1", Events: []status.Event{one("ctl1", 1, 0, wrong, "haproxy-down"), one("ctl1", 2, 2*ms, wrong, "vip-initialize"), one("ctl1", 3, 300*ms, wrong, "haproxy-running")}},
		Journal{Controller: "ctl2", Events: []status.Event{one("ctl2", 7, 1*ms, 0, "vip-active"), one("ctl2", 8, 290*ms, 0, "host-up")}},
		Journal{Controller: "ctl3", Events: []status.Event{one("ctl3", 4, 100*ms, 0, "host-down"), one("ctl3", 5, 99*ms, 0, "host-late"), one("ctl3", 6, 98*ms, 0, "host-up")}},
		Journal{Controller: "ctl4"},
	)
	var order []string
	for _, e := range got {
		order = append(order, e.Controller+" "+e.Kind)
	}
	want := []string{
		"ctl1 haproxy-down", "ctl1 vip-initialize", "ctl2 vip-active", // the clocks cannot tell, but what was first brought the other about
		"ctl3 host-down", "ctl3 host-late", "ctl3 host-up", // as that journal has them
		"ctl2 host-up", "ctl1 haproxy-running",
	}
	if !slices.Equal(order, want) {
		t.Errorf("the order is\n%s\nwant\n%s", strings.Join(order, "\n"), strings.Join(want, "\n"))
	}
}

// TestMergeBeforeTheClockIsKnown takes what an agent learns of its clock for the events
// that it wrote before, in the same life.
func TestMergeBeforeTheClockIsKnown(t *testing.T) {
	const wrong = 3 * time.Hour
	started := at(wrong, "ctl1", status.EventAgentStarted, "agent", "")
	knows := at(wrong+2*time.Second, "ctl1", "known", "", "")
	knows.ClockAhead = wrong
	other := Journal{Controller: "ctl2", Events: []status.Event{at(time.Second, "ctl2", "other", "", "")}}
	for name, own := range map[string]Journal{
		"by a later event": {Controller: "ctl1", Events: []status.Event{at(-time.Second, "ctl1", "before", "", ""), started, knows}},
		"by its answer":    {Controller: "ctl1", Events: []status.Event{at(-time.Second, "ctl1", "before", "", ""), started}, ClockAhead: wrong},
	} {
		got := Merge(own, other)
		if got[0].Kind != "before" || got[0].ClockAhead != 0 || got[1].Kind != status.EventAgentStarted || !got[1].When().Equal(begun) || got[2].Kind != "other" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestMergeOfASetClock goes on when a clock was set back by a lot.
func TestMergeOfASetClock(t *testing.T) {
	got := Merge(
		Journal{Controller: "ctl1", Events: []status.Event{at(3*time.Hour, "ctl1", "a", "", ""), at(2*time.Second, "ctl1", "d", "", "")}},
		Journal{Controller: "ctl2", Events: []status.Event{at(time.Second, "ctl2", "b", "", ""), at(3*time.Second, "ctl2", "e", "", ""), at(4*time.Hour, "ctl2", "f", "", "")}},
	)
	last := got[len(got)-1]
	if last.Kind != "f" || got[3].Kind != "d" && got[3].Kind != "e" && got[3].Kind != "a" {
		t.Errorf("the order is %+v", got)
	}
}

// BenchmarkGroup groups what a month of a troubled cloud leaves in three journals.
func BenchmarkGroup(b *testing.B) {
	var events []status.Event
	for day := range 400 {
		for _, e := range lostHost() {
			e.Time = e.Time.Add(time.Duration(day) * time.Hour)
			e.Seq = uint64(len(events) + 1)
			events = append(events, e)
		}
		for range 7 {
			events = append(events, events[len(events)-2:]...)
		}
	}
	b.ReportMetric(float64(len(events)), "events")
	for b.Loop() {
		Group(events, View{Now: begun.Add(400 * time.Hour)})
	}
}

// TestCostOfAReload has what a reload cost be part of it.
func TestCostOfAReload(t *testing.T) {
	reload := at(0, "ctl1", status.EventReload, "spec", "a spec is in force")
	cost := at(4*time.Second, "ctl1", status.EventCost, "spec", "what clients felt")
	cost.Cost = &status.Cost{Requests: 800}
	got := Group([]status.Event{reload, cost}, View{Now: begun.Add(time.Minute)})
	if len(got) != 1 || got[0].Cost == nil || got[0].Cost.Requests != 800 {
		t.Errorf("there are %+v", got)
	}
}
