package keystone

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// An Endpoint is one row of "openstack endpoint list": where clients find one
// interface of one service in one region. A column that the listing does not
// have leaves its field at the zero value, but Enabled at true.
type Endpoint struct {
	ID          string
	Region      string
	ServiceName string
	ServiceType string
	Enabled     bool
	Interface   string // "public", "internal", "admin", or "" where the listing has none
	URL         string // as registered, templates and all: "http://ctl1:8776/v3/%(project_id)s"
	// Row is the line of the listing that the endpoint begins on, from 1.
	Row int
	// Text shows the row to a person: the line itself where the format has one
	// row a line, otherwise its values.
	Text string
}

// label names e as shortly as a message needs it: "public endpoint of glance".
func (e Endpoint) label() string {
	name := e.ServiceName
	if name == "" {
		name = e.ServiceType
	}
	if e.Interface == "" {
		return "endpoint of " + name
	}
	return e.Interface + " endpoint of " + name
}

// A location is an endpoint's URL in parts.
type location struct {
	scheme string // "http" or "https"
	// host is a name or an address, without brackets, in lower case; "" where
	// the URL has a template there.
	host string
	port int // 0 where the URL has a template there
	// implicit reports that the URL names no port, so that port is the scheme's.
	implicit bool
	path     string // from the first slash, with its templates; may be empty
	// dropped says what of the URL has no place in a spec; usually empty.
	dropped string
}

// locate takes a URL apart. It is not net/url: the templates that Keystone
// fills in, $(tenant_id)s and %(project_id)s, are no valid URL escapes.
func locate(url string) (location, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return location{}, fmt.Errorf("%q is no URL; it has no http:// or https://", url)
	}
	l := location{scheme: strings.ToLower(scheme)}
	if l.scheme != "http" && l.scheme != "https" {
		return location{}, fmt.Errorf("the scheme %q is neither http nor https", scheme)
	}
	if i := strings.IndexFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return location{}, fmt.Errorf("%q has white space in it", url)
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest, l.dropped = rest[:i], "what follows "+rest[i:i+1]
	}
	authority := rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, l.path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority, l.dropped = authority[i+1:], "the user and password"
	}
	if err := l.setAuthority(authority); err != nil {
		return location{}, err
	}
	return l, nil
}

// setAuthority fills in host and port from "host", "host:port", "[v6]:port".
func (l *location) setAuthority(authority string) error {
	host, port := splitPort(authority)
	switch {
	case isTemplate(host):
	case strings.HasPrefix(host, "["):
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil {
			return fmt.Errorf("%q is no IPv6 address", host)
		}
		l.host = addr.String()
	case host == "":
		return fmt.Errorf("the URL has no host")
	case strings.ContainsAny(host, ":[]"):
		return fmt.Errorf("%q is no host; an IPv6 address stands in brackets", host)
	default:
		l.host = strings.TrimSuffix(strings.ToLower(host), ".")
	}
	return l.setPort(port)
}

// setPort fills in the port from its text, "" for the scheme's own.
func (l *location) setPort(text string) error {
	switch {
	case isTemplate(text):
		return nil
	case text == "":
		l.implicit = true
		l.port = 80
		if l.scheme == "https" {
			l.port = 443
		}
		return nil
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return fmt.Errorf("%q is no port", text)
	}
	l.port = port
	return nil
}

// splitPort cuts authority at the colon of its port, if it has one. A colon
// within brackets or within a template is none.
func splitPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.ContainsAny(authority[i:], "]") {
		return authority, ""
	}
	if strings.Contains(authority[:i], ":") && !strings.HasPrefix(authority, "[") && !isTemplate(authority[:i]) {
		return authority, "" // an IPv6 address without brackets; setAuthority refuses it
	}
	return authority[:i], authority[i+1:]
}

// isTemplate reports whether s has a substitution of Keystone's in it.
func isTemplate(s string) bool { return templateAt(s) >= 0 }

// templateAt gives where the first substitution in s begins; -1 for none.
func templateAt(s string) int {
	dollar, percent := strings.Index(s, "$("), strings.Index(s, "%(")
	if dollar < 0 || percent >= 0 && percent < dollar {
		return percent
	}
	return dollar
}

// standard gives l as host:port, the port always said.
func (l location) standard() string {
	host := l.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, l.port)
}

// origin gives l without its path: "http://ctl1:9292".
func (l location) origin() string { return l.scheme + "://" + l.standard() }

// addr gives l's host as an address, if it is one.
func (l location) addr() (netip.Addr, bool) {
	addr, err := netip.ParseAddr(l.host)
	return addr, err == nil
}

// loopback reports whether l is reachable on its own machine only.
func (l location) loopback() bool {
	addr, ok := l.addr()
	return ok && (addr.IsLoopback() || addr.IsUnspecified()) || l.host == "localhost" || strings.HasPrefix(l.host, "localhost.")
}

// shortHost gives the first label of l's host name, or "" for an address.
func (l location) shortHost() string {
	if _, ok := l.addr(); ok {
		return ""
	}
	short, _, _ := strings.Cut(l.host, ".")
	return short
}
