package keystone

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// An Op says what a Change does.
type Op string

// The operations. There is none that deletes: Keystone gives every new endpoint
// an id of its own choice, so one that is deleted never comes back as it was.
const (
	CreateService Op = "create-service"
	Create        Op = "create"
	Update        Op = "update"
	Disable       Op = "disable" // a superfluous definition; tokens leave it out
)

// A Change is one step of a Plan.
type Change struct {
	N       int    `json:"n"` // its place in the plan, from 1
	Op      Op     `json:"op"`
	Service string `json:"spec_service"` // by its name in the spec
	// Before is the endpoint as it is; nil when there is none yet.
	Before *Record `json:"before,omitempty"`
	// After is the endpoint as it is to be. Where the change makes something, the
	// ids that Keystone will choose are empty.
	After Record `json:"after"`
	Why   string `json:"why"`
}

// A Verdict says what becomes of an endpoint.
type Verdict string

// The verdicts on the endpoints of the spec's region.
const (
	Fits      Verdict = "ok"          // it points where it should
	Moves     Verdict = "move"        // it is to point at Target
	Duplicate Verdict = "duplicate"   // another definition is the one to keep
	Disabled  Verdict = "disabled"    // clients do not see it
	WrongType Verdict = "wrong-type"  // its URL is another service's
	NoVIP     Verdict = "no-vip"      // no VIP serves its interface
	BadURL    Verdict = "bad-url"     // its URL makes no sense, or Keystone cannot fill in its templates
	Ambiguous Verdict = "ambiguous"   // several services of the spec could be meant
	NotInSpec Verdict = "not-in-spec" // its service is not in the spec
)

// A Row is an endpoint of the spec's region beside where it should point.
type Row struct {
	Record
	Service string  `json:"spec_service,omitempty"` // by its name in the spec
	Target  string  `json:"target,omitempty"`
	Verdict Verdict `json:"verdict"`
}

// PlanOptions says what a plan may do beside pointing what is there at the VIPs.
type PlanOptions struct {
	Create bool // make what the spec's services lack
	Prune  bool // disable all but one of several definitions
	// Unanswered has, by the endpoint's id, why its URL does not answer, for the
	// findings. It does not change the plan.
	Unanswered map[string]string
}

// A Plan is what would make the catalog say what the spec says.
type Plan struct {
	// ID stands for the changes and for the state that they were planned on, in
	// 12 hex digits. Equal ids are equal plans.
	ID     string `json:"plan"`
	Region string `json:"region"`
	// State stands for all endpoints and services that the plan is about.
	State     string           `json:"state"`
	Changes   []Change         `json:"changes"`
	Rows      []Row            `json:"endpoints"`
	Findings  []status.Finding `json:"findings"`
	Unchanged int              `json:"unchanged"` // of the spec's services, in its region
	Outside   int              `json:"outside"`   // of other services and regions; never touched
}

// Empty reports whether there is nothing to change.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// MakePlan compares state with s. It gives the same plan for the same catalog,
// in whatever order Keystone lists it. Nothing outside of the spec's region and
// services is ever in a change.
func MakePlan(state State, s *spec.Spec, cat catalog.Catalog, opt PlanOptions) Plan {
	p := &planner{
		matcher: matcher{s, cat}, opt: opt, state: state.Sorted(),
		members: map[slot][]*Row{}, saidNoVIP: map[string]bool{},
	}
	p.assign()
	if p.checkRegion() {
		p.planServices()
	}
	p.sayUnanswered()
	p.sayNewPorts()
	return p.finish()
}

// planServices plans all services, Keystone's own last.
func (p *planner) planServices() {
	var last []int
	for i, svc := range p.spec.Services {
		if slices.Contains(svc.Types, IdentityType) {
			last = append(last, i)
			continue
		}
		p.planService(i)
	}
	for _, i := range last {
		p.planService(i)
	}
}

// IdentityType is Keystone's own type in its catalog.
const IdentityType = "identity"

// InterfaceNames gives the interfaces in the order in which they are planned.
func InterfaceNames() []string { return []string{"public", "internal", "admin"} }

// InterfaceRank gives where name is among them, -1 for one that is not.
func InterfaceRank(name string) int { return slices.Index(InterfaceNames(), name) }

// slot is one interface of one service of the spec.
type slot struct {
	service int
	iface   string
}

// planner is a plan being made.
type planner struct {
	matcher
	opt       PlanOptions
	state     State
	rows      []*Row
	outside   int
	members   map[slot][]*Row
	scope     []string // lines for the digest of the state
	changes   []Change
	findings  []status.Finding
	saidNoVIP map[string]bool
}

// assign sorts the endpoints of the region by what they belong to.
func (p *planner) assign() {
	found := map[*Row]belonging{}
	for _, e := range p.state.Endpoints {
		if e.Region != p.spec.Region {
			p.outside++
			if e.Region == "" {
				p.sayNoRegion(e)
			}
			continue
		}
		row := &Row{Record: e}
		b := p.belongs(e)
		if b.service >= 0 {
			row.Service = p.spec.Services[b.service].Name
		}
		p.rows = append(p.rows, row)
		found[row] = b
	}
	slices.SortStableFunc(p.rows, p.compareRows)
	for _, row := range p.rows {
		b := found[row]
		if b.service < 0 {
			p.assignOutside(row, b)
			continue
		}
		p.scope = append(p.scope, row.line())
		p.setTarget(row, p.spec.Services[b.service], b.wrong)
		at := slot{b.service, row.Interface}
		p.members[at] = append(p.members[at], row)
	}
}

func (p *planner) assignOutside(row *Row, b belonging) {
	p.outside++
	row.Verdict = NotInSpec
	switch {
	case b.several:
		row.Verdict = Ambiguous
		p.about(row.Record, status.Warning, status.CodeAmbiguous,
			fmt.Sprintf("the type %s is that of several services of the spec, and neither name nor port says which", row.ServiceType),
			"give the service in Keystone the name that the spec has; until then it is not touched")
	case b.unlisted != "":
		p.about(row.Record, status.Warning, status.CodeWrongType,
			fmt.Sprintf("it has the name and port of %s, but the type %s", b.unlisted, row.ServiceType),
			"it is not touched; clients look for "+b.unlisted+" by its type")
	}
}

// setTarget gives row where it should point, and a first verdict.
func (p *planner) setTarget(row *Row, svc spec.Service, wrong string) {
	vip, served := VIPFor(p.spec, svc, row.Interface)
	if !served {
		row.Verdict = NoVIP
		p.sayNoVIP(row, svc)
		return
	}
	url, err := target(vip, svc, row.Interface, row.URL)
	switch {
	case err != nil:
		row.Verdict = BadURL
	case Fault(row.URL) != "":
		row.Verdict, err = BadURL, FaultError(row.URL)
	case wrong != "":
		row.Verdict = WrongType
	case url == row.URL:
		row.Target, row.Verdict = url, Fits
	default:
		row.Target, row.Verdict = url, Moves
	}
	if !row.Enabled {
		row.Verdict = Disabled
		return
	}
	// The others need nothing here.
	//exhaustive:ignore
	switch row.Verdict {
	case BadURL:
		p.about(row.Record, status.Warning, badURLCode(err), err.Error(),
			fmt.Sprintf("correct it by hand: openstack endpoint set --url URL %s", row.ID))
	case WrongType:
		p.about(row.Record, status.Warning, status.CodeWrongType,
			fmt.Sprintf("%s is a URL of %s, registered under the type %s", row.URL, wrong, row.ServiceType),
			fmt.Sprintf("it is not moved; disable it by \"openstack endpoint set --disable %s\"", row.ID))
	case Moves:
		p.sayWhere(row, svc, vip)
	}
}

// compareRows orders rows by the spec's services, then by type and interface.
func (p *planner) compareRows(a, b *Row) int {
	index := func(r *Row) int {
		i := slices.IndexFunc(p.spec.Services, func(s spec.Service) bool { return s.Name == r.Service })
		if i < 0 {
			return len(p.spec.Services)
		}
		return i
	}
	return cmp.Or(cmp.Compare(index(a), index(b)), strings.Compare(a.ServiceType, b.ServiceType),
		strings.Compare(a.ServiceName, b.ServiceName), cmp.Compare(InterfaceRank(a.Interface), InterfaceRank(b.Interface)),
		strings.Compare(a.ID, b.ID))
}

// planService plans every interface of service i.
func (p *planner) planService(i int) {
	svc := p.spec.Services[i]
	if len(svc.Types) == 0 {
		return // not in Keystone at all
	}
	lacking := []string{}
	for _, iface := range InterfaceNames() {
		members := p.members[slot{i, iface}]
		if _, served := VIPFor(p.spec, svc, iface); !served {
			continue
		}
		live := false
		for _, typ := range svc.Types {
			same := ofType(members, typ)
			live = p.planDefinitions(svc, same) || live
		}
		if !live && !p.makeOne(i, iface, members) {
			lacking = append(lacking, iface)
		}
	}
	p.sayLacking(i, lacking)
}

func ofType(rows []*Row, typ string) []*Row {
	var same []*Row
	for _, r := range rows {
		if strings.EqualFold(r.ServiceType, typ) {
			same = append(same, r)
		}
	}
	return same
}

// planDefinitions plans the definitions of one type and interface of svc, and
// reports whether clients find any there that is of use.
func (p *planner) planDefinitions(svc spec.Service, rows []*Row) bool {
	var enabled, good []*Row
	for _, r := range rows {
		if r.Enabled {
			enabled = append(enabled, r)
		}
		if r.Verdict == Fits || r.Verdict == Moves {
			good = append(good, r)
		}
	}
	p.sayDisabled(rows, len(enabled))
	if len(good) == 0 {
		return false
	}
	keep := slices.MinFunc(good, func(a, b *Row) int { return p.compareWorth(svc, a, b) })
	visible := slices.DeleteFunc(slices.Clone(enabled), func(r *Row) bool { return Fault(r.URL) != "" })
	if len(visible) > 1 {
		p.sayDuplicates(visible, keep)
	}
	// What stays is put right before anything else goes.
	slices.SortStableFunc(enabled, func(a, b *Row) int { return -cmp.Compare(truth(a == keep), truth(b == keep)) })
	for _, r := range enabled {
		switch {
		case r != keep && p.opt.Prune:
			p.disable(svc, r, keep)
		case r.Verdict == Moves:
			p.update(svc, r)
		}
	}
	return true
}

// compareWorth orders definitions of the same thing, the one to keep first: one
// of a service that has in Keystone the name that the spec has, then one that is
// right already, then one with the usual path, then the one with the lowest id.
func (p *planner) compareWorth(svc spec.Service, a, b *Row) int {
	rank := func(r *Row) int {
		n := 4 * (1 - truth(p.named(r.ServiceName, svc)))
		if r.Verdict != Fits {
			n += 2
		}
		if !samePath(svc.Path, TailOf(r.URL)) {
			n++
		}
		return n
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.ID, b.ID))
}

func (p *planner) update(svc spec.Service, r *Row) {
	after := r.Record
	after.URL = r.Target
	p.change(Update, svc, &r.Record, after, p.reason(r, svc))
}

func (p *planner) disable(svc spec.Service, r, keep *Row) {
	after := r.Record
	after.Enabled = false
	if r.Verdict == Fits || r.Verdict == Moves {
		r.Verdict = Duplicate
	}
	p.change(Disable, svc, &r.Record, after, "a second definition; "+keep.ID+" stays")
}

func (p *planner) change(op Op, svc spec.Service, before *Record, after Record, why string) {
	c := Change{N: len(p.changes) + 1, Op: op, Service: svc.Name, After: after, Why: why}
	if before != nil {
		was := *before
		c.Before = &was
	}
	p.changes = append(p.changes, c)
}

// finish puts the plan together.
func (p *planner) finish() Plan {
	out := Plan{
		Region: p.spec.Region, Changes: p.changes, Findings: p.findings, Outside: p.outside,
		State: p.stateDigest(),
	}
	if out.Changes == nil {
		out.Changes = []Change{}
	}
	if out.Findings == nil {
		out.Findings = []status.Finding{}
	}
	out.Rows = make([]Row, 0, len(p.rows))
	for _, r := range p.rows {
		out.Rows = append(out.Rows, *r)
		if r.Service != "" {
			out.Unchanged++
		}
	}
	lines := []string{out.State}
	for _, c := range out.Changes {
		if c.Before != nil {
			out.Unchanged--
		}
		text, err := json.Marshal(c)
		if err != nil { // a Change is made of strings, numbers and booleans
			text = fmt.Appendf(nil, "%+v", c)
		}
		lines = append(lines, string(text))
	}
	out.ID = digest(lines)
	return out
}

// stateDigest covers all that the plan depends on.
func (p *planner) stateDigest() string {
	lines := append([]string{"region " + p.spec.Region, fmt.Sprint(slices.Contains(p.state.Regions, p.spec.Region))}, p.scope...)
	for _, s := range p.state.Services {
		for _, svc := range p.spec.Services {
			if slices.Contains(svc.Types, strings.ToLower(s.Type)) {
				lines = append(lines, s.line())
				break
			}
		}
	}
	return digest(lines)
}
