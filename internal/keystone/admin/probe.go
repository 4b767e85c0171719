package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/keystone"
	"holdfast/internal/spec"
)

const (
	probeTimeout = 5 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 1 << 20
	// probesAtOnce bounds how many URLs are asked at the same time.
	probesAtOnce = 8
)

// A Prober asks URLs as a client without a token does: it resolves names as
// this machine does, uses no proxy, and follows no redirect.
type Prober struct {
	client *http.Client
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// NewProber makes a Prober that checks TLS certificates as auth says.
func NewProber(auth Auth) (*Prober, error) {
	config, err := tlsConfig(auth)
	if err != nil {
		return nil, err
	}
	return &Prober{
		client: &http.Client{
			Timeout: probeTimeout,
			Transport: &http.Transport{
				TLSClientConfig:   config,
				DialContext:       along((&net.Dialer{Timeout: probeTimeout / 2}).DialContext),
				DisableKeepAlives: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
	}, nil
}

// ask sends one request without a body or a token.
func (p *Prober) ask(ctx context.Context, method, url string) (keystone.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return keystone.Answer{}, fmt.Errorf("ask %s: %w", url, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "holdfast")
	resp, err := p.client.Do(req)
	if err != nil {
		return keystone.Answer{}, errors.New(reachText(err))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return keystone.Answer{}, errors.New(reachText(err))
	}
	return keystone.Answer{Code: resp.StatusCode, Body: body}, nil
}

// Unanswered asks the URLs of all enabled ones of records, and gives by their
// ids why those that do not answer do not.
func (p *Prober) Unanswered(ctx context.Context, records []keystone.Record) map[string]string {
	asked := map[string]string{} // by URL, why not
	for _, r := range records {
		if r.Enabled {
			asked[keystone.ProbeURL(r.URL)] = ""
		}
	}
	var mu sync.Mutex // guards asked
	var wg sync.WaitGroup
	slots := make(chan struct{}, probesAtOnce)
	for _, url := range keys(asked) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			why := p.unanswered(ctx, url)
			mu.Lock()
			defer mu.Unlock()
			asked[url] = why
		})
	}
	wg.Wait()
	out := map[string]string{}
	for _, r := range records {
		if why := asked[keystone.ProbeURL(r.URL)]; r.Enabled && why != "" {
			out[r.ID] = why
		}
	}
	return out
}

func keys(m map[string]string) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func (p *Prober) unanswered(ctx context.Context, url string) string {
	a, err := p.ask(ctx, http.MethodGet, url)
	switch {
	case err != nil:
		return err.Error()
	case a.Code >= 500:
		return fmt.Sprintf("HTTP status %d", a.Code)
	}
	return ""
}

// A Proof says what a service answered through the VIP, by its name.
type Proof struct {
	Service string `json:"spec_service"`
	Request string `json:"request"`           // "GET http://name:9292/healthcheck"
	Code    int    `json:"code,omitempty"`    // HTTP status; 0 for no answer
	Says    string `json:"says,omitempty"`    // "Image API v2.15"
	Problem string `json:"problem,omitempty"` // why it proves nothing; empty when it does
	Remedy  string `json:"remedy,omitempty"`
	Warning string `json:"warning,omitempty"`
}

// Preflight proves that all services that plan points at a VIP answer there, by
// the VIP's name, with their own APIs, and that the Keystone there is the one of
// client. Where several VIPs share the name, it proves that of each: its clients come to
// one as to the other. Proofs with a Problem are reasons not to apply.
func (p *Prober) Preflight(ctx context.Context, client *Client, s *spec.Spec, plan keystone.Plan) ([]Proof, error) {
	var proofs []Proof
	proved, reached := map[string]bool{}, map[string][]end{} // by hostname
	once := func(key string, prove func() Proof) bool {
		if ok, asked := proved[key]; asked {
			return ok
		}
		proof := prove()
		proofs = append(proofs, proof)
		proved[key] = proof.Problem == ""
		return proved[key]
	}
	for _, c := range plan.Changes {
		if c.Op != keystone.Update && c.Op != keystone.Create {
			continue
		}
		svc, vip, ok := placeOf(s, c)
		if !ok {
			return nil, fmt.Errorf("change %d is about what is not in the spec", c.N)
		}
		at := vip.PlaceOf(svc, c.After.Interface)
		if !once("name "+at.Name, func() (proof Proof) {
			reached[at.Name], proof = p.proveName(ctx, vip, at.Name, sharing(s, vip))
			return proof
		}) {
			continue
		}
		for _, end := range reached[at.Name] {
			ctx := end.on(ctx, at.Name)
			onceAt := func(key string, prove func() Proof) {
				once(key+" at "+end.vip, func() Proof { return end.name(prove()) })
			}
			if svc.Mode == spec.HTTP && svc.Check.Layer == 7 && svc.Check.Port == 0 && at.Reaches(svc.Check.Path) { // who asks another port asks something else
				url := strings.TrimSuffix(keystone.Origin(vip, svc, c.After.Interface, ""), at.Path) + at.ClientPath(svc.Check.Path)
				onceAt("check "+url, func() Proof { return p.proveHealth(ctx, svc, url) })
			}
			onceAt("api "+keystone.ProbeURL(c.After.URL)+" "+c.After.ServiceType, func() Proof { return p.proveAPI(ctx, svc, c) })
			if slices.Contains(svc.Types, keystone.IdentityType) {
				base := identityURL(c.After.URL)
				onceAt("token "+base, func() Proof { return proveToken(ctx, client, svc, base) })
			}
		}
	}
	return proofs, ctx.Err()
}

// placeOf gives the service and the VIP that c is about.
func placeOf(s *spec.Spec, c keystone.Change) (spec.Service, spec.VIP, bool) {
	i := slices.IndexFunc(s.Services, func(svc spec.Service) bool { return svc.Name == c.Service })
	if i < 0 {
		return spec.Service{}, spec.VIP{}, false
	}
	vip, ok := keystone.VIPFor(s, s.Services[i], c.After.Interface)
	return s.Services[i], vip, ok
}

// sharing gives the VIPs to whose addresses the name of vip may lead: itself, and those that
// share the name.
func sharing(s *spec.Spec, vip spec.VIP) []spec.VIP {
	var all []spec.VIP
	for _, v := range s.VIPs {
		if v.Name == vip.Name || v.SharesName(vip) {
			all = append(all, v)
		}
	}
	return all
}

// An end is where the clients of a hostname come to: one of the VIPs that share it.
type end struct {
	vip   string
	addrs []netip.Addr // of the VIP that the name leads to
	alone bool         // no other VIP has the name
}

// on has what is asked of host go to this end.
func (at end) on(ctx context.Context, host string) context.Context {
	if at.alone {
		return ctx
	}
	return withWay(ctx, host, at.addrs)
}

// name says in proof which of several ends it is of.
func (at end) name(proof Proof) Proof {
	if !at.alone {
		proof.Request += " at VIP " + at.vip
	}
	return proof
}

// proveName proves that name, one of vip's, leads to the VIPs that share it, and to nobody else. It
// gives those that it leads to.
func (p *Prober) proveName(ctx context.Context, vip spec.VIP, name string, shared []spec.VIP) ([]end, Proof) {
	proof := Proof{Service: "vip " + vip.Name, Request: "look up " + name}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	addrs, err := p.lookup(ctx, name)
	if err != nil {
		proof.Problem = reachText(err)
		proof.Remedy = "see holdfast dns plan"
		return nil, proof
	}
	places := make([]end, len(shared))
	var names []string
	for _, a := range addrs {
		a = a.Unmap()
		names = append(names, a.String())
		i := slices.IndexFunc(shared, func(v spec.VIP) bool {
			return slices.ContainsFunc(v.Addresses, func(own netip.Prefix) bool { return own.Addr() == a })
		})
		if i < 0 {
			proof.Problem = fmt.Sprintf("%s resolves to %s, which is no address of the VIP", name, a)
			proof.Remedy = "see holdfast dns plan; a line in /etc/hosts counts too"
			continue
		}
		places[i].addrs = append(places[i].addrs, a)
	}
	var missing []string
	for i, v := range shared {
		if places[i].vip, places[i].alone = v.Name, len(shared) == 1; len(places[i].addrs) == 0 {
			missing = append(missing, v.Name)
		}
	}
	if len(missing) > 0 && len(names) > 0 {
		proof.Warning = fmt.Sprintf("it does not lead to VIP %s, which has the same hostname: no client comes there, and nothing is proved of it; see holdfast dns plan", strings.Join(missing, ", "))
	}
	slices.Sort(names)
	proof.Says = strings.Join(names, ", ")
	return slices.DeleteFunc(places, func(at end) bool { return len(at.addrs) == 0 }), proof
}

// proveHealth proves that HAProxy's own check would pass through the VIP.
func (p *Prober) proveHealth(ctx context.Context, svc spec.Service, url string) Proof {
	proof := Proof{Service: svc.Name, Request: svc.Check.Method + " " + url}
	a, err := p.ask(ctx, svc.Check.Method, url)
	proof.Code = a.Code
	switch {
	case err != nil:
		proof.Problem, proof.Remedy = err.Error(), "is the VIP active? see holdfast status"
	case !slices.ContainsFunc(svc.Check.Expect, func(r spec.CodeRange) bool { return r.From <= a.Code && a.Code <= r.To }):
		proof.Problem = fmt.Sprintf("the health check saw %d, want %s", a.Code, expectText(svc.Check.Expect))
		proof.Remedy = "see holdfast status for its hosts"
	default:
		proof.Says = "healthy"
	}
	return proof
}

func expectText(ranges []spec.CodeRange) string {
	var parts []string
	for _, r := range ranges {
		if r.From == r.To {
			parts = append(parts, fmt.Sprint(r.From))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.From, r.To))
		}
	}
	return strings.Join(parts, ",")
}

// proveAPI proves that the URL that c is to set answers with the API of svc.
func (p *Prober) proveAPI(ctx context.Context, svc spec.Service, c keystone.Change) Proof {
	url := keystone.ProbeURL(c.After.URL)
	proof := Proof{Service: svc.Name, Request: "GET " + url}
	a, err := p.ask(ctx, http.MethodGet, url)
	proof.Code = a.Code
	if err != nil {
		proof.Problem, proof.Remedy = err.Error(), "is the VIP active, and does the spec have the service's port? see holdfast status"
		return proof
	}
	if a.Code >= 500 {
		proof.Problem, proof.Remedy = fmt.Sprintf("HTTP status %d", a.Code), "see holdfast status for its hosts"
		return proof
	}
	got, document := p.recognize(ctx, c.After.URL, a)
	before := p.now(ctx, c)
	proof.Says = got.Text
	var recognizedBefore *keystone.Recognized
	if before != nil {
		recognizedBefore = &before.Recognized
	}
	if ok, why := keystone.OwnAPI(svc.Types, got, recognizedBefore); !ok {
		proof.Problem, proof.Remedy = why, "is the port that of this service on every host of it?"
		return proof
	}
	if why := codeProblem(a.Code, got, c.After.URL, before); why != "" {
		proof.Problem, proof.Remedy = why, "the path of the URL has to be one that the service answers behind the VIP"
		return proof
	}
	if stray := document.StrayLink(c.After.URL); stray != "" {
		proof.Warning = fmt.Sprintf("it names %s as its own place, where some clients go on; see public_endpoint and enable_proxy_headers_parsing in its configuration", stray)
	}
	return proof
}

// recognize tells whose API answered a at the catalog's url: by a, or by what
// lists its versions, where a is not that. It gives the answer that it used.
func (p *Prober) recognize(ctx context.Context, url string, a keystone.Answer) (keystone.Recognized, keystone.Answer) {
	got := keystone.Recognize(a)
	root := keystone.DiscoveryURL(url)
	if got.Document || root == keystone.ProbeURL(url) {
		return got, a
	}
	list, err := p.ask(ctx, http.MethodGet, root)
	if err != nil {
		return got, a // what url itself answered has to do
	}
	if atRoot := keystone.Recognize(list); atRoot.Document {
		return atRoot, list
	}
	return got, a
}

// answered is what a URL of the catalog answers now.
type answered struct {
	keystone.Recognized
	code int
}

// now asks the URL that c takes the place of; nil when that does not answer.
func (p *Prober) now(ctx context.Context, c keystone.Change) *answered {
	if c.Before == nil || c.Before.URL == c.After.URL {
		return nil
	}
	a, err := p.ask(ctx, http.MethodGet, keystone.ProbeURL(c.Before.URL))
	if err != nil || a.Code >= 500 {
		return nil
	}
	got, _ := p.recognize(ctx, c.Before.URL, a)
	return &answered{got, a.Code}
}

// codeProblem says why code is not that of an API at url; empty when it may be.
// Before is what the URL of now answers, nil for nothing.
func codeProblem(code int, got keystone.Recognized, url string, before *answered) string {
	switch {
	case got.Document && code != http.StatusNotFound, before != nil && code == before.code:
		return ""
	case before != nil && !got.Document:
		return fmt.Sprintf("HTTP status %d, where the URL of now answers %d", code, before.code)
	case code == http.StatusNotFound && !keystone.IsTemplate(keystone.TailOf(url)): // with one, a part of the path was asked for
		return "HTTP status 404: there is nothing at this path"
	}
	return ""
}

// proveToken proves that the Keystone at base is the one that client talks to.
func proveToken(ctx context.Context, client *Client, svc spec.Service, base string) Proof {
	proof := Proof{
		Service: svc.Name, Request: "POST " + base + "auth/tokens", Code: http.StatusCreated,
		Says: "a token from there is valid at " + client.URL(),
	}
	if err := client.ValidFrom(ctx, base); err != nil {
		proof.Code, proof.Says = 0, ""
		proof.Problem, proof.Remedy = err.Error(), cmp.Or(remedyFor(err), "every Keystone behind the VIP needs the same database and fernet keys")
	}
	return proof
}

// remedyFor gives what to do about a Keystone that cannot be reached.
func remedyFor(err error) string {
	if _, ok := errors.AsType[*Unreachable](err); ok {
		return "see holdfast status for the hosts of keystone"
	}
	return ""
}
