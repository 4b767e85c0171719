package keystone

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"holdfast/internal/catalog"
	"holdfast/internal/keystone/keystonetest"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// mustParse gives the spec of text.
func mustParse(t testing.TB, text string) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("holdfast.yaml", []byte(text))
	if s == nil {
		t.Fatalf("the spec of the test is bad: %v", findings)
	}
	return s
}

func mustCatalog(t testing.TB) catalog.Catalog {
	t.Helper()
	known, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	return known
}

// stateOf gives the state of keystonetest.Read.
func stateOf(t testing.TB, text string) State {
	t.Helper()
	c, err := keystonetest.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	state := State{Regions: c.Regions}
	for _, s := range c.Services {
		state.Services = append(state.Services, ServiceRecord(s))
	}
	for _, e := range c.Endpoints {
		state.Endpoints = append(state.Endpoints, Record{
			ID: e.ID, Interface: e.Interface, Region: e.Region, ServiceID: e.ServiceID, URL: e.URL, Enabled: e.Enabled,
		})
	}
	state.NameEndpoints()
	return state
}

var update = flag.Bool("update", false, "write the golden files anew")

// TestPlan compares plans with goldens. Each file has the spec, then the state
// behind a line "---", and in its comment the options.
func TestPlan(t *testing.T) {
	keystonetest.Golden(t, "plan", *update, func(t *testing.T, a *txtar.Archive) string {
		text, catalogText, ok := strings.Cut(string(a.Files[0].Data), "\n---\n")
		if !ok {
			t.Fatal("no line --- between spec and state")
		}
		s, state := mustParse(t, text), stateOf(t, catalogText)
		opt := PlanOptions{
			Create: bytes.Contains(a.Comment, []byte("--create")), Prune: bytes.Contains(a.Comment, []byte("--prune")),
		}
		plan := MakePlan(state, s, mustCatalog(t), opt)
		checkScope(t, plan, s)
		return showPlan(plan)
	})
}

// checkScope holds a plan to what every plan promises.
func checkScope(t *testing.T, plan Plan, s *spec.Spec) {
	t.Helper()
	identity := false
	for i, c := range plan.Changes {
		if c.N != i+1 {
			t.Errorf("change %d has the number %d", i+1, c.N)
		}
		if c.After.Region != s.Region && c.Op != CreateService || c.Before != nil && c.Before.Region != s.Region {
			t.Errorf("change %d is of another region: %+v", c.N, c)
		}
		at := slices.IndexFunc(s.Services, func(svc spec.Service) bool { return svc.Name == c.Service })
		if at < 0 || !slices.Contains(s.Services[at].Types, strings.ToLower(c.After.ServiceType)) {
			t.Errorf("change %d is of a service that the spec has not: %+v", c.N, c)
		}
		vip, _ := VIPFor(s, s.Services[at], c.After.Interface)
		prefix := vip.PlaceOf(s.Services[at], c.After.Interface).Path
		if c.Before != nil && strings.TrimPrefix(TailOf(c.Before.URL), prefix) != strings.TrimPrefix(TailOf(c.After.URL), prefix) {
			t.Errorf("change %d does not keep the path of %s: %s", c.N, c.Before.URL, c.After.URL)
		}
		if identity && c.After.ServiceType != IdentityType {
			t.Errorf("change %d comes after Keystone's own", c.N)
		}
		identity = identity || c.After.ServiceType == IdentityType
	}
}

// showPlan gives what people see of a plan.
func showPlan(plan Plan) string {
	var b strings.Builder
	b.WriteString(plan.Diff())
	b.WriteString("\n")
	for _, r := range plan.Rows {
		fmt.Fprintf(&b, "%s %s %s %s %s", r.ID, r.ServiceType, r.Interface, r.Service, r.Verdict)
		if r.Target != "" && r.Target != r.URL {
			fmt.Fprintf(&b, " -> %s", r.Target)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, f := range plan.Findings {
		fmt.Fprintf(&b, "%s %s [%s]\n", f.Severity, f, f.Code)
	}
	return b.String()
}

const threeControllers = `
cloud: test
region: RegionOne
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: openstack.example.org
    interface: eth0
    vrrp: {router_id: 51}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services:
`

func TestPlanIsTheSameInAnyOrder(t *testing.T) {
	s := mustParse(t, threeControllers+"  keystone: {}\n  glance: {}\n  nova: {}\n")
	state := stateOf(t, `
		b RegionOne glance image public http://ctl1:9292
		a RegionOne glance image public http://ctl2:9292
		c RegionOne nova compute public http://ctl1:8774/v2.1
		d RegionOne nova compute internal http://ctl1:8774/v2.1
		e RegionOne keystone identity public http://ctl1:5000/v3
		f Other keystone identity public http://ctl1:5000/v3
		service neutron network`)
	opt := PlanOptions{Create: true, Prune: true}
	first := MakePlan(state, s, mustCatalog(t), opt)
	for range 50 {
		rand.Shuffle(len(state.Endpoints), func(i, j int) {
			state.Endpoints[i], state.Endpoints[j] = state.Endpoints[j], state.Endpoints[i]
		})
		rand.Shuffle(len(state.Services), func(i, j int) { state.Services[i], state.Services[j] = state.Services[j], state.Services[i] })
		if diff := cmp.Diff(first, MakePlan(state, s, mustCatalog(t), opt)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestPlanIDCoversWhatMatters(t *testing.T) {
	s := mustParse(t, threeControllers+"  keystone: {}\n  glance: {}\n")
	const base = `
		a RegionOne glance image public http://ctl1:9292
		b RegionOne keystone identity public http://openstack.example.org:5000/v3
		c Other glance image public http://ctl1:9292
		d RegionOne nova compute public http://ctl1:8774/v2.1`
	plan := func(text string, opt PlanOptions) Plan { return MakePlan(stateOf(t, text), s, mustCatalog(t), opt) }
	was := plan(base, PlanOptions{})
	for _, tt := range []struct {
		name, state string
		opt         PlanOptions
		same        bool
	}{
		{"nothing", base, PlanOptions{}, true},
		{"an answer that is missing", base, PlanOptions{Unanswered: map[string]string{"a": "connection refused"}}, true},
		{"another region", strings.Replace(base, "c Other", "c Another", 1), PlanOptions{}, true},
		{"a service that is not in the spec", strings.Replace(base, ":8774", ":8775", 1), PlanOptions{}, true},
		{"a URL that is to change", strings.Replace(base, "a RegionOne glance image public http://ctl1", "a RegionOne glance image public http://ctl2", 1), PlanOptions{}, false},
		{"a URL that is to stay", strings.Replace(base, "5000/v3", "5000/v3/", 1), PlanOptions{}, false},
		{"one more", base + "\ne RegionOne glance image internal http://ctl1:9292", PlanOptions{}, false},
		{"an enabled flag", strings.Replace(base, "org:5000/v3", "org:5000/v3 disabled", 1), PlanOptions{}, false},
		{"an option with an effect", base, PlanOptions{Create: true}, false},
	} {
		if got := plan(tt.state, tt.opt); (got.ID == was.ID) != tt.same {
			t.Errorf("%s: plan %s, before %s; want the same: %v", tt.name, got.ID, was.ID, tt.same)
		}
	}
}

// TestPlanOfItsOwnResult applies plans to the state and plans again.
func TestPlanOfItsOwnResult(t *testing.T) {
	s := mustParse(t, threeControllers+"  keystone: {}\n  glance: {}\n  nova: {}\n  cinder: {}\n  mariadb: {}\n")
	state := stateOf(t, `
		a RegionOne glance image public http://ctl1:9292
		b RegionOne glance image public http://ctl2:9292
		c RegionOne nova compute public http://ctl1:8776/v3/%(project_id)s
		d RegionOne keystone identity public http://ctl1:5000/v3 disabled
		e RegionOne cinder volumev2 public http://ctl1:8776/v2/%(project_id)s
		f RegionOne cinder volumev3 public http://ctl1:8776/v3/$(tenant_id)s
		g Other glance image public http://ctl1:9292`)
	opt := PlanOptions{Create: true, Prune: true}
	plan := MakePlan(state, s, mustCatalog(t), opt)
	if plan.Empty() {
		t.Fatal("nothing to change")
	}
	for _, c := range plan.Changes {
		after := c.After
		switch c.Op {
		case CreateService:
			state.Services = append(state.Services, ServiceRecord{"made", after.ServiceName, after.ServiceType, true})
		case Create:
			after.ID = fmt.Sprintf("new%d", c.N)
			state.Endpoints = append(state.Endpoints, after)
		default:
			i := slices.IndexFunc(state.Endpoints, func(e Record) bool { return e.ID == c.Before.ID })
			state.Endpoints[i] = after
		}
	}
	again := MakePlan(state, s, mustCatalog(t), opt)
	if !again.Empty() {
		t.Errorf("after the plan was applied there is still to change:\n%s", again.Diff())
	}
	for _, f := range again.Findings {
		if f.Severity != status.Info && f.Code != "disabled-endpoint" {
			t.Errorf("after the plan was applied: %s", f)
		}
	}
	if !slices.ContainsFunc(again.Rows, func(r Row) bool {
		return r.URL == "http://openstack.example.org:8776/v3/$(tenant_id)s" && r.Verdict == Fits
	}) {
		t.Errorf("a template was not kept as it was: %+v", again.Rows)
	}
}

func TestTarget(t *testing.T) {
	plain := mustParse(t, threeControllers+"  nova: {}\n").VIPs[0]
	withTLS := plain
	withTLS.TLS = &spec.TLS{Certificate: "/etc/holdfast/tls/api.pem"}
	nova := spec.Service{Name: "nova", Port: 8774, Mode: spec.HTTP}
	for _, tt := range []struct {
		vip       spec.VIP
		url, want string
	}{
		{plain, "http://ctl1:8774/v2.1", "http://openstack.example.org:8774/v2.1"},
		{plain, "http://ctl1:8774/v2.1/", "http://openstack.example.org:8774/v2.1/"},
		{plain, "http://ctl1:8774", "http://openstack.example.org:8774"},
		{plain, "http://ctl1:8774/", "http://openstack.example.org:8774/"},
		{plain, "http://[2001:db8::13]:8774/v2/%(tenant_id)s", "http://openstack.example.org:8774/v2/%(tenant_id)s"},
		{plain, "https://ctl1:18774/v2.1/$(project_id)s", "http://openstack.example.org:8774/v2.1/$(project_id)s"},
		{plain, "http://ctl1/compute/v2.1", "http://openstack.example.org:8774/compute/v2.1"},
		{plain, "http://%(public_bind_host)s:%(compute_port)s/v2", "http://openstack.example.org:8774/v2"},
		{plain, "http://OpenStack.Example.org:8774/v2.1", "http://OpenStack.Example.org:8774/v2.1"},
		{plain, "http://10.64.20.10:8774/v2.1", "http://openstack.example.org:8774/v2.1"},
		{withTLS, "http://openstack.example.org:8774/v2.1", "https://openstack.example.org:8774/v2.1"},
		{withTLS, "http://ctl1:8774/a?b=c", "https://openstack.example.org:8774/a?b=c"},
	} {
		got, err := target(tt.vip, nova, "public", tt.url)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.url, got, err, tt.want)
		}
	}
}

// Where services share a port, URLs have their names, or their paths once.
func TestTargetOfSharedPort(t *testing.T) {
	nova := spec.Service{Name: "nova", Port: 8774, Mode: spec.HTTP, Path: "/v2.1"}
	rgw := spec.Service{Name: "rgw", Port: 7480, Mode: spec.HTTP, Path: "/swift/v1"}
	vip := spec.VIP{Name: "api", Hostname: "cloud.example.org", Endpoints: []string{"public", "internal"}, TLS: &spec.TLS{}, Public: &spec.Public{Port: 443, Ports: true}}
	with := func(port int, routes ...spec.Route) spec.VIP {
		v := vip
		public := *vip.Public
		public.Port, public.Routes = port, routes
		v.Public = &public
		return v
	}
	byName := spec.Route{Service: "nova", Name: "nova.example.org"}
	byPath := spec.Route{Service: "nova", Name: "cloud.example.org", Path: "/compute", Strip: true}
	for _, tt := range []struct {
		vip   spec.VIP
		svc   spec.Service
		iface string
		url   string
		want  string
	}{
		{with(443, byName), nova, "public", "http://ctl1:8774/v2.1/%(project_id)s", "https://nova.example.org/v2.1/%(project_id)s"},
		{with(443, byName), nova, "internal", "http://ctl1:8774/v2.1", "https://cloud.example.org:8774/v2.1"},
		{with(443, byName), nova, "public", "https://Nova.example.org:443/v2.1", "https://Nova.example.org:443/v2.1"},
		{with(8443, byName), nova, "public", "http://ctl1:8774/v2.1", "https://nova.example.org:8443/v2.1"},
		{with(443, byPath), nova, "public", "http://ctl1:8774/v2.1", "https://cloud.example.org/compute/v2.1"},
		{with(443, byPath), nova, "public", "http://ctl1/compute/v2.1/", "https://cloud.example.org/compute/v2.1/"},
		{with(443, byPath), nova, "public", "https://cloud.example.org/compute/v2.1", "https://cloud.example.org/compute/v2.1"},
		{with(443, byPath), nova, "public", "https://cloud.example.org/computers", "https://cloud.example.org/compute/computers"},
		{with(443, spec.Route{Service: "rgw", Name: "cloud.example.org", Path: "/swift", Strip: true}), rgw, "public", "http://ctl1:7480/swift/v1", "https://cloud.example.org/swift/swift/v1"},
		{with(443, spec.Route{Service: "rgw", Name: "cloud.example.org", Path: "/swift", Strip: true}), rgw, "public", "https://cloud.example.org/swift/swift/v1", "https://cloud.example.org/swift/swift/v1"},
	} {
		got, err := target(tt.vip, tt.svc, tt.iface, tt.url)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.url, got, err, tt.want)
		}
	}
}

func TestProbePath(t *testing.T) {
	for _, tt := range []struct{ url, probe, discovery string }{
		{"http://a:1", "/", "/"},
		{"http://a:1/v3", "/v3", "/"},
		{"http://a:1/identity/v3", "/identity/v3", "/identity/"},
		{"http://a:1/v3/%(project_id)s", "/v3/", "/"},
		{"http://a:1/swift/v1/AUTH_$(tenant_id)s", "/swift/v1/", "/swift/"},
		{"http://a:1/dynamicproxy-api/v1/$(tenant_id)s", "/dynamicproxy-api/v1/", "/dynamicproxy-api/"},
		{"http://a:1/a%20b?c=d", "/a%20b", "/a%20b"},
		{"http://a:1/a%%20b/v1/$(tenant_id)s", "/a%20b/v1/", "/a%20b/"},
	} {
		probe := probePath(TailOf(tt.url))
		if probe != tt.probe || discoveryPath(probe) != tt.discovery {
			t.Errorf("%s: got %s and %s, want %s and %s", tt.url, probe, discoveryPath(probe), tt.probe, tt.discovery)
		}
	}
}

func TestFill(t *testing.T) {
	for _, tt := range []struct {
		url, project, want string
		known              bool
	}{
		{"http://a:1/v3", "p", "http://a:1/v3", true},
		{"http://a:1/v3", "", "http://a:1/v3", true},
		{"http://a:1/v3/%(project_id)s", "p", "http://a:1/v3/p", true},
		{"http://a:1/v3/$(tenant_id)s/$(user_id)s", "p", "http://a:1/v3/p/u", true},
		{"http://a:1/v3/%(project_id)s", "", "http://a:1/v3/", false},
		{"http://a:1/v3/%(other)s", "p", "http://a:1/v3/%(other)s", false},
		{"http://a:1/100%%/%(project_id)s", "p", "http://a:1/100%/p", true},
		{"http://a:1/%%(project_id)s", "p", "http://a:1/%(project_id)s", true},
		{"http://%(public_endpoint)s/%(user_id)s", "p", "http://%(public_endpoint)s/u", false},
		{"http://a:1/100%", "p", "http://a:1/100%", false},
	} {
		if got, known := knownFill(tt.url, tt.project, "u"); got != tt.want || known != tt.known {
			t.Errorf("%s for project %q: got %q, %v", tt.url, tt.project, got, known)
		}
	}
}

// largeState has 1,000 endpoints in 5 regions, of 67 services.
func largeState(s *spec.Spec) State {
	var state State
	for r := range 5 {
		region := fmt.Sprintf("region%d", r+1)
		state.Regions = append(state.Regions, region)
		for n := range 200 {
			svc := s.Services[n/3%len(s.Services)]
			name, typ := svc.Name, svc.Type
			if n/3 >= len(s.Services) {
				name, typ = fmt.Sprintf("other%d", n/3), fmt.Sprintf("other%d", n/3)
			}
			id := "svc-" + name
			if r == 0 && n%3 == 0 {
				state.Services = append(state.Services, ServiceRecord{id, name, typ, true})
			}
			state.Endpoints = append(state.Endpoints, Record{
				ID: fmt.Sprintf("%032x", r*1000+n*7919), Region: region, ServiceID: id, ServiceName: name, ServiceType: typ,
				Interface: InterfaceNames()[n%3], URL: fmt.Sprintf("http://ctl1.region%d.example.org:%d%s", r+1, svc.Port, svc.Path), Enabled: true,
			})
		}
	}
	return state
}

func largeSpec(t testing.TB) *spec.Spec {
	text := strings.Replace(threeControllers, "region: RegionOne", "region: region3", 1)
	for _, name := range []string{"keystone", "glance", "nova", "neutron", "cinder", "placement", "heat", "designate", "octavia", "barbican", "manila", "magnum"} {
		text += "  " + name + ": {}\n"
	}
	return mustParse(t, text)
}

func TestPlanTouchesItsRegionOnly(t *testing.T) {
	s := largeSpec(t)
	state := largeState(s)
	begin := time.Now()
	plan := MakePlan(state, s, mustCatalog(t), PlanOptions{Create: true, Prune: true})
	t.Logf("%d endpoints in %d regions, %d changes: planned in %v", len(state.Endpoints), len(state.Regions), len(plan.Changes), time.Since(begin))
	checkScope(t, plan, s)
	if len(plan.Changes) != 3*len(s.Services) {
		t.Errorf("%d changes, want one for each interface of %d services", len(plan.Changes), len(s.Services))
	}
	if want := len(state.Endpoints) - 3*len(s.Services); plan.Outside != want {
		t.Errorf("%d endpoints outside, want %d", plan.Outside, want)
	}
}

func BenchmarkPlan1000Endpoints5Regions(b *testing.B) {
	s := largeSpec(b)
	state, known := largeState(s), mustCatalog(b)
	for b.Loop() {
		MakePlan(state, s, known, PlanOptions{Create: true, Prune: true})
	}
}

func TestPlanJSON(t *testing.T) {
	s := mustParse(t, threeControllers+"  keystone: {}\n")
	text, err := json.Marshal(MakePlan(State{}, s, mustCatalog(t), PlanOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"changes":[]`, `"endpoints":[]`, `"region":"RegionOne"`, `"plan":"`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
}
