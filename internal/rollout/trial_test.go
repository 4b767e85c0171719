package rollout

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

const testSpec = `cloud: test
vips:
  - name: api
    addresses: [192.0.2.10/24]
    hostname: api.example.org
    interface: eno1
    vrrp: {router_id: 7, interval: 20ms, startup_delay: 0s}
controllers:
  - {name: ctl1, address: 192.0.2.1}
  - {name: ctl2, address: 192.0.2.2}
services:
  keystone: {}
`

// twoServices is what the trials of these tests begin with.
var twoServices = strings.Replace(testSpec, "keystone: {}", "keystone: {}\n  glance: {}", 1)

// A board has what a Rollout reports.
type board struct {
	mu       sync.Mutex
	events   []status.Event
	findings map[string]status.Finding
}

func (b *board) event(e status.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

func (b *board) set(key string, f *status.Finding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.findings, key)
	if f != nil {
		b.findings[key] = *f
	}
}

// report is set that journals, as the agent's does.
func (b *board) report(key string, f *status.Finding) {
	b.mu.Lock()
	_, known := b.findings[key]
	b.mu.Unlock()
	if known != (f != nil) {
		b.set(key, f)
		b.event(status.Event{Kind: key})
	}
}

// found gives the findings that there are.
func (b *board) found() []status.Finding {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []status.Finding
	for _, f := range b.findings {
		all = append(all, f)
	}
	return all
}

// last gives the newest event.
func (b *board) last() status.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.events[len(b.events)-1]
}

func (b *board) kinds() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var kinds []string
	for _, e := range b.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// newRollout makes one of the file in dir, on a controller without VIPs, and with a HAProxy that does
// not run.
func newRollout(dir string) (*Rollout, *board) {
	b := &board{findings: map[string]status.Finding{}}
	log := slog.New(slog.DiscardHandler)
	return New(Options{
		File: filepath.Join(dir, "holdfast.yaml"), Controller: "ctl1", StateDir: dir, RunDir: dir, Log: log, Reload: make(chan os.Signal),
		HAProxy:      process.New(process.Options{StateDir: dir, RunDir: dir, Log: log}),
		VIPs:         func(*spec.Spec) (func(context.Context), error) { return func(context.Context) {}, nil },
		Held:         func() []spec.VIP { return nil },
		Certificates: func(*spec.Spec, bool) ([]status.Event, error) { return nil, nil },
		Sweep:        func(*spec.Spec) {},
		Applying:     func(bool) {},
		Event:        b.event, SetFinding: b.set, Report: b.report,
	}), b
}

// A bench brings specs into force that no HAProxy sees, in virtual time.
type bench struct {
	*board
	t      *testing.T
	r      *Rollout
	up     []string              // services with a host up, as the next spec finds them
	forced []string              // digests, in the order in which they came into force
	fail   atomic.Pointer[error] // of the next ones
	ended  func()
}

// newBench starts a Rollout with text in the file, and what an earlier one has left
// in dir.
func newBench(t *testing.T, dir, text string, up ...string) *bench {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "holdfast.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, board := newRollout(dir)
	b := &bench{board: board, t: t, r: r, up: up}
	r.bringIntoForce, r.answers, r.asks = b.force, nil, nil
	r.healthy = func(context.Context, candidate) []string { return b.up }
	if _, err := r.Begin(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.ended = func() { cancel(); synctest.Wait() }
	go r.Run(ctx)
	<-r.Tried()
	return b
}

func (b *bench) force(_ context.Context, c candidate) (process.Result, error) {
	if err := b.fail.Load(); err != nil {
		return process.Result{}, *err
	}
	b.forced = append(b.forced, c.spec.Digest)
	b.r.use(c)
	return process.Result{Action: process.Reloaded}, nil
}

func (b *bench) failWith(text string) {
	err := errors.New(text)
	b.fail.Store(&err)
}

// change writes text into the file, and reloads.
func (b *bench) change(text string) error {
	b.t.Helper()
	if err := os.WriteFile(b.r.opt.File, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	_, err := b.r.Reload(b.t.Context(), "test")
	return err
}

// saw tells of the state of each service of the spec in force.
func (b *bench) saw(states map[string]status.ServiceState) {
	s := b.r.Spec()
	b.sawOf(s, states)
}

func (b *bench) sawOf(s *spec.Spec, states map[string]status.ServiceState) {
	var services []status.Service
	for _, svc := range s.Services {
		one := status.Service{Name: svc.Name, State: states[svc.Name]}
		for _, h := range svc.Hosts {
			one.Hosts = append(one.Hosts, status.Host{Name: h.Name, State: one.State, Check: "GET /nope answered 404, want 200"})
		}
		if one.State == status.Drain { // of its hosts
			one.State = status.Down
		}
		services = append(services, one)
	}
	b.r.Sight(s, services)
	synctest.Wait()
}

func (b *bench) config() status.Config { return b.r.InForce().Config }

// kept gives the digest of the last good spec.
func (b *bench) kept() string {
	b.t.Helper()
	s, _, _, err := readSpec(b.r.lastGood(), "ctl1")
	if err != nil {
		b.t.Fatal(err)
	}
	return s.Digest
}

func digestOf(t *testing.T, text string) string {
	t.Helper()
	s, findings := spec.Parse("test", []byte(text))
	if s == nil {
		t.Fatal(findings)
	}
	return s.Digest
}

var (
	down = map[string]status.ServiceState{"keystone": status.Down, "glance": status.Up}
	well = map[string]status.ServiceState{"keystone": status.Up, "glance": status.Up}
)

func with(check string) string {
	return strings.Replace(twoServices, "keystone: {}", "keystone: {check: {path: "+check+"}}", 1)
}

func TestSpecThatTakesAServiceDownIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone", "glance")
		defer b.ended()
		good, bad := digestOf(t, twoServices), digestOf(t, with("/nope"))
		if err := b.change(with("/nope")); err != nil {
			t.Fatal(err)
		}
		b.saw(well)
		time.Sleep(3 * time.Second)
		if got := b.config(); got.Digest != bad || time.Until(got.TrialUntil) != 7*time.Second || b.kept() != good {
			t.Errorf("after 3s of trial: %+v, last good is %s; want %s on trial for 7s more and %s kept", got, b.kept(), bad, good)
		}
		b.saw(down)
		got := b.config()
		if got.Digest != good || len(got.Rejected) != 1 || !got.TrialUntil.IsZero() {
			t.Fatalf("the service is down and the snapshot has %+v, want %s again, and why", got, good)
		}
		f := got.Rejected[0].String()
		for _, want := range []string{"holdfast.yaml: service keystone lost all its hosts 3.0s after", "ctl1: GET /nope answered 404, want 200; ctl2: GET", "mend the file and reload"} {
			if !strings.Contains(f, want) {
				t.Errorf("the finding is %q, want %q in it", f, want)
			}
		}
		if want := []string{"reload", "reload-rolled-back"}; !slices.Equal(b.kinds(), want) {
			t.Errorf("events %v, want %v", b.kinds(), want)
		}
		time.Sleep(time.Second)
		b.saw(well)
		if e := b.last(); e.Kind != "rollback-helped" || e.Took != time.Second {
			t.Errorf("last event %+v, want that it helped after 1s", e)
		}
		time.Sleep(time.Minute)
		if got := b.config(); len(got.Rejected) != 1 || b.kept() != good {
			t.Errorf("a minute later: %+v, %s kept", got, b.kept())
		}
	})
}

func TestSpecIsGoodWhenTheTrialIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone", "glance")
		defer b.ended()
		if err := b.change(with("/v3")); err != nil {
			t.Fatal(err)
		}
		b.saw(well)
		time.Sleep(trialTime - time.Nanosecond)
		synctest.Wait()
		if b.kept() != digestOf(t, twoServices) || b.r.readNote().Digest == "" {
			t.Errorf("before its time: %s is kept as good, note %+v", b.kept(), b.r.readNote())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if b.kept() != digestOf(t, with("/v3")) || b.r.readNote().Digest != "" || !b.config().TrialUntil.IsZero() {
			t.Errorf("after its time: %s is kept as good, note %+v", b.kept(), b.r.readNote())
		}
		b.saw(down)
		if got := b.config(); got.Digest != digestOf(t, with("/v3")) || len(got.Rejected) != 0 {
			t.Errorf("a fault after the trial: %+v, want it left alone", got)
		}
	})
}

// What a new spec has nothing to do with is no reason to go back.
func TestTrialLooksAtWhatTheSpecChanged(t *testing.T) {
	for _, tt := range []struct {
		name  string
		up    []string
		spec  string
		saw   map[string]status.ServiceState
		trial bool
		back  bool
	}{
		{"another service goes down", []string{"keystone", "glance"}, with("/v3"), map[string]status.ServiceState{"keystone": status.Up, "glance": status.Down}, true, false},
		{"the changed one goes down", []string{"keystone", "glance"}, with("/v3"), down, true, true},
		{"it was down before", []string{"glance"}, with("/v3"), down, false, false},
		{"it is not checked yet", []string{"keystone"}, with("/v3"), map[string]status.ServiceState{"keystone": status.Unknown}, true, false},
		{"it loses one host", []string{"keystone"}, with("/v3"), map[string]status.ServiceState{"keystone": status.Degraded}, true, false},
		{"it is drained", []string{"keystone"}, with("/v3"), map[string]status.ServiceState{"keystone": status.Drain}, true, false},
		{"it is gone from the spec", []string{"keystone", "glance"}, testSpec, map[string]status.ServiceState{"keystone": status.Down}, false, false},
		{"it is new", []string{"keystone", "glance"}, strings.Replace(twoServices, "glance: {}", "glance: {}\n  nova: {}", 1), map[string]status.ServiceState{"nova": status.Down}, false, false},
		{"nothing that HAProxy knows of", []string{"keystone", "glance"}, strings.Replace(twoServices, "cloud: test", "cloud: other", 1), down, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, t.TempDir(), twoServices, tt.up...)
				defer b.ended()
				if err := b.change(tt.spec); err != nil {
					t.Fatal(err)
				}
				if got := !b.config().TrialUntil.IsZero(); got != tt.trial {
					t.Errorf("on trial: %v, want %v", got, tt.trial)
				}
				b.saw(tt.saw)
				if got := b.config().Digest != digestOf(t, tt.spec); got != tt.back {
					t.Errorf("went back: %v, want %v", got, tt.back)
				}
				time.Sleep(trialTime)
				synctest.Wait()
				if got := b.kept() == digestOf(t, twoServices); got != tt.back {
					t.Errorf("the first spec is the last good one: %v, want %v", got, tt.back)
				}
			})
		})
	}
}

func TestSightingOfTheSpecBeforeSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone")
		defer b.ended()
		before := b.r.Spec()
		if err := b.change(with("/v3")); err != nil {
			t.Fatal(err)
		}
		b.sawOf(before, down)
		if b.config().Digest != digestOf(t, with("/v3")) {
			t.Error("went back for what was seen of the spec before")
		}
	})
}

func TestReloadWithinATrialGoesBackToTheGoodSpec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone", "glance")
		defer b.ended()
		if err := b.change(with("/nope")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		b.up = []string{"glance"} // by now, and unseen, the first has taken Keystone down
		if err := b.change(with("/nope2")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if b.kept() != digestOf(t, twoServices) {
			t.Error("the second trial did not begin anew")
		}
		b.saw(down)
		if got := b.config().Digest; got != digestOf(t, twoServices) {
			t.Errorf("went back to %s, want the last good one", got)
		}
	})
}

func TestReloadOfTheGoodFileEndsTheTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone", "glance")
		defer b.ended()
		for _, text := range []string{with("/nope"), twoServices} {
			if err := b.change(text); err != nil {
				t.Fatal(err)
			}
		}
		b.saw(down)
		if got := b.config(); got.Digest != digestOf(t, twoServices) || len(got.Rejected) != 0 || !got.TrialUntil.IsZero() || b.r.readNote().Digest != "" {
			t.Errorf("the good file again: %+v, note %+v", got, b.r.readNote())
		}
	})
}

// An agent that ends within a trial leaves it to the next one.
func TestTrialGoesOnInTheNextAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := newBench(t, dir, twoServices, "keystone", "glance")
		if err := b.change(with("/nope")); err != nil {
			t.Fatal(err)
		}
		b.ended()
		next := newBench(t, dir, with("/nope")) // nothing is up any more
		defer next.ended()
		if got := next.config(); got.Digest != digestOf(t, with("/nope")) || got.TrialUntil.IsZero() || next.kept() != digestOf(t, twoServices) {
			t.Fatalf("the next agent has %+v, and %s as good", got, next.kept())
		}
		next.saw(down)
		if got := next.config().Digest; got != digestOf(t, twoServices) {
			t.Errorf("the next agent has %s in force, want it gone back", got)
		}
	})
}

// A file that was changed while no agent ran is on trial too.
func TestFirstSpecIsOnTrialWhenItIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		newBench(t, dir, twoServices, "keystone").ended()
		next := newBench(t, dir, with("/nope"), "keystone")
		defer next.ended()
		next.saw(down)
		if got := next.config().Digest; got != digestOf(t, twoServices) {
			t.Errorf("%s is in force, want the one before", got)
		}
	})
}

func TestSpecThatWasTakenBackIsNotTriedAtTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := newBench(t, dir, twoServices, "keystone")
		if err := b.change(with("/nope")); err != nil {
			t.Fatal(err)
		}
		b.saw(down)
		b.ended()
		next := newBench(t, dir, with("/nope"), "keystone")
		defer next.ended()
		got := next.config()
		if got.Digest != digestOf(t, twoServices) || len(got.Rejected) != 1 || got.Rejected[0].Code != status.CodeConfigRolledBack {
			t.Fatalf("the next agent has %+v, want the last good one and why", got)
		}
		if e := next.last(); e.Kind != "reload-rejected" || !strings.Contains(e.Text, "is not tried again by itself") {
			t.Errorf("the journal ends with %+v", e)
		}
		if err := next.change(with("/nope")); err != nil { // when asked, it is
			t.Fatal(err)
		}
		if got := next.config(); got.Digest != digestOf(t, with("/nope")) || len(got.Rejected) != 0 || got.TrialUntil.IsZero() {
			t.Errorf("asked to reload: %+v, want it tried again", got)
		}
		time.Sleep(trialTime)
		synctest.Wait()
		if next.kept() != digestOf(t, with("/nope")) || next.r.readNote().Digest != "" {
			t.Error("it passed its second trial, and is not kept as good")
		}
	})
}

func TestChangedFileIsTriedAfterOneWasTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := newBench(t, dir, twoServices, "keystone")
		if err := b.change(with("/nope")); err != nil {
			t.Fatal(err)
		}
		b.saw(down)
		b.ended()
		next := newBench(t, dir, with("/healthcheck?"), "keystone")
		defer next.ended()
		if got := next.config(); got.Digest != digestOf(t, with("/healthcheck?")) || len(got.Rejected) != 0 {
			t.Errorf("the next agent has %+v, want the changed file", got)
		}
	})
}

// Going back that does not help is said: the file may be innocent.
func TestGoingBackThatDoesNotHelpIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone")
		defer b.ended()
		if err := b.change(with("/v3")); err != nil {
			t.Fatal(err)
		}
		b.saw(down)
		time.Sleep(5 * time.Second)
		b.saw(down)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		got := b.config()
		if len(got.Rejected) != 1 || !strings.Contains(got.Rejected[0].Text, "the file may not be why") || !strings.Contains(got.Rejected[0].Remedy, "see what is wrong with service keystone") {
			t.Errorf("the snapshot has %+v", got.Rejected)
		}
		if e := b.last(); e.Kind != "rollback-no-help" {
			t.Errorf("last event %+v", e)
		}
		if n := b.r.readNote(); n.Rejected == nil || n.Rejected.Text != got.Rejected[0].Text {
			t.Errorf("the next agent would be told %+v", n)
		}
	})
}

func TestGoingBackIsTriedUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone")
		defer b.ended()
		if err := b.change(with("/nope")); err != nil {
			t.Fatal(err)
		}
		b.failWith("HAProxy hangs")
		b.saw(down)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if f := b.found(); len(f) != 1 || f[0].Code != status.CodeNotInForce || strings.Contains(f[0].Remedy, "takes no vip") {
			t.Errorf("findings %+v, want that going back is tried again", f)
		}
		b.fail.Store(nil)
		time.Sleep(retryInterval)
		synctest.Wait()
		if got := b.config(); got.Digest != digestOf(t, twoServices) || len(got.Rejected) != 1 || len(b.found()) != 0 {
			t.Errorf("later: %+v, findings %+v", got, b.found())
		}
	})
}

func TestSpecThatHAProxyRefusesIsNotOnTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := newBench(t, dir, twoServices, "keystone")
		defer b.ended()
		b.failWith("haproxy -c: no")
		if err := b.change(with("/nope")); err == nil {
			t.Fatal("it was taken")
		}
		if n := b.r.readNote(); n.Digest != "" || b.r.trial != nil {
			t.Errorf("there is a trial: %+v", n)
		}
	})
}

// Within the trial of one spec, another that is refused leaves that trial be.
func TestRefusedFileLeavesTheTrialBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone")
		defer b.ended()
		if err := b.change(with("/nope")); err != nil {
			t.Fatal(err)
		}
		b.failWith("haproxy -c: no")
		if err := b.change(with("/nope2")); err == nil {
			t.Fatal("it was taken")
		}
		b.fail.Store(nil)
		if n := b.r.readNote(); n.Digest != digestOf(t, with("/nope")) {
			t.Errorf("the note is %+v", n)
		}
		b.saw(down)
		if got := b.config().Digest; got != digestOf(t, twoServices) {
			t.Errorf("%s is in force, want it gone back", got)
		}
	})
}
