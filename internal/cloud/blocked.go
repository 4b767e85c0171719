package cloud

import (
	"slices"
	"strings"
	"time"

	"holdfast/internal/status"
)

// A blockage is that adverts of one controller do not arrive at another, as one of them says.
type blockage struct {
	from, to string
	vips     string // "vip api"
	why      string // of the kernel that does not send them; "" where it does
	remedy   string
	since    time.Time
}

// blockageOf reads what the agent of by found; false: it is about anything else. Its words are
// those of package hearing.
func blockageOf(by string, f status.Finding) (blockage, bool) {
	from, is := strings.CutPrefix(f.Subject, "controller ")
	rest, told := strings.CutPrefix(f.Text, "adverts of "+from+" for ")
	vips, rest, arrive := strings.Cut(rest, " do not arrive ")
	if f.Code != status.CodeAdvertsBlocked || !is || !told || !arrive {
		return blockage{}, false
	}
	b := blockage{from: from, to: by, vips: vips, remedy: f.Remedy, since: f.Since}
	if at, there := strings.CutPrefix(rest, "at "); there {
		b.to, rest, _ = strings.Cut(at, ", whose agent answers")
		_, rest, _ = strings.Cut(rest, "the kernel here does not send them (")
		b.why, _, _ = strings.Cut(rest, "), so a filter")
	}
	return b, b.to != b.from
}

// findBlocked tells of controllers whose adverts do not arrive. What several say of one filter is
// one finding, of the controller that is at all of its ends.
func (m *merger) findBlocked() {
	var all []blockage
	for _, s := range m.snapshots() {
		for _, f := range s.Findings {
			b, is := blockageOf(s.Controller, f)
			if !is {
				continue
			}
			i := slices.IndexFunc(all, func(have blockage) bool { return have.from == b.from && have.to == b.to })
			if i < 0 {
				all = append(all, b)
				continue
			}
			if all[i].why == "" {
				all[i].why = b.why
			}
			if b.since.Before(all[i].since) {
				all[i].since = b.since
			}
		}
	}
	for len(all) > 0 {
		at := commonEnd(all)
		m.findBlockedAt(at, slices.DeleteFunc(slices.Clone(all), func(b blockage) bool { return !b.ends(at) }))
		all = slices.DeleteFunc(all, func(b blockage) bool { return b.ends(at) })
	}
}

func (b blockage) ends(controller string) bool { return b.from == controller || b.to == controller }

// commonEnd gives the controller that most are from or to; of several the first that sends what
// does not arrive.
func commonEnd(all []blockage) string {
	count, best := map[string]int{}, ""
	for _, b := range all {
		count[b.from]++
		count[b.to]++
	}
	for _, end := range []func(blockage) string{func(b blockage) string { return b.from }, func(b blockage) string { return b.to }} {
		for _, b := range all {
			if one := end(b); count[one] > count[best] {
				best = one
			}
		}
	}
	return best
}

// findBlockedAt tells of adverts that are dropped at a controller, the cause first.
func (m *merger) findBlockedAt(at string, all []blockage) {
	var from, to []string // of others: whose do not arrive at it, and at whom its own do not
	first := all[0]
	for _, b := range all {
		if b.from == at {
			to = append(to, b.to)
		} else {
			from = append(from, b.from)
		}
		if first.why == "" {
			first.why = b.why
		}
		if b.since.Before(first.since) {
			first.since = b.since
		}
	}
	with := also{since: first.since, command: command("ssh %1 timeout 5 tcpdump -ni %2 vrrp", at, m.wireOf(at))}
	text := ""
	switch {
	case first.why != "" && len(to) > 0:
		text = "a filter of " + at + " drops its adverts for " + first.vips + " (" + first.why + "): they do not arrive at " + status.List(to) + "; were it to hold the address, both would"
		if len(from) > 0 {
			text += "; nor do those of " + status.List(from) + " arrive there"
		}
		with.brief, with.command = "adverts of "+at+" blocked", command("ssh %1 nft list ruleset", at)
	case len(from) == 0:
		text = "adverts of " + at + " for " + first.vips + " do not arrive at " + status.List(to) + ", and all agents answer: were it to hold the address, both would"
		with.brief = "adverts of " + at + " blocked"
	case len(to) == 0:
		text = "adverts of " + status.List(from) + " for " + first.vips + " do not arrive at " + at + ", and all agents answer: it may take the address while another has it"
		with.brief = "adverts to " + at + " blocked"
	default:
		text = "adverts for " + first.vips + " pass neither from " + at + " to " + status.List(to) + " nor from " + status.List(from) + " to it, and all agents answer: both may hold the address"
		with.brief = "adverts of and to " + at + " blocked"
	}
	if f, is := m.endedConflict(at); is {
		text += "; it has come to that: two had it at " + f.Since.UTC().Format("15:04:05") + ", until one gave way"
	}
	m.find(status.Warning, status.CodeAdvertsBlocked, "controller "+at, text, first.remedy, with)
}

// endedConflict gives what an agent found of a VIP that a controller whose adverts are blocked
// had too, or that it had beside another, and one has no more.
func (m *merger) endedConflict(at string) (status.Finding, bool) {
	for _, s := range m.snapshots() {
		for _, f := range s.Findings {
			if m.follows(s.Controller, f, at) {
				return f, true
			}
		}
	}
	return status.Finding{}, false
}

// follows reports whether f, which the agent of by found, is a conflict that came of adverts that
// are blocked at a controller, and is over: only one holds the VIP.
func (m *merger) follows(by string, f status.Finding, at string) bool {
	if f.Code != status.CodeVIPConflict {
		return false
	}
	other, is := m.claimedBy(f)
	vip := slices.IndexFunc(m.out.VIPs, func(v VIP) bool { return f.Subject == "vip "+v.Name })
	return is && (by == at || other == at) && vip >= 0 && len(m.out.VIPs[vip].Holders) == 1
}

// isTold reports whether f, which the agent of by found, is said with blocked adverts.
func (m *merger) isTold(by string, f status.Finding) bool {
	if _, is := blockageOf(by, f); is {
		return true
	}
	for _, blocked := range m.out.Findings {
		if at, is := strings.CutPrefix(blocked.Subject, "controller "); is && blocked.Code == status.CodeAdvertsBlocked && m.follows(by, f, at) {
			return true
		}
	}
	return false
}
