package admin

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/changelog"
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/keystonetest"
)

// everything has all operations of a plan in it: updates, creates, a new
// service and a definition too many.
const everything = `
f1 RegionOne glance image public http://127.0.0.2:PORT-glance/v2
`

func everyOption() keystone.PlanOptions { return keystone.PlanOptions{Create: true, Prune: true} }

// withoutProxy makes the plan create a service.
func withoutProxy(s *site) {
	s.keystone.Edit(func(c *keystonetest.Catalog) {
		c.Endpoints = slices.DeleteFunc(c.Endpoints, func(e keystonetest.Endpoint) bool { return e.ServiceID == "svc-proxy-proxy" })
		c.Services = slices.DeleteFunc(c.Services, func(s keystonetest.Service) bool { return s.Type == "proxy" })
	})
}

func TestApplyAndRollback(t *testing.T) {
	s := newSite(t, everything)
	first := s.state()
	a := s.applier()
	plan := s.plan(a, everyOption())
	proofs, err := a.Prober.Preflight(t.Context(), a.Client, s.spec, plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range proofs {
		if p.Problem != "" {
			t.Errorf("%s: %s: %s", p.Service, p.Request, p.Problem)
		}
	}
	out, err := a.Apply(t.Context(), plan, everyOption())
	if err != nil {
		t.Fatal(err)
	}
	if again := s.plan(a, everyOption()); !again.Empty() {
		t.Errorf("there is still to do:\n%s", again.Diff())
	}
	for _, e := range s.state().Endpoints {
		if e.Enabled && strings.Contains(e.URL, ctlAddr) && e.Region == "RegionOne" {
			t.Errorf("%s names the controller still: %s", e, e.URL)
		}
		if e.ID == "e9" && e != first.Endpoints[slices.IndexFunc(first.Endpoints, func(e keystone.Record) bool { return e.ID == "e9" })] {
			t.Errorf("another region was changed: %+v", e)
		}
	}
	journals, err := a.Journals.Latest()
	if err != nil || len(journals) != 1 || journals[0].Name != out.Journal || journals[0].End != changelog.Applied {
		t.Fatalf("journals %+v, %v", journals, err)
	}
	result, err := s.applier().Rollback(t.Context(), journals, false)
	if err != nil || len(result.Left) > 0 || result.Undone != len(plan.Changes) {
		t.Fatalf("rollback: %+v, %v", result, err)
	}
	if diff := cmp.Diff(first, s.state()); diff != "" {
		t.Errorf("after the rollback, -first +now:\n%s", diff)
	}
	if left, err := a.Journals.Latest(); err != nil || len(left) != 0 {
		t.Errorf("there is still to roll back: %+v, %v", left, err)
	}
}

// TestApplyAfterKill goes on with a new plan, and undoes both applies at once.
func TestApplyAfterKill(t *testing.T) {
	s := newSite(t, everything)
	first := s.state()
	killApply(t, s, 20, 2)
	a := s.applier()
	plan := s.plan(a, everyOption())
	if plan.Empty() {
		t.Fatal("nothing left to do: the test kills too late")
	}
	if _, err := a.Apply(t.Context(), plan, everyOption()); err != nil {
		t.Fatal(err)
	}
	journals, err := a.Journals.Latest()
	if err != nil || len(journals) != 2 {
		t.Fatalf("%d journals to roll back, %v; want both", len(journals), err)
	}
	rollBack(t, s)
	if diff := cmp.Diff(first, s.state()); diff != "" {
		t.Errorf("-first +after rollback:\n%s", diff)
	}
}

func TestApplyRefusesAnotherState(t *testing.T) {
	s := newSite(t, "")
	a := s.applier()
	plan := s.plan(a, keystone.PlanOptions{})
	s.keystone.Edit(func(c *keystonetest.Catalog) { c.Endpoints[0].URL += "/" })
	first := s.state()
	if _, err := a.Apply(t.Context(), plan, keystone.PlanOptions{}); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want %v", err, ErrChanged)
	}
	if diff := cmp.Diff(first, s.state()); diff != "" {
		t.Error(diff)
	}
	if names, err := a.Journals.Names(); err != nil || len(names) > 0 {
		t.Errorf("journals %v, %v", names, err)
	}
}

// TestApplyRefusesMeanwhile has somebody change an endpoint while apply is at
// work on another one.
func TestApplyRefusesMeanwhile(t *testing.T) {
	s := newSite(t, "")
	a := s.applier()
	plan := s.plan(a, keystone.PlanOptions{})
	last := plan.Changes[len(plan.Changes)-1]
	a.Tell = func(string) {
		s.edit(last.Before.ID, func(e *keystonetest.Endpoint) { e.URL = "http://somebody.example.org:5000/v3" })
	}
	_, err := a.Apply(t.Context(), plan, keystone.PlanOptions{})
	stopped, ok := errors.AsType[*changelog.StoppedError](err)
	if !ok || !errors.Is(err, ErrChanged) || stopped.Done != len(plan.Changes)-1 {
		t.Fatalf("got %v", err)
	}
	a.Tell = func(string) {}
	rollBack(t, s)
	now := s.state().Endpoints
	if i := slices.IndexFunc(now, func(e keystone.Record) bool { return e.ID == last.Before.ID }); now[i].URL != "http://somebody.example.org:5000/v3" {
		t.Errorf("what somebody else did was undone: %+v", now[i])
	}
}

func TestApplyLocks(t *testing.T) {
	s := newSite(t, "")
	a := s.applier()
	plan := s.plan(a, keystone.PlanOptions{})
	held, err := a.Journals.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Apply(t.Context(), plan, keystone.PlanOptions{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("got %v, want the process that has the lock", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Apply(t.Context(), plan, keystone.PlanOptions{}); err != nil {
		t.Error(err)
	}
}

// TestApplyStops breaks services at a change; what was done before can be undone.
func TestApplyStops(t *testing.T) {
	for _, tt := range []struct {
		name   string
		breaks func(*site)
		want   string
		done   int
	}{
		{"the URL does not answer", func(s *site) { s.vip["glance"].Close() }, "does not answer, so nothing was changed", 0},
		{"the URL answers 503", func(s *site) {
			s.vip["proxy"].set(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
		}, "HTTP status 503", 2},
		{"tokens stay stale", func(s *site) { s.keystone.Lag = 1 << 30 }, "caches of their own", 0},
		{"another Keystone behind the VIP", func(s *site) {
			s.vip["keystone"].set(keystonetest.New(keystonetest.Catalog{}, 1000))
		}, "they are not one Keystone", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, "")
			first := s.state()
			a := s.applier()
			if tt.want == "caches of their own" {
				a.Wait = time.Second
			}
			plan := s.plan(a, keystone.PlanOptions{})
			tt.breaks(s)
			_, err := a.Apply(t.Context(), plan, keystone.PlanOptions{})
			stopped, ok := errors.AsType[*changelog.StoppedError](err)
			if !ok || !strings.Contains(err.Error(), tt.want) || stopped.Done != tt.done {
				t.Fatalf("got %v after %+v, want %q after %d changes", err, stopped, tt.want, tt.done)
			}
			journal, err := a.Journals.Load(stopped.Journal)
			if err != nil || journal.End != changelog.Stopped || journal.Error == "" {
				t.Errorf("the journal ends with %q, %q, %v", journal.End, journal.Error, err)
			}
			rollBack(t, s)
			if diff := cmp.Diff(first, s.state()); diff != "" {
				t.Errorf("-first +after rollback:\n%s", diff)
			}
		})
	}
}

func TestApplyWaitsForCaches(t *testing.T) {
	s := newSite(t, "")
	s.keystone.Lag = 1 // one token after each change is stale
	a := s.applier()
	if _, err := a.Apply(t.Context(), s.plan(a, keystone.PlanOptions{}), keystone.PlanOptions{}); err != nil {
		t.Error(err)
	}
}

// TestApplyWaitsForEveryCache has two processes of Keystone, each with a cache of
// its own: the second has the old catalog after the first has the new. The apply
// waits for that to end, and says so; or says that it has not ended.
func TestApplyWaitsForEveryCache(t *testing.T) {
	for _, c := range []struct {
		name  string
		ends  int // after how many tokens the caches end
		wait  time.Duration
		ended bool
	}{
		{"that ends", 100, time.Minute, true},
		{"that does not end", 0, time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, "")
			s.keystone.Processes, s.keystone.CacheTokens = 2, c.ends
			a := s.applier()
			a.Wait = c.wait
			var told strings.Builder
			a.Tell = func(line string) { told.WriteString(line + "\n") }
			for range 2 { // as clients do, so that both caches have the catalog of before
				if _, err := a.Client.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			out, err := a.Apply(t.Context(), s.plan(a, keystone.PlanOptions{}), keystone.PlanOptions{})
			if err != nil || (out.Behind == "") != c.ended {
				t.Fatalf("%+v, %v", out, err)
			}
			if !strings.Contains(told.String(), "each process for itself") || !c.ended && !strings.Contains(out.Behind, "fresh tokens have had the catalog of before") {
				t.Errorf("told %q, behind %q", told.String(), out.Behind)
			}
			journals, err := a.Journals.Latest()
			if err != nil || len(journals) != 1 || journals[0].End != changelog.Applied {
				t.Errorf("journals %+v, %v", journals, err)
			}
			for range 4 {
				token, err := a.Client.Refresh(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if old := oldURLs(token); c.ended && old != nil {
					t.Errorf("a token has %q after the wait", old)
				}
			}
		})
	}
}

// oldURLs gives the URLs of a token's catalog that name the controller still.
func oldURLs(token Token) []string {
	var old []string
	for _, entry := range token.Catalog {
		for _, e := range entry.Endpoints {
			if strings.Contains(e.URL, ctlAddr) && e.Region == "RegionOne" {
				old = append(old, e.URL)
			}
		}
	}
	return old
}

// TestApplyWithoutProject has tokens that do not see URLs with a project in
// them: such a change is made, and not called verified.
func TestApplyWithoutProject(t *testing.T) {
	s := newSite(t, "")
	s.keystone.Project = ""
	a := s.applier()
	out, err := a.Apply(t.Context(), s.plan(a, keystone.PlanOptions{}), keystone.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Unseen) != 1 || !strings.Contains(out.Unseen[0], "public endpoint of proxy: its URL has a project in it") {
		t.Errorf("unseen: %q", out.Unseen)
	}
	journals, err := a.Journals.Latest()
	if err != nil || len(journals) != 1 {
		t.Fatalf("%d journals, %v", len(journals), err)
	}
	for _, c := range journals[0].Changes {
		if c.IsVerified == (c.Detail.After.ServiceType == "proxy") {
			t.Errorf("%s: verified %v", c.Detail.After, c.IsVerified)
		}
	}
}

// TestApplyLeavesWhatKeystoneCannotFill: an endpoint that is in no token's
// catalog is a finding, and is not moved, which nothing could verify.
func TestApplyLeavesWhatKeystoneCannotFill(t *testing.T) {
	s := newSite(t, "")
	s.edit("e5", func(e *keystonetest.Endpoint) { e.URL += "x" }) // $(tenant_id)sx is in order,
	a := s.applier()
	if plan := s.plan(a, keystone.PlanOptions{}); !changes(plan, "e5") || finding(plan, "not-fillable") != "" {
		t.Errorf("a letter after the template:\n%s", plan.Diff())
	}
	s.edit("e5", func(e *keystonetest.Endpoint) { e.URL = strings.Replace(e.URL, "tenant_id)sx", "tenant_idx)s", 1) }) // and this is not
	plan := s.plan(a, keystone.PlanOptions{})
	if changes(plan, "e5") || !strings.Contains(finding(plan, "not-fillable"), `is in the catalog of no token: Keystone knows no "tenant_idx" to fill in`) {
		t.Errorf("%s%v", plan.Diff(), plan.Findings)
	}
	if out, err := a.Apply(t.Context(), plan, keystone.PlanOptions{}); err != nil || out.Unseen != nil {
		t.Errorf("%+v, %v", out, err)
	}
	// And where such a change is made all the same, it is not called verified.
	run := &run{Applier: a, out: &ApplyResult{}}
	change := keystone.Change{Op: keystone.Update, Before: &keystone.Record{ID: "e5", Enabled: true}, After: keystone.Record{ID: "e5", URL: "http://localhost/$(tenant_idx)s", Enabled: true}}
	if err := run.inToken(t.Context(), a.Client.token, change, "e5"); err == nil || !strings.Contains(err.Error(), "in the catalog of no token") {
		t.Errorf("verified: %v", err)
	}
}

// changes reports whether plan changes the endpoint id.
func changes(plan keystone.Plan, id string) bool {
	return slices.ContainsFunc(plan.Changes, func(c keystone.Change) bool { return c.Before != nil && c.Before.ID == id })
}

// finding gives the text of the first finding with a code.
func finding(plan keystone.Plan, code string) string {
	for _, f := range plan.Findings {
		if f.Code == code {
			return f.Text
		}
	}
	return ""
}

// TestListingsInPages: all pages count, wherever an answer says that the next is;
// half a listing is refused.
func TestListingsInPages(t *testing.T) {
	s := newSite(t, "")
	a := s.applier()
	whole, err := a.Client.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.keystone.Page = 2
	paged, err := a.Client.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole, paged); diff != "" {
		t.Errorf("in pages, -whole +paged:\n%s", diff)
	}
	if _, err := a.Apply(t.Context(), s.plan(a, keystone.PlanOptions{}), keystone.PlanOptions{}); err != nil {
		t.Errorf("apply: %v", err)
	}
	s.keystone.Page, s.keystone.Limit = 0, 2
	if _, err := a.Client.State(t.Context()); err == nil || !strings.Contains(err.Error(), "half a catalog is none to plan on; raise list_limit") {
		t.Errorf("cut off: %v", err)
	}
}

func TestRollbackLeavesWhatOthersDid(t *testing.T) {
	s := newSite(t, everything)
	a := s.applier()
	if _, err := a.Apply(t.Context(), s.plan(a, everyOption()), everyOption()); err != nil {
		t.Fatal(err)
	}
	s.edit("e1", func(e *keystonetest.Endpoint) { e.URL = "http://elsewhere.example.org:5000/v3" })
	s.keystone.Edit(func(c *keystonetest.Catalog) {
		c.Endpoints = slices.DeleteFunc(c.Endpoints, func(e keystonetest.Endpoint) bool { return e.ID == "e4" })
	})
	journals, err := a.Journals.Latest()
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.applier().Rollback(t.Context(), journals, false)
	if err != nil || len(result.Left) != 2 {
		t.Fatalf("got %+v, %v", result, err)
	}
	for i, want := range []string{"--force puts that back", "openstack endpoint create --region RegionOne"} {
		if !strings.Contains(result.Left[i], want) {
			t.Errorf("%q is not in %q", want, result.Left[i])
		}
	}
	journals, err = a.Journals.Latest()
	if err != nil || len(journals) != 1 {
		t.Fatalf("the journal is not offered again: %v, %v", journals, err)
	}
	result, err = s.applier().Rollback(t.Context(), journals, true)
	if err != nil || len(result.Left) != 1 || result.Undone != 1 {
		t.Fatalf("with force: %+v, %v", result, err)
	}
}

// TestRollbackWithKeystoneBroken loses the Keystone that the environment names,
// which is the one that the catalog names now.
func TestRollbackWithKeystoneBroken(t *testing.T) {
	s := newSite(t, "")
	first := s.state()
	a := s.applier()
	if _, err := a.Apply(t.Context(), s.plan(a, keystone.PlanOptions{}), keystone.PlanOptions{}); err != nil {
		t.Fatal(err)
	}
	s.vip["keystone"].Close()
	auth := s.auth()
	auth.URL = fmt.Sprintf("http://localhost:%d/v3", s.ports["keystone"])
	journals, err := a.Journals.Latest()
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	client, err := ConnectFor(t.Context(), auth, journals, func(line string) { told = append(told, line) })
	if err != nil {
		t.Fatal(err)
	}
	a.Client = client
	if _, err := a.Rollback(t.Context(), journals, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, s.state()); diff != "" {
		t.Errorf("-first +after rollback:\n%s", diff)
	}
	if !strings.Contains(strings.Join(told, "\n"), "refused") || !strings.Contains(strings.Join(told, "\n"), ctlAddr) {
		t.Errorf("told %q", told)
	}
	auth.Password = NewSecret("wrong")
	if _, err := ConnectFor(t.Context(), auth, journals, func(string) {}); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// TestNoSecretIsWritten looks for the password and the tokens in all that was
// said and written, of an apply that fails.
func TestNoSecretIsWritten(t *testing.T) {
	s := newSite(t, everything)
	a := s.applier()
	var said strings.Builder
	a.Tell = func(line string) { said.WriteString(line + "\n") }
	a.Wait = time.Millisecond
	plan := s.plan(a, everyOption())
	s.vip["keystone"].set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What a debugging proxy might do.
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, `{"error": {"message": "you said correct-horse with %s"}}`, r.Header.Get("X-Auth-Token"))
	}))
	_, err := a.Apply(t.Context(), plan, everyOption())
	fmt.Fprintf(&said, "%v %+v\n%v\n", err, err, a.Client.token.ID)
	fmt.Fprintf(&said, "%v %+v %#v %q %s\n", s.auth(), s.auth(), s.auth(), s.auth().Password, s.auth().Who())
	proofs, err := a.Prober.Preflight(t.Context(), a.Client, s.spec, plan)
	fmt.Fprintf(&said, "%+v %v", proofs, err)
	files, err := filepath.Glob(filepath.Join(s.dir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("no journal: %v, %v", files, err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", file, info.Mode(), err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(data)
	}
	if !strings.Contains(said.String(), "you said (hidden)") {
		t.Errorf("the test proves nothing: %s", said.String())
	}
	for _, secret := range []string{"correct-horse", "gAAAA-"} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%q was written: %s", secret, said.String())
		}
	}
}
