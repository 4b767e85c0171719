package spec

import (
	"fmt"
	"strings"

	"holdfast/internal/status"

	"go.yaml.in/yaml/v4"
)

type (
	rawPublic struct {
		node   *yaml.Node // nil: none
		by     item[string]
		port   item[int]
		domain item[string]
		ports  item[bool]
		routes rawList[rawRoute]
	}
	rawRoute struct {
		key        *yaml.Node
		service    string
		off        bool
		name, path item[string]
		strip      item[bool]
	}
	rawCertificate struct{ certificate, key item[string] }
)

// rawPublic reads how services share a port: a mapping, or the word of its key "by".
func (d *decoder) rawPublic(v value) rawPublic {
	raw := rawPublic{node: v.node}
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) {
		raw.by = d.by(v)
		return raw
	}
	mapping(d, v, publicFields(), &raw)
	return raw
}

func (d *decoder) by(v value) item[string] { return d.choice(v, string(ByName), string(ByPath)) }

func publicFields() []field[rawPublic] {
	return []field[rawPublic]{
		{
			"by", true, "name or path", "name",
			func(d *decoder, v value, p *rawPublic) { p.by = d.by(v) },
		},
		{
			"port", false, "the port that the services share", "443",
			func(d *decoder, v value, p *rawPublic) { p.port = d.port(v) },
		},
		{
			"domain", false, "the domain of the services' names", "example.org",
			func(d *decoder, v value, p *rawPublic) { p.domain = d.hostname(v) },
		},
		{
			"ports", false, "true or false", "true",
			func(d *decoder, v value, p *rawPublic) { p.ports = d.boolean(v) },
		},
		{
			"services", false, "a mapping of services", "{nova: compute.example.org, glance: /image, novnc: off}",
			func(d *decoder, v value, p *rawPublic) { p.routes = d.rawRoutes(v) },
		},
	}
}

func (d *decoder) rawRoutes(v value) rawList[rawRoute] {
	l := rawList[rawRoute]{node: v.node}
	entries, ok := d.entries(v)
	l.ok = ok
	for _, e := range entries {
		at := value{follow(e.value), join(v.path, e.key.Value), hint{what: `write a host name, a path, off, or a mapping, as in "{path: /image, strip: false}"`}}
		l.all = append(l.all, d.rawRoute(e.key, at))
	}
	return l
}

// rawRoute reads how one service is reached: a name, a path, "off", or a mapping.
func (d *decoder) rawRoute(key *yaml.Node, v value) rawRoute {
	raw := rawRoute{key: key, service: key.Value}
	switch n := v.node; {
	case n.Kind != yaml.ScalarNode || isNull(n):
		mapping(d, v, routeFields(), &raw)
	case strings.EqualFold(n.Value, "off") || n.Style == 0 && strings.EqualFold(n.Value, "no") || n.Tag == "!!bool" && strings.EqualFold(n.Value, "false"):
		raw.off = true
	case strings.HasPrefix(n.Value, "/"):
		raw.path = d.prefix(v)
	default:
		raw.name = d.hostname(v)
	}
	return raw
}

func routeFields() []field[rawRoute] {
	return []field[rawRoute]{
		{
			"name", false, "the host name by which it is reached", "compute.example.org",
			func(d *decoder, v value, r *rawRoute) { r.name = d.hostname(v) },
		},
		{
			"path", false, "the path below which it is reached", "/compute",
			func(d *decoder, v value, r *rawRoute) { r.path = d.prefix(v) },
		},
		{
			"strip", false, "true or false", "false",
			func(d *decoder, v value, r *rawRoute) { r.strip = d.boolean(v) },
		},
	}
}

// prefix reads the path below which a service is: "/compute", or "/" for all.
func (d *decoder) prefix(v value) item[string] {
	t := d.urlPath(v)
	switch {
	case !t.ok || t.v == "/":
		return t
	case strings.ContainsAny(t.v, "?%$()*;,&=!'[]:@") || strings.Contains(t.v, "//") || strings.HasPrefix(t.v, "/."):
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s is not a path below which a service can be", v.path, quote(t.v)), "write words of letters, digits and . - _ ~ with one / before each, as in /compute")
	case strings.HasSuffix(t.v, "/"):
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s ends with /", v.path, quote(t.v)), "write "+strings.TrimRight(t.v, "/"))
	default:
		return t
	}
	return bad[string](v)
}

func certificateFields() []field[rawCertificate] {
	return []field[rawCertificate]{
		{
			"certificate", true, "the file of the certificate, its chain and its key", "/etc/holdfast/tls/nova.pem",
			func(d *decoder, v value, r *rawCertificate) { r.certificate = d.filePath(v) },
		},
		{
			"key", false, "the file of the key, when it has one of its own", "/etc/holdfast/tls/nova.key",
			func(d *decoder, v value, r *rawCertificate) { r.key = d.filePath(v) },
		},
	}
}
