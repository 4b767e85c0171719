package traffic_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

func TestHistogramIsWithinATenth(t *testing.T) {
	for ms := 10; ms < 90_000; ms += 1 + ms/50 {
		var h traffic.Histogram
		h.Add(time.Duration(ms) * time.Millisecond)
		if got := h.Quantile(0.99).Seconds() * 1000; math.Abs(got-float64(ms)) > 0.1*float64(ms) {
			t.Errorf("%d ms became %v", ms, got)
		}
	}
	var h traffic.Histogram
	for i := range 1000 {
		h.Add(time.Duration(i) * time.Millisecond)
	}
	for _, share := range []float64{0.5, 0.99, 0.999} {
		if got, want := h.Quantile(share).Seconds(), share; math.Abs(got-want) > 0.1*want {
			t.Errorf("quantile %v of 0 to 999 ms is %v s", share, got)
		}
	}
	h.Add(time.Hour)
	h.Add(-time.Hour)
	if h.Count() != 1002 {
		t.Errorf("%d counted, want 1002", h.Count())
	}
}

func newBook() *traffic.Book {
	b := traffic.NewBook()
	b.Use(map[string]traffic.Key{
		"api-v4-nova": {Service: "nova", VIP: "api", Interface: "public"},
		"api-v6-nova": {Service: "nova", VIP: "api", Interface: "public"},
		"api-v4-db":   {Service: "db", VIP: "api", Interface: "public"},
	})
	return b
}

func TestBookCounts(t *testing.T) {
	b, at := newBook(), time.Unix(1_800_000_005, 0)
	for _, line := range []string{good, noHost, refused, cut, tls, tcp, tcpCut, gaveUp, half, silent, handshake, bad, denied, queued, serverDown} {
		b.AddLine(at, []byte(line))
	}
	b.AddLine(at, []byte("1.2.3.4:5 [x] who who/a 0/0/0/0/0 200 1 - - ---- 1/1/1/1/0 0/0 \"GET /\""))
	sums := b.Sums()
	if len(sums) != 2 || sums[0].Service != "db" || sums[1].Service != "nova" {
		t.Fatalf("keys %+v", sums)
	}
	n := sums[1]
	got := fmt.Sprint(n.Codes, n.Requests(), " failed ", n.Failed, " cut ", n.Cut, " gave up ", n.GaveUp, " retried ", n.Retried, n.Retries, n.Redispatched, " queued ", n.Queued, n.QueueTime, " noise ", n.Noise)
	if want := "[1 0 3 0 2 3] 9 failed 4 cut 1 gave up 1 retried 4 6 2 queued 1 201ms noise 3"; got != want {
		t.Errorf("nova has\n%s, want\n%s", got, want)
	}
	for cause, want := range map[traffic.Cause]uint64{traffic.NoHost: 1, traffic.NotConnected: 1, traffic.BadRequest: 1, traffic.Denied: 1, traffic.QueueTimeout: 1} {
		if n.Refused[cause] != want {
			t.Errorf("%v: %d, want %d", cause, n.Refused[cause], want)
		}
	}
	b.Use(map[string]traffic.Key{"x-v4-nova": {Service: "nova", VIP: "api", Interface: "public"}})
	if sums = b.Sums(); len(sums) != 1 || sums[0].Requests() != 9 {
		t.Errorf("after a reload %+v", sums)
	}
}

func TestRates(t *testing.T) {
	b, at := newBook(), time.Unix(1_800_000_005, 0)
	for i := range 1200 { // two minutes
		line := good
		if i%10 == 0 {
			line = noHost
		}
		b.AddLine(at, []byte(line))
		at = at.Add(100 * time.Millisecond)
	}
	rates := b.Rates(at)
	r := rates[1]
	if r.Service != "nova" || math.Abs(r.PerSecond()-10) > 0.3 || r.Failed*10 != r.Requests || r.First.Quantile(0.5) != 4500*time.Microsecond {
		t.Errorf("%s: %v a second, %d of %d failed, p50 %v", r.Service, r.PerSecond(), r.Failed, r.Requests, r.First.Quantile(0.5))
	}
	if r = b.Rates(at.Add(time.Hour))[1]; r.Requests != 0 {
		t.Errorf("an hour later there are %d requests in the last minute", r.Requests)
	}
}

// answered is a line of a request that took so long.
func answered(took time.Duration) []byte {
	return fmt.Appendf(nil, `10.0.0.9:1 [x] api-v4-nova nova/a 0/0/0/%d/%d 200 5 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"`, took.Milliseconds(), took.Milliseconds())
}

func TestCost(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	type ended struct {
		at   time.Duration
		line []byte
	}
	steady := func(from, to time.Duration) (all []ended) {
		for at := from; at < to; at += 5 * time.Millisecond {
			all = append(all, ended{at, answered(12 * time.Millisecond)})
		}
		return all
	}
	for _, test := range []struct {
		name             string
		lines            []ended
		requests, failed uint64
		cut, retried     uint64
		gap              time.Duration
	}{
		{"nothing", nil, 0, 0, 0, 0, 0},
		{"steady", steady(0, time.Second), 200, 0, 0, 0, 5 * time.Millisecond},
		{"nobody asks", append(steady(0, time.Second), steady(3*time.Second, 4*time.Second)...), 400, 0, 0, 0, 12 * time.Millisecond},
		{
			"a hang of two seconds", slices.Concat(steady(0, time.Second), []ended{{3 * time.Second, answered(2 * time.Second)}}, steady(3005*time.Millisecond, 4*time.Second)),
			400, 0, 0, 0, 2005 * time.Millisecond,
		},
		{
			"no host for half a second", slices.Concat(steady(0, time.Second), []ended{{1200 * time.Millisecond, []byte(noHost)}, {1490 * time.Millisecond, []byte(noHost)}}, steady(1600*time.Millisecond, 2*time.Second)),
			282, 2, 0, 0, 400 * time.Millisecond,
		},
		{"retried and cut", []ended{{time.Second, []byte(refused)}, {1100 * time.Millisecond, []byte(cut)}, {1200 * time.Millisecond, []byte(gaveUp)}}, 3, 3, 2, 2, 1200*time.Millisecond + 20*time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBook()
			for _, l := range test.lines {
				b.AddLine(start.Add(l.at), l.line)
			}
			c := b.Cost(start, start.Add(10*time.Second))
			if c.Requests != test.requests || c.Failed != test.failed || c.Cut != test.cut || c.Retried != test.retried {
				t.Errorf("%s; want %d, failed %d, cut %d, retried %d", c.Words(), test.requests, test.failed, test.cut, test.retried)
			}
			if (c.Gap - test.gap).Abs() > 20*time.Millisecond {
				t.Errorf("gap %v, want %v", c.Gap, test.gap)
			}
		})
	}
}

func TestCostForgets(t *testing.T) {
	b, start := newBook(), time.Unix(1_800_000_000, 0)
	b.AddLine(start, []byte(good))
	b.AddLine(start.Add(time.Hour), []byte(good))
	b.AddLine(start, []byte(good)) // too late
	if c := b.Cost(start.Add(-time.Minute), start.Add(2*time.Hour)); c.Requests != 1 {
		t.Errorf("%d requests, want the newest", c.Requests)
	}
}

// nothing is that no request failed, sinceThen that half of them have since a time.
func nothing(_, _ time.Time) float64 { return 0 }

func sinceThen(at time.Time) func(from, to time.Time) float64 {
	return func(_, to time.Time) float64 {
		if to.After(at) {
			return 0.5
		}
		return 0
	}
}

func TestCostsAreTold(t *testing.T) {
	var c traffic.Costs
	at := time.Unix(1_800_000_000, 0)
	note := func(after time.Duration, kind, subject string, took time.Duration) {
		c.Note(status.Event{Time: at.Add(after), Kind: kind, Subject: subject, Took: took})
	}
	note(0, status.EventCertificateRefused, "vip api", 0)
	if _, due := c.Due(at.Add(time.Hour), nothing); due {
		t.Error("what costs nothing has a cost")
	}
	note(0, status.EventHostDown, "service nova on ctl2", 0)
	note(time.Second, status.EventVIPActive, "vip api", 4*time.Second)
	if _, due := c.Due(at.Add(3*time.Second), nothing); due {
		t.Error("told before it settled")
	}
	s, due := c.Due(at.Add(4*time.Second), nothing)
	if !due || s.From != at.Add(-5*time.Second) || s.To != at.Add(4*time.Second) || s.About.Subject != "vip api" || s.Lost != at.Add(-3*time.Second) || s.Taken != at.Add(time.Second) {
		t.Errorf("due %v, from %v to %v, about %q, lost %v", due, s.From.Sub(at), s.To.Sub(at), s.About.Subject, s.Lost.Sub(at))
	}
	if _, due := c.Due(at.Add(5*time.Second), nothing); due {
		t.Error("told twice")
	}
}

// A VIP whose holder fell silent was nobody's since.
func TestCostsOfSilence(t *testing.T) {
	for cause, want := range map[string]time.Duration{"no advert from ctl1 for 62.5ms": 62500 * time.Microsecond, "ctl1 resigned": 0, "no advert from ctl1": 0} {
		var c traffic.Costs
		at := time.Unix(1_800_000_000, 0)
		c.Note(status.Event{Time: at, Kind: status.EventVIPActive, Subject: "vip api", Cause: cause})
		if span, _ := c.Due(at.Add(time.Minute), nothing); at.Sub(span.Lost) != want || span.Taken != at {
			t.Errorf("%s: lost %v before, want %v", cause, at.Sub(span.Lost), want)
		}
	}
}

// What goes on is told each minute, and once more when it is over.
func TestCostsOfWhatGoesOn(t *testing.T) {
	var c traffic.Costs
	at := time.Unix(1_800_000_000, 0)
	c.Note(status.Event{Time: at, Kind: status.EventHostDown, Subject: "service nova on ctl2"})
	var told []traffic.Span
	for s := range 100 {
		share := nothing
		if s < 80 {
			share = sinceThen(at)
		}
		if span, due := c.Due(at.Add(time.Duration(s)*time.Second), share); due {
			told = append(told, span)
		}
	}
	if len(told) != 2 || told[0].To.Sub(at) != 58*time.Second || told[1].From != told[0].To || told[1].To.Sub(at) != 82*time.Second || told[1].About.Subject != "service nova on ctl2" || c.Open() {
		t.Errorf("told %+v", told)
	}
}

// The time in which a VIP was nobody's is in nobody's log.
func TestCostOfAMove(t *testing.T) {
	b, at := newBook(), time.Unix(1_800_000_000, 0)
	for i := range 100 {
		b.AddLine(at.Add(180*time.Millisecond+time.Duration(i)*5*time.Millisecond), answered(12*time.Millisecond))
	}
	span := traffic.Span{From: at.Add(-2 * time.Second), To: at.Add(3 * time.Second), Lost: at, Taken: at.Add(70 * time.Millisecond), TakenVIP: "api"}
	if c := b.CostOf(span); (c.Gap-180*time.Millisecond).Abs() > time.Millisecond || c.Requests != 100 {
		t.Errorf("%s, want a gap of 180ms", c.Words())
	}
	span.Lost, span.Taken = at.Add(-time.Minute), at.Add(-50*time.Second) // nobody asked for long
	if c := b.CostOf(span); c.Gap > 20*time.Millisecond {
		t.Errorf("%s, want no gap", c.Words())
	}
}

// What fails anyway is no cost of a reload, and what goes on for long is not told without end.
func TestCostsEnd(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for name, tt := range map[string]struct {
		share func(from, to time.Time) float64
		most  int
	}{
		"as many failed before": {func(_, _ time.Time) float64 { return 0.5 }, 1},
		"they fail since":       {sinceThen(at), 10},
	} {
		var c traffic.Costs
		c.Note(status.Event{Time: at, Kind: status.EventReload, Subject: "spec"})
		told := 0
		for s := range 3600 {
			if _, due := c.Due(at.Add(time.Duration(s)*time.Second), tt.share); due {
				told++
			}
		}
		if told != tt.most || c.Open() {
			t.Errorf("%s: told %d times in an hour, want %d", name, told, tt.most)
		}
	}
}

// Another VIP that is served all the while hides no gap, and has no part in a move's cost.
func TestCostOfOneOfTwoVIPs(t *testing.T) {
	b, at := newBook(), time.Unix(1_800_000_000, 0)
	other := []byte(strings.ReplaceAll(string(answered(12*time.Millisecond)), "api-v4-nova", "other-nova"))
	b.Use(map[string]traffic.Key{"api-v4-nova": traffic.KeyOf("nova", "api", nil), "other-nova": traffic.KeyOf("nova", "other", nil)})
	for i := range 100 {
		b.AddLine(at.Add(time.Duration(i)*50*time.Millisecond), other)
	}
	b.AddLine(at.Add(3*time.Second), answered(12*time.Millisecond))
	var c traffic.Costs
	c.Note(status.Event{Time: at.Add(2800 * time.Millisecond), Took: 0, Kind: status.EventVIPActive, Subject: "vip api", Cause: "no advert from ctl1 for 2.8s"})
	span, due := c.Due(at.Add(6*time.Second), nothing)
	if cost := b.CostOf(span); !due || (cost.Gap-3*time.Second).Abs() > 20*time.Millisecond || cost.Requests != 1 {
		t.Errorf("%s, want a gap of 3s and one request", cost.Words())
	}
}

// After a clock was set back all is counted by the new time.
func TestClockSetBack(t *testing.T) {
	b, at := newBook(), time.Unix(1_800_000_000, 0)
	b.AddLine(at, answered(time.Millisecond))
	back := at.Add(-time.Hour)
	for i := range 600 {
		b.AddLine(back.Add(time.Duration(i)*100*time.Millisecond), answered(time.Millisecond))
	}
	if c := b.Cost(back, back.Add(time.Minute)); c.Requests != 600 {
		t.Errorf("%d requests, want 600", c.Requests)
	}
	requests := uint64(0)
	for _, r := range b.Rates(back.Add(time.Minute)) {
		requests += r.Requests
	}
	if requests != 600 {
		t.Errorf("%d requests in the last minute, want 600", requests)
	}
}

// TestCostOfASilentAgent: where only the agent of the former holder fell silent, and its host
// lived on, clients were served until the VIP was taken: the time of its silence is no gap.
func TestCostOfASilentAgent(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	var c traffic.Costs
	c.Note(status.Event{Kind: status.EventVIPActive, Subject: "vip api", Time: at.Add(400 * time.Millisecond), Cause: "no advert from ctl1 for 315ms"})
	span, due := c.Due(at.Add(time.Minute), nothing)
	if !due || span.Former != "ctl1" {
		t.Fatalf("%+v", span)
	}
	b := newBook()
	for i := range 100 {
		b.AddLine(at.Add(410*time.Millisecond+time.Duration(i)*10*time.Millisecond), answered(5*time.Millisecond))
	}
	if got := b.CostOf(span).Gap; got < 300*time.Millisecond {
		t.Errorf("of a host that was lost the gap is %v", got)
	}
	if got := b.CostOf(span.Served()).Gap; got > 50*time.Millisecond {
		t.Errorf("of an agent that was silent the gap is %v", got)
	}
}
