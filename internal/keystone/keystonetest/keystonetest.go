// Package keystonetest is a Keystone for tests: an http.Handler with a catalog
// in memory, and its golden files. It is no part of the product, and imports nothing of it.
package keystonetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Service is one of Keystone's catalog.
type Service struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Enabled bool   `json:"enabled"`
}

// An Endpoint is one of Keystone's catalog.
type Endpoint struct {
	ID        string `json:"id"`
	Interface string `json:"interface"`
	Region    string `json:"region_id"`
	ServiceID string `json:"service_id"`
	URL       string `json:"url"`
	Enabled   bool   `json:"enabled"`
}

// A Catalog is all that a Keystone has of it.
type Catalog struct {
	Regions   []string
	Services  []Service
	Endpoints []Endpoint
}

// Clone gives a copy that shares nothing with c.
func (c Catalog) Clone() Catalog {
	return Catalog{slices.Clone(c.Regions), slices.Clone(c.Services), slices.Clone(c.Endpoints)}
}

// Read reads a catalog of the tests: one endpoint a line, as id, region, service,
// type, interface, URL, and perhaps "disabled"; or "service" with name and type
// of one without endpoints; or "region" with its name.
func Read(text string) (Catalog, error) {
	var c Catalog
	service := func(name, typ string) string {
		id := "svc-" + name + "-" + typ
		if !slices.ContainsFunc(c.Services, func(s Service) bool { return s.ID == id }) {
			c.Services = append(c.Services, Service{id, name, typ, true})
		}
		return id
	}
	region := func(name string) {
		if !slices.Contains(c.Regions, name) {
			c.Regions = append(c.Regions, name)
		}
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "service":
			service(f[1], f[2])
		case f[0] == "region":
			region(f[1])
		case len(f) >= 6:
			if f[1] == "-" { // in no region
				f[1] = ""
			} else {
				region(f[1])
			}
			c.Endpoints = append(c.Endpoints, Endpoint{
				ID: f[0], Region: f[1], ServiceID: service(f[2], f[3]), Interface: f[4], URL: f[5], Enabled: len(f) == 6,
			})
		default:
			return c, fmt.Errorf("no line of a catalog: %q", line)
		}
	}
	return c, nil
}

// A Keystone answers as Keystone 22 was seen to: it chooses ids itself, refuses
// unknown regions and other ids, fills in templates in the catalogs of tokens,
// and leaves out of these what is disabled.
type Keystone struct {
	// Project is that of all tokens; empty for tokens of the system.
	Project string
	// Passwords has them by user name or id of an application credential.
	Passwords map[string]string
	// Lag is how many tokens after a change have the catalog of before it.
	Lag int
	// Processes is how many of them answer in turn, each with a cache of its own for
	// the catalogs of tokens: a change empties that of the one that makes it. 0 is
	// one, without a cache.
	Processes int
	// CacheTokens is after how many tokens all caches end; 0 is never.
	CacheTokens int
	// Page is the size of the pages that listings have; 0 is all in one. Limit is
	// where they are cut off instead, as by list_limit.
	Page, Limit int

	mu      sync.Mutex // guards following
	catalog Catalog
	next    int
	tokens  map[string]bool
	stale   int
	before  []Endpoint
	turn    int // requests so far
	issued  int // tokens since the last change
	caches  map[int][]Endpoint
}

// New makes a Keystone with that catalog, and the user admin, whose password is
// Password. Seed makes its ids and tokens differ from those of another one.
func New(catalog Catalog, seed int) *Keystone {
	return &Keystone{
		Project:   "a4e9a37ff4b54aa9b432a4c33bd28993",
		Passwords: map[string]string{"admin": Password},
		tokens:    map[string]bool{}, catalog: catalog, next: 0x1000 * (seed + 1),
	}
}

// Password is that of the user admin.
const Password = "correct-horse"

// Catalog gives a copy of the catalog of now.
func (f *Keystone) Catalog() Catalog {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.catalog.Clone()
}

// Edit changes the catalog, as somebody else would.
func (f *Keystone) Edit(edit func(*Catalog)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(&f.catalog)
}

// ServeHTTP is the Identity API v3, as far as holdfast uses it.
func (f *Keystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn++
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
		for _, name := range f.catalog.Regions {
			all = append(all, map[string]any{"id": name, "description": ""})
		}
		f.replyList(w, r, "regions", all)
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

// replyList replies with a listing, or a part of it.
func (f *Keystone) replyList(w http.ResponseWriter, r *http.Request, collection string, all []any) {
	next := any(nil)
	body := map[string]any{}
	if f.Page > 0 {
		from, _ := strconv.Atoi(r.URL.Query().Get("marker")) // 0 for none
		from = min(from, len(all))
		to := min(from+f.Page, len(all))
		if to < len(all) {
			query := r.URL.Query()
			query.Set("marker", strconv.Itoa(to))
			next = "http://elsewhere.example.org:5000/v3/" + collection + "?" + query.Encode()
		}
		all = all[from:to]
	}
	if f.Limit > 0 && len(all) > f.Limit {
		all, body["truncated"] = all[:f.Limit], true
	}
	if all == nil {
		all = []any{}
	}
	body[collection], body["links"] = all, map[string]any{"next": next, "previous": nil}
	reply(w, http.StatusOK, body)
}

func refuse(w http.ResponseWriter, code int, message string) {
	reply(w, code, map[string]any{"error": map[string]any{"code": code, "message": message, "title": http.StatusText(code)}})
}

func (f *Keystone) id() string {
	f.next++
	return fmt.Sprintf("%032x", f.next)
}

// issue is POST /v3/auth/tokens.
func (f *Keystone) issue(w http.ResponseWriter, r *http.Request) {
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
	byPassword := who.Name != "" && f.Passwords[who.Name] == who.Password
	byCredential := credential.ID != "" && f.Passwords[credential.ID] == credential.Secret
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
		"catalog": f.entries(),
	}
	if f.Project != "" {
		token["project"] = map[string]any{"id": f.Project, "name": "admin"}
	}
	reply(w, http.StatusCreated, map[string]any{"token": token})
}

// entries is the catalog of a token.
func (f *Keystone) entries() []any {
	list := f.cached()
	if f.stale > 0 {
		f.stale--
		list = f.before
	}
	var entries []any
	for _, s := range f.catalog.Services {
		var endpoints []any
		for _, e := range list {
			if e.ServiceID != s.ID || !e.Enabled || !s.Enabled {
				continue
			}
			url, ok := f.filled(e.URL)
			if !ok {
				continue
			}
			endpoints = append(endpoints, map[string]any{"id": e.ID, "interface": e.Interface, "region": e.Region, "region_id": e.Region, "url": url})
		}
		entries = append(entries, map[string]any{"id": s.ID, "type": s.Type, "name": s.Name, "endpoints": endpoints})
	}
	return entries
}

// filled gives url with its templates filled in, and whether that was possible.
func (f *Keystone) filled(url string) (string, bool) {
	const sign = "\x00" // stands for "%" itself meanwhile
	url = strings.ReplaceAll(strings.ReplaceAll(url, "$(", "%("), "%%", sign)
	if f.Project == "" && (strings.Contains(url, "%(tenant_id)s") || strings.Contains(url, "%(project_id)s")) {
		return "", false
	}
	url = strings.NewReplacer("%(tenant_id)s", f.Project, "%(project_id)s", f.Project, "%(user_id)s", "u5aae94d").Replace(url)
	return strings.ReplaceAll(url, sign, "%"), !strings.Contains(url, "%")
}

// cached gives the endpoints as the process has them whose turn it is.
func (f *Keystone) cached() []Endpoint {
	if f.Processes == 0 {
		return f.catalog.Endpoints
	}
	if f.issued++; f.CacheTokens > 0 && f.issued > f.CacheTokens {
		f.caches = nil
	}
	if f.caches == nil {
		f.caches = map[int][]Endpoint{}
	}
	process := f.turn % f.Processes
	if _, ok := f.caches[process]; !ok {
		f.caches[process] = slices.Clone(f.catalog.Endpoints)
	}
	return f.caches[process]
}

func (f *Keystone) validate(w http.ResponseWriter, r *http.Request) {
	if !f.tokens[r.Header.Get("X-Subject-Token")] {
		refuse(w, http.StatusNotFound, "Could not find token.")
		return
	}
	reply(w, http.StatusOK, map[string]any{"token": map[string]any{"expires_at": "2030-01-01T00:00:00.000000Z"}})
}

func endpointJSON(e Endpoint) map[string]any {
	return map[string]any{
		"id": e.ID, "interface": e.Interface, "region_id": e.Region, "region": e.Region,
		"service_id": e.ServiceID, "url": e.URL, "enabled": e.Enabled,
	}
}

// endpoints is /v3/endpoints and what is below it.
func (f *Keystone) endpoints(w http.ResponseWriter, r *http.Request, id string) {
	i := slices.IndexFunc(f.catalog.Endpoints, func(e Endpoint) bool { return e.ID == id })
	if id != "" && i < 0 {
		refuse(w, http.StatusNotFound, "Could not find endpoint: "+id+".")
		return
	}
	switch r.Method {
	case http.MethodGet:
		all := []any{}
		for _, e := range f.catalog.Endpoints {
			if of := r.URL.Query().Get("service_id"); of == "" || of == e.ServiceID {
				all = append(all, endpointJSON(e))
			}
		}
		f.replyList(w, r, "endpoints", all)
		return
	case http.MethodDelete:
		f.remember()
		f.catalog.Endpoints = slices.Delete(f.catalog.Endpoints, i, i+1)
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
	e := Endpoint{Enabled: true}
	if i >= 0 {
		e = f.catalog.Endpoints[i]
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
		f.catalog.Endpoints[i] = e
		reply(w, http.StatusOK, map[string]any{"endpoint": endpointJSON(e)})
		return
	}
	e.ID = f.id()
	f.catalog.Endpoints = append(f.catalog.Endpoints, e)
	reply(w, http.StatusCreated, map[string]any{"endpoint": endpointJSON(e)})
}

// remember keeps the catalog of now for tokens that are to be stale.
func (f *Keystone) remember() {
	f.issued = 0
	if f.Processes > 0 {
		delete(f.caches, f.turn%f.Processes)
	}
	f.before, f.stale = slices.Clone(f.catalog.Endpoints), f.Lag
}

// fill sets what a request says, and reports whether it made sense.
func (f *Keystone) fill(w http.ResponseWriter, e *Endpoint, body map[string]any) bool {
	for key, into := range map[string]*string{"interface": &e.Interface, "region_id": &e.Region, "service_id": &e.ServiceID, "url": &e.URL} {
		if v, has := body[key].(string); has {
			*into = v
		}
	}
	if v, has := body["enabled"].(bool); has {
		e.Enabled = v
	}
	i := slices.IndexFunc(f.catalog.Services, func(s Service) bool { return s.ID == e.ServiceID })
	switch {
	case i < 0:
		refuse(w, http.StatusBadRequest, "Expecting to find service.")
	case !slices.Contains(f.catalog.Regions, e.Region):
		refuse(w, http.StatusBadRequest, "Expecting to find endpoint region_id in region table.")
	case !slices.Contains([]string{"public", "internal", "admin"}, e.Interface) || e.URL == "":
		refuse(w, http.StatusBadRequest, "Invalid input.")
	default:
		return true
	}
	return false
}

// services is /v3/services and what is below it.
func (f *Keystone) services(w http.ResponseWriter, r *http.Request, id string) {
	switch r.Method {
	case http.MethodGet:
		all := []any{}
		for _, s := range f.catalog.Services {
			all = append(all, map[string]any{"id": s.ID, "name": s.Name, "type": s.Type, "enabled": s.Enabled})
		}
		f.replyList(w, r, "services", all)
	case http.MethodDelete:
		f.catalog.Services = slices.DeleteFunc(f.catalog.Services, func(s Service) bool { return s.ID == id })
		f.catalog.Endpoints = slices.DeleteFunc(f.catalog.Endpoints, func(e Endpoint) bool { return e.ServiceID == id })
		w.WriteHeader(http.StatusNoContent)
	default:
		var body struct {
			Service struct{ Name, Type string } `json:"service"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		s := Service{f.id(), body.Service.Name, body.Service.Type, true}
		f.catalog.Services = append(f.catalog.Services, s)
		reply(w, http.StatusCreated, map[string]any{"service": map[string]any{"id": s.ID, "name": s.Name, "type": s.Type, "enabled": true}})
	}
}

// ImageAPI answers as Glance 25 does.
func ImageAPI(w http.ResponseWriter, r *http.Request) {
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

// ProxyAPI is a service that nobody knows, without a version document.
func ProxyAPI(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/dynamicproxy-api/") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusBadRequest)
}
