package bench

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/lab/load"
)

// judge says in what m is not as p promises; nothing if all is. Two requests on
// new connections are no gap of the system's, nor is what this machine kept the
// load generator waiting or did before the fault.
func (p Promise) judge(m Measure, spacing time.Duration) []string {
	var missed []string
	say := func(format string, args ...any) { missed = append(missed, fmt.Sprintf(format, args...)) }
	if m.Requests == 0 {
		say("no request was sent")
	}
	if n := p.tooMany(m); n > 0 {
		say("%d failed that should not have", n)
	}
	if p.Reset && m.Kinds[load.Timeout] > 0 {
		say("%d hung until their timeout", m.Kinds[load.Timeout])
	}
	margin := 2*spacing + max(m.Late, min(m.Noise, 5*spacing)-spacing)
	if p.Gap != none && m.Gap > p.Gap+margin {
		say("gap of %s", short(m.Gap))
	}
	if p.Slowest != none && m.Slowest > p.Slowest+m.Late {
		say("the slowest took %s", short(m.Slowest))
	}
	if p.Two != none && m.Two > p.Two+m.Late {
		say("two holders for %s", short(m.Two))
	}
	if p.Planned {
		missed = append(missed, p.judgeWork(m)...)
	}
	missed = append(missed, p.judgeHosts(m.Hosts)...)
	if m.PostsTwice > 0 {
		say("%d POSTs were carried out twice", m.PostsTwice)
	}
	return missed
}

// judgeWork says in what m is not as p promises of planned work, beside what
// it does of faults.
func (p Promise) judgeWork(m Measure) []string {
	var missed []string
	say := func(format string, args ...any) { missed = append(missed, fmt.Sprintf(format, args...)) }
	w := m.Work
	if m.PostsFailed > 0 {
		say("%d POSTs failed", m.PostsFailed)
	}
	if w.Resets > 0 {
		say("%d connections reset", w.Resets)
	}
	if w.ConnectsFailed > 0 {
		say("%d of %d attempts to connect failed", w.ConnectsFailed, w.Connects)
	}
	if w.Cut > 0 {
		say("%d of %d downloads cut", w.Cut, w.Downloads)
	}
	if w.Downloads == 0 {
		say("no download was in flight")
	}
	// What the machine does to such attempts when nothing is done.
	if p.Connect != none && w.ConnectGap > p.Connect+min(w.ConnectNoise, p.Connect) {
		say("no new connection for %s", short(w.ConnectGap))
	}
	return missed
}

// tooMany counts the failed requests of m that p does not allow.
func (p Promise) tooMany(m Measure) int {
	switch p.Failed {
	case AllowNone:
		return m.Failed
	case AllowOld:
		return m.InGap + m.Others
	case AllowGap:
		return m.Others
	case AllowBeside, AllowAny:
	}
	return 0
}

// judgeHosts says in what h is not as p promises of a service that is busy.
func (p Promise) judgeHosts(h Hosts) []string {
	var missed []string
	say := func(format string, args ...any) { missed = append(missed, fmt.Sprintf(format, args...)) }
	if p.NoneDown && h.Down > 0 {
		say("a host was marked down %d times", h.Down)
	}
	if p.Ratio > 0 && h.ratio() > p.Ratio {
		say("hosts saw %.2f times what clients sent", h.ratio())
	}
	if p.Uploads && h.Cut > 0 {
		say("%d of %d uploads cut", h.Cut, h.Uploads)
	}
	if p.Uploads && h.Uploads == 0 {
		say("no upload was in flight")
	}
	return missed
}

// besides says in what own, holdfast's, is not as promised beside that of
// kolla-ansible's settings.
func (p Promise) besides(own, kolla Measure) []string {
	if p.Beside == nil {
		return nil
	}
	var missed []string
	if most := kolla.Failed + p.Beside.Failed; own.Failed > most {
		missed = append(missed, fmt.Sprintf("%d failed, beside %d of kolla", own.Failed, kolla.Failed))
	}
	if p.Beside.P99 > 0 && float64(own.P99) > p.Beside.P99*float64(kolla.P99) {
		missed = append(missed, fmt.Sprintf("p99 of %s, beside %s of kolla", short(own.P99), short(kolla.P99)))
	}
	return missed
}

// medians gives the median of each figure of all, which are of as many runs in
// system. Of an even number it takes, of the two in the middle, the one that
// speaks against holdfast: the worse one of its own, and the better one of a
// peer's.
func medians(system System, all []Measure) Measure {
	if len(all) == 0 {
		return Measure{}
	}
	middle := len(all) / 2
	if system != Holdfast {
		middle = (len(all) - 1) / 2
	}
	m := Measure{Kinds: map[load.Failure]int{}}
	numbers, times := m.figures()
	for i, to := range numbers {
		*to = pick(all, middle, func(m Measure) int { n, _ := m.figures(); return *n[i] })
	}
	for i, to := range times {
		*to = pick(all, middle, func(m Measure) time.Duration { _, t := m.figures(); return *t[i] })
	}
	unfinished := 0
	for _, one := range all {
		for k := range one.Kinds {
			if n := pick(all, middle, func(m Measure) int { return m.Kinds[k] }); n > 0 {
				m.Kinds[k] = n
			}
		}
		if one.Unfinished {
			unfinished++
		}
	}
	m.Unfinished = unfinished > len(all)-1-middle
	return m
}

// figures gives those of m of which there are medians.
func (m *Measure) figures() ([]*int, []*time.Duration) {
	w, h := &m.Work, &m.Hosts
	return []*int{
			&m.Requests, &m.Failed, &m.UnderWay, &m.OldConn, &m.InGap, &m.Others, &m.Posts, &m.PostsFailed, &m.PostsTwice,
			&w.Connects, &w.ConnectsFailed, &w.Downloads, &w.Cut, &w.Resets,
			&h.Sent, &h.Seen, &h.Checks, &h.Down, &h.Uploads, &h.Cut,
		}, []*time.Duration{
			&m.Gap, &m.P50, &m.P99, &m.Slowest, &m.Two, &m.Taken, &m.Late, &m.Noise, &w.Took, &w.ConnectGap, &w.ConnectNoise,
		}
}

// pick gives, of a figure in all, the one that is at middle by size.
func pick[T cmp.Ordered](all []Measure, middle int, of func(Measure) T) T {
	var values []T
	for _, m := range all {
		values = append(values, of(m))
	}
	slices.Sort(values)
	return values[middle]
}

// short gives d as a person reads it: 0.4 ms, 12 ms, 1.05 s.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "-"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
