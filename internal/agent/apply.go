package agent

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
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
	failed := a.failedTrial(s)
	if err == nil && failed == nil {
		return candidate{spec: s, data: data, first: true}, nil
	}
	last, lastData, _, lastErr := readSpec(lastGood(a.opt.StateDir), a.opt.Controller)
	switch {
	case lastErr == nil && failed != nil:
		a.journal.add(status.Event{
			Kind: status.EventReloadRejected, Subject: "spec", Cause: failed.Text,
			Text: fmt.Sprintf("spec %s was taken back before, and is not tried again by itself; starting with the last good one, %s", s.Digest, last.Digest),
		})
		return candidate{last, lastData, []status.Finding{*failed}, true}, nil
	case lastErr == nil:
		a.log.Error("the spec is bad; starting with the last good one", "error", err, "last_good", lastGood(a.opt.StateDir))
		return candidate{last, lastData, asFindings(a.opt.File, err), true}, nil
	case err != nil:
		return candidate{}, err
	}
	a.log.Error("the last good spec cannot be read; trying the one that was taken back before", "error", lastErr)
	return candidate{spec: s, data: data, first: true}, nil
}

// setSpec records c as the spec in use.
func (a *Agent) setSpec(c candidate) {
	a.check.allow(controllerAddresses(c.spec))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spec, a.text = c.spec, c.data
	a.config = status.Config{File: a.opt.File, Digest: c.spec.Digest, Loaded: time.Now(), Rejected: c.rejected}
}

// force brings c into force in the order that docs/architecture.md has: it was parsed;
// it is rendered and checked by HAProxy, and only then is anything live touched.
// What could fail for the VIPs has been made before that.
func (a *Agent) force(ctx context.Context, c candidate) (process.Result, error) {
	owners, err := a.newOwners(c.spec)
	if err != nil {
		return process.Result{}, err
	}
	local, err := a.local(c.spec)
	if err != nil {
		return process.Result{}, err
	}
	events, err := a.certificates.prepare(c.spec, c.first)
	if err != nil {
		return process.Result{}, err
	}
	for _, e := range events {
		a.journal.add(e)
	}
	a.forcing.Store(true)
	defer a.forcing.Store(false)
	applied, err := a.haproxy.Apply(ctx, haproxy.Render(c.spec, local))
	if err != nil {
		return applied, fmt.Errorf("apply the configuration of HAProxy: %w", err)
	}
	a.setSpec(c)
	a.setFinding(codeRoot, rootFinding(a.opt.HAProxyUser, os.Geteuid(), onlyUser()))
	a.reconcileVIPs(ctx, owners)
	return applied, nil
}

func controllerAddresses(s *spec.Spec) []netip.Addr {
	var addresses []netip.Addr
	for _, c := range s.Controllers {
		addresses = append(addresses, c.Address)
	}
	return addresses
}
