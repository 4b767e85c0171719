package keep

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/certificate/certificatetest"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/status"
)

// A fakeHAProxy serves what it is given, and after a reload what reads has.
type fakeHAProxy struct {
	state              status.HAProxy
	serves             string // a fingerprint
	reads              func() string
	refuses            error // of SetCertificate
	asked, set, reload int
}

func (h *fakeHAProxy) State() status.HAProxy { return h.state }

func (h *fakeHAProxy) ServesCertificate(context.Context, string) (string, error) {
	h.asked++
	return h.serves, nil
}

func (h *fakeHAProxy) SetCertificate(_ context.Context, _ string, _ []byte, fingerprint string) error {
	h.set++
	if h.refuses == nil {
		h.serves = fingerprint
	}
	return h.refuses
}

func (h *fakeHAProxy) Reload(context.Context) (process.Result, error) {
	h.reload++
	h.state.Reloads++
	h.serves = h.reads()
	return process.Result{}, nil
}

// print gives the fingerprint of what is held.
func (b *bench) print() string { return b.of("api").bundle.Fingerprint() }

// serves wants serve to have given HAProxy so many certificates, and reloaded it so
// often, in all.
func (b *bench) serves(set, reloads int) {
	b.t.Helper()
	if err := b.serve(b.t.Context(), slotsOf(b.vip)[0]); err != nil {
		b.t.Error(err)
	}
	if b.haproxy.set != set || b.haproxy.reload != reloads || b.haproxy.serves != b.print() {
		b.t.Errorf("%d given and %d reloads, want %d and %d; it serves %q, want %q", b.haproxy.set, b.haproxy.reload, set, reloads, b.haproxy.serves, b.print())
	}
}

// What is new is given once, and is asked for again only of another HAProxy.
func TestNewCertificateIsGivenOnce(t *testing.T) {
	ca := certificatetest.NewAuthority(t)
	b := newBench(t, ca.Issue(1))
	b.serves(1, 0)
	b.serves(1, 0)
	b.put(ca.Issue(2))
	b.want(0, 2)
	b.clock = b.clock.Add(time.Second)
	b.serves(2, 0)
	if len(b.events) != 2 || b.events[1].Took != time.Second || !strings.HasSuffix(b.events[1].Text, "live without a reload") {
		t.Errorf("journaled: %+v", b.events)
	}
	asked := b.haproxy.asked
	b.haproxy.state.Restarts++
	b.serves(2, 0)
	if b.haproxy.asked != asked+1 {
		t.Error("a HAProxy that was started anew is not asked what it serves")
	}
	b.haproxy.state.Restarts++
	b.haproxy.serves = "another"
	b.serves(3, 0)
	b.haproxy.state.State = status.HAProxyDown
	b.put(ca.Issue(3))
	b.want(0, 3)
	if err := b.serve(t.Context(), slotsOf(b.vip)[0]); err != nil || b.haproxy.set != 3 {
		t.Errorf("a HAProxy that does not run is given one: %v", err)
	}
}

// What HAProxy does not take while it runs, as it is too long, takes one reload, and
// no more where that brings nothing.
func TestReloadForACertificateIsTriedOnce(t *testing.T) {
	ca := certificatetest.NewAuthority(t)
	b := newBench(t, ca.Issue(1))
	b.serves(1, 0)
	b.haproxy.refuses, b.haproxy.reads = errors.New("too long"), b.print
	b.put(ca.Issue(2))
	b.want(0, 2)
	b.serves(2, 1)
	b.serves(2, 1)
	if last := b.events[len(b.events)-1]; len(b.events) != 2 || !strings.HasSuffix(last.Text, "by a reload") {
		t.Errorf("journaled: %+v", b.events)
	}
	b.haproxy.reads = func() string { return "another" }
	b.put(ca.Issue(3))
	b.want(0, 3)
	for range 3 {
		if err := b.serve(t.Context(), slotsOf(b.vip)[0]); err == nil || b.haproxy.reload != 2 {
			t.Errorf("%v after %d reloads", err, b.haproxy.reload)
		}
	}
	if f := b.Findings(); len(f) != 1 || f[0].Code != "certificate-not-live" || !strings.Contains(f[0].Text, "too long") {
		t.Errorf("found %v", f)
	}
	b.haproxy.refuses = nil
	b.serves(6, 2)
	if f := b.Findings(); len(f) != 0 {
		t.Errorf("all is well, and found %v", f)
	}
}

// Watch has what changes be served, and tries again only after a pause.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := certificatetest.NewAuthority(t)
		b := newBench(t, ca.Issue(1))
		b.now, b.haproxy.refuses, b.haproxy.reads = time.Now, errors.New("too long"), func() string { return "another" }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); b.Watch(ctx) }()
		time.Sleep(interval + 2*retryPause + interval/2)
		synctest.Wait()
		if b.haproxy.set != 3 {
			t.Errorf("given %d times, want at once and after each pause", b.haproxy.set)
		}
		b.haproxy.refuses = nil
		b.put(ca.Issue(2))
		time.Sleep(retryPause)
		synctest.Wait()
		if b.haproxy.serves != b.print() || b.of("api").bundle.Leaf.SerialNumber.Int64() != 2 {
			t.Error("a certificate that was changed is not served")
		}
		cancel()
		<-ended
	})
}
