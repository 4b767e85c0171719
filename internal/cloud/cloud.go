// Package cloud makes one picture of the cloud from what all controllers say of
// themselves: who holds each VIP, how services are, and what is wrong, as findings.
// It is what "holdfast status", the page and the API show. It asks nobody: the
// Snapshots of package status are given to it, with the time.
package cloud

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/status"
)

// Bounds that Merge judges by.
const (
	// StaleAfter is the age at which a Snapshot says that the loop of the
	// agent which made it stands still; agents make one at least every second.
	StaleAfter = 5 * time.Second
	// settleTime is how long after a change two HAProxys may see the same host
	// differently: their checks do not run at the same moment.
	settleTime = 5 * time.Second
	// clockTolerance is how far the clocks of two controllers may be apart,
	// beyond what the measurement itself leaves open.
	clockTolerance = 2 * time.Second
)

// An Answer is what one controller said when asked for its Snapshot, or why it
// said nothing.
type Answer struct {
	Name    string
	Address string // address:port that was asked
	// Snapshot is nil when there is none; Error then says why, in words.
	Snapshot *status.Snapshot
	Error    string
	// Reached reports whether the host said so itself, by a refusal: it is
	// neither down nor cut off.
	Reached bool
	// Received is when the answer was complete, by the asker's clock, and Took
	// how long it took. Clock is what the controller's clock said in between;
	// zero when it did not tell.
	Received time.Time
	Took     time.Duration
	Clock    time.Time
}

// A Cloud is the answer of "holdfast status": the Snapshots of all controllers
// in one. Its JSON form is part of the contract of docs/json.md.
type Cloud struct {
	Schema int       `json:"schema"` // always 1
	Time   time.Time `json:"time"`
	Cloud  string    `json:"cloud"`
	// Healthy is false when there is a finding that Degrades.
	Healthy bool `json:"healthy"`
	// Verdict says in words what to know first.
	Verdict     Verdict      `json:"verdict"`
	Controllers []Controller `json:"controllers"`
	VIPs        []VIP        `json:"vips"`
	Services    []Service    `json:"services"`
	// Findings are in the order in which to see to them: those that explain others first, then by how
	// soon a person must act, errors before warnings, and what is only worth knowing last.
	Findings []status.Finding `json:"findings"`
}

// A Controller is one controller and what it said of itself.
type Controller struct {
	Name      string `json:"name"`
	Address   string `json:"address"` // address:port of its agent
	Reachable bool   `json:"reachable"`
	// Error says in words why it did not answer.
	Error    string           `json:"error,omitempty"`
	Snapshot *status.Snapshot `json:"snapshot,omitempty"`
}

// A VIP is one virtual IP as all controllers together see it.
type VIP struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Hostname  string   `json:"hostname"`
	// Announce is "bgp" where all controllers that are well announce it, and are its
	// Holders; empty where one of them is to hold it.
	Announce string `json:"announce,omitempty"`
	// Holder is the controller that clients reach, or the first of several; empty when there is none.
	// One that did not answer is named when another hears its adverts.
	Holder string `json:"holder,omitempty"`
	// Holders are all controllers that say of themselves that they hold it.
	Holders []string `json:"holders"`
	// Since is when Holder became so, and Reason why; unset when Holder did
	// not answer.
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Prefer has all controllers in the order in which they are to have it.
	Prefer []string `json:"prefer,omitempty"`
}

// A Service is one service as the HAProxy of the VIP's holder sees it.
type Service struct {
	Name  string              `json:"name"`
	Type  string              `json:"type"`
	Port  int                 `json:"port"`
	State status.ServiceState `json:"state"`
	Hosts []Host              `json:"hosts"`
	// LastResort is as in a Service.
	LastResort bool `json:"last_resort,omitempty"`
}

// A Host is one host of a service as the HAProxy of the VIP's holder sees it.
type Host struct {
	Name    string              `json:"name"`
	Address string              `json:"address"`
	State   status.ServiceState `json:"state"`
	Check   string              `json:"check,omitempty"`
	Since   time.Time           `json:"since,omitzero"`
	// Condition, Evidence and ConditionSince are as in a Host.
	Condition      status.Condition `json:"condition,omitempty"`
	Evidence       string           `json:"evidence,omitempty"`
	ConditionSince time.Time        `json:"condition_since,omitzero"`
	// Views has what each controller's HAProxy sees; only set where two differ.
	Views []HostView `json:"views,omitempty"`
}

// A HostView is how the HAProxy of one controller sees one host of a service.
type HostView struct {
	Controller string              `json:"controller"`
	State      status.ServiceState `json:"state"`
	Check      string              `json:"check,omitempty"`
	Since      time.Time           `json:"since,omitzero"`

	settled bool // has been so for settleTime
}

// Degrades reports whether a cloud with finding f is degraded: f is an error,
// or a warning about what runs. A warning that points into a file is advice
// about the spec, and Info is only worth knowing (a host drained on purpose).
func Degrades(f status.Finding) bool {
	return f.Severity == status.Error || f.Severity == status.Warning && f.Where.IsZero()
}

// Merge makes one picture of the cloud from the answers of its controllers,
// which are in the order of the spec. An empty cloud is taken from them.
func Merge(now time.Time, cloud string, answers []Answer) Cloud {
	m := &merger{now: now, cloud: cloud, answers: answers}
	m.partStrangers()
	m.out = Cloud{Schema: 1, Time: now, Cloud: m.cloud, Controllers: m.controllers(), VIPs: []VIP{}, Services: []Service{}, Findings: []status.Finding{}}
	m.mergeVIPs()
	m.mergeServices()
	m.findBlind()
	m.findLags()
	m.findControllers()
	m.findSpecs()
	m.findHAProxys()
	m.findVIPs()
	m.findServices()
	m.findWorthKnowing()
	m.findBlocked()
	m.takeReported()
	m.forgetAgreement()
	m.complete()
	return m.out
}

// merger is one run of Merge.
type merger struct {
	now     time.Time
	cloud   string
	answers []Answer
	out     Cloud
	// strangers are the answers of agents of other clouds, by the names of the controllers at
	// whose addresses they are. They stand in answers as ones without a Snapshot.
	strangers map[string]Answer
	// seeing are the Snapshots whose HAProxy can tell the state of services,
	// that of the VIP's holder first.
	seeing []*status.Snapshot
	// blind are the controllers that are found to be what is wrong with hosts.
	blind []blindness
	// lagging are the controllers whose own link is found to be bad.
	lagging []string
}

// leading gives the place of what explains the rest: a controller that reaches
// no other sees nothing else as it is.
func leading(f status.Finding) int {
	switch {
	case f.Code == status.CodeIsolated:
		return 0
	case Leads(f):
		return 1
	}
	return 2
}

func rank(s status.Severity) int {
	return slices.Index([]status.Severity{status.Error, status.Warning, status.Info}, s)
}

// cloudName gives the name of the cloud: the one that most agents have in use where none was
// given, and of two as many the first.
func (m *merger) cloudName() string {
	if m.cloud != "" {
		return m.cloud
	}
	count := map[string]int{}
	for _, s := range m.snapshots() {
		count[s.Cloud]++
	}
	name := ""
	for _, s := range m.snapshots() {
		if s.Cloud != "" && count[s.Cloud] > count[name] || name == "" {
			name = s.Cloud
		}
	}
	return name
}

// partStrangers takes the word of agents of other clouds out of the picture: what one holds and
// serves is of that cloud.
func (m *merger) partStrangers() {
	m.cloud = m.cloudName()
	m.answers, m.strangers = slices.Clone(m.answers), map[string]Answer{}
	for i, a := range m.answers {
		if own := a.Of(m.cloud); own.Snapshot == nil && a.Snapshot != nil {
			m.answers[i], m.strangers[a.Name] = own, a
		}
	}
}

// Of gives a as it counts for a cloud: without its Snapshot, and with the reason, where an agent
// of another cloud gave it. One that does not say of which it is, as it has no spec yet, is
// believed; so is every one where cloud is empty.
func (a Answer) Of(cloud string) Answer {
	if a.Snapshot == nil || cloud == "" || a.Snapshot.Cloud == "" || a.Snapshot.Cloud == cloud {
		return a
	}
	return Answer{
		Name: a.Name, Address: a.Address, Reached: true, Received: a.Received, Took: a.Took,
		Error: fmt.Sprintf("the agent there belongs to cloud %q, not %q", a.Snapshot.Cloud, cloud),
	}
}

// snapshots gives those there are, in the order of the answers, each under the
// name that the spec has for its controller.
func (m *merger) snapshots() []*status.Snapshot {
	var all []*status.Snapshot
	for _, a := range m.answers {
		if a.Snapshot != nil {
			s := *a.Snapshot
			s.Controller = a.Name
			all = append(all, &s)
		}
	}
	return all
}

func (m *merger) controllers() []Controller {
	all := []Controller{}
	for _, a := range m.answers {
		all = append(all, Controller{
			Name: a.Name, Address: a.Address, Reachable: a.Snapshot != nil, Error: a.Error, Snapshot: a.Snapshot,
		})
	}
	return all
}

func (m *merger) unreachable(name string) bool {
	return slices.ContainsFunc(m.answers, func(a Answer) bool { return a.Name == name && a.Snapshot == nil })
}

// A claim is a controller's word that it holds a VIP, from begun until said,
// both by the asker's clock.
type claim struct {
	controller  string
	vip         status.VIP
	begun, said time.Time
}

func (m *merger) mergeVIPs() {
	for _, s := range m.snapshots() {
		for _, v := range s.VIPs {
			if !slices.ContainsFunc(m.out.VIPs, func(have VIP) bool { return have.Name == v.Name }) {
				m.out.VIPs = append(m.out.VIPs, m.mergeVIP(v))
			}
		}
	}
}

func (m *merger) mergeVIP(v status.VIP) VIP {
	out := VIP{Name: v.Name, Addresses: v.Addresses, Hostname: v.Hostname, Announce: v.Announce, Holders: []string{}, Prefer: v.Prefer}
	claims := m.claims(v.Name)
	for _, c := range claims {
		out.Holders = append(out.Holders, c.controller)
	}
	if len(claims) == 0 {
		out.Holder = m.heardHolder(v.Name)
		return out
	}
	newest := slices.MaxFunc(claims, byStart)
	if v.Announce != "" {
		newest = claims[0]
	}
	out.Holder, out.Since, out.Reason = newest.controller, newest.vip.Since, newest.vip.Reason
	return out
}

// claims gives who holds the VIP. Answers are not of the same moment: one that
// was given before another controller took over says nothing about now, so it
// is left out.
func (m *merger) claims(vip string) []claim {
	var all []claim
	for _, s := range m.snapshots() {
		for _, v := range s.VIPs {
			if v.Name == vip && v.State == status.Active {
				ahead := m.ahead(s.Controller)
				all = append(all, claim{s.Controller, v, v.Since.Add(-ahead), s.Time.Add(-ahead)})
			}
		}
	}
	if len(all) < 2 || all[0].vip.Announce != "" { // all that announce it have it
		return all
	}
	last := slices.MaxFunc(all, byStart)
	return slices.DeleteFunc(all, func(c claim) bool {
		return c.controller != last.controller && c.said.Before(last.begun)
	})
}

func byStart(a, b claim) int { return a.begun.Compare(b.begun) }

// ahead gives how far a controller's clock is ahead of the asker's, as far as
// that is known.
func (m *merger) ahead(controller string) time.Duration {
	for _, a := range m.answers {
		if a.Name == controller && !a.Clock.IsZero() {
			return a.clockAhead()
		}
	}
	return 0
}

// clockAhead gives how far the controller's clock is ahead of the asker's, give
// or take half of what the answer took.
func (a Answer) clockAhead() time.Duration { return a.Clock.Sub(a.Received.Add(-a.Took / 2)) }

// heardHolder gives the controller whose adverts another hears, if it is one
// that did not answer.
func (m *merger) heardHolder(vip string) string {
	for _, s := range m.snapshots() {
		for _, v := range s.VIPs {
			if v.Name == vip && v.Holder != "" && m.unreachable(v.Holder) {
				return v.Holder
			}
		}
	}
	return ""
}

func (m *merger) mergeServices() {
	m.seeing = m.whoSees()
	for _, s := range m.seeing {
		for _, service := range s.Services {
			if !slices.ContainsFunc(m.out.Services, func(have Service) bool { return have.Name == service.Name }) {
				m.out.Services = append(m.out.Services, m.mergeService(service))
			}
		}
	}
	for i := range m.out.Services {
		s := &m.out.Services[i]
		s.State = status.CombineStates(s.states())
		if s.LastResort = s.LastResort && s.State == status.Down; s.LastResort {
			s.State = status.Degraded
		}
	}
}

// mergeService gives one service as all see it. Of several holders the one whom its clients
// reach is believed first.
func (m *merger) mergeService(service status.Service) Service {
	out := Service{Name: service.Name, Type: service.Type, Port: service.Port, Hosts: []Host{}}
	held := func(s *status.Snapshot) int {
		if slices.ContainsFunc(m.out.VIPs, func(v VIP) bool { return v.Holder == s.Controller && service.On(v.Name) }) {
			return 0
		}
		return 1
	}
	seeing := slices.Clone(m.seeing)
	slices.SortStableFunc(seeing, func(a, b *status.Snapshot) int {
		return cmp.Or(cmp.Compare(m.trust(a)/unfit, m.trust(b)/unfit), cmp.Compare(held(a), held(b)))
	})
	for i, s := range seeing {
		for _, one := range s.Services {
			if one.Name == service.Name {
				out.LastResort = out.LastResort || one.LastResort && i == 0
				out.addView(s, m.asDrained(one))
			}
		}
	}
	return out
}

// unfit is the trust in an HAProxy that does not answer.
const unfit = 2

// trust says how far a Snapshot is believed, 0 the most: of a holder with a running HAProxy, of
// another controller with one, of the rest.
func (m *merger) trust(s *status.Snapshot) int {
	holds := slices.ContainsFunc(m.out.VIPs, func(v VIP) bool { return v.Holder == s.Controller })
	switch running := s.HAProxy.State == status.HAProxyRunning; {
	case running && holds:
		return 0
	case running:
		return 1
	}
	return unfit
}

// whoSees gives the Snapshots in the order in which they are believed: of a
// holder with a running HAProxy, of others with one, and of the rest. What an
// HAProxy that does not answer says of hosts is not believed at all.
func (m *merger) whoSees() []*status.Snapshot {
	all := m.snapshots()
	slices.SortStableFunc(all, func(a, b *status.Snapshot) int { return cmp.Compare(m.trust(a), m.trust(b)) })
	for i, s := range all {
		if m.trust(s) == unfit {
			all[i] = blind(s)
		}
	}
	return all
}

// blind gives s with every host's state unknown.
func blind(s *status.Snapshot) *status.Snapshot {
	out := *s
	out.Services = slices.Clone(s.Services)
	for i, service := range out.Services {
		hosts := slices.Clone(service.Hosts)
		for j := range hosts {
			hosts[j] = status.Host{Name: hosts[j].Name, Address: hosts[j].Address, State: status.Unknown}
		}
		out.Services[i].Hosts = hosts
	}
	return &out
}

// addView adds what the HAProxy of s sees of the service's hosts.
func (c *Service) addView(s *status.Snapshot, hosts []status.Host) {
	for _, h := range hosts {
		i := slices.IndexFunc(c.Hosts, func(have Host) bool { return have.Name == h.Name && have.Address == h.Address })
		if i < 0 {
			i = len(c.Hosts)
			c.Hosts = append(c.Hosts, Host{Name: h.Name, Address: h.Address, State: status.Unknown})
		}
		have := &c.Hosts[i]
		if have.State == status.Unknown || have.State == "" {
			have.State, have.Check, have.Since = h.State, h.Check, h.Since
			have.Condition, have.Evidence, have.ConditionSince = h.Condition, h.Evidence, h.ConditionSince
		}
		have.Views = append(have.Views, HostView{
			Controller: s.Controller, State: h.State, Check: h.Check, Since: h.Since,
			settled: s.Time.Sub(h.Since) >= settleTime,
		})
	}
}

func (c *Service) states() []status.ServiceState {
	var all []status.ServiceState
	for _, h := range c.Hosts {
		all = append(all, h.State)
	}
	return all
}

// disagrees reports whether two HAProxys that know h's state see it differently.
func (h Host) disagrees() bool {
	return slices.ContainsFunc(h.Views, func(v HostView) bool { return v.State != status.Unknown && v.State != h.State })
}

// forgetAgreement leaves Views only where they tell more than the state does.
func (m *merger) forgetAgreement() {
	for _, s := range m.out.Services {
		for i := range s.Hosts {
			if !s.Hosts[i].disagrees() {
				s.Hosts[i].Views = nil
			}
		}
	}
}
