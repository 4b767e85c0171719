package keystone

import (
	"fmt"
	"net/netip"
	"slices"
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

// Label names e as shortly as a message needs it: "public endpoint of glance".
func (e Endpoint) Label() string {
	name := e.ServiceName
	if name == "" {
		name = e.ServiceType
	}
	if e.Interface == "" {
		return "endpoint of " + name
	}
	return e.Interface + " endpoint of " + name
}

// A Location is an endpoint's URL in parts.
type Location struct {
	Scheme string // "http" or "https", of WebSockets "ws" or "wss"
	// Host is a name or an address, without brackets, in lower case; "" where
	// the URL has a template there.
	Host string
	Port int // 0 where the URL has a template there
	// Implicit reports that the URL names no port, so that port is the scheme's.
	Implicit bool
	Path     string // from the first slash, with its templates; may be empty
	// Dropped says what of the URL has no place in a spec; usually empty.
	Dropped string
}

// Locate takes a URL apart. It is not net/url: the templates that Keystone
// fills in, $(tenant_id)s and %(project_id)s, are no valid URL escapes.
func Locate(url string) (Location, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return Location{}, fmt.Errorf("%q is no URL; it has no http:// or https://", url)
	}
	l := Location{Scheme: strings.ToLower(scheme)}
	if !slices.Contains([]string{"http", "https", "ws", "wss"}, l.Scheme) {
		return Location{}, fmt.Errorf("the scheme %q is neither http nor https", scheme)
	}
	if i := strings.IndexFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return Location{}, fmt.Errorf("%q has white space in it", url)
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest, l.Dropped = rest[:i], "what follows "+rest[i:i+1]
	}
	authority := rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, l.Path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority, l.Dropped = authority[i+1:], "the user and password"
	}
	if err := l.setAuthority(authority); err != nil {
		return Location{}, err
	}
	return l, nil
}

// setAuthority fills in host and port from "host", "host:port", "[v6]:port".
func (l *Location) setAuthority(authority string) error {
	host, port := splitPort(authority)
	switch {
	case IsTemplate(host):
	case strings.HasPrefix(host, "["):
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil {
			return fmt.Errorf("%q is no IPv6 address", host)
		}
		l.Host = addr.String()
	case host == "":
		return fmt.Errorf("the URL has no host")
	case strings.ContainsAny(host, ":[]"):
		return fmt.Errorf("%q is no host; an IPv6 address stands in brackets", host)
	default:
		l.Host = strings.TrimSuffix(strings.ToLower(host), ".")
	}
	return l.setPort(port)
}

// setPort fills in the port from its text, "" for the scheme's own.
func (l *Location) setPort(text string) error {
	switch {
	case IsTemplate(text):
		return nil
	case text == "":
		l.Implicit, l.Port = true, usualPort(l.Scheme)
		return nil
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return fmt.Errorf("%q is no port", text)
	}
	l.Port = port
	return nil
}

// splitPort cuts authority at the colon of its port, if it has one. A colon
// within brackets or within a template is none.
func splitPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.ContainsAny(authority[i:], "]") {
		return authority, ""
	}
	if strings.Contains(authority[:i], ":") && !strings.HasPrefix(authority, "[") && !IsTemplate(authority[:i]) {
		return authority, "" // an IPv6 address without brackets; setAuthority refuses it
	}
	return authority[:i], authority[i+1:]
}

// IsTemplate reports whether s has a substitution of Keystone's in it.
func IsTemplate(s string) bool { return TemplateAt(s) >= 0 }

// TemplateAt gives where the first substitution in s begins; -1 for none.
func TemplateAt(s string) int {
	dollar, percent := strings.Index(s, "$("), strings.Index(s, "%(")
	if dollar < 0 || percent >= 0 && percent < dollar {
		return percent
	}
	return dollar
}

// standard gives l as host:port, the port always said.
func (l Location) standard() string {
	host := l.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, l.Port)
}

// Origin gives l without its path: "http://ctl1:9292".
func (l Location) Origin() string { return l.Scheme + "://" + l.standard() }

// Usual reports whether l has the port that its scheme has by itself, written or not.
func (l Location) Usual() bool {
	return l.Port == usualPort(l.Scheme)
}

func usualPort(scheme string) int {
	if scheme == "https" || scheme == "wss" {
		return 443
	}
	return 80
}

// Addr gives l's host as an address, if it is one.
func (l Location) Addr() (netip.Addr, bool) {
	addr, err := netip.ParseAddr(l.Host)
	return addr, err == nil
}

// Loopback reports whether l is reachable on its own machine only.
func (l Location) Loopback() bool {
	addr, ok := l.Addr()
	return ok && (addr.IsLoopback() || addr.IsUnspecified()) || l.Host == "localhost" || strings.HasPrefix(l.Host, "localhost.")
}

// ShortHost gives the first label of l's host name, or "" for an address.
func (l Location) ShortHost() string {
	if _, ok := l.Addr(); ok {
		return ""
	}
	short, _, _ := strings.Cut(l.Host, ".")
	return short
}
