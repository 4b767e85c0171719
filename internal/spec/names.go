package spec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"holdfast/internal/status"
)

// hostname reads a DNS name (RFC 1123 section 2.1).
func (d *decoder) hostname(v value) item[string] {
	t := d.text(v)
	if !t.ok {
		return t
	}
	if _, err := netip.ParseAddr(strings.Trim(t.v, "[]")); err == nil {
		d.fail(status.CodeBadHostname, v.node, fmt.Sprintf("%s %s is an address", v.path, quote(t.v)), "write the DNS name that maps to the VIP: endpoints keep a name when the address changes")
		return bad[string](v)
	}
	problem, remedy := hostnameProblem(t.v)
	if problem == "" {
		return t
	}
	d.fail(status.CodeBadHostname, v.node, fmt.Sprintf("%s %s %s", v.path, quote(t.v), problem), remedy)
	return bad[string](v)
}

// hostnameProblem says why s is no DNS name, and what to do; "" if it is one.
func hostnameProblem(s string) (problem, remedy string) {
	if strings.HasSuffix(s, ".") {
		return "ends with a dot", "remove the dot"
	}
	if strings.Contains(s, "://") {
		return "is a URL", "write the name in it only"
	}
	if len(s) > 253 {
		return "is longer than the 253 characters that DNS allows", "write a shorter name"
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		switch {
		case label == "":
			return "has two dots in a row, or begins with one", "remove one"
		case len(label) > 63:
			return "has a part longer than the 63 characters that DNS allows", "write a shorter name"
		case strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-"):
			return "has a part that begins or ends with -", "write letters, digits and - within"
		case strings.ContainsFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' }):
			return "is not a DNS name", "write letters, digits, - and dots"
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "ends in a number, as addresses do", "write a DNS name"
	}
	return "", ""
}

// device reads the name of a network interface as Linux has them.
func (d *decoder) device(v value) item[string] {
	t := d.text(v)
	if !t.ok {
		return t
	}
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ':' }
	switch {
	case len(t.v) > 15:
		d.fail(status.CodeBadInterface, v.node, fmt.Sprintf("%s %s has %d characters", v.path, quote(t.v), len(t.v)), `write the name of an interface as "ip link" shows it, at most 15 characters`)
	case t.v == "." || t.v == ".." || strings.ContainsFunc(t.v, odd):
		d.fail(status.CodeBadInterface, v.node, fmt.Sprintf("%s %s cannot be an interface", v.path, quote(t.v)), `write its name as "ip link" shows it`)
	default:
		return t
	}
	return bad[string](v)
}

// filePath reads the absolute path of a file.
func (d *decoder) filePath(v value) item[string] {
	t := d.text(v)
	switch {
	case !t.ok:
		return t
	case !strings.HasPrefix(t.v, "/"):
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s is not absolute", v.path, quote(t.v)), "write the whole path, beginning with /")
	case strings.ContainsFunc(t.v, unicode.IsSpace):
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s has a blank in it", v.path, quote(t.v)), "write a path without blanks")
	default:
		return t
	}
	return bad[string](v)
}

// maxSocketPath is the longest path of a unix socket, in bytes (unix(7)).
const maxSocketPath = 107

// logTarget reads where syslog goes: the path of a socket, or address:port.
func (d *decoder) logTarget(v value) item[string] {
	t := d.text(v)
	if !t.ok {
		return t
	}
	if strings.HasPrefix(t.v, "/") {
		if len(t.v) > maxSocketPath {
			d.fail(status.CodeBadLog, v.node, fmt.Sprintf("%s has %d characters", v.path, len(t.v)), fmt.Sprintf("write the path of a socket, which has at most %d", maxSocketPath))
			return bad[string](v)
		}
		return d.filePath(v)
	}
	at, err := netip.ParseAddrPort(t.v)
	if err != nil || at.Port() == 0 || at.Addr().Zone() != "" || at.String() != t.v {
		d.fail(status.CodeBadLog, v.node, fmt.Sprintf("%s %s is neither the path of a socket nor an address with its port", v.path, quote(t.v)),
			`write one, like "/dev/log", "10.64.20.5:514" or "[2001:db8::5]:514"`)
		return bad[string](v)
	}
	return t
}

// urlPath reads the path of a URL, as it stands on the request line.
func (d *decoder) urlPath(v value) item[string] {
	t := d.text(v)
	if !t.ok {
		return t
	}
	// What HAProxy's configuration would have to quote, a URL has to encode.
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'\\#<>^`{|}", r) }
	switch i := strings.IndexFunc(t.v, odd); {
	case strings.Contains(t.v, "://"):
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s is a URL", v.path, quote(t.v)), "write the path in it only, beginning with /")
	case !strings.HasPrefix(t.v, "/"):
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s does not begin with /", v.path, quote(t.v)), "write /"+t.v)
	case i >= 0:
		r := []rune(t.v[i:])[0]
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s has the character %q in it", v.path, quote(t.v), r), fmt.Sprintf("write it as %s", percent(r)))
	default:
		return t
	}
	return bad[string](v)
}

func percent(r rune) string {
	var b strings.Builder
	for _, c := range []byte(string(r)) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// endpointPath reads the path of an endpoint URL, with Keystone's templates.
func (d *decoder) endpointPath(v value) item[string] {
	t := d.urlPath(v)
	if !t.ok {
		return t
	}
	if wrong := badTemplate(t.v); wrong != "" {
		d.fail(status.CodeBadPath, v.node, fmt.Sprintf("%s %s has %s in it, which Keystone does not replace", v.path, quote(t.v), quote(wrong)), "write %(project_id)s or $(project_id)s")
		return bad[string](v)
	}
	return t
}

// templates are the words that Keystone replaces in endpoint URLs
// (WHITELISTED_PROPERTIES in keystone/common/utils.py, and older ones).
func templates() []string {
	return []string{
		"tenant_id", "project_id", "user_id", "public_bind_host", "admin_bind_host", "compute_host",
		"admin_port", "public_port", "public_endpoint", "admin_endpoint",
	}
}

// badTemplate gives the first part of path that looks like a template and is
// none, "" if there is none.
func badTemplate(path string) string {
	for {
		i := strings.IndexAny(path, "$%")
		if i < 0 {
			return ""
		}
		path = path[i:]
		if path[0] == '$' && !strings.HasPrefix(path, "$(") {
			path = path[1:] // a mere dollar sign
			continue
		}
		word, rest, closed := strings.Cut(path[1:], ")s")
		if !closed || !strings.HasPrefix(word, "(") || !slices.Contains(templates(), word[1:]) {
			return cut(path, 30)
		}
		path = rest
	}
}
