package sim

import (
	"slices"
	"time"
)

// Check runs s, and again without what a forger does if the controllers have a
// key: then the two runs must be the same.
func Check(s Schedule, lab Lab) Result {
	if !s.Key || len(s.withoutForger().Steps) == len(s.Steps) {
		return Run(s, lab)
	}
	r := Run(s, lab)
	if r.Violation != nil {
		return r
	}
	// They do not end at the same moment: the forger's last deed is something that happened.
	plain := Run(s.withoutForger(), lab)
	end := min(r.Lasted, plain.Lasted)
	if !slices.Equal(until(plain.Gains, end), until(r.Gains, end)) {
		r.Violation = &Violation{Unmoved, end, "other takeovers than without it"}
	}
	return r
}

// until gives those of all that were before end.
func until(all []Gain, end time.Duration) []Gain {
	n := slices.IndexFunc(all, func(g Gain) bool { return g.At >= end })
	if n < 0 {
		return all
	}
	return all[:n]
}

// Shrink makes s as small as it finds while the same invariant is broken in lab,
// and gives how it ends. It gives s itself if none is.
func Shrink(s Schedule, lab Lab) (Schedule, Result) {
	lab.Trace = false
	first := Check(s, lab)
	if first.Violation == nil {
		return s, first
	}
	z := shrinking{s: s, lab: lab, of: first.Violation.Invariant}
	for z.left = 4000; z.left > 0; {
		if !z.steps() && !z.nodes() && !z.settings() && !z.times() {
			break
		}
	}
	lab.Trace = true
	return z.s, Check(z.s, lab)
}

type shrinking struct {
	s    Schedule
	lab  Lab
	of   Invariant
	left int // runs
}

// try keeps s if the same invariant is broken in it.
func (z *shrinking) try(s Schedule) bool {
	if z.left--; z.left < 0 || s.check() != nil {
		return false
	}
	v := Check(s, z.lab).Violation
	if v == nil || v.Invariant != z.of {
		return false
	}
	z.s = s
	return true
}

// steps leaves out steps, many at once and then single ones.
func (z *shrinking) steps() bool {
	smaller := false
	for size := max(1, len(z.s.Steps)/2); size > 0; size /= 2 {
		for from := 0; from < len(z.s.Steps); {
			s := z.s
			s.Steps = slices.Delete(slices.Clone(s.Steps), from, min(from+size, len(s.Steps)))
			if z.try(s) {
				smaller = true
			} else {
				from += size
			}
		}
	}
	return smaller
}

// nodes leaves out the last nodes; steps about them do nothing then.
func (z *shrinking) nodes() bool {
	smaller := false
	for len(z.s.Nodes) > 1 {
		s := z.s
		s.Nodes = slices.Clone(s.Nodes[:len(s.Nodes)-1])
		if !z.try(s) {
			break
		}
		smaller = true
	}
	return smaller
}

// settings makes plain what need not be otherwise.
func (z *shrinking) settings() bool {
	smaller := false
	change := func(different bool, to func(*Schedule)) {
		if different {
			s := z.s
			s.Nodes, s.Steps = slices.Clone(s.Nodes), slices.Clone(s.Steps)
			to(&s)
			smaller = z.try(s) || smaller
		}
	}
	change(z.s.Preempt, func(s *Schedule) { s.Preempt = false })
	change(z.s.Group, func(s *Schedule) { s.Group = false })
	change(z.s.Key && z.of != Unmoved, func(s *Schedule) { s.Key = false })
	change(z.s.Interval != 100*time.Millisecond, func(s *Schedule) { s.Interval = 100 * time.Millisecond })
	const travel = 100 * time.Microsecond
	change(z.s.Least != travel || z.s.Most != travel, func(s *Schedule) { s.Least, s.Most = travel, travel })
	change(z.s.Quiet > time.Second, func(s *Schedule) { s.Quiet = time.Second })
	for i, n := range z.s.Nodes {
		change(n.Drift != 0, func(s *Schedule) { s.Nodes[i].Drift = 0 })
		change(n.Priority != uint8(254-24*i), func(s *Schedule) { s.Nodes[i].Priority = uint8(254 - 24*i) })
	}
	return smaller
}

// times makes the times of steps round, and gaps short.
func (z *shrinking) times() bool {
	smaller := false
	for i, step := range z.s.Steps {
		for _, unit := range []time.Duration{time.Second, 100 * time.Millisecond, 10 * time.Millisecond, time.Millisecond} {
			s := z.s
			s.Steps = slices.Clone(s.Steps)
			s.Steps[i].At, s.Steps[i].For = step.At.Round(unit), step.For.Round(unit)
			if s.Steps[i] == step {
				break
			}
			if z.try(s) {
				smaller = true
				break
			}
		}
	}
	return smaller
}
