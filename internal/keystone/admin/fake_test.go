package admin

import (
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

	"holdfast/internal/catalog"
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/keystonetest"
	"holdfast/internal/spec"
)

// site is a cloud for tests: the VIP is 127.0.0.1, the one controller that the
// catalog names is 127.0.0.2, and both have every service on the same port.
type site struct {
	t        *testing.T
	keystone *keystonetest.Keystone
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

// newSite starts keystone, glance and proxy behind VIP and controller.
// Extra are more lines of the state, as keystonetest.Read does, in which PORT-name
// stands for a service's port.
func newSite(t *testing.T, extra string) *site {
	t.Helper()
	s := &site{t: t, ports: map[string]int{}, vip: map[string]*swapServer{}, ctl: map[string]*swapServer{}, dir: t.TempDir()}
	s.keystone = keystonetest.New(keystonetest.Catalog{}, 0)
	for name, h := range map[string]http.Handler{"keystone": s.keystone, "glance": http.HandlerFunc(keystonetest.ImageAPI), "proxy": http.HandlerFunc(keystonetest.ProxyAPI)} {
		onVIP, onCtl, port := listenPair(t)
		s.ports[name], s.vip[name], s.ctl[name] = port, serve(t, onVIP, h), serve(t, onCtl, h)
	}
	s.spec, _ = spec.Parse("holdfast.yaml", []byte(s.fill(`
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
`)))
	if s.spec == nil {
		t.Fatal("the spec of the test is bad")
	}
	// Which no spec may have, but what the name resolves to here.
	s.spec.VIPs[0].Addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}
	first, err := keystonetest.Read(s.fill(`
e1 RegionOne keystone identity public http://127.0.0.2:PORT-keystone/v3
e2 RegionOne keystone identity internal http://127.0.0.2:PORT-keystone/v3
e3 RegionOne glance image public http://127.0.0.2:PORT-glance
e4 RegionOne glance image internal http://127.0.0.2:PORT-glance/
e5 RegionOne proxy proxy public http://127.0.0.2:PORT-proxy/dynamicproxy-api/v1/$(tenant_id)s
e9 Other glance image public http://127.0.0.2:PORT-glance
` + extra))
	if err != nil {
		t.Fatal(err)
	}
	s.keystone.Edit(func(c *keystonetest.Catalog) { *c = first })
	return s
}

// known gives the built-in catalog.
func known(t testing.TB) catalog.Catalog {
	t.Helper()
	all, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *site) fill(text string) string {
	for _, name := range slices.Sorted(maps.Keys(s.ports)) {
		text = strings.ReplaceAll(text, "PORT-"+name, fmt.Sprint(s.ports[name]))
	}
	return text
}

// state gives what Keystone has now, in the order of the ids.
func (s *site) state() keystone.State {
	c := s.keystone.Catalog()
	state := keystone.State{Regions: c.Regions}
	for _, svc := range c.Services {
		state.Services = append(state.Services, keystone.ServiceRecord(svc))
	}
	for _, e := range c.Endpoints {
		state.Endpoints = append(state.Endpoints, keystone.Record{
			ID: e.ID, Interface: e.Interface, Region: e.Region, ServiceID: e.ServiceID, URL: e.URL, Enabled: e.Enabled,
		})
	}
	state.NameEndpoints()
	return state.Sorted()
}

// auth gives what the environment would.
func (s *site) auth() Auth {
	return Auth{
		Source: "the test", URL: fmt.Sprintf("http://%s:%d/v3", ctlAddr, s.ports["keystone"]), Method: ByPassword,
		User: "admin", UserDomainID: "default", Project: "admin", ProjectDomainID: "default", Password: NewSecret(keystonetest.Password),
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
		Client: client, Prober: s.prober(), Journals: Journals{Dir: s.dir}, Spec: s.spec, Catalog: known(s.t),
		Tell: func(line string) { s.t.Log(line) }, Wait: time.Minute, pause: time.Millisecond,
	}
}

func (s *site) prober() *Prober {
	s.t.Helper()
	p, err := NewProber(s.auth())
	if err != nil {
		s.t.Fatal(err)
	}
	p.client.Timeout = time.Minute // a busy machine is not what is tested
	p.client.Transport.(*http.Transport).DialContext = along((&net.Dialer{}).DialContext)
	return p
}

// plan plans on the state of now.
func (s *site) plan(a *Applier, opt keystone.PlanOptions) keystone.Plan {
	s.t.Helper()
	state, err := a.Client.State(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return keystone.MakePlan(state, s.spec, a.Catalog, opt)
}

// edit changes one endpoint, as somebody else would.
func (s *site) edit(id string, f func(*keystonetest.Endpoint)) {
	s.keystone.Edit(func(c *keystonetest.Catalog) {
		for i := range c.Endpoints {
			if c.Endpoints[i].ID == id {
				f(&c.Endpoints[i])
			}
		}
	})
}
