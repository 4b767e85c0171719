package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// errKilled is what everything gives after the point at which a test kills.
var errKilled = errors.New("killed")

// killer lets so many steps happen and then none. A step is a request to
// Keystone or a line of the journal; each has a moment before, one in the
// middle of it and one after.
type killer struct {
	steps  int // made so far
	at     int // the step that is cut short; from 1
	moment int // 0 before, 1 in the middle, 2 after it
	dead   bool
	die    func()
	kinds  []string // of the steps: "request", "line"
}

const moments = 3

// step reports how much of the next step happens: 0 nothing, 1 a part, 2 all
// but nobody hears of it, 3 all.
func (k *killer) step(kind string) int {
	if k.dead {
		return 0
	}
	k.steps++
	k.kinds = append(k.kinds, kind)
	if k.steps == k.at {
		k.dead = true
		k.die()
		return k.moment
	}
	return 3
}

// killedTransport sends requests as long as the killer lets it.
type killedTransport struct {
	*killer
	next http.RoundTripper
}

func (k killedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	switch k.step("request") {
	case 0, 1: // half a request does nothing
		return nil, errKilled
	case 2:
		resp, err := k.next.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
		if err == nil {
			err = resp.Body.Close()
		}
		return nil, errors.Join(errKilled, err)
	}
	return k.next.RoundTrip(r)
}

// killedJournal writes lines as long as the killer lets it.
type killedJournal struct {
	*killer
	io.Writer
}

func (k killedJournal) Write(line []byte) (int, error) {
	switch k.step("line") {
	case 0:
		return 0, errKilled
	case 1:
		n, err := k.Writer.Write(line[:len(line)/2])
		return n, errors.Join(errKilled, err)
	case 2:
		n, err := k.Writer.Write(line)
		return n, errors.Join(errKilled, err)
	}
	return k.Writer.Write(line)
}

// under puts a under k, and gives the context in which a lives.
func (k *killer) under(t *testing.T, a *Applier) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	k.die = cancel
	client := &a.Client.identity.HTTPClient
	client.Transport = killedTransport{k, client.Transport}
	a.Journals.Through = func(w io.Writer) io.Writer { return killedJournal{k, w} }
	return ctx
}

// everyMoment calls f for every moment at which something can be cut short.
func everyMoment(kinds []string, f func(at, moment int)) {
	for i, kind := range kinds {
		for moment := range moments {
			if kind == "line" || moment != 1 { // half a request is none
				f(i+1, moment)
			}
		}
	}
}

// TestKilledAtEveryStep kills an apply at every moment of every step; then a
// rollback brings the first state back.
func TestKilledAtEveryStep(t *testing.T) {
	s := newSite(t, everything)
	withoutProxy(s)
	s.spec.VIPs[0].Endpoints = []string{"public", "internal"}
	first := s.state()
	kinds := killApply(t, s, 0, 0)
	rollBack(t, s)
	kills := 0
	everyMoment(kinds, func(at, moment int) {
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
		if made := killApply(t, s, at, moment); len(made) != at {
			t.Fatalf("killed at step %d instead of %d", len(made), at)
		}
		kills++
		rollBack(t, s)
		if diff := cmp.Diff(first, s.state()); diff != "" {
			t.Fatalf("killed at step %d (%s), moment %d: -first +after rollback:\n%s", at, kinds[at-1], moment, diff)
		}
	})
	t.Logf("%d steps, killed at %d moments", len(kinds), kills)
}

// killApply applies, and is killed at a step; it gives the steps made.
func killApply(t *testing.T, s *site, at, moment int) []string {
	t.Helper()
	a := s.applier()
	a.Tell = func(string) {}
	plan := s.plan(a, everyOption())
	k := &killer{at: at, moment: moment}
	out, err := a.Apply(k.under(t, a), plan, everyOption())
	// Once all changes are made, what is broken off is the wait for caches only.
	if (err == nil && out.Behind == "") != (at == 0) {
		t.Fatalf("killed at step %d: apply gives %+v, %v", at, out, err)
	}
	return k.kinds
}

// rollBack does what "holdfast endpoints rollback" does.
func rollBack(t *testing.T, s *site) {
	t.Helper()
	a := s.applier()
	a.Tell = func(string) {}
	journals, err := a.Journals.Latest()
	if err != nil {
		t.Fatal(err)
	}
	result, err := a.Rollback(t.Context(), journals, false)
	if err != nil || len(result.Left) > 0 {
		t.Fatalf("rollback: %+v, %v", result, err)
	}
}

// TestRollbackKilledAtEveryStep kills the rollback, too; the next one goes on.
func TestRollbackKilledAtEveryStep(t *testing.T) {
	s := newSite(t, everything)
	withoutProxy(s)
	s.spec.VIPs[0].Endpoints = []string{"public"} // all operations, and no more
	first := s.state()
	var kinds []string
	kill := func(at, moment int) {
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
		killApply(t, s, 0, 0)
		a := s.applier()
		a.Tell = func(string) {}
		k := &killer{at: at, moment: moment}
		ctx := k.under(t, a)
		journals, err := a.Journals.Latest()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = a.Rollback(ctx, journals, false); (err == nil) != (at == 0) {
			t.Fatalf("rollback killed at step %d: it gives %v", at, err)
		}
		kinds = k.kinds
		rollBack(t, s)
		if diff := cmp.Diff(first, s.state()); diff != "" {
			t.Fatalf("rollback killed at step %d, moment %d: -first +after the second rollback:\n%s", at, moment, diff)
		}
	}
	kill(0, 0)
	everyMoment(slices.Clone(kinds), kill)
}

// TestRollbackOfOlderJournals undoes what holdfast wrote before journals were
// package changelog's: of an apply that was killed when Keystone had created an
// endpoint and nobody heard its answer, and of the one that went on with it.
func TestRollbackOfOlderJournals(t *testing.T) {
	s := newSite(t, everything)
	withoutProxy(s)
	first := s.state()
	killApply(t, s, 25, 2) // the same kill: what was created, nobody heard of
	killApply(t, s, 0, 0)
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(s.dir, os.DirFS("testdata/journals")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"20261130T135958Z.jsonl", "20261130T135958Z-2.jsonl"} {
		path := filepath.Join(s.dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(s.fill(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.applier().Journals.Latest()
	if err != nil || len(all) != 2 || len(all[1].Changes) != 4 || !slices.Equal(all[1].Changes[3].Detail.Existing, []string{"e3", "e4", "e9", "f1"}) {
		t.Errorf("journals: %+v, %v", all, err)
	}
	rollBack(t, s)
	if diff := cmp.Diff(first, s.state()); diff != "" {
		t.Errorf("-first +after rollback:\n%s", diff)
	}
	if journals, err := s.applier().Journals.Latest(); err != nil || len(journals) > 0 {
		t.Errorf("there is still something to roll back: %+v, %v", journals, err)
	}
}
