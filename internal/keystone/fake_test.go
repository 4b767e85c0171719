package keystone

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/spec"
)

// fakeKeystone answers as Keystone 22 was seen to: it chooses ids itself,
// refuses unknown regions and other ids, fills in templates in the catalogs of
// tokens, and leaves out of these what is disabled.
type fakeKeystone struct {
	mu        sync.Mutex
	next      int
	project   string // of tokens; empty for tokens of the system
	passwords map[string]string
	tokens    map[string]bool
	state     State
	// stale is how many tokens more have the catalog of before the last change.
	stale, lag int
	before     []Record
}

func newFake(t *testing.T, state State) *fakeKeystone {
	t.Helper()
	return &fakeKeystone{
		passwords: map[string]string{"admin": "correct-horse"}, tokens: map[string]bool{},
		project: "a4e9a37ff4b54aa9b432a4c33bd28993", state: state, next: 0x1000,
	}
}

func (f *fakeKeystone) snapshot() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.sorted()
}

func (f *fakeKeystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimSuffix(r.URL.Path, "/")
	kind, id, _ := strings.Cut(strings.TrimPrefix(path, "/v3/"), "/")
	switch {
	case path == "":
		reply(w, http.StatusMultipleChoices, map[string]any{"versions": map[string]any{"values": []any{identityVersion(r.Host)}}})
	case path == "/healthcheck":
		w.WriteHeader(http.StatusOK)
	case path == "/v3":
		reply(w, http.StatusOK, map[string]any{"version": identityVersion(r.Host)})
	case path == "/v3/auth/tokens" && r.Method == http.MethodPost:
		f.issue(w, r)
	case !strings.HasPrefix(path, "/v3/"):
		http.Error(w, "<!doctype html><title>404 Not Found</title>", http.StatusNotFound)
	case !f.tokens[r.Header.Get("X-Auth-Token")]:
		refuse(w, http.StatusUnauthorized, "The request you have made requires authentication.")
	case path == "/v3/auth/tokens" && r.Method == http.MethodGet:
		f.validate(w, r)
	case kind == "endpoints":
		f.endpoints(w, r, id)
	case kind == "services":
		f.services(w, r, id)
	case kind == "regions":
		var all []any
		for _, name := range f.state.Regions {
			all = append(all, map[string]any{"id": name, "description": ""})
		}
		reply(w, http.StatusOK, map[string]any{"regions": all})
	default:
		http.Error(w, "<!doctype html><title>404 Not Found</title>", http.StatusNotFound)
	}
}

func identityVersion(host string) map[string]any {
	return map[string]any{
		"id": "v3.14", "status": "stable", "links": []any{map[string]any{"rel": "self", "href": "http://" + host + "/v3/"}},
		"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body) // the client hung up
	}
}

func refuse(w http.ResponseWriter, code int, message string) {
	reply(w, code, map[string]any{"error": map[string]any{"code": code, "message": message, "title": http.StatusText(code)}})
}

func (f *fakeKeystone) id() string {
	f.next++
	return fmt.Sprintf("%032x", f.next)
}

// issue is POST /v3/auth/tokens.
func (f *fakeKeystone) issue(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct{ Name, Password string }
				}
				ApplicationCredential struct{ ID, Secret string } `json:"application_credential"`
				Token                 struct{ ID string }
			}
			Scope any
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	who, credential := body.Auth.Identity.Password.User, body.Auth.Identity.ApplicationCredential
	byPassword := who.Name != "" && f.passwords[who.Name] == who.Password
	byCredential := credential.ID != "" && f.passwords[credential.ID] == credential.Secret
	if credential.ID != "" && body.Auth.Scope != nil {
		refuse(w, http.StatusUnauthorized, "Error authenticating with application credential: Application credentials cannot request a scope.")
		return
	}
	if !byPassword && !byCredential && !f.tokens[body.Auth.Identity.Token.ID] {
		refuse(w, http.StatusUnauthorized, "The request you have made requires authentication.")
		return
	}
	id := "gAAAA-" + f.id()
	f.tokens[id] = true
	w.Header().Set("X-Subject-Token", id)
	token := map[string]any{
		"user": map[string]any{"id": "u5aae94d", "name": "admin"}, "expires_at": "2030-01-01T00:00:00.000000Z",
		"catalog": f.catalog(),
	}
	if f.project != "" {
		token["project"] = map[string]any{"id": f.project, "name": "admin"}
	}
	reply(w, http.StatusCreated, map[string]any{"token": token})
}

// catalog is that of a token.
func (f *fakeKeystone) catalog() []any {
	list := f.state.Endpoints
	if f.stale > 0 {
		f.stale--
		list = f.before
	}
	var entries []any
	for _, s := range f.state.Services {
		var endpoints []any
		for _, e := range list {
			if e.ServiceID != s.ID || !e.Enabled || !s.Enabled {
				continue
			}
			url := strings.ReplaceAll(e.URL, "$(", "%(")
			if f.project == "" && strings.Contains(url, "%(") {
				continue
			}
			url = strings.NewReplacer("%(tenant_id)s", f.project, "%(project_id)s", f.project, "%(user_id)s", "u5aae94d").Replace(url)
			endpoints = append(endpoints, map[string]any{"id": e.ID, "interface": e.Interface, "region": e.Region, "region_id": e.Region, "url": url})
		}
		entries = append(entries, map[string]any{"id": s.ID, "type": s.Type, "name": s.Name, "endpoints": endpoints})
	}
	return entries
}

func (f *fakeKeystone) validate(w http.ResponseWriter, r *http.Request) {
	if !f.tokens[r.Header.Get("X-Subject-Token")] {
		refuse(w, http.StatusNotFound, "Could not find token.")
		return
	}
	reply(w, http.StatusOK, map[string]any{"token": map[string]any{"expires_at": "2030-01-01T00:00:00.000000Z"}})
}

func endpointJSON(e Record) map[string]any {
	return map[string]any{
		"id": e.ID, "interface": e.Interface, "region_id": e.Region, "region": e.Region,
		"service_id": e.ServiceID, "url": e.URL, "enabled": e.Enabled,
	}
}

// endpoints is /v3/endpoints and what is below it.
func (f *fakeKeystone) endpoints(w http.ResponseWriter, r *http.Request, id string) {
	i := slices.IndexFunc(f.state.Endpoints, func(e Record) bool { return e.ID == id })
	if id != "" && i < 0 {
		refuse(w, http.StatusNotFound, "Could not find endpoint: "+id+".")
		return
	}
	switch r.Method {
	case http.MethodGet:
		all := []any{}
		for _, e := range f.state.Endpoints {
			if of := r.URL.Query().Get("service_id"); of == "" || of == e.ServiceID {
				all = append(all, endpointJSON(e))
			}
		}
		reply(w, http.StatusOK, map[string]any{"endpoints": all})
		return
	case http.MethodDelete:
		f.remember()
		f.state.Endpoints = slices.Delete(f.state.Endpoints, i, i+1)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	var body struct {
		Endpoint map[string]any `json:"endpoint"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Endpoint) == 0 {
		refuse(w, http.StatusBadRequest, "no endpoint")
		return
	}
	e := Record{Enabled: true}
	if i >= 0 {
		e = f.state.Endpoints[i]
		if other, has := body.Endpoint["id"]; has && other != id {
			refuse(w, http.StatusBadRequest, "Cannot change ID")
			return
		}
	}
	if !f.fill(w, &e, body.Endpoint) {
		return
	}
	f.remember()
	if i >= 0 {
		f.state.Endpoints[i] = e
		reply(w, http.StatusOK, map[string]any{"endpoint": endpointJSON(e)})
		return
	}
	e.ID = f.id()
	f.state.Endpoints = append(f.state.Endpoints, e)
	reply(w, http.StatusCreated, map[string]any{"endpoint": endpointJSON(e)})
}

// remember keeps the catalog of now for tokens that are to be stale.
func (f *fakeKeystone) remember() {
	f.before, f.stale = slices.Clone(f.state.Endpoints), f.lag
}

// fill sets what a request says, and reports whether it made sense.
func (f *fakeKeystone) fill(w http.ResponseWriter, e *Record, body map[string]any) bool {
	for key, into := range map[string]*string{"interface": &e.Interface, "region_id": &e.Region, "service_id": &e.ServiceID, "url": &e.URL} {
		if v, has := body[key].(string); has {
			*into = v
		}
	}
	if v, has := body["enabled"].(bool); has {
		e.Enabled = v
	}
	i := slices.IndexFunc(f.state.Services, func(s ServiceRecord) bool { return s.ID == e.ServiceID })
	switch {
	case i < 0:
		refuse(w, http.StatusBadRequest, "Expecting to find service.")
	case !slices.Contains(f.state.Regions, e.Region):
		refuse(w, http.StatusBadRequest, "Expecting to find endpoint region_id in region table.")
	case !slices.Contains(interfaceNames(), e.Interface) || e.URL == "":
		refuse(w, http.StatusBadRequest, "Invalid input.")
	default:
		e.ServiceName, e.ServiceType = f.state.Services[i].Name, f.state.Services[i].Type
		return true
	}
	return false
}

// services is /v3/services and what is below it.
func (f *fakeKeystone) services(w http.ResponseWriter, r *http.Request, id string) {
	switch r.Method {
	case http.MethodGet:
		all := []any{}
		for _, s := range f.state.Services {
			all = append(all, map[string]any{"id": s.ID, "name": s.Name, "type": s.Type, "enabled": s.Enabled})
		}
		reply(w, http.StatusOK, map[string]any{"services": all})
	case http.MethodDelete:
		f.state.Services = slices.DeleteFunc(f.state.Services, func(s ServiceRecord) bool { return s.ID == id })
		f.state.Endpoints = slices.DeleteFunc(f.state.Endpoints, func(e Record) bool { return e.ServiceID == id })
		w.WriteHeader(http.StatusNoContent)
	default:
		var body struct {
			Service struct{ Name, Type string } `json:"service"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		s := ServiceRecord{f.id(), body.Service.Name, body.Service.Type, true}
		f.state.Services = append(f.state.Services, s)
		reply(w, http.StatusCreated, map[string]any{"service": map[string]any{"id": s.ID, "name": s.Name, "type": s.Type, "enabled": true}})
	}
}

// site is a cloud for tests: the VIP is 127.0.0.1, the one controller that the
// catalog names is 127.0.0.2, and both have every service on the same port.
type site struct {
	t        *testing.T
	keystone *fakeKeystone
	spec     *spec.Spec
	ports    map[string]int
	vip, ctl map[string]*swapServer // by service
	dir      string
}

// swapServer is a server whose answers can be changed.
type swapServer struct {
	*httptest.Server
	mu      sync.Mutex // guards handler
	handler http.Handler
}

func (s *swapServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.handler
	s.mu.Unlock()
	h.ServeHTTP(w, r)
}

func (s *swapServer) set(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

const (
	vipAddr = "127.0.0.1"
	ctlAddr = "127.0.0.2"
)

// listenPair listens on the same port of VIP and controller.
func listenPair(t *testing.T) (vip, ctl net.Listener, port int) {
	t.Helper()
	var lc net.ListenConfig
	for range 20 {
		vip, err := lc.Listen(t.Context(), "tcp", vipAddr+":0")
		if err != nil {
			t.Fatal(err)
		}
		port := vip.Addr().(*net.TCPAddr).Port
		if ctl, err = lc.Listen(t.Context(), "tcp", fmt.Sprintf("%s:%d", ctlAddr, port)); err == nil {
			return vip, ctl, port
		}
		if err := vip.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no port that is free on both addresses")
	return nil, nil, 0
}

func serve(t *testing.T, l net.Listener, h http.Handler) *swapServer {
	s := &swapServer{handler: h}
	s.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// imageAPI answers as Glance 25 does.
func imageAPI(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthcheck":
		w.WriteHeader(http.StatusOK)
	case "/", "/versions":
		self := []any{map[string]any{"rel": "self", "href": "http://" + r.Host + "/v2/"}}
		reply(w, http.StatusMultipleChoices, map[string]any{"versions": []any{
			map[string]any{"id": "v2.15", "status": "CURRENT", "links": self}, map[string]any{"id": "v2.9", "status": "SUPPORTED", "links": self},
		}})
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// proxyAPI is a service that nobody knows, without a version document.
func proxyAPI(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/dynamicproxy-api/") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusBadRequest)
}

// newSite starts keystone, glance and proxy behind VIP and controller.
// Extra are more lines of the state, as stateOf reads them, in which PORT-name
// stands for a service's port.
func newSite(t *testing.T, extra string) *site {
	t.Helper()
	s := &site{t: t, ports: map[string]int{}, vip: map[string]*swapServer{}, ctl: map[string]*swapServer{}, dir: t.TempDir()}
	s.keystone = newFake(t, State{})
	for name, h := range map[string]http.Handler{"keystone": s.keystone, "glance": http.HandlerFunc(imageAPI), "proxy": http.HandlerFunc(proxyAPI)} {
		onVIP, onCtl, port := listenPair(t)
		s.ports[name], s.vip[name], s.ctl[name] = port, serve(t, onVIP, h), serve(t, onCtl, h)
	}
	s.spec = mustParse(t, s.fill(`
cloud: test
region: RegionOne
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: localhost
    interface: eth0
    vrrp: {router_id: 51}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {port: PORT-keystone}
  glance: {port: PORT-glance}
  proxy:
    type: proxy
    port: PORT-proxy
    check: {path: /dynamicproxy-api/, expect: "200-499"}
`))
	// Which no spec may have, but what the name resolves to here.
	s.spec.VIPs[0].Addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}
	s.keystone.state = stateOf(t, s.fill(`
e1 RegionOne keystone identity public http://127.0.0.2:PORT-keystone/v3
e2 RegionOne keystone identity internal http://127.0.0.2:PORT-keystone/v3
e3 RegionOne glance image public http://127.0.0.2:PORT-glance
e4 RegionOne glance image internal http://127.0.0.2:PORT-glance/
e5 RegionOne proxy proxy public http://127.0.0.2:PORT-proxy/dynamicproxy-api/v1/$(tenant_id)s
e9 Other glance image public http://127.0.0.2:PORT-glance
`+extra))
	return s
}

func (s *site) fill(text string) string {
	for _, name := range slices.Sorted(maps.Keys(s.ports)) {
		text = strings.ReplaceAll(text, "PORT-"+name, fmt.Sprint(s.ports[name]))
	}
	return text
}

// auth gives what the environment would.
func (s *site) auth() Auth {
	return Auth{
		Source: "the test", URL: fmt.Sprintf("http://%s:%d/v3", ctlAddr, s.ports["keystone"]), Method: ByPassword,
		User: "admin", UserDomainID: "default", Project: "admin", ProjectDomainID: "default", Password: NewSecret("correct-horse"),
	}
}

// applier connects and gives an Applier.
func (s *site) applier() *Applier {
	s.t.Helper()
	client, err := Connect(s.t.Context(), s.auth())
	if err != nil {
		s.t.Fatal(err)
	}
	client.identity.HTTPClient.Timeout = time.Minute
	return &Applier{
		Client: client, Prober: s.prober(), Journals: Journals{s.dir}, Spec: s.spec, Catalog: mustCatalog(s.t),
		Now: time.Now, Tell: func(line string) { s.t.Log(line) }, verifyFor: time.Minute,
	}
}

func (s *site) prober() *Prober {
	s.t.Helper()
	p, err := NewProber(s.auth())
	if err != nil {
		s.t.Fatal(err)
	}
	p.client.Timeout = time.Minute // a busy machine is not what is tested
	p.client.Transport.(*http.Transport).DialContext = nil
	return p
}

// plan plans on the state of now.
func (s *site) plan(a *Applier, opt PlanOptions) Plan {
	s.t.Helper()
	state, err := a.Client.State(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return MakePlan(state, s.spec, a.Catalog, opt)
}
