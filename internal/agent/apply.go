package agent

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// A candidate is a spec that was read, and may be brought into force.
type candidate struct {
	spec *spec.Spec
	data []byte
	// rejected says why the spec file itself is not this candidate: empty
	// unless it is the last good one in place of a bad file.
	rejected []status.Finding
	// first says that nothing is in force before it.
	first bool
}

// firstSpec gives the spec to begin with: that of the file, or, where the file
// is bad, the last one that was in force.
func (a *Agent) firstSpec() (candidate, error) {
	s, data, _, err := readSpec(a.opt.File, a.opt.Controller)
	if err == nil {
		return candidate{spec: s, data: data, first: true}, nil
	}
	last, lastData, _, lastErr := readSpec(lastGood(a.opt.StateDir), a.opt.Controller)
	if lastErr != nil {
		return candidate{}, err
	}
	a.log.Error("the spec is bad; starting with the last good one", "error", err, "last_good", lastGood(a.opt.StateDir))
	return candidate{last, lastData, asFindings(a.opt.File, err), true}, nil
}

// setSpec records c as the spec in use.
func (a *Agent) setSpec(c candidate) {
	a.check.allow(controllerAddresses(c.spec))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spec = c.spec
	a.config = status.Config{File: a.opt.File, Digest: c.spec.Digest, Loaded: time.Now(), Rejected: c.rejected}
}

// force brings c into force in the order of design section 3: it was parsed;
// it is rendered and checked by HAProxy, and only then is anything live touched.
func (a *Agent) force(ctx context.Context, c candidate) (process.Result, error) {
	events, err := a.certificates.prepare(c.spec, c.first)
	if err != nil {
		return process.Result{}, err
	}
	for _, e := range events {
		a.journal.add(e)
	}
	applied, err := a.haproxy.Apply(ctx, haproxy.Render(c.spec, a.local(c.spec)))
	if err != nil {
		return applied, fmt.Errorf("apply the configuration of HAProxy: %w", err)
	}
	a.setSpec(c)
	if err := a.reconcileVIPs(ctx, c.spec); err != nil {
		return applied, err
	}
	a.certificates.sweep(c.spec)
	a.keepSpec(c.data)
	return applied, nil
}

// reload reads the file again and brings it into force. On any error what was
// in force stays so, and the snapshot says why.
func (a *Agent) reload(ctx context.Context, cause string) (web.ReloadResult, error) {
	start := time.Now()
	s, data, findings, err := readSpec(a.opt.File, a.opt.Controller)
	if err != nil {
		return web.ReloadResult{}, a.reject(err, cause)
	}
	a.mu.Lock()
	same := s.Digest == a.config.Digest && a.findings[notInForce].Text == ""
	if same {
		a.config.Rejected = nil
	}
	a.mu.Unlock()
	if same {
		a.log.Info("the spec has not changed; nothing to do", "cause", cause)
		return web.ReloadResult{Digest: s.Digest, Findings: findings, Took: time.Since(start)}, nil
	}
	applied, err := a.force(ctx, candidate{spec: s, data: data})
	if err != nil {
		return web.ReloadResult{}, a.reject(err, cause)
	}
	a.setFinding(notInForce, nil)
	done := web.ReloadResult{Changed: true, Digest: s.Digest, Findings: findings, Took: time.Since(start)}
	a.journal.add(status.Event{
		Kind: "reload", Subject: "spec", Cause: cause, Took: done.Took,
		Text: fmt.Sprintf("spec %s is in force; %s", s.Digest, applied),
	})
	return done, nil
}

// reject records why the file is not in force.
func (a *Agent) reject(err error, cause string) error {
	a.mu.Lock()
	a.config.Rejected = asFindings(a.opt.File, err)
	a.mu.Unlock()
	a.journal.add(status.Event{
		Kind: "reload-rejected", Subject: "spec", Cause: cause,
		Text: "the spec stays as it was: " + err.Error(),
	})
	return err
}

// notInForce is the code of the finding that the first spec is not in force.
const notInForce = "not-in-force"

// retryInterval is the pause before a first spec that could not be brought into
// force, as for a port that another process has, is tried again.
const retryInterval = time.Second

// A reloadRequest asks the configuring goroutine for a reload.
type reloadRequest struct {
	cause string
	reply chan<- reloadReply // with room for one
}

type reloadReply struct {
	done web.ReloadResult
	err  error
}

// configure brings first into force, trying again until it is, and then the
// file at each reload asked for. It alone brings specs into force, so no two
// ever cross.
func (a *Agent) configure(ctx context.Context, first candidate) {
	pending := a.forceFirst(ctx, first, "")
	close(a.tried)
	for {
		var retry <-chan time.Time
		if pending != "" {
			retry = time.After(retryInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-retry:
			pending = a.forceFirst(ctx, first, pending)
		case sig := <-a.opt.Reload:
			if _, err := a.reload(ctx, sig.String()); err == nil {
				pending = ""
			}
		case ask := <-a.reloads:
			done, err := a.reload(ctx, ask.cause)
			ask.reply <- reloadReply{done, err}
			if err == nil {
				pending = ""
			}
		}
	}
}

// forceFirst tries once to bring the first spec into force. It gives what
// stands in the way, "" for nothing, and says it unless that was said before.
func (a *Agent) forceFirst(ctx context.Context, c candidate, said string) string {
	_, err := a.force(ctx, c)
	if ctx.Err() != nil {
		return said
	}
	if err == nil {
		a.setFinding(notInForce, nil)
		a.log.Info("the spec is in force", "digest", c.spec.Digest)
		return ""
	}
	a.setFinding(notInForce, &status.Finding{
		Severity: status.Error, Code: notInForce, Subject: "controller " + a.opt.Controller, Text: err.Error(),
		Remedy: "the agent tries again every second; until then this controller takes no vip",
	})
	if err.Error() != said {
		a.journal.add(status.Event{Kind: "start-failed", Subject: "haproxy", Text: err.Error()})
	}
	return err.Error()
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

func controllerAddresses(s *spec.Spec) []netip.Addr {
	var addresses []netip.Addr
	for _, c := range s.Controllers {
		addresses = append(addresses, c.Address)
	}
	return addresses
}
