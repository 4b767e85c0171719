package cloud

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"holdfast/internal/status"
)

// madeByMerge reports whether code is of a finding that Merge makes. An agent need not
// report these of itself: Merge leaves them out of what it takes over from Snapshots.
func madeByMerge(code string) bool {
	return slices.Contains([]string{
		status.CodeNoControllerAnswers, status.CodeControllerUnreachable, status.CodeWrongController, status.CodeClockDiffers,
		status.CodeSpecDiffers, status.CodeSpecRejected, status.CodeHAProxyNotRunning, status.CodeVIPUnheld, status.CodeVIPHeldTwice,
		status.CodeVIPNotPresent, status.CodeServiceDown, status.CodeServiceUnknown, status.CodeServiceLastResort, status.CodeServiceLate, status.CodeHostDown, status.CodeHostDisagreement,
		status.CodeDrained, status.CodeHandover, status.CodeAdvertsRejected, status.CodeVersionsDiffer, status.CodeVIPsTogether, status.CodeHashesDiffer, status.CodeBlind, status.CodeBadLink,
	}, code)
}

// find adds a finding. Parts of it are words of other machines, so each is made
// one line without anything that a terminal would obey.
func (m *merger) find(severity status.Severity, code, subject, text, remedy string, with also) {
	m.out.Findings = append(m.out.Findings, status.Finding{
		Severity: severity, Code: code, Subject: oneLine(subject), Text: oneLine(text), Remedy: oneLine(remedy),
		Brief: oneLine(with.brief), Since: with.since, Command: with.command,
	})
}

// also is what a finding has besides its words, where it is known: see status.Finding.
type also struct {
	brief   string
	since   time.Time
	command string
}

// oneLine gives s with a space for every character that does not print.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// findControllers tells of agents that do not answer, or not as they should.
func (m *merger) findControllers() {
	reachable := 0
	for _, a := range m.answers {
		if stranger, is := m.strangers[a.Name]; is {
			m.findStranger(stranger)
			continue
		}
		if a.Snapshot == nil {
			m.findUnreachable(a)
			continue
		}
		reachable++
		m.findImpostor(a)
		m.findStalled(a)
	}
	if reachable == 0 {
		m.find(status.Error, status.CodeNoControllerAnswers, "cloud", "no controller answers, so nothing is known",
			"check that this host reaches the controllers' addresses, and that an agent runs there",
			also{brief: "no controller answers", command: m.pingFirst()})
	}
	m.findClocks()
}

func (m *merger) findUnreachable(a Answer) {
	text := "its agent does not answer: " + a.Error
	if held := m.heldBy(a.Name); len(held) > 0 {
		text += "; by its adverts it still holds VIP " + status.List(held)
	} else if vips := m.vipNames(); !a.Reached && len(vips) > 0 {
		text += "; if it runs and is only cut off, it may hold VIP " + status.List(vips) + " too"
	}
	switch down, whole := m.downOn(a.Name); {
	case whole:
		text += "; no service answers there: " + status.List(down)
	case len(down) > 0 && m.lost(a.Name):
		text += "; of its services these do not answer: " + status.List(down)
	}
	m.find(status.Warning, status.CodeControllerUnreachable, "controller "+a.Name, text,
		"see systemctl status holdfast there, if the host can be reached", m.alsoUnreachable(a))
}

func (m *merger) alsoUnreachable(a Answer) also {
	since, refused := m.silence(a.Name)
	look := command("ssh %1 systemctl status holdfast", a.Name)
	switch {
	case a.Reached || refused:
		return also{"agent of " + a.Name + " down", since, look}
	case m.met(a.Name):
		return also{"agent of " + a.Name + " does not answer", since, look}
	}
	return also{a.Name + " lost", since, command("ping -c 3 %1", bare(a.Address))}
}

// lost reports whether a controller's host, as far as is known, is lost with all that runs there,
// or cut off: nothing of it answers anybody.
func (m *merger) lost(controller string) bool {
	_, refused := m.silence(controller)
	return slices.ContainsFunc(m.answers, func(a Answer) bool { return a.Name == controller && a.Snapshot == nil && !a.Reached }) &&
		!refused && !m.met(controller)
}

// met reports whether the kernel of a controller's host answers another controller.
func (m *merger) met(controller string) bool {
	for _, s := range m.snapshots() {
		if slices.ContainsFunc(s.Paths, func(p status.Path) bool { return p.Host == controller && p.Sent > 0 && p.Silent == 0 }) {
			return true
		}
	}
	return false
}

// silence gives since when a controller does not answer others, zero where none knows it, and
// whether its host refuses.
func (m *merger) silence(controller string) (since time.Time, refused bool) {
	earliest := func(t time.Time) {
		if !t.IsZero() && (since.IsZero() || t.Before(since)) {
			since = t
		}
	}
	for _, s := range m.snapshots() {
		for _, p := range s.Paths {
			if p.Host != controller {
				continue
			}
			refused = refused || !p.RefusedSince.IsZero()
			earliest(p.RefusedSince)
			if p.Silent >= lostAfter {
				earliest(p.SilentSince)
			}
		}
	}
	if _, whole := m.downOn(controller); whole && since.IsZero() {
		since = m.firstDown(controller)
	}
	return since, refused
}

// lostAfter is how many handshakes in a row, one a second, have no answer from a host that is lost.
const lostAfter = 3

func (m *merger) pingFirst() string {
	if len(m.answers) == 0 {
		return ""
	}
	return command("ping -c 3 %1", bare(m.answers[0].Address))
}

func (m *merger) vipNames() []string {
	var all []string
	for _, v := range m.out.VIPs {
		all = append(all, v.Name)
	}
	return all
}

// heldBy gives the VIPs that a controller holds.
func (m *merger) heldBy(controller string) []string {
	var held []string
	for _, v := range m.out.VIPs {
		if v.Holder == controller {
			held = append(held, v.Name)
		}
	}
	return held
}

func (m *merger) findImpostor(a Answer) {
	if got := a.Snapshot.Controller; got != a.Name {
		m.find(status.Error, status.CodeWrongController, "controller "+a.Name,
			fmt.Sprintf("the agent at %s says that it is controller %q", a.Address, got),
			"start it with --controller "+a.Name+", or correct the address in the spec", m.alsoImpostor(a))
	}
}

// findStranger tells of an agent of another cloud at the address of a controller: whatever it
// holds is not this cloud's, and the controller itself is not seen.
func (m *merger) findStranger(a Answer) {
	text := fmt.Sprintf("the agent at %s belongs to cloud %q, not %q", a.Address, a.Snapshot.Cloud, m.out.Cloud)
	if held := m.heldBy(a.Name); len(held) > 0 {
		text += "; by adverts from there others take it for the holder of VIP " + status.List(held)
	}
	m.find(status.Error, status.CodeWrongController, "controller "+a.Name, text,
		"correct the address in the spec, or the spec on that controller", m.alsoImpostor(a))
}

func (m *merger) alsoImpostor(a Answer) also {
	return also{"another agent at the address of " + a.Name, a.Snapshot.Started, command("ssh %1 systemctl cat holdfast", bare(a.Address))}
}

func (m *merger) findStalled(a Answer) {
	if age := a.Clock.Sub(a.Snapshot.Time); !a.Clock.IsZero() && age > StaleAfter {
		m.find(status.Error, status.CodeAgentStalled, "controller "+a.Name,
			fmt.Sprintf("its agent stands still: what it says is %s old", age.Round(time.Second)),
			"systemctl restart holdfast there; HAProxy goes on serving meanwhile",
			also{"agent of " + a.Name + " stands still", a.Snapshot.Time, command("ssh %1 systemctl restart holdfast", a.Name)})
	}
}

// offset is how far a controller's clock is ahead of the asker's, give or take open.
type offset struct {
	name        string
	ahead, open time.Duration
}

// findClocks compares the controllers' clocks with each other, not with the
// asker's, which may be the one that is wrong.
func (m *merger) findClocks() {
	var all []offset
	for _, a := range m.answers {
		if a.Snapshot != nil && !a.Clock.IsZero() {
			all = append(all, offset{a.Name, a.clockAhead(), a.Took / 2})
		}
	}
	if len(all) < 2 {
		return
	}
	byAhead := slices.SortedStableFunc(slices.Values(all), func(a, b offset) int { return cmp.Compare(a.ahead, b.ahead) })
	middle := byAhead[(len(byAhead)-1)/2]
	for _, o := range all {
		if d := o.ahead - middle.ahead; o.name != middle.name && d.Abs() > clockTolerance+o.open+middle.open {
			word := "ahead of"
			if d < 0 {
				word = "behind"
			}
			m.find(status.Warning, status.CodeClockDiffers, "controller "+o.name,
				fmt.Sprintf("its clock is %s %s that of %s", d.Abs().Round(100*time.Millisecond), word, middle.name),
				"let NTP set both (chronyc tracking): Keystone tokens and the journal go by it",
				also{brief: "clock of " + o.name + " wrong", command: command("ssh %1 chronyc tracking", o.name)})
		}
	}
}

// findSpecs tells where controllers run different specs, or not the one on disk.
func (m *merger) findSpecs() {
	for _, s := range m.snapshots() {
		if len(s.Config.Rejected) == 0 {
			continue
		}
		why := s.Config.Rejected[0]
		text := "the file is refused and the spec before it stays in use: " + status.Finding{Severity: status.Error, Where: why.Where, Text: why.Text}.String()
		if more := len(s.Config.Rejected) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
		remedy := why.Remedy
		if remedy == "" {
			remedy = "mend it, then holdfast validate and systemctl reload holdfast there"
		}
		m.find(status.Warning, status.CodeSpecRejected, "spec on "+s.Controller, text, remedy,
			also{"spec on " + s.Controller + " refused", why.Since, command("ssh %1 holdfast validate -f %2", s.Controller, m.specFile(s.Controller))})
	}
	if text := m.differing(func(s *status.Snapshot) string { return s.Config.Digest }); text != "" {
		m.find(status.Warning, status.CodeSpecDiffers, "spec", "controllers run different specs: "+text,
			"put the same file on all, then systemctl reload holdfast on each that differs", m.alsoSpecs())
	}
}

// alsoSpecs compares the file of a controller that differs with that of another.
func (m *merger) alsoSpecs() also {
	with := also{brief: "specs differ"}
	for _, s := range m.snapshots() {
		if s.Config.Loaded.After(with.since) {
			with.since = s.Config.Loaded
		}
	}
	all := m.snapshots()
	if i := slices.IndexFunc(all, func(s *status.Snapshot) bool { return s.Config.Digest != all[0].Config.Digest }); i > 0 {
		with.command = command("diff <(ssh %1 cat %2) <(ssh %3 cat %4)", all[0].Controller, m.specFile(all[0].Controller), all[i].Controller, m.specFile(all[i].Controller))
	}
	return with
}

// differing says which controllers have which value, the most common first;
// "" when all that have one have the same.
func (m *merger) differing(value func(*status.Snapshot) string) string {
	having := map[string][]string{}
	var order []string
	for _, s := range m.snapshots() {
		v := value(s)
		if v == "" {
			continue
		}
		if having[v] == nil {
			order = append(order, v)
		}
		having[v] = append(having[v], s.Controller)
	}
	if len(order) < 2 {
		return ""
	}
	slices.SortStableFunc(order, func(a, b string) int { return len(having[b]) - len(having[a]) })
	for i, v := range order {
		order[i] = v + " on " + status.List(having[v])
	}
	return strings.Join(order, "; ")
}

func (m *merger) findHAProxys() {
	for _, s := range m.snapshots() {
		if s.HAProxy.State == status.HAProxyRunning {
			continue
		}
		severity, text := status.Warning, m.haproxyWords(s.HAProxy)
		if held := m.heldBy(s.Controller); len(held) > 0 {
			severity = status.Error
			text += "; it holds VIP " + status.List(held)
		}
		m.find(severity, status.CodeHAProxyNotRunning, "haproxy on "+s.Controller, text,
			"the agent tries again by itself; see journalctl -u holdfast there",
			also{"HAProxy of " + s.Controller + " " + string(s.HAProxy.State), s.HAProxy.Since, command("ssh %1 journalctl -u holdfast -n 50", s.Controller)})
	}
}

func (m *merger) haproxyWords(h status.HAProxy) string {
	text := map[status.HAProxyState]string{
		status.HAProxyStarting: "is starting",
		status.HAProxyHung:     "runs but does not answer",
		status.HAProxyDown:     "is not running",
		status.HAProxyFailed:   "cannot start",
	}[h.State]
	if text == "" {
		text = "is in an unknown state"
	}
	return text + because(h.Reason)
}

func (m *merger) findVIPs() {
	for _, v := range m.out.VIPs {
		switch {
		case len(v.Holders) > 1 && v.Announce == "":
			m.find(status.Error, status.CodeVIPHeldTwice, "vip "+v.Name, "held by "+status.List(v.Holders)+" at once",
				"they do not hear each other's adverts: let IP protocol 112 pass between them",
				also{"VIP " + v.Name + " held twice", v.Since, command("ssh %1 timeout 5 tcpdump -ni %2 vrrp", v.Holders[0], m.wireOf(v.Holders[0]))})
		case v.Holder == "":
			text := "no controller holds it"
			if cut := m.cutOff(); len(cut) > 0 {
				text = "no controller that answers holds it, and " + status.List(cut) + " may"
			}
			m.find(status.Error, status.CodeVIPUnheld, "vip "+v.Name, text+m.whyUnheld(v.Name),
				"holdfast events on each controller says why",
				also{"nobody holds VIP " + v.Name, m.lastChange(v.Name), "holdfast events --incidents"})
		}
	}
	for _, s := range m.snapshots() {
		m.findAbsent(s)
	}
}

// lastChange gives when a controller last came into another state for a VIP.
func (m *merger) lastChange(vip string) time.Time {
	var last time.Time
	for _, s := range m.snapshots() {
		for _, v := range s.VIPs {
			if v.Name == vip && v.Since.After(last) {
				last = v.Since
			}
		}
	}
	return last
}

// cutOff gives the controllers that are out of reach, and may run all the same.
func (m *merger) cutOff() []string {
	var all []string
	for _, a := range m.answers {
		if a.Snapshot == nil && !a.Reached {
			all = append(all, a.Name)
		}
	}
	return all
}

// whyUnheld gives the reasons that the controllers have for not holding a VIP.
func (m *merger) whyUnheld(vip string) string {
	var why []string
	for _, s := range m.snapshots() {
		for _, v := range s.VIPs {
			if v.Name == vip && v.Reason != "" {
				why = append(why, fmt.Sprintf("%s is %s (%s)", s.Controller, v.State, v.Reason))
			}
		}
	}
	return because(strings.Join(why, ", "))
}

// findAbsent tells of a VIP that is held by word but that the kernel does not have.
func (m *merger) findAbsent(s *status.Snapshot) {
	for _, v := range s.VIPs {
		if v.State == status.Active && !v.Present && s.Time.Sub(v.Since) >= settleTime {
			m.find(status.Error, status.CodeVIPNotPresent, "vip "+v.Name,
				fmt.Sprintf("%s holds it, but %s does not have %s", s.Controller, v.Interface, status.List(v.Addresses)),
				"is "+v.Interface+" up on "+s.Controller+"? see journalctl -u holdfast there",
				also{brief: "VIP " + v.Name + " not on " + s.Controller, command: command("ssh %1 ip -br address show dev %2", s.Controller, v.Interface)})
		}
	}
}

// findWorthKnowing tells what degrades nothing.
func (m *merger) findWorthKnowing() {
	m.findDrains()
	m.findHandovers()
	m.findTogether()
	for _, s := range m.snapshots() {
		for _, v := range s.VIPs {
			m.findRejectedAdverts(s.Controller, v)
		}
	}
	if text := m.differing(func(s *status.Snapshot) string { return s.Version }); text != "" {
		m.find(status.Info, status.CodeVersionsDiffer, "holdfast", "controllers run different versions: "+text, "finish the upgrade, one controller after the other",
			also{brief: "versions of holdfast differ"})
	}
	if text := m.differing(func(s *status.Snapshot) string { return s.HAProxy.Version }); text != "" {
		m.find(status.Info, status.CodeVersionsDiffer, "haproxy", "controllers run different versions: "+text, "finish the upgrade, one controller after the other",
			also{brief: "versions of HAProxy differ"})
	}
	m.findHashes()
}

// rejectedWords says what adverts were that were dropped for a reason, as
// counters have it; "" for those that a shared network has anyway.
func rejectedWords(reason string) string {
	switch reason {
	case "vrid", "own": // another virtual router's, this router's own
		return ""
	case "source":
		return "from an address that is no controller's"
	case "checksum":
		return "with a wrong checksum"
	case "ttl":
		return "from another network (by their TTL)"
	case "version":
		return "of another version of VRRP"
	case "unsigned":
		return "not signed, as authentication: strict wants them"
	case "key":
		return "signed with a key that is not in the file of keys there"
	case "signature":
		return "signed wrongly"
	case "stale":
		return "signed by a clock that is too far from the one there"
	case "replayed":
		return "older than one that had come before"
	}
	return "refused for their " + reason
}

// findRejectedAdverts is information only: the counts never go back, and what
// was dropped did no harm.
func (m *merger) findRejectedAdverts(controller string, v status.VIP) {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(v.Rejected)) {
		if n, words := v.Rejected[reason], rejectedWords(reason); n > 0 && words != "" {
			parts = append(parts, fmt.Sprintf("%d %s", n, words))
		}
	}
	if len(parts) > 0 {
		m.find(status.Info, status.CodeAdvertsRejected, "vip "+v.Name+" on "+controller,
			"adverts dropped since the agent started: "+strings.Join(parts, ", "),
			"tcpdump -ni "+v.Interface+" vrrp shows who sends them; two clouds on one network need two router_ids",
			also{brief: "adverts dropped on " + controller, command: command("ssh %1 timeout 5 tcpdump -ni %2 vrrp", controller, v.Interface)})
	}
}

// takeReported takes over what agents report of themselves. A finding that
// several have is told once, with who has it.
func (m *merger) takeReported() {
	type reported struct {
		finding status.Finding
		by      []string
	}
	var all []reported
	for _, s := range m.snapshots() {
		for _, f := range s.Findings {
			if madeByMerge(f.Code) || m.isTold(s.Controller, f) {
				continue
			}
			i := slices.IndexFunc(all, func(r reported) bool { return alike(r.finding, f) })
			if i >= 0 && f.Since.Before(all[i].finding.Since) {
				all[i].finding.Since = f.Since
			}
			if i < 0 {
				i = len(all)
				all = append(all, reported{finding: f})
			}
			all[i].by = append(all[i].by, s.Controller)
		}
	}
	everyone := len(m.snapshots())
	for _, r := range all {
		f, first := r.finding, m.holderOf(r.by)
		switch {
		case f.Subject == "":
			f.Subject = subjects("controller", r.by)
		case len(r.by) < everyone && !slices.Contains(strings.Fields(f.Subject), r.by[0]):
			f.Subject += " on " + status.List(r.by)
		}
		f.Subject, f.Text, f.Remedy, f.Brief = oneLine(f.Subject), oneLine(f.Text), oneLine(f.Remedy), oneLine(m.briefOf(f, first))
		f.Command, f.Action, f.See = m.commandFor(f, first), "", "" // whatever another machine says of these
		if (f.Code == status.CodeConntrackFull || f.Code == status.CodeOutOfFiles) && len(m.heldBy(first)) == 0 {
			f.Action = status.ActSoon // clients do not feel it there
		}
		m.out.Findings = append(m.out.Findings, f)
	}
}

// holderOf gives the first of some controllers that holds a VIP, which clients feel; the
// first of all where none does.
func (m *merger) holderOf(controllers []string) string {
	for _, c := range controllers {
		if len(m.heldBy(c)) > 0 {
			return c
		}
	}
	return controllers[0]
}

// briefOf says in a few words what an agent found of itself.
func (m *merger) briefOf(f status.Finding, controller string) string {
	if f.Code == status.CodeVIPConflict {
		if who, is := m.claimedBy(f); is {
			return controller + " and " + who + " both have the VIP's address"
		}
	}
	if f.Code == status.CodeDiskFull && strings.Contains(f.Text, "read-only") {
		return "disk of " + controller + " read-only"
	}
	if words := map[string]string{
		status.CodeIsolated:        "%1 reaches no other",
		status.CodeDiskFull:        "disk of %1 full",
		status.CodeOutOfFiles:      "%1 out of files",
		status.CodeConntrackFull:   "table of connections of %1 full",
		status.CodeAdvertsBlocked:  "adverts blocked, says %1",
		status.CodeVIPConflict:     "another machine has the VIP's address, says %1",
		status.CodeForeignRouter:   "a foreign router, says %1",
		status.CodeHAProxyAsRoot:   "HAProxy of %1 runs as root",
		status.CodeNotListening:    "a port of %1 taken",
		status.CodeNotInForce:      "spec of %1 not in force",
		status.CodeNotifyFails:     "messages of %1 not taken",
		status.CodeVIPMovesOften:   "VIP moves often",
		status.CodeHeadersTooLarge: "requests refused for their headers",
		status.CodeRequestsRefused: "requests refused",
		status.CodeClientsLimited:  "clients turned away by limits",
		status.CodeRawLines:        "raw lines of HAProxy in force",
		status.CodeMaintenance:     "services in maintenance",
	}[f.Code]; words != "" {
		return strings.ReplaceAll(words, "%1", controller)
	}
	return strings.ReplaceAll(f.Code, "-", " ") + " on " + controller
}

// claimedBy gives the controller that a conflict about an address is with: two controllers that do not
// hear each other part by themselves within their lease.
func (m *merger) claimedBy(f status.Finding) (string, bool) {
	for _, a := range m.answers {
		if strings.HasPrefix(f.Text, a.Name+" (") {
			return a.Name, true
		}
	}
	return "", false
}

// alike reports whether two findings say the same, whenever each began.
func alike(a, b status.Finding) bool {
	a.Since, b.Since = time.Time{}, time.Time{}
	return a == b
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func subjects(kind string, names []string) string {
	if len(names) > 1 {
		kind += "s"
	}
	return kind + " " + status.List(names)
}
