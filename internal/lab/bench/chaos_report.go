package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
	"holdfast/internal/status"
)

// A ChaosReport tells how a cloud came through its faults. All is as it must be
// when there is no Violation: no request of a safe method failed but those that
// the fault explains by what it may cost, no planned move was refused, no POST was carried out
// twice, never did two controllers have the address for longer than its lease
// lasts, all was whole again each time and at the end, and memory and
// descriptors stayed as they were. Its JSON form is a contract: fields are
// added, never renamed or removed.
type ChaosReport struct {
	Schema      int           `json:"schema"` // always 1
	Started     time.Time     `json:"started"`
	Took        time.Duration `json:"took_ns"`
	Interrupted bool          `json:"interrupted,omitempty"`
	Seed        uint64        `json:"seed"`
	Machine     Machine       `json:"machine"`
	Requests    int           `json:"requests"`
	Failed      int           `json:"failed"` // of safe methods, all explained but for violations
	Posts       int           `json:"posts"`
	PostsFailed int           `json:"posts_failed"`
	PostsTwice  int           `json:"posts_twice"`
	Slowest     time.Duration `json:"slowest_ns"`
	SlowestIn   string        `json:"slowest_in,omitempty"` // its method, and the fault that it was due in or after
	Late        time.Duration `json:"late_ns"`              // the load generator's own worst lateness
	Two         time.Duration `json:"two_holders_ns"`       // the longest, controllers that were cut apart aside
	Episodes    []Episode     `json:"episodes"`
	UsageBefore Usage         `json:"usage_before"` // of all controllers together, when warmed up
	UsageAfter  Usage         `json:"usage_after"`
	Violations  []Violation   `json:"violations"`
	Logs        string        `json:"logs,omitempty"` // where the agents' logs were kept
}

// mostViolations is how many requests that failed without reason are told one
// by one.
const mostViolations = 10

// report puts together what was seen and says what must not be.
func (c *chaos) report(ctx context.Context) (*ChaosReport, error) {
	w := c.watch
	changes, err := lab.ReadHoldings(c.bed.dir())
	if err != nil {
		return nil, err
	}
	r := &ChaosReport{
		Schema: 1, Started: c.started, Took: time.Since(c.started), Interrupted: ctx.Err() != nil, Seed: c.opt.Seed,
		Machine: Describe(context.WithoutCancel(ctx)), Requests: w.requests, Failed: len(w.failed), Posts: w.posts,
		PostsFailed: len(w.lost), Slowest: w.slowest.Took, Late: w.late, Episodes: c.episodes,
	}
	for i, e := range c.episodes {
		c.episodes[i].Slowest = w.slowestIn(e.From, e.last())
	}
	if w.slowest.Took > 0 {
		r.SlowestIn = fmt.Sprintf("a %s, %s", w.slowest.Method, during(w.slowest.Due, c.episodes, c.started))
	}
	vip := c.bed.spec.VIPs[0].Addresses[0].Addr()
	c.judgeRequests(unexplained(w.failed, c.episodes, movesOf(changes, vip)))
	for _, s := range both(changes, vip, c.episodes, time.Now()) {
		r.Two = max(r.Two, s.length())
		if s.length() > lease {
			c.violate(s.from, "two controllers had the address for %s, %s", short(s.length()), during(s.from, c.episodes, c.started))
		}
	}
	if r.PostsTwice, err = c.judgePosts(); err != nil {
		return nil, err
	}
	for i, v := range c.broken {
		c.broken[i].Around = c.around(v.At, changes)
	}
	var grown []string
	r.UsageBefore, r.UsageAfter, grown = growth(c.usage)
	for _, g := range grown {
		c.violate(time.Now(), "%s", g)
	}
	if w.requests == 0 {
		c.violate(time.Now(), "no request was sent")
	}
	slices.SortStableFunc(c.broken, func(a, b Violation) int { return a.At.Compare(b.At) })
	r.Violations = c.broken
	return r, nil
}

// judgeRequests tells of requests that failed without reason.
func (c *chaos) judgeRequests(failed []load.Record) {
	for i, f := range failed {
		if i == mostViolations {
			c.violate(f.Due, "%d more requests failed that nothing explains", len(failed)-i)
			return
		}
		how := "on a new connection"
		if f.Reused {
			how = fmt.Sprintf("on a connection opened %s before", short(f.Due.Sub(f.Opened)))
		}
		c.violate(f.Due, "a %s %s failed after %s: %s (%s), %s", f.Method, how, short(f.Took), f.Failure, f.Error,
			during(f.Due, c.episodes, c.started))
	}
}

// judgePosts counts what was carried out more than once.
func (c *chaos) judgePosts() (int, error) {
	arrived, err := lab.ReadArrivals(c.bed.dir())
	if err != nil {
		return 0, err
	}
	twice := 0
	for key, n := range arrived {
		if n > 1 {
			twice++
			c.violate(time.Now(), "the POST %s arrived %d times", key, n)
		}
	}
	return twice, nil
}

// around tells what happened about a time.
func (c *chaos) around(when time.Time, changes []lab.Holding) []string {
	const window = 3 * time.Second
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	add := func(at time.Time, format string, args ...any) {
		if !at.IsZero() && at.After(when.Add(-window)) && at.Before(when.Add(window)) {
			lines = append(lines, line{at, fmt.Sprintf(format, args...)})
		}
	}
	for _, e := range c.episodes {
		add(e.From, "%s", e.what())
		add(e.Undone, "the end of %s on %s", e.Kind, e.Node)
		add(e.Whole, "all whole again")
	}
	for _, h := range changes {
		verb := "leaves"
		if h.Held {
			verb = "is taken by"
		}
		add(h.Time, "%s %s %s", h.Address, verb, h.Node)
	}
	add(when, "<<< here")
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var out []string
	for _, l := range lines {
		out = append(out, fmt.Sprintf("%s  %s", clock(l.at.Sub(c.started)), l.text))
	}
	const steps = 100
	from := when.Add(-300 * time.Millisecond)
	ok, bad := c.watch.strip(from, steps)
	return append(out, fmt.Sprintf("each 10 ms from %s on:", clock(from.Sub(c.started))), "answered "+ok, "failed   "+bad)
}

// writeEpisodes writes a line for each kind of fault.
func (r *ChaosReport) writeEpisodes(b *strings.Builder) {
	const line = "%-16s %6s %10s %12s %15s %14s\n"
	fmt.Fprintf(b, line, "fault", "times", "on holder", "GETs failed", "slowest answer", "slowest back")
	for _, k := range chaosKinds() {
		var times, holders, failed int
		var back, answer time.Duration
		for _, e := range r.Episodes {
			if e.Kind != k.name {
				continue
			}
			times++
			failed += e.Failed
			if e.Holder {
				holders++
			}
			back, answer = max(back, e.Whole.Sub(e.Undone)), max(answer, e.Slowest)
		}
		quick := ""
		if answer > 0 {
			quick = short(answer)
		}
		if times > 0 {
			fmt.Fprintf(b, line, k.name, fmt.Sprint(times), fmt.Sprint(holders), fmt.Sprint(failed), quick, short(back))
		}
	}
	b.WriteString("\n")
}

// Text gives r for a person, in lines of at most 120 columns but for errors.
func (r *ChaosReport) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chaos of seed %d: %d faults in %s\n\n", r.Seed, len(r.Episodes), r.Took.Round(time.Second))
	r.writeEpisodes(&b)
	share := 100 * float64(r.Failed) / math.Max(1, float64(r.Requests-r.Posts))
	fmt.Fprintf(&b, "requests         %d; of %d GETs %d failed (%.3f %%), of %d POSTs %d\n",
		r.Requests, r.Requests-r.Posts, r.Failed, share, r.Posts, r.PostsFailed)
	fmt.Fprintf(&b, "slowest          %s, %s\n", short(r.Slowest), r.SlowestIn)
	fmt.Fprintf(&b, "                 the load generator itself was up to %s late\n", short(r.Late))
	fmt.Fprintf(&b, "two holders      %s at most\n", short(r.Two))
	fmt.Fprintf(&b, "POSTs twice      %d\n", r.PostsTwice)
	fmt.Fprintf(&b, "3 agents         %s, %d descriptors -> %s, %d\n", mib(r.UsageBefore.Agent.Memory), r.UsageBefore.Agent.Files,
		mib(r.UsageAfter.Agent.Memory), r.UsageAfter.Agent.Files)
	fmt.Fprintf(&b, "3 HAProxys       %s, %d descriptors -> %s, %d\n", mib(r.UsageBefore.HAProxy.Memory), r.UsageBefore.HAProxy.Files,
		mib(r.UsageAfter.HAProxy.Memory), r.UsageAfter.HAProxy.Files)
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "\nBROKEN at %s: %s\n", clock(v.At.Sub(r.Started)), v.Text)
		for _, line := range v.Around {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	switch {
	case len(r.Violations) > 0:
		fmt.Fprintf(&b, "\n%s broken. The logs of all nodes are in %s\n", status.Count(len(r.Violations), "thing"), r.Logs)
	case r.Interrupted:
		b.WriteString("interrupted; nothing was broken till then\n")
	default:
		b.WriteString("nothing is broken\n")
	}
	return b.String()
}
