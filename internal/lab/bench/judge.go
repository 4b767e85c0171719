package bench

import (
	"cmp"
	"fmt"
	"maps"
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
	pick := picker{all, len(all) / 2}
	if system != Holdfast {
		pick.middle = (len(all) - 1) / 2
	}
	m := Measure{
		Requests: pick.number(func(m Measure) int { return m.Requests }),
		Failed:   pick.number(func(m Measure) int { return m.Failed }),
		UnderWay: pick.number(func(m Measure) int { return m.UnderWay }),
		OldConn:  pick.number(func(m Measure) int { return m.OldConn }),
		InGap:    pick.number(func(m Measure) int { return m.InGap }),
		Others:   pick.number(func(m Measure) int { return m.Others }),

		Posts:       pick.number(func(m Measure) int { return m.Posts }),
		PostsFailed: pick.number(func(m Measure) int { return m.PostsFailed }),
		PostsTwice:  pick.number(func(m Measure) int { return m.PostsTwice }),

		Gap:     pick.time(func(m Measure) time.Duration { return m.Gap }),
		P50:     pick.time(func(m Measure) time.Duration { return m.P50 }),
		P99:     pick.time(func(m Measure) time.Duration { return m.P99 }),
		Slowest: pick.time(func(m Measure) time.Duration { return m.Slowest }),
		Two:     pick.time(func(m Measure) time.Duration { return m.Two }),
		Taken:   pick.time(func(m Measure) time.Duration { return m.Taken }),
		Late:    pick.time(func(m Measure) time.Duration { return m.Late }),
		Noise:   pick.time(func(m Measure) time.Duration { return m.Noise }),
		Kinds:   map[load.Failure]int{},
		Work:    pick.work(),
		Hosts:   pick.hosts(),
	}
	kinds := map[load.Failure]bool{}
	unfinished := 0
	for _, one := range all {
		for k := range one.Kinds {
			kinds[k] = true
		}
		if one.Unfinished {
			unfinished++
		}
	}
	for k := range maps.Keys(kinds) {
		if n := pick.number(func(m Measure) int { return m.Kinds[k] }); n > 0 {
			m.Kinds[k] = n
		}
	}
	m.Unfinished = unfinished > len(all)-1-pick.middle
	return m
}

// A picker takes the one at middle of each figure of all.
type picker struct {
	all    []Measure
	middle int
}

func (p picker) number(of func(Measure) int) int { return pickOf(p, of) }

func (p picker) time(of func(Measure) time.Duration) time.Duration { return pickOf(p, of) }

func pickOf[T cmp.Ordered](p picker, of func(Measure) T) T {
	var values []T
	for _, m := range p.all {
		values = append(values, of(m))
	}
	slices.Sort(values)
	return values[p.middle]
}

func (p picker) work() Work {
	return Work{
		Took:           p.time(func(m Measure) time.Duration { return m.Work.Took }),
		Connects:       p.number(func(m Measure) int { return m.Work.Connects }),
		ConnectsFailed: p.number(func(m Measure) int { return m.Work.ConnectsFailed }),
		ConnectGap:     p.time(func(m Measure) time.Duration { return m.Work.ConnectGap }),
		ConnectNoise:   p.time(func(m Measure) time.Duration { return m.Work.ConnectNoise }),
		Downloads:      p.number(func(m Measure) int { return m.Work.Downloads }),
		Cut:            p.number(func(m Measure) int { return m.Work.Cut }),
		Resets:         p.number(func(m Measure) int { return m.Work.Resets }),
	}
}

func (p picker) hosts() Hosts {
	return Hosts{
		Sent:    p.number(func(m Measure) int { return m.Hosts.Sent }),
		Seen:    p.number(func(m Measure) int { return m.Hosts.Seen }),
		Checks:  p.number(func(m Measure) int { return m.Hosts.Checks }),
		Down:    p.number(func(m Measure) int { return m.Hosts.Down }),
		Uploads: p.number(func(m Measure) int { return m.Hosts.Uploads }),
		Cut:     p.number(func(m Measure) int { return m.Hosts.Cut }),
	}
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
