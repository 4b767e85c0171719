package bench

import (
	"context"
	"math/rand/v2"
	"slices"

	"holdfast/internal/lab"
)

// A job is a scenario to be measured in a run.
type job struct {
	scenario
	run int
}

// runsOf gives how often each row of a group is measured in s. The peers take
// seconds where holdfast takes milliseconds, and what planned work costs them
// hardly varies: they have fewer runs, so that all of it takes less than half an
// hour. A queue varies least: where a service is busy holdfast has fewer, too.
func (b *bench) runsOf(s System, of Group) int {
	switch {
	case of == GroupSweep && b.opt.sweepAlone():
		return b.opt.Runs
	case of == GroupSweep, of == GroupBusy && s == Tuned:
		return (b.opt.Runs + 4) / 5
	case of == GroupBusy && s == Holdfast:
		return (b.opt.Runs + 1) / 2
	case s == Holdfast:
		return b.opt.Runs
	case of == GroupPlanned:
		return (b.opt.Runs + 4) / 5
	case s == Kolla:
		return (b.opt.Runs + 2) / 3
	}
	return (b.opt.Runs + 1) / 2
}

// chosen reports whether rows of a group are to be measured.
func (b *bench) chosen(of Group) bool {
	return slices.ContainsFunc(Faults(), func(f Fault) bool { return f.Group() == of && b.opt.wants(f) })
}

func (o *Options) wants(f Fault) bool {
	return len(o.Faults) == 0 || slices.ContainsFunc(o.Faults, f.in)
}

// sweepAlone reports whether a sweep is all that is to be measured.
func (o *Options) sweepAlone() bool {
	return !slices.ContainsFunc(Faults(), func(f Fault) bool { return f.Group() != GroupSweep && o.wants(f) })
}

// order gives the scenarios of a run of system, in an order that depends on
// the seed and the run alone.
func (b *bench) order(system System, run int) []scenario {
	var all []scenario
	for _, s := range scenarios(b.opt.wants) {
		if !slices.ContainsFunc(s, func(f Fault) bool { return !f.does(system) }) {
			all = append(all, s)
		}
	}
	r := rand.New(rand.NewPCG(b.opt.Seed, uint64(run)))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// jobs gives all that is to be measured of system, in order. What needs a lab
// with TLS comes last.
func (b *bench) jobs(system System) []job {
	var plain, secure []job
	for run := range b.opt.Runs {
		for _, s := range b.order(system, run) {
			switch {
			case run >= b.runsOf(system, s[0].Group()):
			case s.needsTLS():
				secure = append(secure, job{s, run})
			default:
				plain = append(plain, job{s, run})
			}
		}
	}
	return append(plain, secure...)
}

func (s scenario) needsTLS() bool { return s[0].TLS }

// measure measures all that is to be measured of t's system.
func (b *bench) measure(ctx context.Context, t *testbed) error {
	for _, j := range b.todo[t.system] {
		if err := b.awaitTurn(ctx, t.system); err != nil {
			return err
		}
		if j.needsTLS() != t.tls {
			if err := b.rebuild(ctx, t, j.needsTLS()); err != nil {
				return err
			}
		}
		if err := b.once(ctx, t, j.scenario, j.run); err != nil {
			return err
		}
	}
	return nil
}

// awaitTurn waits until system is not further on than those that have more to
// do: while one recovers, another one is measured, to the end.
func (b *bench) awaitTurn(ctx context.Context, system System) error {
	for b.ahead(system) {
		if err := lab.Sleep(ctx, settlePoll/5); err != nil {
			return err
		}
	}
	return nil
}

// ahead reports whether a larger share of system's jobs is done than of the
// jobs of one that has more of them.
func (b *bench) ahead(system System) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	share := func(s System) float64 { return float64(b.done[s]) / float64(len(b.todo[s])) }
	return slices.ContainsFunc(b.opt.Only, func(s System) bool {
		return len(b.todo[s]) > len(b.todo[system]) && share(system) > share(s)
	})
}
