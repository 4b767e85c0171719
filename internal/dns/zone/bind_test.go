package zone

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	"holdfast/internal/changelog"
	"holdfast/internal/dns"
	"holdfast/internal/dns/dnstest"
)

// TestApplyAndRollback: a primary, a secondary and a caching resolver, all BIND.
func TestApplyAndRollback(t *testing.T) {
	n := dnstest.New(t)
	primary, secondary, resolver := n.Addr(), n.Addr(), n.Addr()
	b := newBedOn(t, n, primary, cloudZone, secondary)
	n.Secondary(secondary, primary, "example.org")
	n.Resolver(resolver, primary, "example.org")
	b.others = []netip.AddrPort{secondary}
	first := b.transfer(primary)
	l := b.looker()
	l.Resolvers = []netip.AddrPort{resolver}
	plan := planFor(t, l, dns.PlanOptions{}) // the resolver has the old answers in its cache from here on
	if len(plan.Changes()) != 2 || plan.Blocked() {
		t.Fatalf("plan:\n%s", plan.Diff())
	}
	out, err := b.applier().Apply(t.Context(), plan)
	if err != nil || out.Changed != 2 || out.Verified != 2 || len(out.Notes) != 0 {
		t.Fatalf("apply: %+v, %v", out, err)
	}
	if ttl := time.Until(out.Stale); ttl < 1100*time.Second || ttl > 1234*time.Second {
		t.Errorf("caches are said to be stale for %s, want the longest TTL of before, 1234 s", ttl)
	}
	for _, at := range []netip.AddrPort{primary, secondary} {
		got := strings.Join(b.transfer(at), "\n")
		for _, want := range []string{"api.example.org.\t600\tIN\tA\t192.0.2.10", "api.example.org.\t600\tIN\tAAAA\t2001:db8::10", "int.example.org.\t1234\tIN\tA\t10.0.0.10", `int.example.org.	99	IN	TXT	"stays as it is"`} {
			if !strings.Contains(got, want) {
				t.Errorf("%s lacks %q:\n%s", at, want, got)
			}
		}
		if strings.Contains(got, "CNAME") || strings.Contains(got, "10.0.0.14") || strings.Contains(got, "2001:db8::13") {
			t.Errorf("%s has old records:\n%s", at, got)
		}
	}
	after := planFor(t, l, dns.PlanOptions{})
	if !after.Empty() || after.Blocked() {
		t.Errorf("the plan after the apply is not empty:\n%s", after.Diff())
	}
	checkStale(t, after, "int.example.org")
	back, err := b.applier().Rollback(t.Context(), b.latest(), false)
	if err != nil || back.Undone != 2 || len(back.Left)+len(back.Behind) != 0 {
		t.Errorf("rollback: %+v, %v", back, err)
	}
	b.same(first)
	if diff := cmp.Diff(first, b.transfer(secondary)); diff != "" {
		t.Errorf("the secondary: %s", diff)
	}
	if left := b.latest(); left != nil {
		t.Errorf("there is still something to roll back: %+v", left)
	}
}

// checkStale looks for the finding that a resolver has an old answer, with its end.
func checkStale(t *testing.T, plan dns.Plan, host string) {
	t.Helper()
	for _, f := range plan.Findings {
		if f.Code == "resolver-stale" && f.Subject == host && strings.Contains(f.Text, "10.0.0.13 (controller ctl1)") && strings.Contains(f.Text, "until 20") {
			return
		}
	}
	t.Errorf("nothing says until when the resolver is stale: %v", plan.Findings)
}

// TestApplyRefusesWhatHasChanged: by looking again, and, for what happens in
// the very moment, by the prerequisites of the update.
func TestApplyRefusesWhatHasChanged(t *testing.T) {
	b := newBed(t, cloudZone)
	plan := b.plan(dns.PlanOptions{})
	b.update("int.example.org", mdns.TypeA, "int.example.org. 1234 IN A 10.0.0.99", "int.example.org. 1234 IN A 10.0.0.14")
	now := b.transfer(b.primary)
	if _, err := b.applier().Apply(t.Context(), plan); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("another address: %v", err)
	}
	b.same(now)
	stale := plan.Changes()[1]
	err := Updater{b.looker()}.Replace(t.Context(), stale.Place(), stale.Before, stale.After)
	if !errors.Is(err, dns.ErrChanged) || !strings.Contains(err.Error(), "NXRRSET") {
		t.Errorf("the prerequisites: %v", err)
	}
	b.same(now)
	b.update("int.example.org", mdns.TypeA, "int.example.org. 5 IN A 10.0.0.13", "int.example.org. 5 IN A 10.0.0.14")
	if _, err := b.applier().Apply(t.Context(), plan); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("another TTL: %v", err)
	}
	if names, err := b.applier().Journals.Names(); err != nil || len(names) != 0 {
		t.Errorf("journals of nothing: %v, %v", names, err)
	}
	// What comes to be where nothing was.
	absent := dns.Place{Hostname: "new.example.org", Zone: "example.org", Server: b.primary}
	b.update("new.example.org", mdns.TypeAAAA, "new.example.org. 5 IN AAAA 2001:db8::1")
	if err := (Updater{b.looker()}).Replace(t.Context(), absent, nil, stale.After); !errors.Is(err, dns.ErrChanged) || !strings.Contains(err.Error(), "YXRRSET") {
		t.Errorf("a record that came to be: %v", err)
	}
}

// TestApplyWithAWrongKey: each says what is wrong, and none has the secret.
func TestApplyWithAWrongKey(t *testing.T) {
	b := newBed(t, cloudZone)
	good := b.key()
	other := strings.Repeat("QUJD", 10)
	zone := b.transfer(b.primary)
	plan := b.plan(dns.PlanOptions{})
	for want, spoil := range map[string]func(*Looker){
		"it does not know the key stranger (hmac-sha256), by this name and algorithm (BADKEY)": func(l *Looker) { l.Key = &dns.Key{Name: "stranger", Algorithm: "hmac-sha256", Secret: good.Secret} },
		"it has another secret for the key holdfast-test (hmac-sha256) (BADSIG)":               func(l *Looker) { l.Key = &dns.Key{Name: good.Name, Algorithm: "hmac-sha256", Secret: other} },
		"differ by more than 5 minutes (BADTIME)":                                              func(l *Looker) { l.Now = func() time.Time { return time.Now().Add(-time.Hour) } },
	} {
		l := b.looker()
		spoil(&l)
		n := plan.Changes()[0]
		err := Updater{l}.Replace(t.Context(), n.Place(), n.Before, n.After)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("update: %v, want %q", err, want)
		}
		a := b.applier()
		a.Looker, a.Editor = l, Updater{l}
		if _, err := a.Apply(t.Context(), plan); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), good.Secret) || strings.Contains(err.Error(), other) {
			t.Errorf("apply: %v, want %q", err, want)
		}
	}
	b.same(zone)
}

// TestApplyAtASecondary: it refuses, and nothing has come about.
func TestApplyAtASecondary(t *testing.T) {
	n := dnstest.New(t)
	primary, secondary := n.Addr(), n.Addr()
	b := newBedOn(t, n, primary, cloudZone, secondary)
	n.Secondary(secondary, primary, "example.org")
	b.primary = secondary
	a := b.applier()
	l := b.looker()
	l.Key = nil // the secondary does not know it
	a.Looker, a.Editor = l, Updater{l}
	out, err := a.Apply(t.Context(), planFor(t, l, dns.PlanOptions{}))
	stopped, ok := errors.AsType[*changelog.StoppedError](err)
	if !ok || stopped.Journal != out.Journal || out.Changed != 0 || !strings.Contains(err.Error(), "it refuses the update (REFUSED)") {
		t.Errorf("apply: %+v, %v", out, err)
	}
	back, err := a.Rollback(t.Context(), b.latest(), false)
	if err != nil || back.Undone != 0 || back.AsWere != 1 {
		t.Errorf("rollback: %+v, %v", back, err)
	}
}

// TestApplyWaitsForSecondaries: one that is not told of the change is waited
// for, then named; the way back says the same, and is the whole way back.
func TestApplyWaitsForSecondaries(t *testing.T) {
	n := dnstest.New(t)
	primary, secondary := n.Addr(), n.Addr()
	b := newBedOn(t, n, primary, cloudZone)
	n.Secondary(secondary, primary, "example.org")
	first := b.transfer(primary)
	b.others = []netip.AddrPort{secondary}
	a := b.applier()
	a.Wait = time.Second
	out, err := a.Apply(t.Context(), b.plan(dns.PlanOptions{}))
	want := fmt.Sprintf("api.example.org: the change was made, but after 1s, %s still has an alias of ctl1.example.org, 10.0.0.13 (serial 10)", secondary)
	if err == nil || err.Error() != want || out.Changed != 1 || out.Verified != 0 {
		t.Errorf("apply: %+v, %v, want %q", out, err, want)
	}
	left := b.latest()
	if len(left) != 1 || left[0].End != changelog.Stopped || !strings.Contains(left[0].Error, "still has") || len(left[0].Changes) != 1 {
		t.Fatalf("journals: %+v", left)
	}
	// The next apply goes on with the rest, and both are one to take back.
	b.others = nil
	rest := b.plan(dns.PlanOptions{})
	if len(rest.Changes()) != 1 {
		t.Errorf("the rest:\n%s", rest.Diff())
	}
	if out, err = b.applier().Apply(t.Context(), rest); err != nil || out.Changed != 1 {
		t.Fatalf("apply of the rest: %+v, %v", out, err)
	}
	back, err := a.Rollback(t.Context(), b.latest(), false)
	if err != nil || back.Undone != 2 || len(back.Journals) != 2 {
		t.Errorf("rollback: %+v, %v", back, err)
	}
	b.same(first)
}

// TestRollbackLeavesWhatOthersChanged, until it is forced to put that back.
func TestRollbackLeavesWhatOthersChanged(t *testing.T) {
	b := newBed(t, cloudZone)
	first := b.transfer(b.primary)
	if _, err := b.applier().Apply(t.Context(), b.plan(dns.PlanOptions{})); err != nil {
		t.Fatal(err)
	}
	b.update("int.example.org", mdns.TypeA, "int.example.org. 10 IN A 10.0.0.77")
	back, err := b.applier().Rollback(t.Context(), b.latest(), false)
	if err != nil || back.Undone != 1 || len(back.Left) != 1 || !strings.Contains(back.Left[0], "somebody else has changed it since, to A 10.0.0.77 (TTL 10)") {
		t.Errorf("rollback: %+v, %v", back, err)
	}
	if !strings.Contains(strings.Join(b.transfer(b.primary), " "), "10.0.0.77") {
		t.Error("it took back what somebody else did")
	}
	back, err = b.applier().Rollback(t.Context(), b.latest(), true)
	if err != nil || back.Undone != 1 || len(back.Left) != 0 {
		t.Errorf("forced: %+v, %v", back, err)
	}
	b.same(first)
}

// TestWildcard: a name that only a wildcard answers for gets records of its
// own, and loses them again.
func TestWildcard(t *testing.T) {
	b := newBed(t, "* 300 IN A 10.0.0.99\n* 300 IN AAAA 2001:db8::99\nint 300 IN A 10.0.0.10\n")
	first := b.transfer(b.primary)
	plan := b.plan(dns.PlanOptions{})
	if w := plan.Names[0].View.Servers[0].Wildcard; w != "*.example.org" || len(plan.Names[0].Before) != 0 {
		t.Errorf("wildcard %q, before %v", w, plan.Names[0].Before)
	}
	if w := plan.Names[1].View.Servers[0].Wildcard; w != "" || plan.Names[1].Change {
		t.Errorf("a name with records of its own: wildcard %q, %+v", w, plan.Names[1])
	}
	if out, err := b.applier().Apply(t.Context(), plan); err != nil || out.Verified != 1 {
		t.Fatalf("apply: %+v, %v", out, err)
	}
	if after := b.plan(dns.PlanOptions{}); !after.Empty() {
		t.Errorf("the plan after the apply:\n%s", after.Diff())
	}
	if back, err := b.applier().Rollback(t.Context(), b.latest(), false); err != nil || back.Undone != 1 {
		t.Errorf("rollback: %+v, %v", back, err)
	}
	b.same(first)
}

// TestTTLOnly: the day before.
func TestTTLOnly(t *testing.T) {
	b := newBed(t, cloudZone)
	first := b.transfer(b.primary)
	ttl := uint32(60)
	plan := b.plan(dns.PlanOptions{TTL: &ttl, TTLOnly: true})
	if out, err := b.applier().Apply(t.Context(), plan); err != nil || out.Verified != 2 {
		t.Fatalf("apply: %+v, %v", out, err)
	}
	got := strings.Join(b.transfer(b.primary), "\n")
	for _, want := range []string{"api.example.org.\t60\tIN\tCNAME\tctl1", "int.example.org.\t60\tIN\tA\t10.0.0.13", "int.example.org.\t60\tIN\tA\t10.0.0.14", "int.example.org.\t60\tIN\tAAAA\t2001:db8::13", "int.example.org.\t99\tIN\tTXT"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if back, err := b.applier().Rollback(t.Context(), b.latest(), false); err != nil || back.Undone != 2 {
		t.Errorf("rollback: %+v, %v", back, err)
	}
	b.same(first)
}

// TestOneAtATime: a second apply or rollback on this machine waits for nobody.
func TestOneAtATime(t *testing.T) {
	j := JournalsIn(t.TempDir())
	held, err := j.Lock()
	if err != nil {
		t.Fatal(err)
	}
	a := &Applier{Journals: j, Now: time.Now}
	if _, err := a.Apply(t.Context(), dns.Plan{}); err == nil || !strings.Contains(err.Error(), "another \"holdfast dns\" is at work") {
		t.Errorf("apply: %v", err)
	}
	if _, err := a.Rollback(t.Context(), nil, false); err == nil || !strings.Contains(err.Error(), "is at work") {
		t.Errorf("rollback: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Rollback(t.Context(), nil, false); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// TestViews: with the key, what is asked of the primary is of the view that the
// updates go to.
func TestViews(t *testing.T) {
	n := dnstest.New(t)
	b := &bed{t: t, net: n, primary: n.Addr(), state: t.TempDir()}
	text := dnstest.Text("example.org", map[string]netip.AddrPort{"ns1.example.org": b.primary}, "ns1.example.org")
	n.Views(b.primary, dnstest.Zone{Name: "example.org", Text: text + "int 60 IN A 10.0.0.13\n"}, dnstest.Zone{Name: "example.org", Text: text + "int 60 IN A 192.0.2.66\n"})
	plan := b.plan(dns.PlanOptions{}, "int.example.org")
	if got := dns.ShownRecords(plan.Names[0].Before); got != "A 10.0.0.13 (TTL 60)" {
		t.Fatalf("before: %s", got)
	}
	if out, err := b.applier().Apply(t.Context(), plan); err != nil || out.Verified != 1 {
		t.Fatalf("apply: %+v, %v", out, err)
	}
	unsigned := b.looker()
	unsigned.Key = nil
	if plan := planFor(t, unsigned, dns.PlanOptions{}, "int.example.org"); dns.ShownRecords(plan.Names[0].Before) != "A 192.0.2.66 (TTL 60)" {
		t.Errorf("the other view: %v", plan.Names[0].Before)
	}
}

// TestServerChoosesTheTTL: a zone with a bound of its own on TTLs. What the
// server made of it is said, journaled, and taken back all the same.
func TestServerChoosesTheTTL(t *testing.T) {
	n := dnstest.New(t)
	b := &bed{t: t, net: n, primary: n.Addr(), state: t.TempDir()}
	text := dnstest.Text("example.org", map[string]netip.AddrPort{"ns1.example.org": b.primary}, "ns1.example.org")
	n.Primary(b.primary, dnstest.Zone{Name: "example.org", Text: text + "int 600 IN A 10.0.0.13\n", Options: " max-zone-ttl 3600;"})
	first := b.transfer(b.primary)
	ttl := uint32(7200)
	out, err := b.applier().Apply(t.Context(), b.plan(dns.PlanOptions{TTL: &ttl}, "int.example.org"))
	if err != nil || out.Verified != 1 || len(out.Notes) != 1 || !strings.Contains(out.Notes[0], "the server has chosen another TTL") {
		t.Errorf("apply: %+v, %v", out, err)
	}
	b.rollback(first)
}

// TestUpdatePolicy: the policy that docs/dns.md gives is enough, for that name only.
func TestUpdatePolicy(t *testing.T) {
	n := dnstest.New(t)
	b := &bed{t: t, net: n, primary: n.Addr(), state: t.TempDir()}
	text := dnstest.Text("example.org", map[string]netip.AddrPort{"ns1.example.org": b.primary}, "ns1.example.org")
	policy := fmt.Sprintf("update-policy { grant %s name api.example.org A AAAA CNAME; };", n.KeyName)
	n.Primary(b.primary, dnstest.Zone{Name: "example.org", Text: text + cloudZone, Update: policy})
	first := b.transfer(b.primary)
	if out, err := b.applier().Apply(t.Context(), b.plan(dns.PlanOptions{}, "api.example.org")); err != nil || out.Verified != 1 {
		t.Errorf("apply: %+v, %v", out, err)
	}
	b.rollback(first)
	if _, err := b.applier().Apply(t.Context(), b.plan(dns.PlanOptions{}, "int.example.org")); err == nil || !strings.Contains(err.Error(), "allow-update or update-policy of the zone example.org") {
		t.Errorf("another name: %v", err)
	}
	b.rollback(first)
}
