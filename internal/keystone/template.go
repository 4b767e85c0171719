package keystone

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/status"
)

// keystoneKeys are what Keystone fills into URLs (keystone.common.utils,
// WHITELISTED_PROPERTIES). Those beside project and user are of its
// configuration, and not known here.
func keystoneKeys() []string {
	return []string{
		"tenant_id", "project_id", "user_id", "public_bind_host", "admin_bind_host", "compute_host",
		"admin_port", "public_port", "public_endpoint", "admin_endpoint",
	}
}

// A Filled is a URL as Keystone puts it into the catalog of a token.
type Filled struct {
	// URL has the templates that are not known here still in it, as %(key)s.
	URL string
	// Partly says that there are any of these.
	Partly bool
	// Project says that it takes a project, which the token has not: Keystone
	// leaves such an endpoint out.
	Project bool
	// Fault says why Keystone can fill it for no token at all, and leaves the
	// endpoint out of every catalog; empty if it can.
	Fault string
}

// Fill gives url as Keystone's format_url does, which is Python's % with a
// mapping, after "$(" was made "%(".
func Fill(url, project, user string) Filled {
	var out Filled
	var b strings.Builder
	rest := strings.ReplaceAll(url, "$(", "%(")
	for {
		before, after, found := strings.Cut(rest, "%")
		b.WriteString(before)
		if !found {
			break
		}
		key, length, fault := readDirective(after)
		if fault != "" {
			return Filled{URL: url, Fault: fault}
		}
		text := after[:length]
		rest = after[length:]
		switch text {
		case "(tenant_id)s", "(project_id)s":
			out.Project = out.Project || project == ""
			b.WriteString(project)
		case "(user_id)s":
			b.WriteString(user)
		default:
			if key == "%" {
				b.WriteString("%")
				continue
			}
			out.Partly = true
			b.WriteString("%" + text)
		}
	}
	out.URL = b.String()
	return out
}

// readDirective reads what follows a "%" in a URL, one directive of Python's %: the
// key of what goes in its place, "%" for the sign itself, and its length; or it says
// why Keystone cannot fill it.
func readDirective(s string) (key string, length int, fault string) {
	if strings.HasPrefix(s, "%") {
		return "%", 1, ""
	}
	rest := s
	if after, named := strings.CutPrefix(rest, "("); named {
		var closed bool
		if key, rest, closed = strings.Cut(after, ")"); !closed {
			return "", 0, `a "(" after "%" or "$" is not closed`
		}
	}
	rest = strings.TrimLeft(rest, "#0- +")
	rest = strings.TrimLeft(rest, "0123456789")
	if after, precise := strings.CutPrefix(rest, "."); precise {
		rest = strings.TrimLeft(after, "0123456789")
	}
	rest = strings.TrimLeft(rest, "hlL")
	if rest == "" {
		if key != "" {
			return "", 0, fmt.Sprintf(`there is no "s" after (%s)`, key)
		}
		return "", 0, `a "%" stands alone; for the sign itself write "%%"`
	}
	kind, length := rest[:1], len(s)-len(rest)+1
	switch {
	case key == "":
		return "", 0, fmt.Sprintf(`"%%%s" is no template; for the sign itself write "%%%%"`, s[:length])
	case !slices.Contains(keystoneKeys(), key):
		return "", 0, fmt.Sprintf("Keystone knows no %q to fill in", key)
	case !strings.Contains("sra", kind) && (!strings.HasSuffix(key, "_port") || !strings.Contains("diu", kind)):
		return "", 0, fmt.Sprintf(`%s is followed by %q, and takes an "s"`, key, kind)
	}
	return key, length, ""
}

// Fault says why url is in no token's catalog, whatever the token: Keystone
// cannot fill in its templates, says so in its own log only, and leaves the
// endpoint out. It refuses such a URL in a new endpoint, and takes it for one
// that is there. Empty for a URL that is in order.
func Fault(url string) string { return Fill(url, "p", "u").Fault }

// A notFillable is a URL with a Fault.
type notFillable struct{ url, why string }

func (e *notFillable) Error() string {
	return fmt.Sprintf("%s is in the catalog of no token: %s", e.url, e.why)
}

// FaultError gives the Fault of url as an error, nil for none.
func FaultError(url string) error {
	if why := Fault(url); why != "" {
		return &notFillable{url, why}
	}
	return nil
}

// badURLCode gives the code of the finding for an URL that is wrong for err.
func badURLCode(err error) string {
	if _, ok := errors.AsType[*notFillable](err); ok {
		return status.CodeNotFillable
	}
	return status.CodeBadURL
}
