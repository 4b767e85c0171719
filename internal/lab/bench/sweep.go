package bench

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The picture of the sweep: two charts, one above the other, with the same loads
// from left to right.
const (
	chartWidth, chartHeight = 900, 470
	chartLeft, chartRight   = 64, 130 // of the charts, in the picture; names stand at the right
	timeTop, timeBottom     = 34, 266
	failTop, failBottom     = 316, 430
)

// Of the times that the upper chart shows, on a logarithmic scale.
const (
	leastTime = 50 * time.Millisecond
	mostTime  = 60 * time.Second
)

// sweepStyle colours the picture where it is shown by itself and in the page, by
// day and by night.
const sweepStyle = `
.sweep { background: #fff; } .sweep text { font: 12px system-ui, sans-serif; fill: #5c6675; } .sweep .title { font-weight: 600; fill: #1d2430; }
.sweep .grid { stroke: #e3e5e9; } .sweep .full { stroke: #98a1af; stroke-dasharray: 4 3; }
.sweep .line { fill: none; stroke-width: 2; } .sweep .holdfast { stroke: #2f8f83; fill: #2f8f83; } .sweep .kolla { stroke: #3b6fd4; fill: #3b6fd4; }
.sweep .tuned { stroke: #d99a2b; fill: #d99a2b; } .sweep path.line { fill: none; } .sweep text.name { stroke: none; font-weight: 600; }
@media (prefers-color-scheme: dark) { .sweep { background: #1a2029; } .sweep text { fill: #a3adbb; } .sweep .title { fill: #e7eaef; } .sweep .grid { stroke: #2a323d; } }
`

// A chart draws the sweep of a report.
type chart struct {
	strings.Builder
	rows []Row
}

// SweepPicture gives the sweep as an SVG picture; empty when none was measured.
func (r *Report) SweepPicture() string {
	c := &chart{rows: r.rows(GroupSweep)}
	if len(c.rows) == 0 {
		return ""
	}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" class="sweep" viewBox="0 0 %d %d" role="img" aria-label="p99 and failed requests by load">`,
		chartWidth, chartHeight)
	fmt.Fprintf(c, "<style>%s</style>\n", sweepStyle)
	c.grid()
	for _, s := range r.Systems {
		c.system(s.Name)
	}
	c.names(r.Systems)
	c.WriteString("</svg>\n")
	return c.String()
}

// percent gives the load of a row.
func (r Row) percent() int { return r.Load.Percent }

// x gives the place of a load.
func (c *chart) x(percent int) float64 {
	first, last := c.rows[0].percent(), c.rows[len(c.rows)-1].percent()
	if first == last {
		return chartLeft
	}
	return chartLeft + float64(percent-first)/float64(last-first)*(chartWidth-chartLeft-chartRight)
}

// yTime gives the height of a time in the upper chart.
func yTime(d time.Duration) float64 {
	d = min(max(d, leastTime), mostTime)
	part := math.Log(float64(d)/float64(leastTime)) / math.Log(float64(mostTime)/float64(leastTime))
	return timeBottom - part*(timeBottom-timeTop)
}

// yFail gives the height of a share of failed requests in the lower chart.
func yFail(share float64) float64 { return failBottom - share*(failBottom-failTop) }

func (c *chart) text(x, y float64, class, anchor, text string) {
	fmt.Fprintf(c, `<text x="%.0f" y="%.0f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, text)
}

// grid draws what the systems have in common.
func (c *chart) grid() {
	right := float64(chartWidth - chartRight)
	c.text(chartLeft, timeTop-16, "title", "start", "p99 of the requests that succeeded")
	c.text(chartLeft, failTop-16, "title", "start", "requests that failed")
	line := func(x1, y1, x2, y2 float64, class string) {
		fmt.Fprintf(c, `<path d="M%.1f %.1fL%.1f %.1f" class="%s"/>`+"\n", x1, y1, x2, y2, class)
	}
	for _, d := range []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second} {
		line(chartLeft, yTime(d), right, yTime(d), "grid")
		c.text(chartLeft-8, yTime(d)+4, "", "end", strings.Replace(short(d), ".00", "", 1))
	}
	for _, share := range []float64{0, 0.5, 1} {
		line(chartLeft, yFail(share), right, yFail(share), "grid")
		c.text(chartLeft-8, yFail(share)+4, "", "end", fmt.Sprintf("%.0f %%", 100*share))
	}
	for _, row := range c.rows {
		class := "grid"
		if row.percent() == 100 {
			class = "full"
		}
		line(c.x(row.percent()), timeTop, c.x(row.percent()), timeBottom, class)
		line(c.x(row.percent()), failTop, c.x(row.percent()), failBottom, class)
		c.text(c.x(row.percent()), failBottom+18, "", "middle", fmt.Sprintf("%d %%", row.percent()))
	}
	c.text((chartLeft+right)/2, failBottom+36, "", "middle", fmt.Sprintf("load, of the %g requests a second that the hosts can do", capacity))
}

// system draws the two lines of one system.
func (c *chart) system(s System) {
	var times, fails []string
	var dots strings.Builder
	for _, row := range c.rows {
		cell, ok := row.cell(s)
		if !ok {
			continue
		}
		m, x := cell.Median, c.x(row.percent())
		point := func(y float64, what string) string {
			fmt.Fprintf(&dots, `<circle cx="%.1f" cy="%.1f" r="3.5" class="%s"><title>%s at %d %%: %s</title></circle>`+"\n", x, y, s, s, row.percent(), what)
			return fmt.Sprintf("%.1f %.1f", x, y)
		}
		fails = append(fails, point(yFail(m.failedShare()), fmt.Sprintf("%d of %d failed", m.Failed, m.Requests)))
		if m.Failed < m.Requests { // else there is no time to speak of
			times = append(times, point(yTime(m.P99), "p99 of "+short(m.P99)))
		}
	}
	for _, points := range [][]string{times, fails} {
		if len(points) > 0 {
			fmt.Fprintf(c, `<path d="M%s" class="line %s"/>`+"\n", strings.Join(points, "L"), s)
		}
	}
	c.WriteString(dots.String())
}

// failedShare gives how much of the requests failed.
func (m Measure) failedShare() float64 {
	if m.Requests == 0 {
		return 0
	}
	return float64(m.Failed) / float64(m.Requests)
}

// names says which line is whose.
func (c *chart) names(systems []SystemInfo) {
	for i, s := range systems {
		y := float64(timeTop + 14 + 20*i)
		fmt.Fprintf(c, `<circle cx="%d" cy="%.0f" r="5" class="%s"/>`+"\n", chartWidth-chartRight+28, y-4, s.Name)
		c.text(chartWidth-chartRight+40, y, "", "start", string(s.Name))
	}
}
