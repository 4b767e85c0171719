package zone

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
)

// fakeSet is a record set as Designate's API has it.
type fakeSet struct {
	ID          string   `json:"id"`
	ZoneID      string   `json:"zone_id"`
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	TTL         *int     `json:"ttl"`
	Records     []string `json:"records"`
	Description *string  `json:"description"`
	Status      string   `json:"status"`
	Action      string   `json:"action"`
}

// fakeDesignate answers as Designate 15 was seen to: a record set that is deleted
// stays for a while, pending, and is in the way of a new one.
type fakeDesignate struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex // guards following
	sets     []fakeSet
	next     int
	pending  map[string]int // of deleted sets: requests until they are gone
	changes  int            // requests that change something
	dieAt    int            // the change at which the client dies; 0 never
	dieAfter bool           // the change is made all the same
	changed  func([]fakeSet)
}

const zoneID = "0c9b5a1e-0000-4000-8000-000000000001"

func newFakeDesignate(t testing.TB, sets ...fakeSet) *fakeDesignate {
	t.Helper()
	f := &fakeDesignate{t: t, pending: map[string]int{}}
	for _, s := range sets {
		f.add(s)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/zones", f.listZones)
	mux.HandleFunc("GET /v2/zones/{zone}/recordsets", f.list)
	mux.HandleFunc("POST /v2/zones/{zone}/recordsets", f.create)
	mux.HandleFunc("PUT /v2/zones/{zone}/recordsets/{id}", f.put)
	mux.HandleFunc("DELETE /v2/zones/{zone}/recordsets/{id}", f.delete)
	f.Server = httptest.NewServer(f.guard(mux))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeDesignate) client() *gophercloud.ServiceClient {
	provider := &gophercloud.ProviderClient{TokenID: "a-token"}
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: f.URL + "/v2/"}
}

// editor gives a Designate that waits no longer than a test may.
func (f *fakeDesignate) editor() *Designate {
	d := NewDesignate(f.client())
	d.wait, d.pause = 10*time.Second, 10*time.Millisecond
	return d
}

func (f *fakeDesignate) add(s fakeSet) fakeSet {
	f.next++
	s.ID, s.ZoneID, s.Status, s.Action = fmt.Sprintf("set-%d", f.next), zoneID, "ACTIVE", "NONE"
	f.sets = append(f.sets, s)
	return s
}

// guard checks the token, drops what was pending long enough, and cuts the
// connection at the change at which the client is to die, and ever after.
func (f *fakeDesignate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Header.Get("X-Auth-Token") != "a-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		f.age()
		if r.Method != http.MethodGet {
			f.changes++
		}
		dead := f.dieAt > 0 && f.changes >= f.dieAt
		if dead && (!f.dieAfter || f.changes > f.dieAt || r.Method == http.MethodGet) {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
		if f.changed != nil {
			f.changed(f.sets)
		}
		if dead {
			panic(http.ErrAbortHandler)
		}
	})
}

func (f *fakeDesignate) age() {
	for id := range f.pending {
		if f.pending[id]--; f.pending[id] <= 0 {
			delete(f.pending, id)
			f.sets = slices.DeleteFunc(f.sets, func(s fakeSet) bool { return s.ID == id })
		}
	}
}

func (f *fakeDesignate) answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		f.t.Errorf("answer: %v", err)
	}
}

func (f *fakeDesignate) refuse(w http.ResponseWriter, code int, kind, message string) {
	f.answer(w, code, map[string]any{"code": code, "type": kind, "message": message, "request_id": "req-1"})
}

func (f *fakeDesignate) listZones(w http.ResponseWriter, r *http.Request) {
	zones := []any{}
	for _, z := range []map[string]any{
		{"id": zoneID, "name": "example.org.", "ttl": 3600, "type": "PRIMARY", "status": "ACTIVE", "action": "NONE"},
		{"id": "gone", "name": "old.example.org.", "ttl": 3600, "type": "PRIMARY", "status": "PENDING", "action": "DELETE"},
		{"id": "copy", "name": "copy.example", "ttl": 3600, "type": "SECONDARY", "status": "ACTIVE", "action": "NONE"},
	} {
		if r.URL.Query().Get("name") == mdns.Fqdn(z["name"].(string)) {
			zones = append(zones, z)
		}
	}
	f.answer(w, http.StatusOK, map[string]any{"zones": zones, "links": map[string]string{"self": "x"}, "metadata": map[string]int{"total_count": len(zones)}})
}

func (f *fakeDesignate) list(w http.ResponseWriter, r *http.Request) {
	sets := slices.DeleteFunc(slices.Clone(f.sets), func(s fakeSet) bool { return s.Name != r.URL.Query().Get("name") })
	f.answer(w, http.StatusOK, map[string]any{"recordsets": sets, "links": map[string]string{"self": "x"}, "metadata": map[string]int{"total_count": len(sets)}})
}

func (f *fakeDesignate) create(w http.ResponseWriter, r *http.Request) {
	var s fakeSet
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		f.refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	for _, other := range f.sets {
		switch {
		case other.Name != s.Name:
		case other.Type == s.Type:
			f.refuse(w, http.StatusConflict, "duplicate_recordset", "Duplicate RecordSet")
			return
		case other.Type == "CNAME" || s.Type == "CNAME":
			f.refuse(w, http.StatusBadRequest, "invalid_recordset_location", "CNAME recordsets may not share a name with any other records")
			return
		}
	}
	f.answer(w, http.StatusAccepted, f.add(s))
}

func (f *fakeDesignate) put(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(f.sets, func(s fakeSet) bool { return s.ID == r.PathValue("id") && s.Action != "DELETE" })
	if i < 0 {
		f.refuse(w, http.StatusNotFound, "recordset_not_found", "Could not find RecordSet")
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&f.sets[i]); err != nil {
		f.refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	f.answer(w, http.StatusAccepted, f.sets[i])
}

func (f *fakeDesignate) delete(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(f.sets, func(s fakeSet) bool { return s.ID == r.PathValue("id") && s.Action != "DELETE" })
	if i < 0 {
		f.refuse(w, http.StatusNotFound, "recordset_not_found", "Could not find RecordSet")
		return
	}
	f.sets[i].Status, f.sets[i].Action = "PENDING", "DELETE"
	f.pending[f.sets[i].ID] = 3
	f.answer(w, http.StatusAccepted, f.sets[i])
}

// lines gives what Designate has, without ids, sorted.
func (f *fakeDesignate) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, s := range f.sets {
		if s.Action == "DELETE" {
			continue
		}
		ttl, description := "zone", ""
		if s.TTL != nil {
			ttl = fmt.Sprint(*s.TTL)
		}
		if s.Description != nil {
			description = *s.Description
		}
		all = append(all, fmt.Sprintf("%s %s %s %v %q", s.Name, s.Type, ttl, s.Records, description))
	}
	slices.Sort(all)
	return all
}

// designateBed is a fake Designate with a real BIND as its name server: each
// change of the one is brought to the other, as Designate's worker does.
type designateBed struct {
	*bed
	fake *fakeDesignate
}

func newDesignateBed(t testing.TB) *designateBed {
	t.Helper()
	b := newBed(t, "")
	ttl, description := 1234, "the old one"
	fake := newFakeDesignate(t,
		fakeSet{Name: "api.example.org.", Type: "CNAME", Records: []string{"ctl1.example.org."}, Description: &description},
		fakeSet{Name: "int.example.org.", Type: "A", Records: []string{"10.0.0.14", "10.0.0.13"}, TTL: &ttl},
		fakeSet{Name: "int.example.org.", Type: "AAAA", Records: []string{"2001:db8::13"}, Description: &description},
		fakeSet{Name: "int.example.org.", Type: "TXT", Records: []string{`"stays"`}},
	)
	bring := bringer(t, b)
	bring(fake.sets)
	fake.changed = bring
	return &designateBed{b, fake}
}

// bringer gives what writes record sets into b's zone.
func bringer(t testing.TB, b *bed) func([]fakeSet) {
	var last string
	return func(sets []fakeSet) {
		if now := fmt.Sprintf("%+v", sets); now == last {
			return
		} else {
			last = now
		}
		m := new(mdns.Msg)
		m.SetUpdate("example.org.")
		for _, name := range []string{"api.example.org.", "int.example.org."} {
			m.RemoveName([]mdns.RR{&mdns.ANY{Hdr: mdns.RR_Header{Name: name}}})
		}
		for _, s := range sets {
			ttl := 3600
			if s.TTL != nil {
				ttl = *s.TTL
			}
			for _, v := range s.Records {
				rr, err := mdns.NewRR(fmt.Sprintf("%s %d IN %s %s", s.Name, ttl, s.Type, v))
				if err != nil {
					t.Errorf("a record set that is none: %v", err)
				} else if s.Action != "DELETE" {
					m.Insert([]mdns.RR{rr})
				}
			}
		}
		send(t, b, m)
	}
}

func send(t testing.TB, b *bed, m *mdns.Msg) {
	m.SetTsig(mdns.Fqdn(b.net.KeyName), mdns.HmacSHA256, 300, time.Now().Unix())
	client := &mdns.Client{Net: "tcp", Timeout: 10 * time.Second, TsigSecret: map[string]string{mdns.Fqdn(b.net.KeyName): b.net.Secret}}
	r, _, err := client.Exchange(m, b.primary.String())
	if err != nil || r.Rcode != mdns.RcodeSuccess {
		t.Errorf("bring it to the name server: %v, %v", err, r)
	}
}

func (b *designateBed) applier() *Applier {
	a := b.bed.applier()
	a.Editor, a.Looker.Key, a.KeyFile = b.fake.editor(), nil, ""
	return a
}

func (b *designateBed) plan() dns.Plan {
	b.t.Helper()
	sources := map[string]dns.Source{}
	for _, host := range []string{"api.example.org", "int.example.org"} {
		source, err := b.fake.editor().Source(b.t.Context(), host)
		if err != nil {
			b.t.Fatal(err)
		}
		sources[host] = source
	}
	return b.bed.plan(dns.PlanOptions{Sources: sources})
}

func TestDesignate(t *testing.T) {
	b := newDesignateBed(t)
	first := b.fake.lines()
	plan := b.plan()
	out, err := b.applier().Apply(t.Context(), plan)
	if err != nil || out.Verified != 2 {
		t.Fatalf("apply: %+v, %v", out, err)
	}
	want := []string{
		`api.example.org. A zone [192.0.2.10] ""`, `api.example.org. AAAA zone [2001:db8::10] ""`,
		`int.example.org. A 1234 [10.0.0.10] ""`, `int.example.org. TXT zone ["stays"] ""`,
	}
	if diff := cmp.Diff(want, b.fake.lines()); diff != "" {
		t.Error(diff)
	}
	if after := b.plan(); !after.Empty() {
		t.Errorf("the plan after the apply:\n%s", after.Diff())
	}
	back, err := b.applier().Rollback(t.Context(), b.latest(), false)
	if err != nil || back.Undone != 2 || len(back.Left)+len(back.Behind) != 0 {
		t.Errorf("rollback: %+v, %v", back, err)
	}
	slices.Sort(first)
	if diff := cmp.Diff(sortedRecords(first), sortedRecords(b.fake.lines())); diff != "" {
		t.Error(diff)
	}
}

// sortedRecords lets the order of a record set's records not matter, as in DNS.
func sortedRecords(lines []string) []string {
	var all []string
	for _, line := range lines {
		all = append(all, strings.ReplaceAll(line, "[10.0.0.14 10.0.0.13]", "[10.0.0.13 10.0.0.14]"))
	}
	return all
}

// TestDesignateCutOff: the process dies at every request that changes something,
// before Designate has it and after, in apply and in rollback.
func TestDesignateCutOff(t *testing.T) {
	b := newDesignateBed(t)
	first := sortedRecords(b.fake.lines())
	die := func(at int, after bool) {
		b.fake.mu.Lock()
		defer b.fake.mu.Unlock()
		b.fake.changes, b.fake.dieAt, b.fake.dieAfter = 0, at, after
	}
	for _, after := range []bool{false, true} {
		for _, what := range []string{"apply", "rollback"} {
			at := 1
			for ; at < 50; at++ {
				plan := b.plan()
				if what == "rollback" {
					if _, err := b.applier().Apply(t.Context(), plan); err != nil {
						t.Fatalf("apply: %v", err)
					}
				}
				die(at, after)
				var err error
				if what == "apply" {
					_, err = b.applier().Apply(t.Context(), plan)
				} else {
					_, err = b.applier().Rollback(t.Context(), b.latest(), false)
				}
				die(0, false)
				if _, back := b.applier().Rollback(t.Context(), b.latest(), false); back != nil {
					t.Fatalf("%s cut off at change %d (after it: %v): rollback: %v", what, at, after, back)
				}
				if diff := cmp.Diff(first, sortedRecords(b.fake.lines())); diff != "" || b.latest() != nil {
					t.Fatalf("%s cut off at change %d (after it: %v): %s", what, at, after, diff)
				}
				if err == nil {
					break
				}
			}
			// An alias and two address sets for the one, an update and a deletion for
			// the other; the way back the same.
			if at < 6 {
				t.Errorf("%s was cut off %d times, want 5 and more", what, at-1)
			}
		}
	}
}

func TestDesignateRefusesWhatHasChanged(t *testing.T) {
	b := newDesignateBed(t)
	plan := b.plan()
	b.fake.mu.Lock()
	b.fake.sets[1].Records = []string{"10.0.0.77"}
	b.fake.mu.Unlock()
	now := b.fake.lines()
	if _, err := b.applier().Apply(t.Context(), plan); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("apply: %v", err)
	}
	n := plan.Changes()[1]
	if err := b.fake.editor().Replace(t.Context(), n.Place(), n.Before, n.After); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("replace: %v", err)
	}
	if diff := cmp.Diff(now, b.fake.lines()); diff != "" {
		t.Error(diff)
	}
}

func TestDesignateSays(t *testing.T) {
	fake := newFakeDesignate(t)
	d := fake.editor()
	if _, err := d.Source(t.Context(), "api.example.net"); err == nil || !strings.Contains(err.Error(), "Designate has no zone for api.example.net in this project") {
		t.Errorf("no zone: %v", err)
	}
	if s, err := d.Source(t.Context(), "api.old.example.org"); err != nil || s.Zone != "example.org" || s.Records != nil {
		t.Errorf("a zone that is being deleted: %+v, %v", s, err)
	}
	if _, err := d.Source(t.Context(), "api.copy.example"); err == nil || !strings.Contains(err.Error(), "is a secondary one in Designate") {
		t.Errorf("a secondary zone: %v", err)
	}
	stranger := fake.client()
	stranger.TokenID = "wrong-token"
	if _, err := NewDesignate(stranger).Source(t.Context(), "api.example.org"); err == nil || !strings.Contains(err.Error(), "it does not accept the token (401)") || strings.Contains(err.Error(), "wrong-token") {
		t.Errorf("wrong token: %v", err)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello</html>") }))
	defer page.Close()
	elsewhere := fake.client()
	elsewhere.Endpoint = page.URL + "/v2/"
	if _, err := NewDesignate(elsewhere).Source(t.Context(), "api.example.org"); err == nil || !strings.Contains(err.Error(), "is that the URL of Designate?") {
		t.Errorf("not Designate: %v", err)
	}
	fake.Close()
	if _, err := d.Source(t.Context(), "api.example.org"); err == nil || strings.Contains(err.Error(), "a-token") || strings.Contains(err.Error(), "\n") {
		t.Errorf("not there: %v", err)
	}
}

// TestNobodyServesIt: Designate has the zone, and no name server does. The
// change is made and cannot be proved, which is said.
func TestNobodyServesIt(t *testing.T) {
	fake := newFakeDesignate(t)
	source, err := fake.editor().Source(t.Context(), "int.example.org")
	if err != nil {
		t.Fatal(err)
	}
	l := Looker{Now: time.Now}
	plan := planFor(t, l, dns.PlanOptions{Sources: map[string]dns.Source{"int.example.org": source}}, "int.example.org")
	a := &Applier{Looker: l, Editor: fake.editor(), Journals: JournalsIn(t.TempDir()), Now: time.Now, Tell: func(string) {}}
	out, err := a.Apply(t.Context(), plan)
	if err == nil || out.Changed != 1 || !strings.Contains(err.Error(), "the change was made, but no name server of the zone example.org could be asked") {
		t.Errorf("apply: %+v, %v", out, err)
	}
	all, err := a.Journals.Latest()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := a.Rollback(t.Context(), all, false); err != nil || back.Undone != 1 || len(fake.lines()) != 0 {
		t.Errorf("rollback: %+v, %v, %v", back, err, fake.lines())
	}
}
