package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/incident"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

const (
	// pictured is how many services have pictures, those with the most requests.
	pictured = 12
	// A picture has so many columns, each of as many steps of a history, and is so high.
	pictureColumns = 72
	pictureHeight  = 30
)

// A sum is what clients of a service got by columns of a picture.
type sum struct{ requests, failed [pictureColumns]uint64 }

// sumsOf adds up what all controllers tell of the time from begin to end, by service, and says
// in which columns nobody counted.
func sumsOf(all []traffic.History, begin, end time.Time) (map[string]*sum, [pictureColumns]bool) {
	sums, known := map[string]*sum{}, [pictureColumns]bool{}
	column := func(h traffic.History, i int) int {
		middle := h.From.Add(h.Step*time.Duration(i) + h.Step/2)
		if middle.Before(begin) || !middle.Before(end) {
			return -1
		}
		return int(middle.Sub(begin) * pictureColumns / end.Sub(begin))
	}
	for _, h := range all {
		for i := range h.Known {
			if at := column(h, i); at >= 0 && h.Known[i] {
				known[at] = true
			}
		}
		for _, s := range h.Services {
			of := sums[s.Service]
			if of == nil {
				of = &sum{}
				sums[s.Service] = of
			}
			for i, n := range s.Requests {
				if at := column(h, i); at >= 0 {
					of.requests[at] += n
					of.failed[at] += s.Failed[i]
				}
			}
		}
	}
	return sums, known
}

// A pictureRow has the pictures of a service.
type pictureRow struct {
	Service   string
	Hour, Day picture
}

// A picture is requests over time, with what failed and the incidents marked. X is by columns.
type picture struct {
	Area  string // an SVG path
	Fails []bar
	Gaps  []bar // in which nobody counted
	Marks []mark
	Words string
}

type bar struct{ X, Y, Width, Height int }

type mark struct {
	bar
	Tone, Text string
}

// picturesOf draws what clients of each service got in the last hour and day.
func picturesOf(now time.Time, hours, days []traffic.History, incidents []incident.Incident) []pictureRow {
	day, dayKnown := sumsOf(days, now.Add(-24*time.Hour), now)
	hour, hourKnown := sumsOf(hours, now.Add(-time.Hour), now)
	total := map[string]uint64{}
	for _, sums := range []map[string]*sum{day, hour} {
		for name, s := range sums {
			for _, n := range s.requests {
				total[name] += n
			}
		}
	}
	var names []string
	for name, n := range total {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(total[b], total[a]), strings.Compare(a, b)) })
	names = names[:min(len(names), pictured)]
	slices.Sort(names)
	var rows []pictureRow
	for _, name := range names {
		rows = append(rows, pictureRow{
			name, draw(hour[name], hourKnown, now, time.Hour, incidents), draw(day[name], dayKnown, now, 24*time.Hour, incidents),
		})
	}
	return rows
}

func draw(s *sum, known [pictureColumns]bool, now time.Time, span time.Duration, incidents []incident.Incident) picture {
	if s == nil {
		s = &sum{}
	}
	most, requests, failed := slices.Max(s.requests[:]), uint64(0), uint64(0)
	var p picture
	var path strings.Builder
	fmt.Fprintf(&path, "M0 %d", pictureHeight)
	for i, n := range s.requests {
		requests, failed = requests+n, failed+s.failed[i]
		y := pictureHeight
		if most > 0 {
			y -= int(float64(n) / float64(most) * (pictureHeight - 2))
		}
		fmt.Fprintf(&path, "L%d %dH%d", i, y, i+1)
		if s.failed[i] > 0 {
			height := max(3, int(min(1, float64(s.failed[i])/float64(n))*pictureHeight))
			p.Fails = append(p.Fails, bar{i, pictureHeight - height, 1, height})
		}
		if !known[i] {
			p.Gaps = longer(p.Gaps, i)
		}
	}
	fmt.Fprintf(&path, "L%d %dZ", pictureColumns, pictureHeight)
	p.Area, p.Marks = path.String(), marksOf(now, span, incidents)
	p.Words = "no request"
	if requests > 0 {
		p.Words = fmt.Sprintf("up to %s, none failed", status.PerSecond(float64(most)/(span/pictureColumns).Seconds()))
	}
	if failed > 0 {
		p.Words = strings.Replace(p.Words, "none", fmt.Sprintf("%d of %d", failed, requests), 1)
	}
	return p
}

// longer has the last of gaps reach to column i, or begins another one there.
func longer(gaps []bar, i int) []bar {
	if n := len(gaps); n > 0 && gaps[n-1].X+gaps[n-1].Width == i {
		gaps[n-1].Width++
		return gaps
	}
	return append(gaps, bar{i, 0, 1, pictureHeight})
}

// marksOf marks the incidents of the last while.
func marksOf(now time.Time, span time.Duration, incidents []incident.Incident) []mark {
	var marks []mark
	begin := now.Add(-span)
	at := func(t time.Time) int { return int(t.Sub(begin) * pictureColumns / span) }
	for _, in := range incidents {
		end := in.End
		if in.State == incident.Open {
			end = now
		}
		if end.Before(begin) || in.Begin.After(now) {
			continue
		}
		from := max(0, at(in.Begin))
		m := mark{bar{from, 0, max(1, min(at(end), pictureColumns)-from), pictureHeight}, toneBad, in.Text}
		if in.Planned {
			m.Tone = toneInfo
		}
		marks = append(marks, m)
	}
	return marks
}
