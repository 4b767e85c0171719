package zone

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast/internal/dns"
	"holdfast/internal/dns/dnstest"
)

// otherMakes are the servers beside BIND that take updates, as docs/dns.md sets
// them up.
var otherMakes = map[string]func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server{
	"Knot": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return n.Knot(at, "example.org", text, n.KnotUpdates("api", "int"))
	},
	"PowerDNS": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return n.PowerDNS(at, "example.org", text, n.PowerDNSUpdates())
	},
}

// zoneAt is the zone of the tests with the server at as its primary.
func zoneAt(at netip.AddrPort, records string) string {
	return dnstest.Text("example.org", map[string]netip.AddrPort{"ns1.example.org": at}, "ns1.example.org") + records
}

// bedAt is a bed of which the primary runs at at.
func bedAt(t testing.TB, n *dnstest.Net, at netip.AddrPort) *bed {
	return &bed{t: t, net: n, primary: at, state: t.TempDir(), zone: "example.org"}
}

// tried gives the plan with what the primary says of it.
func (b *bed) tried() dns.Plan {
	b.t.Helper()
	return Updater{b.looker()}.Try(b.t.Context(), b.plan(dns.PlanOptions{}))
}

// TestOtherMakes: plan, apply and rollback at Knot and PowerDNS; what was there
// before is there again, and a change of somebody else's is not overwritten.
func TestOtherMakes(t *testing.T) {
	for name, start := range otherMakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := dnstest.New(t)
			at := n.Addr()
			start(n, at, zoneAt(at, cloudZone))
			b := bedAt(t, n, at)
			first := b.transfer(at)
			plan := b.tried()
			if len(plan.Changes()) != 2 || plan.Blocked() {
				t.Fatalf("plan:\n%s%v", plan.Diff(), plan.Findings)
			}
			b.same(first) // the plan has changed nothing
			if serial := *plan.Names[0].View.Servers[0].Serial; serial != 10 {
				t.Errorf("serial %d", serial)
			}
			out, err := b.applier().Apply(t.Context(), plan)
			if err != nil || out.Changed != 2 || out.Verified != 2 {
				t.Fatalf("apply: %+v, %v", out, err)
			}
			if again := b.tried(); !again.Empty() || again.Blocked() {
				t.Errorf("the plan after the apply is not empty:\n%s", again.Diff())
			}
			if _, err := b.applier().Apply(t.Context(), plan); err == nil || !strings.Contains(err.Error(), dns.ErrChanged.Error()) {
				t.Errorf("the same once more: %v", err)
			}
			stale := plan.Changes()[1]
			if err := (Updater{b.looker()}).Replace(t.Context(), stale.Place(), stale.Before, stale.After); err == nil || !strings.Contains(err.Error(), dns.ErrChanged.Error()) {
				t.Errorf("the prerequisites: %v", err)
			}
			back, err := b.applier().Rollback(t.Context(), b.latest(), false)
			if err != nil || back.Undone != 2 || len(back.Left)+len(back.Behind) != 0 {
				t.Errorf("rollback: %+v, %v", back, err)
			}
			b.same(first)
		})
	}
}

// A wrongKey is what may be wrong between a server and a key.
type wrongKey struct {
	name  string
	spoil func(l *Looker)
}

func wrongKeys() []wrongKey {
	return []wrongKey{
		{"name", func(l *Looker) { l.Key = &dns.Key{Name: "stranger", Algorithm: "hmac-sha256", Secret: l.Key.Secret} }},
		{"secret", func(l *Looker) {
			l.Key = &dns.Key{Name: l.Key.Name, Algorithm: "hmac-sha256", Secret: strings.Repeat("QUJD", 10)}
		}},
		{"clock", func(l *Looker) { l.Now = func() time.Time { return time.Now().Add(-time.Hour) } }},
	}
}

// TestKeyRefused: every make, and everything that may be wrong with a key: the
// plan names the key, does not talk of a zone that is not registered, and no
// journal is written.
func TestKeyRefused(t *testing.T) {
	const someOf = "it has none of this name and algorithm, or another secret for it, or its clock and this machine's differ"
	starts := map[string]func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server{
		"BIND": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.Primary(at, dnstest.Zone{Name: "example.org", Text: text})
		},
		"Knot": otherMakes["Knot"], "PowerDNS": otherMakes["PowerDNS"],
		"Knot without a rule": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.Knot(at, "example.org", text)
		},
		"NSD": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.NSD(at, "example.org", text, true)
		},
	}
	const noRule = "no rule of the zone's acl lets the key holdfast-test (hmac-sha256) query or update the zone from this machine, or Knot does not know the key"
	wants := map[string]map[string]string{
		"BIND":                {"name": "does not know the key stranger (hmac-sha256), by this name and algorithm (BADKEY)", "secret": "another secret for the key holdfast-test (hmac-sha256) (BADSIG)", "clock": "5 minutes (BADTIME)"},
		"NSD":                 {"name": "does not know the key stranger (hmac-sha256), by this name and algorithm (BADKEY)", "secret": "another secret for the key holdfast-test (hmac-sha256) (BADSIG)", "clock": "5 minutes (BADTIME)"},
		"Knot":                {"name": "or Knot does not know the key", "secret": "another secret for the key holdfast-test (hmac-sha256) (BADSIG)", "clock": "5 minutes (BADTIME)"},
		"Knot without a rule": {"name": "or Knot does not know the key", "secret": noRule, "clock": noRule},
		"PowerDNS":            {"name": someOf, "secret": someOf, "clock": someOf},
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := dnstest.New(t)
			at := n.Addr()
			start(n, at, zoneAt(at, cloudZone))
			b := bedAt(t, n, at)
			for _, wrong := range wrongKeys() {
				l := b.looker()
				wrong.spoil(&l)
				plan := planFor(t, l, dns.PlanOptions{})
				if !plan.Blocked() || len(plan.Changes()) != 0 || plan.Names[0].Zone != "example.org" {
					t.Errorf("wrong %s:\n%s", wrong.name, plan.Diff())
				}
				said := says(plan, "key-refused")
				if !strings.Contains(said, wants[name][wrong.name]) || says(plan, "zone-not-found")+says(plan, "no-server")+says(plan, "unreachable") != "" {
					t.Errorf("wrong %s: %q, want %q of %v", wrong.name, said, wants[name][wrong.name], plan.Findings)
				}
			}
		})
	}
}

// says gives the texts of the findings with a code.
func says(plan dns.Plan, code string) string {
	var all []string
	for _, f := range plan.Findings {
		if f.Code == code {
			all = append(all, f.Text)
		}
	}
	return strings.Join(all, "\n")
}

// TestPlanTriesTheUpdate: what a server would refuse, though it knows the key, is
// in the plan already, with where that make has it configured.
func TestPlanTriesTheUpdate(t *testing.T) {
	bind := func(update string) func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.Primary(at, dnstest.Zone{Name: "example.org", Text: text, Update: update})
		}
	}
	powerDNS := func(change func(*dnstest.PowerDNS)) func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			how := n.PowerDNSUpdates()
			change(&how)
			return n.PowerDNS(at, "example.org", text, how)
		}
	}
	knot := func(rule string) func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.Knot(at, "example.org", text, dnstest.KnotRule("key: "+n.KeyName+"\n    "+rule))
		}
	}
	for name, c := range map[string]struct {
		start func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server
		want  string
	}{
		"BIND, nobody":       {bind("allow-update { none; };"), "(REFUSED); see allow-update or update-policy of the zone example.org"},
		"BIND, another name": {bind("update-policy { grant holdfast-test name other.example.org A AAAA CNAME; };"), "whether that is for this key and this name"},
		"BIND, without CNAME": {
			bind("update-policy { grant holdfast-test name api.example.org A AAAA; grant holdfast-test name int.example.org A AAAA; };"),
			"update-policy of the zone",
		},
		"Knot, queries only":       {knot("action: query"), "no rule of the zone's acl lets the key holdfast-test (hmac-sha256) update this name from this machine"},
		"Knot, another name":       {knot("action: update\n    update-owner: name\n    update-owner-match: equal\n    update-owner-name: other"), "no rule of the zone's acl lets the key"},
		"PowerDNS, off":            {powerDNS(func(p *dnstest.PowerDNS) { p.Updates = false }), "see dnsupdate in pdns.conf, and ALLOW-DNSUPDATE-FROM (this machine) and TSIG-ALLOW-DNSUPDATE (this key)"},
		"PowerDNS, another source": {powerDNS(func(p *dnstest.PowerDNS) { p.From = []string{"192.0.2.0/24"} }), "ALLOW-DNSUPDATE-FROM"},
		"PowerDNS, another key":    {powerDNS(func(p *dnstest.PowerDNS) { p.Keys = []string{"other"} }), "TSIG-ALLOW-DNSUPDATE"},
		"PowerDNS, a secondary":    {powerDNS(func(p *dnstest.PowerDNS) { p.Secondary = true }), "it is a secondary that cannot send the update on"},
		"NSD": {func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.NSD(at, "example.org", text, true)
		}, "it does not know updates by RFC 2136 (NOTIMP)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := dnstest.New(t)
			at := n.Addr()
			c.start(n, at, zoneAt(at, cloudZone))
			b := bedAt(t, n, at)
			zone := b.transfer(at)
			plan := b.tried()
			if said := says(plan, "update-refused"); !strings.Contains(said, c.want) || !plan.Blocked() {
				t.Errorf("%q, want %q in\n%s", said, c.want, plan.Diff())
			}
			if strings.Contains(name, "PowerDNS") && strings.Contains(says(plan, "update-refused"), "update-policy") {
				t.Error("PowerDNS has no update-policy")
			}
			b.same(zone)
		})
	}
}

// TestTryNeedsOnlyWhatChanges: a key that may change A and AAAA is good enough
// where no alias has to go.
func TestTryNeedsOnlyWhatChanges(t *testing.T) {
	n := dnstest.New(t)
	at := n.Addr()
	b := bedAt(t, n, at)
	n.Primary(at, dnstest.Zone{Name: "example.org", Text: zoneAt(at, cloudZone), Update: "update-policy { grant holdfast-test name int.example.org A AAAA; };"})
	plan := Updater{b.looker()}.Try(t.Context(), b.plan(dns.PlanOptions{}, "int.example.org"))
	if plan.Blocked() || len(plan.Changes()) != 1 {
		t.Errorf("%s%v", plan.Diff(), plan.Findings)
	}
}
