package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// trialTime is how long the agent watches what a new spec does to the services,
// and after going back how long it waits for them to recover. Health checks
// find out within a second, or ten with some thousand hosts.
const trialTime = 10 * time.Second

// A sighting is what HAProxy said of the services of a spec.
type sighting struct {
	spec     *spec.Spec
	services []status.Service
}

// A trial is the time in which a spec that has come into force could show that
// it takes a service down. Only services that it changed are looked at, and
// that had a host up before: a fault of anything else is none of its doing.
type trial struct {
	candidate
	begun   time.Time
	healthy []string // services that had a host up before it
	watched []string // those of them that it changed
	asked   []string // those of them that answered a request through a VIP before it
	broken  chan broken
	end     context.CancelFunc // of the requests
}

func (t *trial) until() time.Time { return t.begun.Add(trialTime) }

// lost gives the first of the watched services that has no host left.
func (t *trial) lost(services []status.Service) (status.Service, bool) {
	for _, s := range services {
		isDown := func(h status.Host) bool { return h.State == status.Down }
		if slices.Contains(t.watched, s.Name) && (s.State == status.Down || s.LastResort) && slices.ContainsFunc(s.Hosts, isDown) {
			return s, true
		}
	}
	return status.Service{}, false
}

// A relief is the time in which a service should recover after going back.
type relief struct {
	spec    *spec.Spec // that is in force again
	service string
	begun   time.Time
	finding status.Finding // why the other one was taken back
	digest  string         // of that other one
}

// newTrial gives the trial that next is to stand; nil for none: without a good
// spec to go back to, or when next changes no service that is up.
func (r *Rollout) newTrial(ctx context.Context, next candidate) *trial {
	if r.good.spec == nil || r.good.spec.Digest == next.spec.Digest {
		return nil
	}
	t := &trial{candidate: next, healthy: r.healthy(ctx, r.good)}
	if r.trial != nil { // what that one may have taken down counts as well
		t.healthy = append(t.healthy, r.trial.healthy...)
	} else if note := r.readNote(); note.Rejected == nil { // as does what it did before the agent's restart
		t.healthy = append(t.healthy, note.Services...)
	}
	slices.Sort(t.healthy)
	t.healthy = slices.Compact(t.healthy)
	changed := slices.DeleteFunc(r.changedServices(r.good.spec, next.spec), func(name string) bool {
		return slices.ContainsFunc(next.spec.Services, func(s spec.Service) bool { return s.Name == name && s.Maintenance.On })
	})
	t.watched = slices.DeleteFunc(slices.Clone(t.healthy), func(s string) bool { return !slices.Contains(changed, s) })
	if len(t.watched) == 0 {
		return nil
	}
	if r.answers != nil {
		t.asked = r.answers(ctx, r.Spec(), t.watched)
	}
	return t
}

// begin begins the trial: what it is about is in force now.
func (r *Rollout) begin(ctx context.Context, t *trial) {
	t.begun = time.Now()
	t.broken = make(chan broken, 1)
	ctx, t.end = context.WithDeadline(ctx, t.until())
	if r.asks != nil {
		r.asks(ctx, t.spec, t.asked, t.broken)
	}
}

// endTrial ends the trial that goes on, if one does.
func (r *Rollout) endTrial() {
	if r.trial != nil && r.trial.end != nil {
		r.trial.end()
	}
	r.trial = nil
}

// breaks gives what the requests of the trial have found; nil while there is none.
func (r *Rollout) breaks() <-chan broken {
	if r.trial == nil {
		return nil
	}
	return r.trial.broken
}

// changedServices gives those that both specs have, and HAProxy is told
// different things about.
func (r *Rollout) changedServices(before, after *spec.Spec) []string {
	parts := func(s *spec.Spec) map[string]string {
		return haproxy.Parts(haproxy.Render(s, haproxy.Local{RunDir: r.opt.RunDir, StateDir: r.opt.StateDir}), s)
	}
	old, next := parts(before), parts(after)
	var changed []string
	for _, s := range after.Services {
		if was, ok := old[s.Name]; ok && was != next[s.Name] {
			changed = append(changed, s.Name)
		}
	}
	return changed
}

// healthyServices gives the services with a host up: of the spec in force, or
// of the last good one, which HAProxy may run with since an earlier agent.
func (r *Rollout) healthyServices(ctx context.Context, good candidate) []string {
	rows, err := r.opt.Servers(ctx)
	if err != nil {
		r.log.Debug("HAProxy does not tell of its servers before the new spec", "error", err)
		return nil
	}
	var names []string
	for _, s := range []*spec.Spec{r.Spec(), good.spec} {
		for _, svc := range haproxy.Services(s, rows, time.Now()) {
			if slices.ContainsFunc(svc.Hosts, func(h status.Host) bool { return h.State == status.Up }) {
				names = append(names, svc.Name)
			}
		}
	}
	return names
}

// see judges by a sighting. One of another spec says nothing of this one.
func (r *Rollout) see(ctx context.Context, s sighting) {
	switch {
	case r.trial != nil && s.spec == r.trial.spec:
		if svc, ok := r.trial.lost(s.services); ok {
			why := fmt.Sprintf("service %s lost all its hosts %s after the file came into force (%s)",
				svc.Name, status.Brief(time.Since(r.trial.begun)), hostChecks(svc))
			if was, ok := r.rollBack(ctx, why); ok {
				r.relief = &relief{spec: r.good.spec, service: svc.Name, begun: time.Now(), finding: was.finding, digest: was.digest}
			}
		}
	case r.relief != nil && s.spec == r.relief.spec:
		i := slices.IndexFunc(s.services, func(svc status.Service) bool { return svc.Name == r.relief.service })
		if i >= 0 && !s.services[i].LastResort && (s.services[i].State == status.Up || s.services[i].State == status.Degraded) {
			r.relieved()
		}
	}
}

// deadline gives what tells the end of the trial, or of the wait for relief;
// nil while there is neither.
func (r *Rollout) deadline() <-chan time.Time {
	switch {
	case r.trial != nil:
		return time.After(time.Until(r.trial.until()))
	case r.relief != nil:
		return time.After(time.Until(r.relief.begun.Add(trialTime)))
	}
	return nil
}

// timeUp ends the trial, which was passed, or the wait for a relief that did
// not come.
func (r *Rollout) timeUp() {
	if t := r.trial; t != nil {
		r.settle(t.candidate)
		r.opt.Event(status.Event{
			Kind: status.EventTrialPassed, Subject: "spec",
			Text: fmt.Sprintf("spec %s is good: no service that it changed lost its hosts within %v%s", t.spec.Digest, trialTime, askedText(t.asked)),
		})
		return
	}
	r.unrelieved()
}

// askedText tells which services were asked through HAProxy.
func askedText(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; requests through HAProxy found nothing wrong with " + strings.Join(names, ", ")
}

// breakdown goes back where requests through HAProxy no longer reach a service,
// though its hosts pass their checks.
func (r *Rollout) breakdown(ctx context.Context, b broken) {
	r.rollBack(ctx, fmt.Sprintf("service %s answered through HAProxy before the file came into force, and does not since (%s)", b.service, b.why))
}

// rollBack goes back to the last good spec, for the one on trial has taken a service
// down: why says which and how. It gives what was said of that, and whether the
// good one is in force.
func (r *Rollout) rollBack(ctx context.Context, why string) (takenBack, bool) {
	t, begun := r.trial, time.Now()
	f := status.Finding{
		Severity: status.Error, Code: status.CodeConfigRolledBack, Where: status.Position{File: r.opt.File},
		Text: why, Remedy: "mend the file and reload",
	}
	was := takenBack{digest: t.spec.Digest, finding: f}
	r.writeNote(trialNote{Digest: t.spec.Digest, Rejected: &f})
	back := candidate{spec: r.good.spec, data: r.good.data, rejected: []status.Finding{f}}
	applied, err := r.bring(ctx, back)
	if ctx.Err() != nil {
		return was, false // the note says all to the next agent
	}
	e := status.Event{
		Kind: status.EventReloadRolledBack, Subject: "spec", Took: time.Since(begun), Cause: f.Text,
		Text: fmt.Sprintf("spec %s was taken back, and %s is in force again; %s", t.spec.Digest, r.good.spec.Digest, applied),
	}
	if err != nil {
		e.Text = fmt.Sprintf("spec %s is to be taken back for %s, which failed; it is tried again: %v", t.spec.Digest, r.good.spec.Digest, err)
		r.endTrial()
		r.retry, r.said = &back, ""
	}
	r.opt.Event(e)
	return was, err == nil
}

// A takenBack is a spec that was taken back, and why.
type takenBack struct {
	digest  string
	finding status.Finding
}

// hostChecks tells what the checks of the hosts of svc saw, of three of them at most.
func hostChecks(svc status.Service) string {
	var words []string
	for i, h := range svc.Hosts {
		if i == 3 {
			words = append(words, fmt.Sprintf("and %d more", len(svc.Hosts)-i))
			break
		}
		words = append(words, h.Name+": "+h.Check)
	}
	return strings.Join(words, "; ")
}

// relieved says that going back has helped.
func (r *Rollout) relieved() {
	was := r.relief
	r.relief = nil
	r.opt.Event(status.Event{
		Kind: status.EventRollbackHelped, Subject: "service " + was.service, Took: time.Since(was.begun),
		Text: fmt.Sprintf("service %s has healthy hosts again with spec %s", was.service, was.spec.Digest),
	})
}

// unrelieved says that going back has not helped, so that the file may be good.
func (r *Rollout) unrelieved() {
	was := r.relief
	r.relief = nil
	f := was.finding
	f.Text += fmt.Sprintf("; it has none with the spec before it either, %v later, so the file may not be why", trialTime)
	f.Remedy = "see what is wrong with service " + was.service + ", then reload to try the file again"
	r.mu.Lock()
	r.config.Rejected = []status.Finding{f}
	r.mu.Unlock()
	r.writeNote(trialNote{Digest: was.digest, Rejected: &f})
	r.opt.Event(status.Event{
		Kind: status.EventRollbackNoHelp, Subject: "service " + was.service,
		Text: fmt.Sprintf("service %s has no healthy host with spec %s either, so spec %s may not be why", was.service, was.spec.Digest, was.digest),
	})
}

// setTrialUntil tells in the snapshot until when the spec in force is on trial.
func (r *Rollout) setTrialUntil(t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.config.TrialUntil = t
}
