package incident

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast/internal/status"
)

// A verdict is what a group is about.
type verdict struct {
	kind      Kind
	subject   string
	text      string
	cause     string
	saysDown  bool // the text names the services that are down
	saysMoves bool // the text names where VIPs went
}

// what finds what g is about: the first that fits, from what explains the most.
func (g *group) what(view View) verdict {
	for _, find := range []func(View) (verdict, bool){
		g.drained, g.cutOff, g.hostLost, g.haproxyLost, g.notReached, g.servicesDown, g.agentEnded, g.handedOver, g.vipMoved,
	} {
		if v, ok := find(view); ok {
			return v
		}
	}
	return g.byFirst()
}

// rootOf gives the first entry that fits.
func (g *group) rootOf(fits func(entry) bool) (entry, bool) {
	i := slices.IndexFunc(g.entries, fits)
	if i < 0 {
		return entry{}, false
	}
	return g.entries[i], true
}

func (g *group) ofKind(kinds ...string) (entry, bool) {
	return g.rootOf(func(e entry) bool { return slices.Contains(kinds, e.Kind) })
}

func (g *group) drained(View) (verdict, bool) {
	e, ok := g.ofKind(status.EventDrainBegun)
	if !ok || !g.planned() {
		return verdict{}, false
	}
	what := strings.TrimPrefix(strings.TrimPrefix(e.Subject, "controller "), "service ")
	return verdict{kind: Drain, subject: e.Subject, text: what + " is drained", cause: e.Cause}, true
}

// downs gives the services that were down on each host.
func (g *group) downs() map[string][]string {
	all := map[string][]string{}
	for condition := range g.ever {
		if service, host, ok := status.OfHost(strings.TrimPrefix(condition, "down ")); ok && strings.HasPrefix(condition, "down ") {
			all[host] = append(all[host], service)
		}
	}
	for _, services := range all {
		slices.Sort(services)
	}
	return all
}

// troubled gives the event that tells what became of a controller's HAProxy.
func (g *group) troubled(controller string) (entry, bool) {
	return g.rootOf(func(e entry) bool { return e.opens == "haproxy" && (controller == "" || e.Controller == controller) })
}

// hostLost: all that runs on one host is gone, its agent too.
func (g *group) hostLost(view View) (verdict, bool) {
	downs := g.downs()
	for _, host := range slices.Sorted(maps.Keys(downs)) {
		if _, haproxy := g.troubled(host); haproxy || g.blindTo(host) {
			continue
		}
		gone := slices.Contains(view.Silent, host) && len(g.open) > 0
		for _, m := range g.moves {
			gone = gone || m.from == host && strings.HasPrefix(m.cause, "no ")
		}
		_, began := g.rootOf(func(e entry) bool { return e.Kind == status.EventAgentStarted && e.Controller == host })
		if !gone && (!began || len(downs[host]) < 2) {
			continue
		}
		return verdict{kind: HostLost, subject: "controller " + host, text: host + " is lost", cause: g.causeOf(host)}, true
	}
	return verdict{}, false
}

// cutOff: one controller tells that others are gone, and these tell it of that one.
func (g *group) cutOff(View) (verdict, bool) {
	tells := map[string]map[string]bool{} // by teller, the hosts
	for _, e := range g.entries {
		if !strings.HasPrefix(e.opens, "down ") || e.host == e.Controller {
			continue
		}
		tell(tells, e.Controller, e.host)
	}
	for _, one := range slices.Sorted(maps.Keys(tells)) {
		if len(tells[one]) < 2 {
			continue
		}
		for other := range tells[one] {
			if tells[other][one] && len(tells[other]) < len(tells[one]) {
				return verdict{
					kind: CutOff, subject: "controller " + one, cause: g.causeOf(one), saysDown: true,
					text: fmt.Sprintf("%s is cut off from %s", one, status.AndOthers(slices.Sorted(maps.Keys(tells[one])))),
				}, true
			}
		}
	}
	return verdict{}, false
}

// causeOf gives why what is on host is said to be down.
func (g *group) causeOf(host string) string {
	for _, m := range g.moves {
		if m.from == host && m.cause != "" {
			return m.cause
		}
	}
	e, _ := g.rootOf(func(e entry) bool { return e.host == host && strings.HasPrefix(e.opens, "down ") })
	return e.Cause
}

func (g *group) haproxyLost(View) (verdict, bool) {
	e, ok := g.troubled("")
	if !ok {
		return verdict{}, false
	}
	how := map[string]string{status.EventHAProxyHung: "hangs", status.EventHAProxyDown: "ended", status.EventHAProxyFailed: "cannot start"}[e.Kind]
	return verdict{
		kind: HAProxyLost, subject: "haproxy on " + e.Controller, cause: e.Cause, text: fmt.Sprintf("HAProxy on %s %s", e.Controller, how),
	}, true
}

// blindTo reports whether it is the tellers that do not reach host, rather than host that
// is gone: one controller alone tells of several hosts.
func (g *group) blindTo(host string) bool {
	v, ok := g.notReached(View{})
	return ok && strings.HasPrefix(v.subject, "controller ") && v.subject != "controller "+host
}

// notReached: one controller alone tells that hosts are down, and others are there to see
// them.
func (g *group) notReached(View) (verdict, bool) {
	tellers := map[string]bool{}
	for _, e := range g.entries {
		if strings.HasPrefix(e.opens, "down ") {
			tellers[e.Controller] = true
		}
	}
	downs := g.downs()
	if len(tellers) != 1 || len(downs) < 2 {
		return verdict{}, false
	}
	teller := slices.Collect(maps.Keys(tellers))[0]
	if downs[teller] != nil { // it reaches not even its own
		return verdict{}, false
	}
	hosts := slices.Sorted(maps.Keys(downs))
	return verdict{
		kind: NotReached, subject: "controller " + teller, saysDown: true, cause: g.causeOf(hosts[0]),
		text: fmt.Sprintf("%s does not reach %s on %s", teller, services(downs, hosts), status.AndOthers(hosts)),
	}, true
}

// services names those that are down on hosts.
func services(downs map[string][]string, hosts []string) string {
	all := map[string]bool{}
	for _, host := range hosts {
		for _, s := range downs[host] {
			all[s] = true
		}
	}
	names := slices.Sorted(maps.Keys(all))
	if len(names) > status.Listed/2 {
		return status.Count(len(names), "service")
	}
	return status.And(names)
}

func (g *group) servicesDown(View) (verdict, bool) {
	downs := g.downs()
	if len(downs) == 0 {
		return g.late()
	}
	hosts := slices.Sorted(maps.Keys(downs))
	v := verdict{
		kind: ServiceDown, saysDown: true, cause: g.causeOf(hosts[0]),
		text: fmt.Sprintf("%s down on %s", are(services(downs, hosts)), status.AndOthers(hosts)),
	}
	switch first := downs[hosts[0]]; {
	case len(g.services) == 1:
		v.subject = "service " + first[0]
	case len(hosts) == 1:
		v.subject = "host " + hosts[0]
	default:
		v.subject = "services"
	}
	return v, true
}

func are(names string) string {
	if strings.Contains(names, " and ") || strings.HasSuffix(names, " services") {
		return names + " are"
	}
	return names + " is"
}

func (g *group) late() (verdict, bool) {
	e, ok := g.ofKind(status.EventHostLate)
	if !ok {
		return verdict{}, false
	}
	return verdict{kind: ServiceLate, subject: "service " + e.service, text: e.Text, cause: e.Cause}, true
}

func (g *group) handedOver(View) (verdict, bool) {
	e, ok := g.ofKind(status.EventHandover, status.EventHandoverFailed, status.EventHandoverCut)
	if !ok {
		return verdict{}, false
	}
	text := e.Text
	if rest, more, found := strings.Cut(text, "; "); found && strings.Contains(more, "open connection") {
		text = rest
	}
	return verdict{kind: Handover, subject: e.Subject, text: text, cause: e.Cause, saysMoves: true}, true
}

func (g *group) agentEnded(View) (verdict, bool) {
	if e, ok := g.ofKind(status.EventAgentEnded); ok {
		text := "the agent of " + e.Controller + " was stopped"
		if _, again := g.ofKind(status.EventAgentStarted); again {
			text = "the agent of " + e.Controller + " was started again"
		}
		return verdict{kind: Agent, subject: "controller " + e.Controller, text: text}, true
	}
	if e, ok := g.ofKind(status.EventAgentStarted); ok && e.fault {
		return verdict{
			kind: AgentLost, subject: "controller " + e.Controller, cause: g.causeOf(e.Controller),
			text: "the agent of " + e.Controller + " ended without a word, and was started again",
		}, true
	}
	return verdict{}, false
}

// vipMoved: a VIP moved, and nothing says more.
func (g *group) vipMoved(View) (verdict, bool) {
	if len(g.moves) == 0 {
		return verdict{}, false
	}
	m := g.moves[0]
	if g.onlyGiven() { // and the journal of who gave it is not here
		return verdict{
			kind: Handover, subject: "vip " + m.vip, text: fmt.Sprintf("vip %s was handed over from %s to %s", m.vip, m.from, m.to), saysMoves: true,
		}, true
	}
	return verdict{kind: VIPMoved, subject: "vip " + m.vip, text: m.String(), cause: m.cause, saysMoves: true}, true
}

func (m move) String() string {
	text := "vip " + m.vip + " moved"
	if m.from != "" {
		text += " from " + m.from
	}
	return text + " to " + m.to
}

// byFirst takes the words of the event that g begins with.
func (g *group) byFirst() verdict {
	e := g.entries[0]
	if root, ok := g.rootOf(func(e entry) bool { return !e.line }); ok {
		e = root
	}
	v := verdict{kind: Other, subject: e.Subject, text: e.Text, cause: e.Cause}
	switch {
	case e.topic == "spec" || e.topic == "key":
		v.kind = Spec
	case e.topic != "":
		v.kind = Certificate
	case e.Kind == status.EventVIPInitialize:
		v.kind, v.text = VIPUnfit, fmt.Sprintf("%s cannot hold vip %s", e.Controller, e.vip)
	case e.Kind == status.EventBGPWithdrawn:
		v.kind, v.text = VIPUnfit, fmt.Sprintf("%s does not announce vip %s", e.Controller, e.vip)
	case strings.HasPrefix(e.Kind, "haproxy-"):
		v.text = cmp.Or(e.Text, e.Kind)
	case e.fault && e.opens != "":
		v.kind = Kind(e.Kind)
	}
	if on := g.tellers(); e.topic != "" && len(on) > 0 {
		v.text += ", on " + status.AndOthers(on)
	}
	return v
}

// tellers gives the controllers whose events g has.
func (g *group) tellers() []string {
	all := map[string]bool{}
	for _, e := range g.entries {
		all[e.Controller] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// consequences says what came of what is in v: where VIPs went, what was degraded.
func (g *group) consequences(v verdict) string {
	var text strings.Builder
	if !v.saysMoves {
		for _, m := range g.firstMoves() {
			text.WriteString("; " + m.String())
		}
	}
	if downs := g.downs(); !v.saysDown && len(downs) > 0 {
		text.WriteString("; " + services(downs, slices.Sorted(maps.Keys(downs))) + " degraded")
	}
	return text.String()
}

// firstMoves gives the first move of each VIP: where it went when it began.
func (g *group) firstMoves() []move {
	var all []move
	for _, m := range g.moves {
		if !slices.ContainsFunc(all, func(had move) bool { return had.vip == m.vip }) {
			all = append(all, m)
		}
	}
	return all
}
