package keystone

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/spec"
)

// VIPFor gives the VIP on which svc serves the catalog interface iface.
func VIPFor(s *spec.Spec, svc spec.Service, iface string) (spec.VIP, bool) {
	i := slices.IndexFunc(s.VIPs, func(v spec.VIP) bool { return slices.Contains(v.Endpoints, iface) && svc.On(v) })
	if i < 0 {
		return spec.VIP{}, false
	}
	return s.VIPs[i], true
}

// Origin gives scheme, host and port of svc behind v, as clients of iface are to see
// them, and the path before the service's own, if there is one. What is not HTTP keeps the
// scheme that it has.
func Origin(v spec.VIP, svc spec.Service, iface, scheme string) string {
	usual := 80
	switch {
	case svc.Mode == spec.TCP && scheme != "":
	case (scheme == "ws" || scheme == "wss") && v.TLS != nil:
		scheme, usual = "wss", 443
	case scheme == "ws" || scheme == "wss":
		scheme = "ws"
	case v.TLS != nil:
		scheme, usual = "https", 443
	default:
		scheme = "http"
	}
	at := v.PlaceOf(svc, iface)
	if _, routed := v.Route(svc); routed && at.Port == v.Public.Port && at.Port == usual {
		return scheme + "://" + at.Name + at.Path
	}
	return fmt.Sprintf("%s://%s:%d%s", scheme, at.Name, at.Port, at.Path)
}

// target gives the URL that an endpoint of svc behind v is to have instead of
// current. All that follows the authority stays as it is, to the letter; but for the path of
// the service on v, which it has once.
func target(v spec.VIP, svc spec.Service, iface, current string) (string, error) {
	at, err := Locate(current)
	if err != nil {
		return "", err
	}
	want := Origin(v, svc, iface, at.Scheme)
	tail := withoutPrefix(TailOf(current), v.PlaceOf(svc, iface).Path, svc.Path)
	if to, err := Locate(want); err == nil && at.Host != "" && to.Origin() == at.Origin() && to.Path+tail == TailOf(current) {
		return current, nil // the same in other words: a port left out, capitals
	}
	return want + tail, nil
}

// withoutPrefix gives tail without prefix, the path before the service's own, which is path.
func withoutPrefix(tail, prefix, path string) string {
	rest, found := strings.CutPrefix(tail, prefix)
	switch {
	case prefix == "" || !found || rest != "" && !strings.HasPrefix(rest, "/"):
		return tail
	case strings.HasPrefix(path+"/", prefix+"/") && !strings.HasPrefix(rest+"/", prefix+"/"):
		return tail // it is the service's own, as rgw's /swift
	}
	return rest
}

// TailOf gives what follows the authority of url: path, templates, query.
func TailOf(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[i:]
	}
	return ""
}

// ProbeURL gives the URL to ask for what has the URL url in the catalog.
func ProbeURL(url string) string {
	tail := TailOf(url)
	return asHTTP(strings.TrimSuffix(url, tail)) + probePath(tail)
}

// asHTTP gives origin with the scheme by which what speaks WebSocket is asked for anything else.
func asHTTP(origin string) string {
	if rest, ok := strings.CutPrefix(origin, "ws"); ok && (strings.HasPrefix(rest, "://") || strings.HasPrefix(rest, "s://")) {
		return "http" + rest
	}
	return origin
}

// DiscoveryURL gives the URL at which the API of what has the URL url in the
// catalog lists its versions.
func DiscoveryURL(url string) string {
	tail := TailOf(url)
	return asHTTP(strings.TrimSuffix(url, tail)) + discoveryPath(probePath(tail))
}

// probePath gives the part of tail that can be asked for without knowing a
// project: all before the segment of the first template, and no query.
func probePath(tail string) string {
	if i := strings.IndexAny(tail, "?#"); i >= 0 {
		tail = tail[:i]
	}
	if i := TemplateAt(tail); i >= 0 {
		tail = tail[:strings.LastIndexByte(tail[:i], '/')+1]
	}
	tail = strings.ReplaceAll(tail, "%%", "%") // as clients see it
	if tail == "" {
		return "/"
	}
	return tail
}

// discoveryPath gives the path at which the API at path lists its versions:
// path up to its first segment that is a version, "/identity/" for "/identity/v3".
func discoveryPath(path string) string {
	segments := strings.Split(path, "/")
	i := slices.IndexFunc(segments, isVersion)
	if i < 0 {
		return path
	}
	return strings.Join(segments[:i], "/") + "/"
}

// isVersion reports whether s is like "v3" or "v2.1".
func isVersion(s string) bool {
	return len(s) > 1 && s[0] == 'v' && strings.Trim(s[1:], "0123456789.") == ""
}
