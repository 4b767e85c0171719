package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ChangeKind says what became of a part of a spec.
type ChangeKind string

// The kinds of change.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// A Change is one difference between two specs.
type Change struct {
	Kind ChangeKind `json:"kind"`
	// Subject is the part: "service glance", "host ns1 of service designate",
	// "vip api", "controller ctl3"; "spec" for the keys at its top.
	Subject string `json:"subject"`
	// Key is what changed of it, as the file has it: "timeout.server". Empty
	// where the whole part came or went.
	Key string `json:"key,omitempty"`
	// Old and New are values as the file would have them, "none" where there is
	// none. A part that came has what there is to say of it in New, one that
	// went in Old.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
}

// Diff gives what differs in next from old, both made by Parse: the meaning, with
// every default filled in, and not the writing. First what is at the top, then
// controllers, VIPs and services, in the order of next.
//
// The hosts of a service that runs on the controllers, in both, are not told
// apart from these.
func Diff(old, next *Spec) []Change {
	d := &differ{}
	d.values("spec", topValues(old), topValues(next))
	parts(d, "controller ", old.Controllers, next.Controllers, controllerName, controllerValues)
	d.order("controllers", "order", old.ControllerNames(), next.ControllerNames())
	parts(d, "vip ", old.VIPs, next.VIPs, func(v VIP) string { return v.Name }, vipValues)
	for _, v := range next.VIPs {
		if i := slices.IndexFunc(old.VIPs, func(o VIP) bool { return o.Name == v.Name }); i >= 0 {
			d.order("vip "+v.Name, "prefer", old.VIPs[i].Prefer, v.Prefer)
		}
	}
	was := make(map[string]Service, len(old.Services))
	for _, s := range old.Services {
		was[s.Name] = s
	}
	parts(d, "service ", old.Services, next.Services, func(s Service) string { return s.Name }, serviceValues)
	for _, s := range next.Services {
		before, both := was[s.Name]
		switch {
		case !both && !onControllers(next, s):
			d.runsOn(s)
		case both && (!onControllers(old, before) || !onControllers(next, s)):
			d.hosts(before, s)
		}
	}
	return d.changes
}

func controllerName(c Controller) string { return c.Name }

// onControllers reports whether svc runs where it does when s says nothing of that.
func onControllers(s *Spec, svc Service) bool {
	return slices.EqualFunc(s.Controllers, svc.Hosts, func(c Controller, h Host) bool {
		return h == Host{Name: c.Name, Address: c.Address, Weight: DefaultWeight}
	})
}

// A differ collects changes.
type differ struct{ changes []Change }

func (d *differ) add(c Change) { d.changes = append(d.changes, c) }

// A pair is a key and its value, in words.
type pair struct{ key, value string }

// values compares two lists of pairs with the same keys.
func (d *differ) values(subject string, old, next []pair) {
	for i, p := range next {
		if old[i].value != p.value {
			d.add(Change{Kind: Changed, Subject: subject, Key: p.key, Old: old[i].value, New: p.value})
		}
	}
}

// order tells when what both lists have is in another order.
func (d *differ) order(subject, key string, old, next []string) {
	common := func(of, with []string) []string {
		return slices.DeleteFunc(slices.Clone(of), func(n string) bool { return !slices.Contains(with, n) })
	}
	was, is := common(old, next), common(next, old)
	if !slices.Equal(was, is) {
		d.add(Change{Kind: Changed, Subject: subject, Key: key, Old: strings.Join(was, ", "), New: strings.Join(is, ", ")})
	}
}

// runsOn adds to the change that brings service s where it runs.
func (d *differ) runsOn(s Service) {
	for i, c := range d.changes {
		if c.Kind == Added && c.Subject == "service "+s.Name {
			d.changes[i].New += ", on " + strings.Join(names(s.Hosts, func(h Host) string { return h.Name }), ", ")
		}
	}
}

// hosts compares where a service runs.
func (d *differ) hosts(old, next Service) {
	values := func(h Host) []pair {
		return []pair{{"address", h.Address.String()}, {"weight", strconv.Itoa(h.Weight)}, {"port", portValue(h.Port)}}
	}
	sub := &differ{}
	parts(sub, "host ", old.Hosts, next.Hosts, func(h Host) string { return h.Name }, values)
	for _, c := range sub.changes {
		c.Subject += " of service " + next.Name
		d.add(c)
	}
}

// parts compares two lists of parts with names: what is in both by its values.
func parts[T any](d *differ, what string, old, next []T, name func(T) string, values func(T) []pair) {
	was := make(map[string]T, len(old))
	for _, o := range old {
		was[name(o)] = o
	}
	for _, n := range next {
		o, both := was[name(n)]
		if both {
			d.values(what+name(n), values(o), values(n))
			continue
		}
		d.add(Change{Kind: Added, Subject: what + name(n), New: inWords(values(n))})
	}
	is := names(next, name)
	for _, o := range old {
		if !slices.Contains(is, name(o)) {
			d.add(Change{Kind: Removed, Subject: what + name(o), Old: inWords(values(o))})
		}
	}
}

func names[T any](all []T, name func(T) string) []string {
	out := make([]string, len(all))
	for i, e := range all {
		out[i] = name(e)
	}
	return out
}

// inWords gives the first pairs, as many as a line has room for: "port 5000, path /v3".
func inWords(pairs []pair) string {
	var words []string
	for _, p := range pairs {
		if p.value != none && len(words) < 4 {
			words = append(words, p.key+" "+p.value)
		}
	}
	return strings.Join(words, ", ")
}

// none is the value of what there is none of.
const none = "none"

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

// span gives a time as the file has it: "1h30m", "20ms".
func span(t time.Duration) string {
	if t == 0 {
		return none
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func topValues(s *Spec) []pair {
	headerLimit := none
	if s.HeaderLimit > 0 {
		headerLimit = strconv.Itoa(s.HeaderLimit>>10) + "k"
	}
	return slices.Concat([]pair{
		{"cloud", s.Cloud},
		{"region", s.Region},
		{"release", orNone(s.Release)},
		{"header_limit", headerLimit},
		{"agent.port", strconv.Itoa(s.Agent.Port)},
		{"agent.check_port", strconv.Itoa(s.Agent.CheckPort)},
		{"agent.handover_limit", span(s.Agent.HandoverLimit)},
		{"agent.authentication", string(s.Agent.Authentication)},
		{"log", logValue(s.Log)},
	}, rawValues(s.HAProxy), []pair{{"error_pages", pagesValue(s.ErrorPages)}}, statsValues(s.Stats), notifyValues(s.Notify), bgpValues(s.BGP))
}

func logValue(l Log) string {
	if l.Off {
		return "off"
	}
	return cmp.Or(l.Target, DefaultLogTarget) + ", " + cmp.Or(l.Level, DefaultLogLevel)
}

func controllerValues(c Controller) []pair {
	return []pair{{"address", c.Address.String()}, {"interface", orNone(c.Interface)}}
}

func vipValues(v VIP) []pair {
	addresses := make([]string, len(v.Addresses))
	for i, a := range v.Addresses {
		addresses[i] = a.String()
	}
	return slices.Concat([]pair{
		{"addresses", "[" + strings.Join(addresses, ", ") + "]"},
		{"hostname", v.Hostname},
		{"interface", orNone(v.Interface)},
		{"vrrp.router_id", routerValue(v.VRRP.RouterID)},
		{"device", string(v.Device)},
		{"announce", string(v.Announce)},
		{"order", orNone(string(v.Order))},
		{"endpoints", "[" + strings.Join(v.Endpoints, ", ") + "]"},
		{"vrrp.interval", span(v.VRRP.Interval)},
		{"vrrp.preempt", strconv.FormatBool(v.VRRP.Preempt)},
		{"vrrp.peers", orNone(string(v.VRRP.Peers))},
		{"vrrp.checksum", orNone(string(v.VRRP.Checksum))},
		{"vrrp.startup_delay", span(v.VRRP.StartupDelay)},
	}, tlsValues(v.TLS), publicValues(v.Public), accessValues(v.Access), clientLimitValues(v.Clients), behindValues(v.Behind))
}

func publicValues(p *Public) []pair {
	if p == nil {
		return []pair{{"public", none}, {"public.domain", none}, {"public.ports", none}, {"public.services", none}}
	}
	routes := make([]string, len(p.Routes))
	for i, r := range p.Routes {
		routes[i] = r.Service + " " + r.Name + r.Path
		if r.Path != "" && !r.Strip {
			routes[i] += " (kept)"
		}
	}
	return []pair{
		{"public", fmt.Sprintf("by %s on port %d", p.By, p.Port)},
		{"public.domain", orNone(p.Domain)},
		{"public.ports", strconv.FormatBool(p.Ports)},
		{"public.services", "[" + strings.Join(routes, ", ") + "]"},
	}
}

func moreValue(files []CertificateFiles) string {
	words := make([]string, len(files))
	for i, f := range files {
		words[i] = f.Certificate
		if f.Key != "" {
			words[i] += " with " + f.Key
		}
	}
	return orNone(strings.Join(words, ", "))
}

func routerValue(id int) string {
	if id == 0 {
		return none
	}
	return strconv.Itoa(id)
}

func tlsValues(t *TLS) []pair {
	if t == nil {
		t = &TLS{}
	}
	redirect, acme := none, none
	if t.ACME.IsValid() {
		acme = t.ACME.String()
	}
	if t.Redirect != 0 {
		redirect = strconv.Itoa(t.Redirect)
	}
	return []pair{
		{"tls.certificate", orNone(t.Certificate)},
		{"tls.key", orNone(t.Key)},
		{"tls.more", moreValue(t.More)},
		{"tls.min_version", orNone(t.MinVersion)},
		{"tls.hsts", span(t.HSTS)},
		{"tls.redirect", redirect},
		{"tls.acme", acme},
	}
}

func serviceValues(s Service) []pair {
	return slices.Concat([]pair{
		{"port", strconv.Itoa(s.Port)},
		{"host_port", portValue(s.HostPort)},
		{"type", orNone(strings.Join(s.Types, ", "))},
		{"check", checkValue(s.Check)},
		{"affinity", string(s.Affinity)},
		{"limit", limitValue(s.Limit)},
		{"mode", string(s.Mode)},
		{"path", orNone(s.Path)},
		{"vips", vipsValue(s.VIPs)},
		{"tls", orNone(string(s.TLS.Mode))},
		{"ca", orNone(s.TLS.CA)},
		{"server_name", orNone(s.TLS.ServerName)},
		{"safe posts", orNone(strings.Join(s.SafePosts, ", "))},
		{"X-Forwarded-For is kept", strconv.FormatBool(s.KeepForwarded)},
	}, accessValues(s.Access), clientLimitValues(s.Clients), rawValues(s.HAProxy), []pair{{"error_pages", pagesValue(s.ErrorPages)}, {"maintenance", maintenanceValue(s.Maintenance)}}, timeoutValues(s.Timeout))
}

func vipsValue(names []string) string {
	if len(names) == 0 {
		return "all"
	}
	return "[" + strings.Join(names, ", ") + "]"
}

func limitValue(n int) string {
	if n == 0 {
		return "none"
	}
	return strconv.Itoa(n)
}

func timeoutValues(t Timeout) []pair {
	return []pair{
		{"timeout.client", span(t.Client)},
		{"timeout.server", span(t.Server)},
		{"timeout.connect", span(t.Connect)},
		{"timeout.tunnel", span(t.Tunnel)},
		{"timeout.check", span(t.Check)},
		{"timeout.queue", span(t.Queue)},
		{"timeout.request", span(t.Request)},
	}
}

// portValue gives a port that a service, or a host, need not have.
func portValue(port int) string {
	if port == 0 {
		return none
	}
	return strconv.Itoa(port)
}

// checkValue gives a check on one line: "GET /healthcheck: 200".
func checkValue(c Check) string {
	at := ""
	if c.Port != 0 {
		at = fmt.Sprintf(", at port %d", c.Port)
	}
	if c.Layer == 4 {
		return "a mere connect" + at
	}
	codes := make([]string, len(c.Expect))
	for i, r := range c.Expect {
		codes[i] = strconv.Itoa(r.From)
		if r.To != r.From {
			codes[i] = fmt.Sprintf("%d-%d", r.From, r.To)
		}
	}
	return fmt.Sprintf("%s %s: %s%s", c.Method, c.Path, strings.Join(codes, ","), at)
}
