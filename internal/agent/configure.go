package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// notInForce is the code of the finding that a spec is not in force which
// should be: the first one, or the one to go back to.
const notInForce = "not-in-force"

// retryInterval is the pause before a spec that could not be brought into
// force, as for a port that another process has, is tried again.
const retryInterval = time.Second

// A reloadRequest asks the configurer for a reload.
type reloadRequest struct {
	cause string
	reply chan<- reloadReply // with room for one
}

type reloadReply struct {
	done web.ReloadResult
	err  error
}

// A configurer brings specs into force, watches what comes of it, and goes back
// where it must. It alone does, in one goroutine, so no two ever cross.
type configurer struct {
	*Agent
	// What it asks of the agent, and a test has of its own.
	bringIntoForce func(context.Context, candidate) (process.Result, error)
	healthy        func(context.Context, candidate) []string
	// answers gives those of services that answer through HAProxy, and asks asks
	// them in a trial; nil: nobody is asked.
	answers func(context.Context, *spec.Spec, []string) []string
	asks    func(context.Context, *spec.Spec, []string, chan<- broken)

	good   candidate  // the last one that passed its trial; without a spec: none yet
	retry  *candidate // that could not be brought into force, and is tried again; nil: none
	said   string     // what stood in its way
	trial  *trial     // of what is in force; nil: it is good
	relief *relief    // what going back is to bring; nil: nothing is waited for
}

// configure is the life of the configurer: it brings first into force, trying
// again until it is, and then the file at each reload asked for.
func (a *Agent) configure(ctx context.Context, first candidate) {
	c := &configurer{Agent: a, bringIntoForce: a.force, healthy: a.healthyServices, answers: a.answering, asks: a.askThrough}
	c.recallGood()
	c.again(ctx, first)
	close(a.tried)
	c.run(ctx)
}

func (c *configurer) run(ctx context.Context) {
	for {
		var retry <-chan time.Time
		if c.retry != nil {
			retry = time.After(retryInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-retry:
			c.again(ctx, *c.retry)
		case sig := <-c.opt.Reload:
			_, _ = c.reload(ctx, sig.String()) // it has said what went wrong
		case ask := <-c.reloads:
			done, err := c.reload(ctx, ask.cause)
			ask.reply <- reloadReply{done, err}
		case s := <-c.sightings:
			c.see(ctx, s)
		case b := <-c.breaks():
			c.breakdown(ctx, b)
		case <-c.deadline():
			c.timeUp()
		}
	}
}

// reload reads the file again and brings it into force. On any error what was
// in force stays so, and the snapshot says why.
func (c *configurer) reload(ctx context.Context, cause string) (web.ReloadResult, error) {
	start := time.Now()
	s, data, findings, err := readSpec(c.opt.File, c.opt.Controller)
	if err != nil {
		return web.ReloadResult{}, c.reject(err, cause)
	}
	was := c.outdated()
	if c.isInForce(s.Digest) {
		renewed, err := c.renew(ctx, was, cause)
		if err == nil && renewed == "" {
			renewed = process.Result{}.String()
			c.log.Info("the spec has not changed; nothing to do", "cause", cause)
		}
		return web.ReloadResult{Digest: s.Digest, Findings: findings, Took: time.Since(start), HAProxy: renewed}, err
	}
	applied, err := c.bring(ctx, candidate{spec: s, data: data})
	if errors.Is(err, process.ErrHung) && c.awaitHAProxy(ctx) {
		applied, err = c.bring(ctx, candidate{spec: s, data: data})
	}
	if err != nil {
		return web.ReloadResult{}, c.reject(err, cause)
	}
	c.retry = nil
	c.setFinding(notInForce, nil)
	done := c.tellReload(s.Digest, applied, cause, time.Since(start))
	done.Findings = findings
	if _, err := c.renew(ctx, was, cause); err != nil {
		done.HAProxy += "; " + err.Error()
	}
	return done, nil
}

// hungTime is how long a reload waits for a HAProxy that hangs: as long as it
// takes to be found so for good, killed, and started again.
const hungTime = 6 * time.Second

// awaitHAProxy waits until HAProxy runs, and reports whether it does.
func (c *configurer) awaitHAProxy(ctx context.Context) bool {
	limit := time.After(hungTime)
	for {
		changed := c.haproxy.Changes()
		if c.haproxy.State().State == status.HAProxyRunning {
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
func (c *configurer) tellReload(digest string, applied process.Result, cause string, took time.Duration) web.ReloadResult {
	done := web.ReloadResult{Changed: true, Digest: digest, Took: took, HAProxy: applied.String()}
	text := fmt.Sprintf("spec %s is in force; %s", digest, applied)
	if c.trial != nil {
		done.Trial = trialTime
		text += fmt.Sprintf("; what it does to the services is watched for %v", trialTime)
	}
	c.journal.add(status.Event{Kind: status.EventReload, Subject: "spec", Cause: cause, Took: took, Text: text})
	return done
}

// isInForce reports whether the spec in force has that digest. Then the file is
// not another one that was rejected.
func (c *configurer) isInForce(digest string) bool {
	c.mu.Lock()
	same := digest == c.config.Digest && c.findings[notInForce].Text == ""
	if same {
		c.config.Rejected = nil
	}
	c.mu.Unlock()
	if same && c.trial == nil {
		c.relief = nil
		c.forgetTrial()
	}
	return same
}

// reject records why the file is not in force.
func (c *configurer) reject(err error, cause string) error {
	c.mu.Lock()
	c.config.Rejected = asFindings(c.opt.File, err)
	c.mu.Unlock()
	c.journal.add(status.Event{
		Kind: status.EventReloadRejected, Subject: "spec", Cause: cause,
		Text: "the spec stays as it was: " + err.Error(),
	})
	return err
}

// bring brings next into force, on trial where that can show anything.
func (c *configurer) bring(ctx context.Context, next candidate) (process.Result, error) {
	t := c.newTrial(ctx, next)
	restore := c.noteTrial(t)
	applied, err := c.bringIntoForce(ctx, next)
	if err != nil {
		restore()
		return applied, err
	}
	c.endTrial()
	c.trial, c.relief = t, nil
	if t == nil {
		c.settle(next)
		return applied, nil
	}
	c.begin(ctx, t)
	c.setTrialUntil(t.until())
	return applied, nil
}

// settle takes next for the last good one.
func (c *configurer) settle(next candidate) {
	c.endTrial()
	c.good = candidate{spec: next.spec, data: next.data}
	c.setTrialUntil(time.Time{})
	c.certificates.sweep(next.spec)
	c.keepSpec(next.data)
	if len(next.rejected) == 0 {
		c.forgetTrial()
	}
}

// again tries once more to bring next into force, which is to be tried until
// it is. What stands in the way is said, unless that was said before.
func (c *configurer) again(ctx context.Context, next candidate) {
	_, err := c.bring(ctx, next)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		c.retry, c.said = nil, ""
		c.setFinding(notInForce, nil)
		c.log.Info("the spec is in force", "digest", next.spec.Digest)
		_, _ = c.renew(ctx, old{}, "the agent started") // it has said what went wrong
		return
	}
	remedy := "the agent tries again every second"
	if next.first {
		remedy += "; until then this controller takes no vip"
	}
	c.setFinding(notInForce, &status.Finding{
		Severity: status.Error, Code: notInForce, Subject: "controller " + c.opt.Controller, Text: err.Error(), Remedy: remedy,
	})
	if err.Error() != c.said {
		c.journal.add(status.Event{Kind: status.EventStartFailed, Subject: "haproxy", Text: err.Error()})
	}
	c.retry, c.said = &next, err.Error()
}

// Reload asks for the file to be read again, and waits for the outcome.
func (a *Agent) Reload(ctx context.Context, cause string) (web.ReloadResult, error) {
	reply := make(chan reloadReply, 1)
	select {
	case a.reloads <- reloadRequest{cause, reply}:
	case <-ctx.Done():
		return web.ReloadResult{}, fmt.Errorf("reload: the agent is busy: %w", ctx.Err())
	}
	select {
	case r := <-reply:
		return r.done, r.err
	case <-ctx.Done():
		return web.ReloadResult{}, fmt.Errorf("reload: no outcome in time; see the events: %w", ctx.Err())
	}
}
