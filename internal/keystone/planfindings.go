package keystone

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// say adds a finding.
func (p *planner) say(f status.Finding) { p.findings = append(p.findings, f) }

// about adds a finding about one endpoint.
func (p *planner) about(e Record, severity status.Severity, code, text, remedy string) {
	p.say(status.Finding{Severity: severity, Code: code, Subject: e.String() + " " + e.ID, Text: text, Remedy: remedy})
}

// checkRegion reports whether Keystone has the spec's region, and says so when
// it has not: that mistake makes every plan empty.
func (p *planner) checkRegion() bool {
	regions := p.state.Regions
	if len(regions) == 0 || slices.Contains(regions, p.spec.Region) {
		return true
	}
	remedy := "Keystone has " + strings.Join(regions, ", ")
	if near, ok := catalog.Nearest(p.spec.Region, regions); ok {
		remedy += fmt.Sprintf("; did you mean %q?", near)
	} else {
		remedy += `; correct "region" in the spec`
	}
	p.say(status.Finding{
		Severity: status.Error, Code: status.CodeUnknownRegion, Subject: "region " + p.spec.Region,
		Text: fmt.Sprintf("Keystone has no region %q, which the spec names", p.spec.Region), Remedy: remedy,
	})
	return false
}

// sayNoRegion tells of an endpoint of the spec's services that is in no region:
// who asks for a region, and most clients do, does not find it.
func (p *planner) sayNoRegion(e Record) {
	b := p.belongs(e)
	if b.service < 0 || !e.Enabled {
		return
	}
	p.about(e, status.Warning, status.CodeNoRegion,
		fmt.Sprintf("%s is in no region, so clients that name one do not find it; it is not touched", e.URL),
		fmt.Sprintf("if it is of this cloud: openstack endpoint set --region %s %s", p.spec.Region, e.ID))
}

// sayNoVIP says once for each interface that no VIP serves it.
func (p *planner) sayNoVIP(r *Row, svc spec.Service) {
	if slices.ContainsFunc(p.spec.VIPs, func(v spec.VIP) bool { return slices.Contains(v.Endpoints, r.Interface) }) {
		p.about(r.Record, status.Info, status.CodeNoVIP,
			fmt.Sprintf("%s is not on the VIP that serves the %s interface, by its \"vips\" in the spec, so this endpoint is not touched", svc.Name, r.Interface),
			"add that VIP to them, if its "+r.Interface+" clients are to use it")
		return
	}
	if p.saidNoVIP[r.Interface] {
		return
	}
	p.saidNoVIP[r.Interface] = true
	p.say(status.Finding{
		Severity: status.Info, Code: status.CodeNoVIP, Subject: "interface " + r.Interface,
		Text:   fmt.Sprintf("no VIP of the spec serves the %s interface, so its endpoints are not touched", r.Interface),
		Remedy: fmt.Sprintf(`add it to "endpoints" of a VIP, if %s clients are to use the VIP`, r.Interface),
	})
}

// sayWhere says where r points, when that is not where it should.
func (p *planner) sayWhere(r *Row, svc spec.Service, vip spec.VIP) {
	at, err := Locate(r.URL)
	if err != nil {
		return // said already
	}
	remedy := "it is to be " + r.Target
	switch who := p.whose(at, svc); {
	case who != "":
		p.about(r.Record, status.Warning, status.CodeSingleController,
			fmt.Sprintf("%s names %s, and nothing answers when that is down", r.URL, who), remedy)
	case p.isVIP(at, vip):
	default:
		p.about(r.Record, status.Warning, status.CodeNotTheVIP, fmt.Sprintf("%s does not point at the VIP", r.URL), remedy)
	}
	if vip.TLS != nil && at.Scheme == "http" && svc.Mode == spec.HTTP {
		p.about(r.Record, status.Warning, status.CodeNoTLS, fmt.Sprintf("%s is http, and the VIP has TLS", r.URL), remedy)
	}
	if strings.HasPrefix(r.Target, "http:") && at.Scheme == "https" {
		p.about(r.Record, status.Warning, status.CodeLosesTLS, fmt.Sprintf("%s is https, and would be http: the VIP has no TLS", r.URL),
			fmt.Sprintf("give the VIP %s a certificate, \"tls\" in the spec", vip.Name))
	}
}

// whose names the host of the spec that at points at; empty for none.
func (p *planner) whose(at Location, svc spec.Service) string {
	is := func(h spec.Host) bool {
		if addr, ok := at.Addr(); ok {
			return addr.Unmap() == h.Address
		}
		return at.Host == strings.ToLower(h.Name) || at.ShortHost() == shortName(h.Name)
	}
	for _, c := range p.spec.Controllers {
		if is(spec.Host{Name: c.Name, Address: c.Address}) {
			return "the controller " + c.Name
		}
	}
	for _, h := range svc.Hosts {
		if is(h) {
			return "the host " + h.Name
		}
	}
	return ""
}

func shortName(name string) string {
	short, _, _ := strings.Cut(strings.ToLower(name), ".")
	return short
}

// isVIP reports whether at is v under its name or one of its addresses.
func (p *planner) isVIP(at Location, v spec.VIP) bool {
	if addr, ok := at.Addr(); ok {
		for _, a := range v.Addresses {
			if a.Addr() == addr.Unmap() {
				return true
			}
		}
	}
	return slices.ContainsFunc(v.Hostnames(), func(name string) bool { return at.Host == strings.ToLower(name) })
}

// reason says in short why r is to change.
func (p *planner) reason(r *Row, svc spec.Service) string {
	at, err := Locate(r.URL)
	vip, _ := VIPFor(p.spec, svc, r.Interface)
	if err != nil {
		return err.Error()
	}
	to := vip.PlaceOf(svc, r.Interface)
	var why []string
	switch who := p.whose(at, svc); {
	case who != "":
		why = append(why, "names "+who)
	case at.Host == strings.ToLower(to.Name):
	case slices.ContainsFunc(vip.Hostnames(), func(name string) bool { return at.Host == strings.ToLower(name) }):
		why = append(why, "has the name "+at.Host+", not "+to.Name)
	case p.isVIP(at, vip):
		why = append(why, "names the VIP's address")
	default:
		why = append(why, "does not point at the VIP")
	}
	if at.Port != to.Port && at.Port != 0 {
		why = append(why, fmt.Sprintf("has port %d, not %d", at.Port, to.Port))
	}
	if to.Path != "" && withoutPrefix(at.Path, to.Path, svc.Path) == at.Path {
		why = append(why, "is not below "+to.Path)
	}
	if !strings.HasPrefix(r.Target, at.Scheme+"://") {
		why = append(why, "is "+at.Scheme)
	}
	return strings.Join(why, ", ")
}

// sayDuplicates says that clients find several definitions, and which to keep.
func (p *planner) sayDuplicates(enabled []*Row, keep *Row) {
	var urls []string
	for _, r := range enabled {
		urls = append(urls, r.URL)
		if r != keep && r.Verdict == Fits {
			r.Verdict = Duplicate
		}
	}
	remedy := "--prune disables all but " + keep.ID
	if p.opt.Prune {
		remedy = "all but " + keep.ID + " are to be disabled"
	}
	p.about(keep.Record, status.Warning, status.CodeSeveralEndpoints,
		fmt.Sprintf("there are %d definitions, and clients get either: %s", len(urls), strings.Join(urls, ", ")), remedy)
}

// sayDisabled tells of the disabled ones among rows, of which others are enabled.
func (p *planner) sayDisabled(rows []*Row, enabled int) {
	for _, r := range rows {
		switch {
		case r.Enabled:
		case enabled > 0:
			p.about(r.Record, status.Info, status.CodeDisabledEndpoint, "it is disabled, beside one that is not",
				fmt.Sprintf("when no way back to it is needed: openstack endpoint delete %s", r.ID))
		default:
			p.about(r.Record, status.Warning, status.CodeDisabledEndpoint, "it is disabled, and there is no other: clients do not find the service",
				fmt.Sprintf("openstack endpoint set --enable %s, or --create", r.ID))
		}
	}
}

// sayUnanswered tells of the endpoints whose URLs do not answer, and of
// services that are disabled as a whole.
func (p *planner) sayUnanswered() {
	for _, r := range p.rows {
		if why, ok := p.opt.Unanswered[r.ID]; ok && r.Enabled && r.Service != "" {
			p.about(r.Record, status.Warning, status.CodeNoAnswer, fmt.Sprintf("%s does not answer: %s", r.URL, why), "")
		}
	}
	for _, s := range p.state.Services {
		used := slices.ContainsFunc(p.rows, func(r *Row) bool { return r.ServiceID == s.ID && r.Service != "" })
		if !s.Enabled && used {
			p.say(status.Finding{
				Severity: status.Warning, Code: status.CodeDisabledService, Subject: fmt.Sprintf("service %s (%s) in Keystone", s.Name, s.Type),
				Text: "it is disabled, so clients see none of its endpoints", Remedy: "openstack service set --enable " + s.ID,
			})
		}
	}
}

// sayNewPorts tells of each port that clients of an interface did not need before: what is
// between them and the VIP may not let them to it.
func (p *planner) sayNewPorts() {
	type port struct {
		number int
		host   string
	}
	before, after := map[string]map[int]bool{}, map[string]map[port][]string{}
	add := func(iface, url, service string) {
		if at, err := Locate(url); err == nil && at.Port != 0 {
			key := port{at.Port, at.Host}
			if after[iface] == nil {
				after[iface] = map[port][]string{}
			}
			if !slices.Contains(after[iface][key], service) {
				after[iface][key] = append(after[iface][key], service)
			}
		}
	}
	for _, r := range p.rows {
		if at, err := Locate(r.URL); err == nil && r.Enabled {
			if before[r.Interface] == nil {
				before[r.Interface] = map[int]bool{}
			}
			before[r.Interface][at.Port] = true
		}
	}
	for _, c := range p.changes {
		if c.Op == Update || c.Op == Create {
			add(c.After.Interface, c.After.URL, c.Service)
		}
	}
	for _, iface := range InterfaceNames() {
		byNumber := map[int][]port{}
		for at := range after[iface] {
			if !before[iface][at.number] {
				byNumber[at.number] = append(byNumber[at.number], at)
			}
		}
		for _, number := range slices.Sorted(maps.Keys(byNumber)) {
			var services, hosts []string
			for _, at := range byNumber[number] {
				services, hosts = append(services, after[iface][at]...), append(hosts, at.host)
			}
			slices.Sort(services)
			slices.Sort(hosts)
			p.say(status.Finding{
				Severity: status.Info, Code: status.CodeNewPort, Subject: fmt.Sprintf("port %d", number),
				Text:   fmt.Sprintf("clients of the %s interface did not need port %d before; %s will be there, at %s", iface, number, status.Some(slices.Compact(services)), status.Some(slices.Compact(hosts))),
				Remedy: "see that nothing between them and the VIP closes it",
			})
		}
	}
}
