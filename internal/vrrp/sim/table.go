package sim

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// Cell is what one row of the table is measured with.
type Cell struct {
	Nodes    int
	Interval time.Duration
	Loss     int // percent
}

// Measured is what came of it.
type Measured struct {
	// Median, Most are how long it took until another one had the address when
	// the host that had it lost its power.
	Median, Most time.Duration
	// Sent is how many packets with adverts all nodes send in a second, by
	// unicast; with multicast it is as many for one peer.
	Sent float64
	// False is how often in an hour the address moved though nothing happened.
	False float64
}

// Measure measures one row: some takeovers, and an hour in which nothing happens.
func Measure(c Cell) Measured {
	const takeovers = 100
	var m Measured
	var took []time.Duration
	for seed := range uint64(takeovers) {
		// Long enough for whoever waits to know how much gets lost.
		at := 5*time.Second + 150*c.Interval + time.Duration(hash(seed, 1, 1)>>1)%c.Interval
		s := c.schedule(seed)
		s.Steps = append(s.Steps, Step{At: at, Verb: PowerOff, Node: Holder})
		for _, g := range Run(s, Lab{}).Gains {
			if g.At > at {
				took = append(took, g.At-at)
				break
			}
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		m.Median, m.Most = took[len(took)/2], took[len(took)-1]
	}
	begin := 10*time.Second + 150*c.Interval
	s := c.schedule(1)
	s.Steps = append(s.Steps, Step{At: begin, Verb: Boot, Node: All}) // nothing: they run
	s.Quiet = time.Hour - time.Minute
	r := Run(s, Lab{})
	for _, g := range r.Gains {
		if g.At > begin {
			m.False++
		}
	}
	m.False *= float64(time.Hour) / float64(r.Lasted-begin)
	m.Sent = float64(r.Sent) / r.Lasted.Seconds()
	return m
}

func (c Cell) schedule(seed uint64) Schedule {
	s := Schedule{
		Seed: seed, Interval: c.Interval, Least: 50 * time.Microsecond, Most: 550 * time.Microsecond,
		Quiet: 10*time.Second + 10*c.Interval,
	}
	for i := range c.Nodes {
		s.Nodes = append(s.Nodes, Node{Priority: uint8(254 - 24*i)})
	}
	s.Steps = []Step{{At: 0, Verb: Loss, Value: c.Loss}}
	return s
}

// Cells gives the rows of the table.
func Cells() []Cell {
	var all []Cell
	for _, nodes := range []int{2, 3, 5, 9} {
		for _, interval := range []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, time.Second} {
			for _, loss := range []int{0, 1, 5, 10, 30} {
				all = append(all, Cell{nodes, interval, loss})
			}
		}
	}
	return all
}

// WriteTable measures all rows, and writes each when it is done, as Markdown.
func WriteTable(w io.Writer) error {
	if _, err := fmt.Fprint(w, "| nodes | interval | loss | takeover, median | takeover, slowest of 100 | adverts/s | false takeovers/h |\n|---|---|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, c := range Cells() {
		m := Measure(c)
		_, err := fmt.Fprintf(w, "| %d | %v | %d %% | %v | %v | %.1f | %.1f |\n", c.Nodes, c.Interval, c.Loss,
			m.Median.Round(100*time.Microsecond), m.Most.Round(100*time.Microsecond), m.Sent, m.False)
		if err != nil {
			return err
		}
	}
	return nil
}
