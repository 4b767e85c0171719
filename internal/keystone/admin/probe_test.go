package admin

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/keystone"
	"holdfast/internal/keystone/keystonetest"
	"holdfast/internal/spec"
)

func answer(code int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	})
}

// healthyBut answers /healthcheck with 200, and all else as h does.
func healthyBut(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthcheck" {
			return
		}
		h.ServeHTTP(w, r)
	})
}

// glanceAtCtl1 is a version document with the links of one controller.
const glanceAtCtl1 = `{"versions": [{"id": "v2.15", "status": "CURRENT", "links": [{"rel": "self", "href": "http://ctl1:9292/v2/"}]}, {"id": "v2.9", "status": "SUPPORTED", "links": [{"rel": "self", "href": "http://ctl1:9292/v2/"}]}]}`

// TestPreflight breaks what is behind the VIP, and looks for the reason given.
func TestPreflight(t *testing.T) {
	for _, tt := range []struct {
		name    string
		breaks  func(*site)
		service string
		want    string // in a problem; empty for none
		warning string
	}{
		{"all is well", func(*site) {}, "", "", ""},
		{"the controller of now is dead", func(s *site) { s.ctl["glance"].Close(); s.ctl["proxy"].Close() }, "", "", ""},
		{"the name is another's", func(s *site) { s.spec.VIPs[0].Addresses = s.spec.VIPs[0].Addresses[1:] }, "vip api", "which is no address of the VIP", ""},
		{"the name does not resolve", func(s *site) { s.spec.VIPs[0].Hostname = "no.such.name.invalid" }, "vip api", "does not resolve", ""},
		{"nothing listens", func(s *site) { s.vip["glance"].Close() }, "glance", "connection refused", ""},
		{"no host of it is up", func(s *site) { s.vip["glance"].set(answer(503, "<html>no server</html>")) }, "glance", "the health check saw 503, want 200", ""},
		{"the API fails, and the check does not", func(s *site) { s.vip["glance"].set(healthyBut(answer(500, ""))) }, "glance", "HTTP status 500", ""},
		{"a web server's page", func(s *site) { s.vip["glance"].set(answer(200, "<html>It works!</html>")) }, "glance", "no version document, where the API of type image", ""},
		{"another service", func(s *site) { s.vip["glance"].set(s.keystone) }, "glance", "it is the Identity API v3.14, not that of type image", ""},
		{"another service of one's own", func(s *site) { s.vip["proxy"].set(http.HandlerFunc(keystonetest.ImageAPI)) }, "proxy", "HTTP status 401, where the URL of now answers 404", ""},
		{"another path", func(s *site) { s.vip["keystone"].set(healthyBut(http.StripPrefix("/identity", s.keystone))) }, "keystone", "where the API of type identity", ""},
		{"another code than now", func(s *site) { s.vip["proxy"].set(answer(403, "")) }, "proxy", "HTTP status 403, where the URL of now answers 404", ""},
		{"another Keystone", func(s *site) {
			s.vip["keystone"].set(keystonetest.New(keystonetest.Catalog{}, 1000))
		}, "keystone", "not one Keystone", ""},
		{"a Keystone that knows nobody", func(s *site) {
			other := keystonetest.New(keystonetest.Catalog{}, 1000)
			other.Passwords = nil
			s.vip["keystone"].set(other)
		}, "keystone", "Keystone refuses user admin", ""},
		{"links that lead back", func(s *site) {
			s.vip["glance"].set(healthyBut(answer(300, glanceAtCtl1)))
		}, "", "", "it names http://ctl1:9292/v2/ as its own place"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, "")
			a := s.applier()
			tt.breaks(s)
			proofs, err := a.Prober.Preflight(t.Context(), a.Client, s.spec, s.plan(a, keystone.PlanOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			warned := tt.warning == ""
			found := tt.want == ""
			for _, p := range proofs {
				warned = warned || strings.Contains(p.Warning, tt.warning)
				switch {
				case p.Problem == "":
				case p.Service == tt.service && strings.Contains(p.Problem, tt.want) && tt.want != "":
					found = true
				case p.Service != tt.service:
					t.Errorf("a problem of %s: %s: %s", p.Service, p.Request, p.Problem)
				}
				if p.Problem != "" && p.Remedy == "" {
					t.Errorf("no remedy for %s", p.Problem)
				}
			}
			if !found || !warned {
				t.Errorf("no problem %q or no warning %q in %+v", tt.want, tt.warning, proofs)
			}
		})
	}
}

// quietTLS is a server that says nothing of clients that do not trust it.
func quietTLS(h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	return server
}

// TestPreflightTLS proves that a certificate is checked, and as auth says.
func TestPreflightTLS(t *testing.T) {
	server := quietTLS(http.HandlerFunc(keystonetest.ImageAPI))
	t.Cleanup(server.Close)
	addr := netip.MustParseAddrPort(server.Listener.Addr().String())
	s := &spec.Spec{
		Region:   "r",
		VIPs:     []spec.VIP{{Name: "api", Hostname: "127.0.0.1", Addresses: []netip.Prefix{netip.PrefixFrom(addr.Addr(), 8)}, Endpoints: keystone.InterfaceNames(), TLS: &spec.TLS{}}},
		Services: []spec.Service{{Name: "glance", Types: []string{"image"}, Mode: spec.HTTP, Port: int(addr.Port())}},
	}
	state := keystone.State{
		Regions: []string{"r"}, Services: []keystone.ServiceRecord{{ID: "svc", Name: "glance", Type: "image", Enabled: true}},
		Endpoints: []keystone.Record{{ID: "e1", Region: "r", ServiceID: "svc", Interface: "public", URL: "http://127.0.0.2:1", Enabled: true}},
	}
	state.NameEndpoints()
	plan := keystone.MakePlan(state, s, known(t), keystone.PlanOptions{})
	for insecure, want := range map[bool]string{true: "", false: "signed by nobody known here"} {
		p, err := NewProber(Auth{Insecure: insecure})
		if err != nil {
			t.Fatal(err)
		}
		proofs, err := p.Preflight(t.Context(), nil, s, plan)
		if err != nil || len(proofs) != 2 {
			t.Fatalf("%+v, %v", proofs, err)
		}
		if got := proofs[1].Problem; want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("insecure %v: %q, want %q", insecure, got, want)
		}
	}
}

func TestUnanswered(t *testing.T) {
	s := newSite(t, "")
	s.vip["glance"].Close()
	s.vip["proxy"].set(answer(502, ""))
	at := func(id, service, path string, enabled bool) keystone.Record {
		return keystone.Record{ID: id, URL: fmt.Sprintf("http://localhost:%d%s", s.ports[service], path), Enabled: enabled}
	}
	got := s.prober().Unanswered(t.Context(), []keystone.Record{
		at("a", "keystone", "/v3", true), at("b", "glance", "", true), at("c", "proxy", "/x/%(project_id)s", true),
		at("d", "glance", "/v2", false), at("e", "keystone", "/nowhere", true),
	})
	if len(got) != 2 || !strings.Contains(got["b"], "refused") || !strings.Contains(got["c"], "502") {
		t.Errorf("got %v", got)
	}
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	s := newSite(t, "")
	plain := httptest.NewServer(answer(400, "<html>The plain HTTP request was sent to HTTPS port</html>"))
	t.Cleanup(plain.Close)
	tlsServer := quietTLS(s.keystone)
	t.Cleanup(tlsServer.Close)
	proxy := httptest.NewServer(answer(503, "<html>no server is available</html>"))
	t.Cleanup(proxy.Close)
	for _, tt := range []struct {
		name  string
		edit  func(*Auth)
		want  string
		other bool // it may work at another URL
	}{
		{"a wrong password", func(a *Auth) { a.Password = NewSecret("correct-hors") }, "refuses user admin of domain default, for project admin (401): wrong password", false},
		{"a wrong application credential", func(a *Auth) {
			a.Method, a.CredentialID, a.CredentialSecret = ByApplicationCredential, "0a1b", NewSecret("correct-hors")
		}, "application credential 0a1b (401): wrong application credential secret", false},
		{"a name that is none", func(a *Auth) { a.URL = "http://no.such.name.invalid:5000" }, "the name no.such.name.invalid does not resolve", true},
		{"nobody listens", func(a *Auth) { a.URL = "http://127.0.0.1:1/v3" }, "connection refused", true},
		{"a wrong path", func(a *Auth) { a.URL = strings.Replace(a.URL, "/v3", "/keystone", 1) }, "no Identity API v3 at this path (404)", true},
		{"TLS that is none", func(a *Auth) { a.URL = strings.Replace(a.URL, "http:", "https:", 1) }, "it speaks HTTP, not TLS", true},
		{"HTTP where TLS is", func(a *Auth) { a.URL = plain.URL }, "TLS is spoken there", true},
		{"a certificate of nobody", func(a *Auth) { a.URL = tlsServer.URL }, "--os-cacert", true},
		{"a proxy without a Keystone", func(a *Auth) { a.URL = proxy.URL }, "Keystone answers 503", true},
		{"no CA file", func(a *Auth) { a.CACert = "/nowhere/ca.pem" }, "read the CA certificates", false},
		{"a CA file without a certificate", func(a *Auth) { a.CACert = "probe_test.go" }, "no certificate in PEM", false},
		{"no client certificate", func(a *Auth) { a.Cert = "/nowhere/cert.pem" }, "client certificate", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			auth := s.auth()
			tt.edit(&auth)
			_, err := Connect(t.Context(), auth)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "correct-hors") || strings.Contains(err.Error(), "\n") {
				t.Errorf("a secret, or more than a line: %q", err)
			}
			if _, got := err.(*Unreachable); got != tt.other { //nolint:errorlint // it is not wrapped
				t.Errorf("%T: want Unreachable: %v", err, tt.other)
			}
		})
	}
}

func TestFetch(t *testing.T) {
	s := newSite(t, "")
	s.keystone.Passwords["0a1b"] = "wxyz-secret"
	auth := s.auth()
	auth.Method, auth.CredentialID, auth.CredentialSecret = ByApplicationCredential, "0a1b", NewSecret("wxyz-secret")
	got, err := Fetch(t.Context(), auth)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(got, func(e keystone.Endpoint) bool { return e.ID == "e5" })
	if len(got) != 6 || i < 0 || got[i].ServiceName != "proxy" || got[i].ServiceType != "proxy" || got[i].Row != i+1 || !got[i].Enabled ||
		!strings.HasSuffix(got[i].URL, "/dynamicproxy-api/v1/$(tenant_id)s") {
		t.Errorf("got %+v", got)
	}
}

// TestPreflightOfEachVIP: where several VIPs share the name, what is behind each is proved.
func TestPreflightOfEachVIP(t *testing.T) {
	s := newSite(t, "")
	a := s.applier()
	second := s.spec.VIPs[0]
	second.Name, second.Addresses = "second", []netip.Prefix{netip.MustParsePrefix("127.0.0.3/8")}
	s.spec.VIPs[0].Addresses = []netip.Prefix{netip.MustParsePrefix(vipAddr + "/8")}
	s.spec.VIPs = append(s.spec.VIPs, second)
	atSecond := map[string]*swapServer{}
	for name, h := range map[string]http.Handler{"keystone": s.keystone, "glance": http.HandlerFunc(keystonetest.ImageAPI), "proxy": http.HandlerFunc(keystonetest.ProxyAPI)} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.3:%d", s.ports[name]))
		if err != nil {
			t.Skip("the port is taken: ", err)
		}
		atSecond[name] = serve(t, l, h)
	}
	leadsTo := []string{vipAddr, "127.0.0.3"}
	a.Prober.lookup = func(context.Context, string) (all []netip.Addr, err error) {
		for _, text := range leadsTo {
			all = append(all, netip.MustParseAddr(text))
		}
		return all, nil
	}
	plan := s.plan(a, keystone.PlanOptions{})
	preflight := func() (problems, requests []string, warning string) {
		proofs, err := a.Prober.Preflight(t.Context(), a.Client, s.spec, plan)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range proofs {
			requests, warning = append(requests, p.Request), warning+p.Warning
			if p.Problem != "" {
				problems = append(problems, p.Request+": "+p.Problem)
			}
		}
		return problems, requests, warning
	}
	problems, requests, _ := preflight()
	if len(problems) > 0 || !slices.ContainsFunc(requests, func(r string) bool { return strings.HasSuffix(r, "/healthcheck at VIP second") }) ||
		!slices.ContainsFunc(requests, func(r string) bool { return strings.HasSuffix(r, "/healthcheck at VIP api") }) {
		t.Errorf("problems %q of %q", problems, requests)
	}
	atSecond["glance"].set(answer(503, ""))
	atSecond["keystone"].set(keystonetest.New(keystonetest.Catalog{}, 1000))
	problems, _, _ = preflight()
	if text := strings.Join(problems, "\n"); !strings.Contains(text, "at VIP second: the health check saw 503") || !strings.Contains(text, "auth/tokens at VIP second: ") || strings.Contains(text, "at VIP api") {
		t.Errorf("of the second VIP, whose services do not answer: %q", problems)
	}
	leadsTo = leadsTo[:1] // nobody comes there
	if problems, _, warning := preflight(); len(problems) > 0 || !strings.Contains(warning, "does not lead to VIP second") {
		t.Errorf("problems %q, warning %q", problems, warning)
	}
}

// TestPreflightOfACheckWithAPortOfItsOwn: what is checked there is not what the VIP serves, so it
// is asked of nobody; the API is.
func TestPreflightOfACheckWithAPortOfItsOwn(t *testing.T) {
	s := newSite(t, "")
	a := s.applier()
	for i := range s.spec.Services {
		if s.spec.Services[i].Name == "glance" {
			s.spec.Services[i].Check.Port = 9
		}
	}
	s.vip["glance"].set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthcheck" { // only at the other port
			http.NotFound(w, r)
			return
		}
		keystonetest.ImageAPI(w, r)
	}))
	proofs, err := a.Prober.Preflight(t.Context(), a.Client, s.spec, s.plan(a, keystone.PlanOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	api := false
	for _, p := range proofs {
		if p.Problem != "" || p.Service == "glance" && strings.HasSuffix(p.Request, "/healthcheck") {
			t.Errorf("%+v", p)
		}
		api = api || p.Service == "glance" && p.Says != ""
	}
	if !api {
		t.Errorf("the API is not proved: %+v", proofs)
	}
}

// TestPreflightBelowAPathOfTheHosts: a health check that hosts have beside the path by which
// clients come is not behind the VIP, so it is asked of nobody; one below that path is.
func TestPreflightBelowAPathOfTheHosts(t *testing.T) {
	s := newSite(t, "")
	a := s.applier()
	s.spec.VIPs[0].Public = &spec.Public{By: spec.ByPath, Port: s.ports["glance"], Routes: []spec.Route{{Service: "glance", Name: "localhost", Path: "/image"}}}
	s.vip["glance"].set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path = "/" + strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/image"), "/"); r.URL.Path == "/healthcheck" && !strings.HasPrefix(r.RequestURI, "/image/") {
			http.NotFound(w, r)
			return
		}
		keystonetest.ImageAPI(w, r)
	}))
	checked := func() (checked bool) {
		proofs, err := a.Prober.Preflight(t.Context(), a.Client, s.spec, s.plan(a, keystone.PlanOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range proofs {
			if p.Problem != "" {
				t.Errorf("%+v", p)
			}
			checked = checked || p.Service == "glance" && strings.HasSuffix(p.Request, "/healthcheck")
		}
		return checked
	}
	if checked() {
		t.Error("the check was asked for where clients do not reach it")
	}
	for i := range s.spec.Services {
		if s.spec.Services[i].Name == "glance" {
			s.spec.Services[i].Check.Path = "/image/healthcheck"
		}
	}
	if !checked() {
		t.Error("the check was not asked for")
	}
}
