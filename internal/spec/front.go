package spec

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/status"
)

// Behind says that another balancer is in front of a VIP, and what of it is believed.
type Behind struct {
	// ProxyProtocol: it says whom a connection is for by the PROXY protocol, version 1 or 2.
	// Else by X-Forwarded-For of each request.
	ProxyProtocol bool
	Trusted       []netip.Prefix // its addresses; empty: there is none
}

// Any reports whether there is another balancer.
func (b Behind) Any() bool { return len(b.Trusted) > 0 }

// An ErrorPage is what clients get with a code in the place of HAProxy's own answer.
type ErrorPage struct {
	Code int
	File string // absolute path, on every controller
}

// Maintenance says that a service is closed: its clients get 503, in mode tcp no connection.
type Maintenance struct {
	On         bool
	Page       string        // absolute path, on every controller; empty: a few words
	RetryAfter time.Duration // in whole seconds
}

// DefaultRetryAfter is when clients of a service in maintenance are to come again.
const DefaultRetryAfter = 5 * time.Minute

// PageType gives the content type of a page by the end of its name; empty for none.
func PageType(file string) string {
	return map[string]string{
		".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".json": "application/json", ".txt": "text/plain; charset=utf-8",
	}[path.Ext(file)]
}

// pageCodes are those that HAProxy answers by itself, or that a limit does.
func pageCodes() []int { return []int{400, 403, 408, 413, 421, 429, 500, 502, 503, 504} }

type rawBehind struct {
	node          *yaml.Node
	proxyProtocol item[bool]
	trusted       rawList[item[netip.Prefix]]
}

func behindFields() []field[rawBehind] {
	return []field[rawBehind]{{
		"trusted", true, "the addresses of the balancer in front", "[10.64.30.5, 10.64.30.6]",
		func(d *decoder, v value, r *rawBehind) { r.trusted = d.networks(v) },
	}, {
		"proxy_protocol", false, "true or false", "true",
		func(d *decoder, v value, r *rawBehind) { r.proxyProtocol = d.boolean(v) },
	}}
}

func (r rawBehind) build() Behind {
	return Behind{ProxyProtocol: r.proxyProtocol.v, Trusted: prefixes(r.trusted)}
}

// pages reads a mapping of codes and files.
func (d *decoder) pages(v value) []ErrorPage {
	entries, _ := d.entries(v)
	var all []ErrorPage
	for _, e := range entries {
		code, err := strconv.Atoi(e.key.Value)
		if err != nil || strconv.Itoa(code) != e.key.Value || !slices.Contains(pageCodes(), code) {
			words := make([]string, len(pageCodes()))
			for i, c := range pageCodes() {
				words[i] = strconv.Itoa(c)
			}
			d.fail(status.CodeUnknownValue, e.key, fmt.Sprintf("%s: HAProxy answers no %s by itself", v.path, quote(e.key.Value)), "write "+list(words, "or"))
			continue
		}
		if file := d.page(value{follow(e.value), join(v.path, e.key.Value), hint{"the file of a page", e.key.Value, "/etc/holdfast/pages/sorry.html"}}); file.ok {
			all = append(all, ErrorPage{code, file.v})
		}
	}
	slices.SortFunc(all, func(a, b ErrorPage) int { return a.Code - b.Code })
	return all
}

// page reads the path of a page, whose name says of which kind it is.
func (d *decoder) page(v value) item[string] {
	file := d.filePath(v)
	if file.ok && PageType(file.v) == "" {
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s is a page of no known kind", v.path, quote(file.v)), "write a file whose name ends with .html, .json or .txt")
		return bad[string](v)
	}
	return file
}

type rawMaintenance struct {
	on         item[bool]
	page       item[string]
	retryAfter item[time.Duration]
}

// maintenance reads true, false, or what clients get.
func (d *decoder) maintenance(v value) rawMaintenance {
	var raw rawMaintenance
	if v.node.Kind != yaml.MappingNode {
		raw.on = d.boolean(v)
		return raw
	}
	raw.on = good(v, true)
	mapping(d, v, maintenanceFields(), &raw)
	return raw
}

func maintenanceFields() []field[rawMaintenance] {
	return []field[rawMaintenance]{{
		"page", false, "the file of the page that clients get", "/etc/holdfast/pages/maintenance.html",
		func(d *decoder, v value, r *rawMaintenance) { r.page = d.page(v) },
	}, {
		"retry_after", false, "when clients are to come again", "10m",
		func(d *decoder, v value, r *rawMaintenance) { r.retryAfter = d.period(v) },
	}}
}

func (r rawMaintenance) build() Maintenance {
	if !r.on.v {
		return Maintenance{}
	}
	return Maintenance{On: true, Page: r.page.v, RetryAfter: r.retryAfter.or(DefaultRetryAfter)}
}

// Page gives the page that clients of svc get with a code: its own, or that of all services;
// empty for none.
func (s *Spec) Page(svc Service, code int) string {
	for _, pages := range [][]ErrorPage{svc.ErrorPages, s.ErrorPages} {
		for _, p := range pages {
			if p.Code == code {
				return p.File
			}
		}
	}
	return ""
}

// Pages gives the files of all pages of s, each once.
func (s *Spec) Pages() []string {
	var all []string
	add := func(file string) {
		if file != "" && !slices.Contains(all, file) {
			all = append(all, file)
		}
	}
	for _, p := range s.ErrorPages {
		add(p.File)
	}
	for _, svc := range s.Services {
		add(svc.Maintenance.Page)
		for _, p := range svc.ErrorPages {
			add(p.File)
		}
	}
	return all
}

// Lists gives the files of all lists of s, each once.
func (s *Spec) Lists() []string {
	var all []string
	add := func(a Access) {
		for _, file := range []string{a.AllowFile, a.DenyFile} {
			if file != "" && !slices.Contains(all, file) {
				all = append(all, file)
			}
		}
	}
	for _, v := range s.VIPs {
		add(v.Access)
	}
	for _, svc := range s.Services {
		add(svc.Access)
	}
	return all
}

// ParseList reads a file of addresses and networks, one a line; what follows a "#" is a
// remark. The error says what is wrong, and in which line.
func ParseList(text []byte) ([]netip.Prefix, error) {
	var all []netip.Prefix
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		p, err := netip.ParsePrefix(line)
		if a, addrErr := netip.ParseAddr(line); addrErr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %s is neither an address nor a network", n, quote(line))
		case p != p.Masked():
			return nil, fmt.Errorf("line %d: %s is an address in a network; write %s, or %s for the address alone", n, quote(line), p.Masked(), p.Addr())
		}
		all = append(all, p)
	}
	return all, nil
}

// Stats says where HAProxy's own page of statistics and its exporter are.
type Stats struct {
	// Listen is an address and a port, or a port at the controllers' own addresses (an
	// AddrPort without an address); the zero value: nowhere.
	Listen netip.AddrPort
	Allow  []netip.Prefix // who may read, beside the cloud itself
}

// On reports whether there is a page.
func (s Stats) On() bool { return s.Listen.Port() != 0 }

type rawStats struct {
	node   *yaml.Node
	listen item[netip.AddrPort]
	allow  rawList[item[netip.Prefix]]
}

func statsFields() []field[rawStats] {
	return []field[rawStats]{{
		"listen", true, "a port at the controllers' own addresses, or an address with its port", "8404",
		func(d *decoder, v value, r *rawStats) { r.listen = d.listen(v) },
	}, {
		"allow", false, "the addresses and networks that may read it", "[10.64.0.0/16]",
		func(d *decoder, v value, r *rawStats) { r.allow = d.networks(v) },
	}}
}

// listen reads a port, or an address with its port.
func (d *decoder) listen(v value) item[netip.AddrPort] {
	if v.node.Kind == yaml.ScalarNode && strings.ContainsAny(v.node.Value, ".:") {
		return d.addressPort(v)
	}
	p := d.port(v)
	if !p.ok {
		return bad[netip.AddrPort](v)
	}
	return good(v, netip.AddrPortFrom(netip.Addr{}, uint16(p.v)))
}

// checkStats finds a port that is taken.
func (c *checker) checkStats() {
	l := c.raw.stats.listen
	if !l.ok {
		return
	}
	port := int(l.v.Port())
	if a := c.raw.agent; port == a.port.or(defaultPort) || port == a.checkPort.or(defaultCheckPort) {
		c.fail(status.CodePortClash, l.node, fmt.Sprintf("stats.listen wants port %d, which the agents have", port), "write another port")
		return
	}
	for _, v := range c.raw.vips.all {
		if !slices.ContainsFunc(v.addresses.all, func(a item[netip.Prefix]) bool { return a.ok && a.v.Addr() == l.v.Addr() }) {
			continue // HAProxy has the same port at another address
		}
		if v.public.node != nil && c.publicPort(v) == port || v.tls.node != nil && v.tls.redirect.ok && v.tls.redirect.v == port {
			c.fail(status.CodePortClash, l.node, fmt.Sprintf("stats.listen wants port %d of VIP %s, which clients have", port, v.name.v), "write another port, or a port alone for the controllers' own addresses")
			return
		}
	}
	for _, s := range c.raw.services.all {
		if p, _ := c.portOf(s); p == port || s.hostPort.or(0) == port {
			c.fail(status.CodePortClash, l.node, fmt.Sprintf("stats.listen wants port %d, which service %s has (line %d)", port, s.name.v, s.key.Line), "write a port that no service has")
			return
		}
	}
}

func (r rawStats) build() Stats {
	return Stats{Listen: r.listen.v, Allow: prefixes(r.allow)}
}

func statsValues(s Stats) []pair {
	listen := none
	if s.On() {
		listen = s.Listen.String()
		if !s.Listen.Addr().IsValid() {
			listen = strconv.Itoa(int(s.Listen.Port()))
		}
	}
	return []pair{{"stats.listen", listen}, {"stats.allow", networksValue(s.Allow)}}
}

func behindValues(b Behind) []pair {
	return []pair{{"behind.trusted", networksValue(b.Trusted)}, {"behind.proxy_protocol", strconv.FormatBool(b.ProxyProtocol)}}
}

func pagesValue(pages []ErrorPage) string {
	words := make([]string, len(pages))
	for i, p := range pages {
		words[i] = fmt.Sprintf("%d: %s", p.Code, p.File)
	}
	return orNone(strings.Join(words, ", "))
}

func maintenanceValue(m Maintenance) string {
	if m == (Maintenance{}) {
		return none
	}
	value := "retry after " + span(m.RetryAfter)
	if m.Page != "" {
		value += ", " + m.Page
	}
	if !m.On {
		value += ", off"
	}
	return value
}
