package keystone

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// makeOne plans a definition for an interface of service i that has none of
// use, if that is wanted: it enables the one that is there, or else creates
// one. It reports whether it did.
func (p *planner) makeOne(i int, iface string, members []*Row) bool {
	svc := p.spec.Services[i]
	useless := slices.DeleteFunc(slices.Clone(members), func(r *Row) bool { return !r.Enabled })
	if !p.opt.Create || len(useless) > 0 && !p.opt.Prune {
		return false // one more would make several
	}
	var keep Row
	if spare := p.enableable(svc, members); spare != nil {
		after := spare.Record
		after.URL, after.Enabled = spare.Target, true
		spare.Verdict = Moves
		p.change(Update, svc, &spare.Record, after, "the only definition, and disabled")
		keep = *spare
	} else {
		keep.Record = p.create(i, iface)
	}
	for _, r := range useless {
		p.disable(svc, r, &Row{Record: Record{ID: cmp.Or(keep.ID, "the new one")}})
	}
	return true
}

// enableable gives the disabled definition that is best put to use.
func (p *planner) enableable(svc spec.Service, members []*Row) *Row {
	var spare []*Row
	for _, r := range members {
		if !r.Enabled && r.Target != "" {
			spare = append(spare, r)
		}
	}
	if len(spare) == 0 {
		return nil
	}
	return slices.MinFunc(spare, func(a, b *Row) int {
		return cmp.Or(cmp.Compare(slices.Index(svc.Types, strings.ToLower(a.ServiceType)), slices.Index(svc.Types, strings.ToLower(b.ServiceType))),
			p.compareWorth(svc, a, b))
	})
}

// create plans a new endpoint, and a service in Keystone when there is none.
func (p *planner) create(i int, iface string) Record {
	svc := p.spec.Services[i]
	vip, _ := VIPFor(p.spec, svc, iface) // the caller has one
	home, found := p.home(i)
	if !found && !p.creates(svc) {
		p.change(CreateService, svc, nil, Record{ServiceName: svc.Name, ServiceType: svc.Types[0], Enabled: true},
			"Keystone has no service of the type "+svc.Types[0])
	}
	after := Record{
		Region: p.spec.Region, Interface: iface, Enabled: true,
		ServiceID: home.ID, ServiceName: cmp.Or(home.Name, svc.Name), ServiceType: cmp.Or(home.Type, svc.Types[0]),
		URL: Origin(vip, svc, iface, "") + p.usualTail(i, home.Type),
	}
	p.change(Create, svc, nil, after, "there is none")
	return after
}

// creates reports whether the plan makes svc's service in Keystone already.
func (p *planner) creates(svc spec.Service) bool {
	return slices.ContainsFunc(p.changes, func(c Change) bool { return c.Op == CreateService && c.Service == svc.Name })
}

// home gives the service in Keystone that endpoints of service i belong under:
// one that has endpoints of it, by the spec's name before others, else one of the type that comes first in the
// spec, by its name if there are several.
func (p *planner) home(i int) (ServiceRecord, bool) {
	svc := p.spec.Services[i]
	uses := func(s ServiceRecord) int {
		n := 0
		for _, iface := range InterfaceNames() {
			for _, r := range p.members[slot{i, iface}] {
				if r.ServiceID == s.ID {
					n++
				}
			}
		}
		return n
	}
	var fit []ServiceRecord
	for _, s := range p.state.Services {
		if slices.Contains(svc.Types, strings.ToLower(s.Type)) && !p.others(i, s) {
			fit = append(fit, s)
		}
	}
	if len(fit) == 0 {
		return ServiceRecord{}, false
	}
	return slices.MinFunc(fit, func(a, b ServiceRecord) int {
		inUse := func(s ServiceRecord) int { return truth(uses(s) > 0) }
		spoken := func(s ServiceRecord) int { return inUse(s) * truth(p.named(s.Name, svc)) }
		return cmp.Or(-cmp.Compare(spoken(a), spoken(b)), -cmp.Compare(uses(a), uses(b)),
			cmp.Compare(slices.Index(svc.Types, strings.ToLower(a.Type)), slices.Index(svc.Types, strings.ToLower(b.Type))),
			-cmp.Compare(truth(p.named(a.Name, svc)), truth(p.named(b.Name, svc))),
			strings.Compare(a.ID, b.ID))
	}), true
}

// others reports whether s, of a type that several services of the spec have,
// is by its name another's than service i's.
func (p *planner) others(i int, s ServiceRecord) bool {
	for j, svc := range p.spec.Services {
		if j != i && slices.Contains(svc.Types, strings.ToLower(s.Type)) {
			return !p.named(s.Name, p.spec.Services[i])
		}
	}
	return false
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// usualTail gives the path for a new endpoint: that of its siblings of the same
// type, else that of the spec.
func (p *planner) usualTail(i int, typ string) string {
	svc := p.spec.Services[i]
	for _, iface := range InterfaceNames() {
		for _, r := range p.members[slot{i, iface}] {
			if (r.Verdict == Fits || r.Verdict == Moves) && strings.EqualFold(r.ServiceType, typ) {
				vip, _ := VIPFor(p.spec, svc, iface)
				return withoutPrefix(TailOf(r.URL), vip.PlaceOf(svc, iface).Path, svc.Path)
			}
		}
	}
	return p.spec.Services[i].Path
}

// sayLacking says which interfaces of service i clients will not find.
func (p *planner) sayLacking(i int, lacking []string) {
	svc := p.spec.Services[i]
	if len(lacking) == 0 {
		return
	}
	severity, served := status.Info, 0
	for _, iface := range InterfaceNames() {
		if _, ok := VIPFor(p.spec, svc, iface); ok {
			served++
		}
	}
	text := "no " + strings.Join(lacking, ", no ") + " endpoint in region " + p.spec.Region
	if len(lacking) == served {
		severity, text = status.Warning, fmt.Sprintf("it is in the spec, and has no endpoint of use in region %s", p.spec.Region)
	}
	remedy := "--create makes what is missing"
	if p.opt.Create {
		remedy = "--create does not make a second one; add --prune, or disable by hand what is there"
	}
	p.say(status.Finding{Severity: severity, Code: status.CodeNoEndpoint, Subject: "service " + svc.Name, Text: text, Remedy: remedy})
}
