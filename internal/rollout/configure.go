package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/status"
)

// retryInterval is the pause before a spec that could not be brought into
// force, as for a port that another process has, is tried again.
const retryInterval = time.Second

// A reloadRequest asks the configurer for a reload.
type reloadRequest struct {
	cause string
	reply chan<- reloadReply // with room for one
}

type reloadReply struct {
	done Result
	err  error
}

// A Result tells what a reload did.
type Result struct {
	Changed  bool             // false: the file is the spec in force already
	Digest   string           // of the spec now in force
	Findings []status.Finding // warnings about the file
	Took     time.Duration
	HAProxy  string // what was done to it, and why
	// Trial is how long it is watched, from now on, whether the spec takes a service
	// down; 0: it is not.
	Trial time.Duration
}

// serve does what is asked for, and what time brings.
func (r *Rollout) serve(ctx context.Context) {
	for {
		var retry <-chan time.Time
		if r.retry != nil {
			retry = time.After(retryInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-retry:
			r.again(ctx, *r.retry)
		case sig := <-r.opt.Reload:
			_, _ = r.reload(ctx, sig.String()) // it has said what went wrong
		case ask := <-r.reloads:
			done, err := r.reload(ctx, ask.cause)
			ask.reply <- reloadReply{done, err}
		case s := <-r.sightings:
			r.see(ctx, s)
		case b := <-r.breaks():
			r.breakdown(ctx, b)
		case <-r.deadline():
			r.timeUp()
		}
	}
}

// reload reads the file again and brings it into force. On any error what was
// in force stays so, and the snapshot says why.
func (r *Rollout) reload(ctx context.Context, cause string) (Result, error) {
	start := time.Now()
	s, data, findings, err := readSpec(r.opt.File, r.opt.Controller)
	if err != nil {
		return Result{}, r.reject(err, cause)
	}
	was := r.outdated()
	if r.isInForce(s.Digest) {
		rekeyed, err := r.rekey(cause)
		if err != nil {
			return Result{}, r.reject(err, cause)
		}
		renewed, err := r.renew(ctx, was, cause)
		if err == nil && renewed == "" {
			renewed = process.Result{}.String()
			if rekeyed == "" {
				r.log.Info("the spec has not changed; nothing to do", "cause", cause)
			}
		}
		if rekeyed != "" {
			renewed += "; " + rekeyed
		}
		return Result{Digest: s.Digest, Findings: findings, Took: time.Since(start), HAProxy: renewed}, err
	}
	applied, err := r.bring(ctx, candidate{spec: s, data: data})
	if errors.Is(err, process.ErrHung) && r.awaitHAProxy(ctx) {
		applied, err = r.bring(ctx, candidate{spec: s, data: data})
	}
	if err != nil {
		return Result{}, r.reject(err, cause)
	}
	r.retry = nil
	r.tellNotInForce(nil)
	done := r.tellReload(s.Digest, applied, cause, time.Since(start))
	done.Findings = findings
	if _, err := r.renew(ctx, was, cause); err != nil {
		done.HAProxy += "; " + err.Error()
	}
	return done, nil
}

// rekey has the keys of the controllers read again, where the spec stays.
func (r *Rollout) rekey(cause string) (string, error) {
	if r.opt.Rekey == nil {
		return "", nil
	}
	said, err := r.opt.Rekey()
	if err == nil && said != "" {
		r.opt.Event(status.Event{Kind: status.EventReload, Subject: "key", Cause: cause, Text: said})
	}
	return said, err
}

// hungTime is how long a reload waits for a HAProxy that hangs: as long as it
// takes to be found so for good, killed, and started again.
const hungTime = 6 * time.Second

// awaitHAProxy waits until HAProxy runs, and reports whether it does.
func (r *Rollout) awaitHAProxy(ctx context.Context) bool {
	limit := time.After(hungTime)
	for {
		changed := r.opt.HAProxy.Changes()
		if r.opt.HAProxy.State().State == status.HAProxyRunning {
			return true
		}
		select {
		case <-changed:
		case <-limit:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// tellReload journals that a spec is in force, and gives what to say of it.
func (r *Rollout) tellReload(digest string, applied process.Result, cause string, took time.Duration) Result {
	done := Result{Changed: true, Digest: digest, Took: took, HAProxy: applied.String()}
	text := fmt.Sprintf("spec %s is in force; %s", digest, applied)
	if r.trial != nil {
		done.Trial = trialTime
		text += fmt.Sprintf("; what it does to the services is watched for %v", trialTime)
	}
	r.opt.Event(status.Event{Kind: status.EventReload, Subject: "spec", Cause: cause, Took: took, Text: text})
	return done
}

// isInForce reports whether the spec in force has that digest. Then the file is
// not another one that was rejected.
func (r *Rollout) isInForce(digest string) bool {
	r.mu.Lock()
	same := digest == r.config.Digest && !r.lacks
	if same {
		r.config.Rejected = nil
	}
	r.mu.Unlock()
	if same && r.trial == nil {
		r.relief = nil
		r.forgetTrial()
	}
	return same
}

// reject records why the file is not in force.
func (r *Rollout) reject(err error, cause string) error {
	rejected := asFindings(r.opt.File, err)
	for i := range rejected {
		rejected[i].Since = time.Now()
	}
	r.mu.Lock()
	r.config.Rejected = rejected
	r.mu.Unlock()
	r.opt.Event(status.Event{
		Kind: status.EventReloadRejected, Subject: "spec", Cause: cause,
		Text: "the spec stays as it was: " + public(err),
	})
	return err
}

// bring brings next into force, on trial where that can show anything.
func (r *Rollout) bring(ctx context.Context, next candidate) (process.Result, error) {
	t := r.newTrial(ctx, next)
	restore := r.noteTrial(t)
	applied, err := r.bringIntoForce(ctx, next)
	if err != nil {
		restore()
		return applied, err
	}
	r.endTrial()
	r.trial, r.relief = t, nil
	if t == nil {
		r.settle(next)
		return applied, nil
	}
	r.begin(ctx, t)
	r.setTrialUntil(t.until())
	return applied, nil
}

// settle takes next for the last good one.
func (r *Rollout) settle(next candidate) {
	r.endTrial()
	r.good = candidate{spec: next.spec, data: next.data}
	r.setTrialUntil(time.Time{})
	r.opt.Sweep(next.spec)
	r.sweepFiles(next.spec)
	r.keep(next.data)
	if len(next.rejected) == 0 {
		r.forgetTrial()
	}
}

// again tries once more to bring next into force, which is to be tried until
// it is. What stands in the way is said, unless that was said before.
func (r *Rollout) again(ctx context.Context, next candidate) {
	_, err := r.bring(ctx, next)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		r.retry, r.said = nil, ""
		r.tellNotInForce(nil)
		r.log.Info("the spec is in force", "digest", next.spec.Digest)
		_, _ = r.renew(ctx, old{}, "the agent started") // it has said what went wrong
		return
	}
	remedy := "the agent tries again every second"
	if next.first {
		remedy += "; until then this controller takes no vip"
	}
	r.tellNotInForce(&status.Finding{
		Severity: status.Error, Code: status.CodeNotInForce, Subject: "controller " + r.opt.Controller, Text: public(err), Remedy: remedy,
	})
	if err.Error() != r.said {
		r.opt.Event(status.Event{Kind: status.EventStartFailed, Subject: "haproxy", Text: public(err)})
	}
	r.retry, r.said = &next, err.Error()
}

// tellNotInForce records that a spec is not in force which should be; nil: it is.
func (r *Rollout) tellNotInForce(f *status.Finding) {
	r.lacks = f != nil
	r.opt.SetFinding(status.CodeNotInForce, f)
}
