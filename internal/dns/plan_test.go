package dns_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"holdfast/internal/dns"
	"holdfast/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// lookedAt is when all views of the tests were made.
var lookedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestPlan runs testdata/plan/*.txtar: "spec" is the file, "view" what DNS says
// (see parseView), "options" those of the plan, "plan" and "zone" what comes of it.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { testPlan(t, file) })
	}
}

func testPlan(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]string{}
	for _, f := range archive.Files {
		in[f.Name] = string(f.Data)
	}
	plan := planOf(t, in)
	var b strings.Builder
	b.WriteString(plan.Diff())
	for _, f := range plan.Findings {
		fmt.Fprintf(&b, "[%s] %s\n", f.Code, f)
	}
	checkASCII(t, b.String())
	out := map[string]string{"plan": b.String(), "zone": plan.ZoneLines()}
	if *update {
		keep := slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "plan" || f.Name == "zone" })
		for _, name := range []string{"plan", "zone"} {
			keep = append(keep, txtar.File{Name: name, Data: []byte(out[name])})
		}
		archive.Files = keep
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, got := range out {
		if diff := cmp.Diff(in[name], got); diff != "" {
			t.Errorf("%s differs (-want +got; -update writes it anew):\n%s", name, diff)
		}
	}
}

// planOf makes the plan of a test file, and checks what holds for every plan.
func planOf(t *testing.T, in map[string]string) dns.Plan {
	t.Helper()
	s, findings := spec.Parse("spec", []byte(in["spec"]))
	if s == nil {
		t.Fatalf("bad spec: %v", findings)
	}
	opt, only := parseOptions(t, in["options"])
	wants, err := dns.Wants(s, only)
	if err != nil {
		t.Fatal(err)
	}
	var views []dns.View
	for _, w := range wants {
		views = append(views, parseView(t, w.Hostname, in["view"]))
	}
	plan := dns.MakePlan(s, wants, views, opt)
	again := dns.MakePlan(s, wants, views, opt)
	if plan.ID != again.ID {
		t.Errorf("the same answers give the plans %s and %s", plan.ID, again.ID)
	}
	if _, err := json.Marshal(plan); err != nil {
		t.Errorf("no JSON: %v", err)
	}
	return plan
}

// parseOptions reads words: "ttl=60 ttl-only vip=api", and lines like
// "source HOSTNAME ZONE TYPE TTL VALUE".
func parseOptions(t *testing.T, text string) (opt dns.PlanOptions, only []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) >= 3 && words[0] == "source" {
			source := dns.Source{Zone: words[2]}
			if len(words) == 6 {
				source.Records = dns.Records{{Type: words[3], TTL: number(t, words[4]), Values: strings.Split(words[5], ","), ZoneTTL: true}}
			}
			opt.Sources = map[string]dns.Source{words[1]: source}
			continue
		}
		for _, word := range words {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "ttl":
				opt.TTL = new(number(t, value))
			case "ttl-only":
				opt.TTLOnly = true
			case "vip":
				only = append(only, value)
			default:
				t.Fatalf("unknown option %q", word)
			}
		}
	}
	return opt, only
}

// parseView reads the view of hostname: the lines after "name HOSTNAME" up to
// the next one. Each is "zone NAME", "zone-error TEXT", or "server" or
// "resolver" with what it is and answers, as in
//
//	server name=ns1.example.org addr=192.0.2.1:53 primary serial=10 a=10.0.0.13 ttl=3600
//
// A blank in a value is written "_".
func parseView(t *testing.T, hostname, text string) dns.View {
	t.Helper()
	v := dns.View{Hostname: hostname, Time: lookedAt}
	mine := false
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "name":
			mine = words[1] == hostname
		case !mine:
		case words[0] == "zone":
			v.Zone = words[1]
		case words[0] == "zone-error":
			v.ZoneError = strings.Join(words[1:], " ")
		case words[0] == "server":
			v.Servers = append(v.Servers, parseServer(t, words[1:]))
		case words[0] == "resolver":
			s := parseServer(t, words[1:])
			v.Resolvers = append(v.Resolvers, dns.Resolver{Address: s.Address, A: s.A, AAAA: s.AAAA})
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	return v
}

func parseServer(t *testing.T, words []string) dns.Server {
	t.Helper()
	s := dns.Server{NegativeTTL: 60}
	s.A = dns.Answer{Rcode: "NOERROR", Authoritative: true}
	s.AAAA = s.A
	both := func(f func(*dns.Answer)) { f(&s.A); f(&s.AAAA) }
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		value = strings.ReplaceAll(value, "_", " ")
		switch key {
		case "name":
			s.Name = value
		case "addr":
			s.Address = netip.MustParseAddrPort(value)
		case "primary":
			s.Primary = true
		case "hidden":
			s.Hidden = true
		case "serial":
			s.Serial = new(number(t, value))
		case "a":
			s.A.Addresses = addresses(value)
		case "aaaa":
			s.AAAA.Addresses = addresses(value)
		case "ttl":
			both(func(a *dns.Answer) { a.TTL = number(t, value) })
		case "alias":
			both(func(a *dns.Answer) { a.Alias = value })
		case "alias-ttl":
			both(func(a *dns.Answer) { a.AliasTTL = number(t, value) })
		case "dname":
			both(func(a *dns.Answer) { a.Above = value })
		case "rcode":
			both(func(a *dns.Answer) { a.Rcode = value })
		case "no-aa":
			both(func(a *dns.Answer) { a.Authoritative = false })
		case "error":
			both(func(a *dns.Answer) { a.Rcode, a.Error = "", value })
		case "no-route":
			both(func(a *dns.Answer) { a.NoRoute = true })
		case "wildcard":
			s.Wildcard = value
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return s
}

func addresses(text string) []netip.Addr {
	var all []netip.Addr
	for word := range strings.SplitSeq(text, ",") {
		all = append(all, netip.MustParseAddr(word))
	}
	return all
}

func number(t *testing.T, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func checkASCII(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r > '~' || r < ' ' && r != '\n' {
			t.Errorf("%q is not plain ASCII", r)
		}
	}
}

// A VIP whose services have names wants them all to lead to it.
func TestWantsNamesOfServices(t *testing.T) {
	s := &spec.Spec{VIPs: []spec.VIP{
		{
			Name: "public", Hostname: "cloud.example.org", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24")},
			Public: &spec.Public{Routes: []spec.Route{{Service: "glance", Name: "cloud.example.org", Path: "/image"}, {Service: "nova", Name: "nova.example.org"}}},
		},
		{Name: "internal", Hostname: "internal.example.org", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.10/24")}},
	}}
	wants, err := dns.Wants(s, []string{"public"})
	if err != nil || len(wants) != 2 || wants[0].Hostname != "cloud.example.org" || wants[1].Hostname != "nova.example.org" ||
		wants[1].Apart || wants[1].Addresses[0] != netip.MustParseAddr("192.0.2.10") {
		t.Errorf("%+v, %v", wants, err)
	}
}
