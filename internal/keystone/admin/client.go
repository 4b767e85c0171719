package admin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"golang.org/x/sys/unix"

	"holdfast/internal/keystone"
)

// requestTimeout bounds one request to Keystone, with its answer.
const requestTimeout = 20 * time.Second

// A Client talks to one Keystone as an administrator. It never looks into the
// catalog for where that is: it uses the URL it was given, so that it works
// when the catalog is wrong. It is for one goroutine.
type Client struct {
	auth     Auth
	identity *gophercloud.ServiceClient
	token    Token
}

// A Token is a fresh token and the catalog that came with it.
type Token struct {
	ID        Secret
	UserID    string
	ProjectID string // empty for a token of a domain or of the system
	Catalog   []tokens.CatalogEntry
}

// Connect authenticates to the Keystone of auth.
func Connect(ctx context.Context, auth Auth) (*Client, error) {
	transport, err := transportFor(auth)
	if err != nil {
		return nil, err
	}
	provider := &gophercloud.ProviderClient{HTTPClient: http.Client{Transport: transport, Timeout: requestTimeout}}
	provider.UserAgent.Prepend("holdfast")
	c := &Client{auth: auth, identity: &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: identityURL(auth.URL)}}
	_, err = c.Refresh(ctx)
	return c, err
}

// transportFor makes the TLS settings that auth asks for.
func transportFor(auth Auth) (*http.Transport, error) {
	config, err := tlsConfig(auth)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     config,
		DialContext:         along((&net.Dialer{Timeout: requestTimeout / 4}).DialContext),
		TLSHandshakeTimeout: requestTimeout / 4,
		// A Keystone behind uwsgi closes idle connections without a word, and a
		// POST that meets that is not sent again.
		DisableKeepAlives: true,
	}, nil
}

func tlsConfig(auth Auth) (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: auth.Insecure, MinVersion: tls.VersionTLS12}
	if auth.CACert != "" {
		pem, err := os.ReadFile(auth.CACert)
		if err != nil {
			return nil, fmt.Errorf("read the CA certificates (cacert, OS_CACERT): %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM (cacert, OS_CACERT)", auth.CACert)
		}
	}
	if auth.Cert != "" {
		pair, err := tls.LoadX509KeyPair(auth.Cert, cmp.Or(auth.Key, auth.Cert))
		if err != nil {
			return nil, fmt.Errorf("read the client certificate (cert, OS_CERT): %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// URL gives where c finds Keystone.
func (c *Client) URL() string { return strings.TrimRight(c.identity.Endpoint, "/") }

// Refresh gets a new token, uses it from now on, and gives it with its catalog.
func (c *Client) Refresh(ctx context.Context) (Token, error) {
	token, err := c.tokenAt(ctx, c.identity.Endpoint)
	if err != nil {
		return Token{}, err
	}
	c.token = token
	c.identity.TokenID = token.ID.text
	return token, nil
}

// tokenAt gets a token from the Keystone at base, which ends with "/v3/".
func (c *Client) tokenAt(ctx context.Context, base string) (Token, error) {
	at := &gophercloud.ServiceClient{ProviderClient: c.identity.ProviderClient, Endpoint: base}
	result := tokens.Create(ctx, at, c.auth.options())
	t, err := result.ExtractToken()
	if err != nil {
		return Token{}, c.explain(err, "authenticate", base)
	}
	token := Token{ID: NewSecret(t.ID)}
	catalog, err := result.ExtractServiceCatalog()
	if err != nil {
		return Token{}, c.explain(err, "read the catalog of a token", base)
	}
	token.Catalog = catalog.Entries
	user, err := result.ExtractUser()
	if err != nil || user == nil {
		return Token{}, fmt.Errorf("the token of %s names no user: %w", base, cmp.Or(err, errors.New("not Keystone")))
	}
	token.UserID = user.ID
	project, err := result.ExtractProject()
	if err != nil {
		return Token{}, c.explain(err, "read the project of a token", base)
	}
	if project != nil {
		token.ProjectID = project.ID
	}
	return token, nil
}

// options gives a in the form of gophercloud.
func (a Auth) options() *gophercloud.AuthOptions {
	o := &gophercloud.AuthOptions{Scope: &gophercloud.AuthScope{
		ProjectID: a.ProjectID, System: a.System, TrustID: a.TrustID,
	}}
	if a.ProjectID == "" && a.Project != "" {
		o.Scope.ProjectName = a.Project
		o.Scope.DomainID, o.Scope.DomainName = oneOf(a.ProjectDomainID, a.ProjectDomain)
	}
	if a.ProjectID == "" && a.Project == "" {
		o.Scope.DomainID, o.Scope.DomainName = oneOf(a.DomainID, a.Domain)
	}
	switch a.Method {
	case ByToken:
		o.TokenID = a.Token.text
		return o
	case ByApplicationCredential:
		o.ApplicationCredentialID, o.ApplicationCredentialName = oneOf(a.CredentialID, a.Credential)
		o.ApplicationCredentialSecret = a.CredentialSecret.text
	default:
		o.Password = a.Password.text
	}
	if a.UserID != "" {
		o.UserID = a.UserID
		return o
	}
	o.Username = a.User
	o.DomainID, o.DomainName = oneOf(a.UserDomainID, a.UserDomain)
	return o
}

// oneOf gives the id, or else the name: Keystone takes no more than one.
func oneOf(id, name string) (string, string) {
	if id != "" {
		return id, ""
	}
	return "", name
}

// ValidFrom reports whether the Keystone of c takes a token that came from the
// one at base, that is, whether they are one Keystone.
func (c *Client) ValidFrom(ctx context.Context, base string) error {
	token, err := c.tokenAt(ctx, base)
	if err != nil {
		return err
	}
	if _, err := tokens.Get(ctx, c.identity, token.ID.text).Extract(); err != nil {
		if gophercloud.ResponseCodeIs(err, http.StatusNotFound) || gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
			return fmt.Errorf("a token from %s is not valid at %s: they are not one Keystone, or have not the same fernet keys", base, c.URL())
		}
		return errors.New(c.auth.scrub(c.explain(err, "check a token", c.identity.Endpoint).Error(), token.ID.text))
	}
	return nil
}

// State reads all services, endpoints and regions.
func (c *Client) State(ctx context.Context) (keystone.State, error) {
	var state keystone.State
	services, err := list[apiService](ctx, c, "services", "")
	if err != nil {
		return keystone.State{}, err
	}
	for _, s := range services {
		state.Services = append(state.Services, keystone.ServiceRecord{ID: s.ID, Name: s.Name, Type: s.Type, Enabled: s.Enabled == nil || *s.Enabled})
	}
	regions, err := list[apiRegion](ctx, c, "regions", "")
	if err != nil {
		return keystone.State{}, err
	}
	for _, r := range regions {
		state.Regions = append(state.Regions, r.ID)
	}
	if state.Endpoints, err = c.endpoints(ctx, ""); err != nil {
		return keystone.State{}, err
	}
	state.NameEndpoints()
	return state, nil
}

// maxPages bounds how many pages a listing may have.
const maxPages = 1000

// list reads a collection of the Identity API, "services" or "regions", with all
// its pages; query is its query, or empty.
func list[T any](ctx context.Context, c *Client, collection, query string) ([]T, error) {
	var all []T
	asked := map[string]bool{}
	for range maxPages {
		asked[query] = true
		var page map[string]json.RawMessage
		at := c.identity.ServiceURL(collection)
		if query != "" {
			at += "?" + query
		}
		_, err := c.identity.Get(ctx, at, &page, nil) //nolint:bodyclose // read and closed by Get
		if err != nil {
			return nil, c.explain(err, "list the "+collection, c.identity.Endpoint)
		}
		items, next, err := readPage[T](page, collection)
		if err != nil {
			return nil, fmt.Errorf("list the %s at %s: %w", collection, c.URL(), err)
		}
		all = append(all, items...)
		if next == "" {
			return all, nil
		}
		if query = next; asked[query] {
			break
		}
	}
	return nil, fmt.Errorf("list the %s at %s: its pages (links.next) have no end", collection, c.URL())
}

// readPage gives the items of a page, and the query of the next, empty for the
// last. Of links.next no more than the query is taken: a token is not sent to
// where an answer says.
func readPage[T any](page map[string]json.RawMessage, collection string) (items []T, next string, err error) {
	var truncated bool
	var links struct {
		Next *string `json:"next"`
	}
	if _, ok := page[collection]; !ok {
		return nil, "", fmt.Errorf("its answer has no %q", collection)
	}
	for key, into := range map[string]any{collection: &items, "truncated": &truncated, "links": &links} {
		if text, ok := page[key]; ok {
			if err := json.Unmarshal(text, into); err != nil {
				return nil, "", fmt.Errorf("its answer cannot be read: %w", err)
			}
		}
	}
	if truncated {
		return nil, "", fmt.Errorf("Keystone gives %d and leaves the others out (\"truncated\"), and half a catalog is none to plan on; raise list_limit in [catalog] of keystone.conf, or remove it", len(items))
	}
	if links.Next == nil || *links.Next == "" {
		return items, "", nil
	}
	at, err := url.Parse(*links.Next)
	if err != nil || at.RawQuery == "" {
		return nil, "", fmt.Errorf("it has a next page (links.next) without a query: %q", *links.Next)
	}
	return items, at.RawQuery, nil
}

// apiService is a service as the Identity API v3 has it.
type apiService struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Enabled *bool  `json:"enabled"` // absent is true
}

// apiRegion is a region likewise.
type apiRegion struct {
	ID string `json:"id"`
}

// apiEndpoint is an endpoint as the Identity API v3 has it.
type apiEndpoint struct {
	ID          string `json:"id"`
	Interface   string `json:"interface"`
	RegionID    string `json:"region_id"`
	ServiceID   string `json:"service_id"`
	URL         string `json:"url"`
	Enabled     *bool  `json:"enabled"` // absent is true
	Name        string `json:"name"`
	Description string `json:"description"`
}

func (e apiEndpoint) record() keystone.Record {
	return keystone.Record{
		ID: e.ID, Region: e.RegionID, ServiceID: e.ServiceID, Interface: e.Interface, URL: e.URL,
		Enabled: e.Enabled == nil || *e.Enabled, Name: e.Name, Description: e.Description,
	}
}

// endpoints lists the endpoints, of one service if serviceID is not empty. It
// lists rather than gets: Keystone caches what it gets.
func (c *Client) endpoints(ctx context.Context, serviceID string) ([]keystone.Record, error) {
	query := ""
	if serviceID != "" {
		query = url.Values{"service_id": {serviceID}}.Encode()
	}
	all, err := list[apiEndpoint](ctx, c, "endpoints", query)
	if err != nil {
		return nil, err
	}
	records := make([]keystone.Record, 0, len(all))
	for _, e := range all {
		records = append(records, e.record())
	}
	return records, nil
}

// put changes URL and enabled flag of the endpoint id; its id stays.
func (c *Client) put(ctx context.Context, id, url string, enabled bool) error {
	body := map[string]any{"endpoint": map[string]any{"url": url, "enabled": enabled}}
	_, err := c.identity.Patch(ctx, c.identity.ServiceURL("endpoints", id), body, nil, nil) //nolint:bodyclose // closed by Patch
	return c.explain(err, "change endpoint "+id, c.identity.Endpoint)
}

// create makes an endpoint, and gives the id that Keystone chose. The region
// has to exist: given as region_id, Keystone makes none.
func (c *Client) create(ctx context.Context, r keystone.Record) (string, error) {
	body := map[string]any{"endpoint": map[string]any{
		"interface": r.Interface, "region_id": r.Region, "service_id": r.ServiceID, "url": r.URL, "enabled": r.Enabled,
	}}
	var answer struct {
		Endpoint apiEndpoint `json:"endpoint"`
	}
	_, err := c.identity.Post(ctx, c.identity.ServiceURL("endpoints"), body, &answer, nil) //nolint:bodyclose // read and closed by Post
	return answer.Endpoint.ID, c.explain(err, "create the "+r.String(), c.identity.Endpoint)
}

// createService makes a service, and gives the id that Keystone chose.
func (c *Client) createService(ctx context.Context, name, typ string) (string, error) {
	body := map[string]any{"service": map[string]any{"name": name, "type": typ, "enabled": true}}
	var answer struct {
		Service struct {
			ID string `json:"id"`
		} `json:"service"`
	}
	_, err := c.identity.Post(ctx, c.identity.ServiceURL("services"), body, &answer, nil) //nolint:bodyclose // read and closed by Post
	return answer.Service.ID, c.explain(err, "create the service "+name, c.identity.Endpoint)
}

// remove deletes what was created: kind is "endpoints" or "services".
func (c *Client) remove(ctx context.Context, kind, id string) error {
	_, err := c.identity.Delete(ctx, c.identity.ServiceURL(kind, id), nil) //nolint:bodyclose // closed by Delete
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil
	}
	return c.explain(err, "delete "+strings.TrimSuffix(kind, "s")+" "+id, c.identity.Endpoint)
}

// Unreachable says that Keystone did not answer at all, or not as Keystone: the
// same credentials may work at another URL.
type Unreachable struct{ text string }

func (e *Unreachable) Error() string { return e.text }

// explain says in words for an operator what err, of trying to do what at base,
// means. It has no secret in it. It is nil for nil.
func (c *Client) explain(err error, what, base string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s at %s: %w", what, base, context.Canceled)
	}
	if code, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err); ok {
		return c.explainCode(code, what, base)
	}
	text := fmt.Sprintf("%s at %s: %s", what, strings.TrimRight(base, "/"), c.auth.scrub(reachText(err), c.token.ID.text))
	return &Unreachable{text + "; its auth_url is from " + c.auth.Source}
}

// explainCode says what an answer with an unexpected code means.
func (c *Client) explainCode(answer gophercloud.ErrUnexpectedResponseCode, what, base string) error {
	at := strings.TrimRight(base, "/")
	said := c.auth.scrub(keystoneMessage(answer.Body), c.token.ID.text)
	switch answer.Actual {
	case http.StatusUnauthorized:
		return fmt.Errorf("%s at %s: Keystone refuses %s (401): wrong %s, or a name that it does not know; see %s",
			what, at, c.auth.Who(), c.auth.proof(), c.auth.Source)
	case http.StatusForbidden:
		return fmt.Errorf("%s at %s: %s is not allowed to (403); it takes the role admin", what, at, c.auth.Who())
	case http.StatusNotFound:
		return &Unreachable{fmt.Sprintf("%s at %s: there is no Identity API v3 at this path (404); see auth_url in %s", what, at, c.auth.Source)}
	case http.StatusBadRequest:
		if strings.Contains(string(answer.Body), "HTTPS port") {
			return &Unreachable{fmt.Sprintf("%s at %s: TLS is spoken there; write https:// in auth_url of %s", what, at, c.auth.Source)}
		}
	}
	text := fmt.Sprintf("%s at %s: Keystone answers %d%s", what, at, answer.Actual, said)
	if answer.Actual >= 500 {
		return &Unreachable{text}
	}
	return errors.New(text)
}

// proof names what proves who asks.
func (a Auth) proof() string {
	// The others need nothing here.
	//exhaustive:ignore
	switch a.Method {
	case ByToken:
		return "or expired token"
	case ByApplicationCredential:
		return "application credential secret"
	}
	return "password"
}

// keystoneMessage gives what Keystone says in an error's body, with ": " before it.
func keystoneMessage(body []byte) string {
	var doc struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(bytes.TrimSpace(body), &doc) != nil || doc.Error.Message == "" {
		return "" // a proxy's page, say: the code has to do
	}
	message := strings.Join(strings.Fields(doc.Error.Message), " ")
	return ": " + message[:min(len(message), 300)]
}

// reachText says why no answer came, and what to do about it.
func reachText(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("the name %s does not resolve (%s)", dns.Name, dns.Err)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "its certificate is signed by nobody known here; name the CA by --os-cacert FILE or OS_CACERT"
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("its certificate is not for %s", name.Host)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return "its certificate is not valid: " + invalid.Error()
	}
	switch timeout, isTimeout := errors.AsType[net.Error](err); {
	case errors.Is(err, unix.ECONNREFUSED):
		return "connection refused; does the service run there, and is the port right?"
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return "the host cannot be reached"
	case isTimeout && timeout.Timeout():
		return "no answer in time; is the host up, and does a firewall drop this?"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "it speaks HTTP, not TLS"
	case errors.Is(err, unix.ECONNRESET):
		return "the connection was reset"
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}

// Fetch gives the endpoints of the Keystone of auth as a listing has them, in
// the order of their ids.
func Fetch(ctx context.Context, auth Auth) ([]keystone.Endpoint, error) {
	c, err := Connect(ctx, auth)
	if err != nil {
		return nil, err
	}
	state, err := c.State(ctx)
	if err != nil {
		return nil, err
	}
	var endpoints []keystone.Endpoint
	for i, r := range state.Sorted().Endpoints {
		e := r.Endpoint()
		e.Row = i + 1
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}
