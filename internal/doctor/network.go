package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// macOf gives who said that a is theirs.
func macOf(f Facts, a addr) (Answer, bool) {
	i := slices.IndexFunc(f.Answers, func(x Answer) bool { return x.Address == a })
	if i < 0 {
		return Answer{}, false
	}
	return f.Answers[i], true
}

// macOn is macOf for what was said on one interface.
func macOn(f Facts, a addr, link string) (Answer, bool) {
	i := slices.IndexFunc(f.Answers, func(x Answer) bool { return x.Address == a && x.Link == link })
	if i < 0 {
		return Answer{}, false
	}
	return f.Answers[i], true
}

// neighbours judges who else has the VIPs, and who else speaks VRRP.
func neighbours(r *report, f Facts) {
	for _, v := range f.Spec.VIPs {
		for _, a := range v.Addrs() {
			for _, x := range f.Answers {
				if x.Address == a && !ofController(f, v, x) {
					r.error(Finding{
						Code: CodeAddressInUse, Subject: "vip " + v.Name, Text: fmt.Sprintf("another machine has the address %v", a),
						Evidence: fmt.Sprintf("asked on %s who has %v, %s answers, which is no controller's", x.Link, a, x.MAC),
						Remedy:   "find it and take the address away from it, or choose another address", Command: fmt.Sprintf("ip neighbour | grep -i %s; arping -I %s -c 3 %v", x.MAC, x.Link, a),
					})
				}
			}
		}
		for _, x := range f.Routers {
			if x.RouterID != v.VRRP.RouterID || isController(f.Spec, x.Source) || x.Link != f.Spec.Interface(v, f.Controller) {
				continue
			}
			r.error(Finding{
				Code: CodeOtherRouter, Subject: "vip " + v.Name, Text: fmt.Sprintf("another router on %s speaks VRRP with the id %d", x.Link, x.RouterID),
				Evidence: fmt.Sprintf("version %d, id %d, priority %d from %v (%s) for %s", x.Version, x.RouterID, x.Priority, x.Source, x.MAC, addresses(x.Addresses)),
				Remedy:   fmt.Sprintf("choose an id that nobody uses, such as %d, on all controllers, or stop that router", freeID(f, x.Link)),
				Command:  fmt.Sprintf("sed -i 's/router_id: %d\\b/router_id: %d/' %s && holdfast validate", x.RouterID, freeID(f, x.Link), f.SpecFile),
			})
		}
	}
}

// ofController reports whether who answers for v is a controller that holds it: by the MAC
// address that a controller's own address has, or that of the virtual router.
func ofController(f Facts, v spec.VIP, x Answer) bool {
	if strings.EqualFold(x.MAC, fmt.Sprintf("00:00:5e:00:01:%02x", v.VRRP.RouterID)) || strings.EqualFold(x.MAC, fmt.Sprintf("00:00:5e:00:02:%02x", v.VRRP.RouterID)) {
		return true
	}
	// A controller with several interfaces answers on each with the address of that.
	for _, c := range f.Spec.Controllers {
		if own, known := macOn(f, c.Address, x.Link); known && own.MAC == x.MAC {
			return true
		}
	}
	// A controller that says it holds it, and did not answer for its own address.
	return slices.ContainsFunc(f.Peers, func(p Peer) bool {
		if _, known := macOn(f, p.Address, x.Link); known || p.Snapshot == nil {
			return false
		}
		return slices.ContainsFunc(p.Snapshot.VIPs, func(s status.VIP) bool { return s.Name == v.Name && s.Present })
	})
}

func isController(s *spec.Spec, a addr) bool {
	return a.Is6() && a.IsLinkLocalUnicast() || slices.ContainsFunc(s.Controllers, func(c spec.Controller) bool { return c.Address == a })
}

func addresses(all []netip.Addr) string {
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// freeID gives the lowest id from 51 on that was not heard on the link, and the spec has not.
func freeID(f Facts, link string) int {
	taken := func(id int) bool {
		return slices.ContainsFunc(f.Routers, func(x Router) bool { return x.RouterID == id && x.Link == link }) ||
			slices.ContainsFunc(f.Spec.VIPs, func(v spec.VIP) bool { return v.VRRP.RouterID == id })
	}
	for id := 51; id <= 255; id++ {
		if !taken(id) {
			return id
		}
	}
	return 1
}

func peers(r *report, f Facts) {
	for _, p := range f.Peers {
		reachable(r, f, p)
		if p.SmallFrames == Yes && p.BigFrames == No {
			r.error(Finding{
				Code: CodeMTUPath, Subject: "controller " + p.Name, Text: "small frames reach it, and such as fill the MTU do not",
				Evidence: fmt.Sprintf("UDP that fills the device's MTU to %v is not answered, and 64 octets are", p.Address),
				Remedy:   "give all devices between the two the same MTU, or this one the smallest of them", Command: fmt.Sprintf("tracepath -n %v", p.Address),
			})
		}
		if p.Snapshot != nil && p.Snapshot.Config.Digest != "" && p.Snapshot.Config.Digest != f.Spec.Digest {
			// Nothing that another host says becomes part of a command for root here.
			command := fmt.Sprintf("scp %s %v: && ssh %v    # there: put it in the place of its own, then: holdfast reload", f.SpecFile, p.Address, p.Address)
			if p.Name == f.Controller.Name {
				command = "holdfast diff; holdfast reload"
			}
			r.warning(Finding{
				Code: CodeSpecsDiffer, Subject: "controller " + p.Name, Text: "it runs another spec than the file here",
				Evidence: fmt.Sprintf("digest %s there, %s here", p.Snapshot.Config.Digest, f.Spec.Digest), Remedy: "put the same file on all controllers, and reload",
				Command: command,
			})
		}
	}
	twice(r, f)
}

// reachable judges how the ports of p answer.
func reachable(r *report, f Facts, p Peer) {
	_, answersARP := macOf(f, p.Address)
	var silent []string
	for _, port := range []int{f.Spec.Agent.Port, f.Spec.Agent.CheckPort} {
		if p.Ports[port] == Silent || p.Ports[port] == NoRoute {
			silent = append(silent, fmt.Sprint(port))
		}
	}
	switch {
	case len(silent) == 0:
	case len(silent) == 2 && !answersARP:
		r.error(Finding{
			Code: CodePeerSilent, Subject: "controller " + p.Name, Text: fmt.Sprintf("it does not answer at %v", p.Address),
			Evidence: fmt.Sprintf("neither ARP or neighbour discovery nor TCP at %s is answered", strings.Join(silent, ", ")),
			Remedy:   "start it, or correct its address in the spec", Command: fmt.Sprintf("ping -c 3 %v", p.Address),
		})
	default:
		r.error(Finding{
			Code: CodePeerFiltered, Subject: "controller " + p.Name, Text: "a filter keeps this controller from its TCP ports " + strings.Join(silent, " and "),
			Evidence: fmt.Sprintf("connections to %v at %s are not answered, and the host is there", p.Address, strings.Join(silent, ", ")),
			Remedy:   "on each controller let the others in: IP protocol 112, and TCP at the agent's two ports",
			Command: fmt.Sprintf("nft insert rule inet filter input ip saddr { %s } tcp dport { %d, %d } accept && nft insert rule inet filter input ip saddr { %s } ip protocol 112 accept",
				controllers(f), f.Spec.Agent.Port, f.Spec.Agent.CheckPort, controllers(f)),
		})
	}
}

func controllers(f Facts) string {
	var all []addr
	for _, c := range f.Spec.Controllers {
		all = append(all, c.Address)
	}
	return addresses(all)
}

// twice looks for VIPs that several controllers hold, which do not hear each other's adverts.
func twice(r *report, f Facts) {
	for _, v := range f.Spec.VIPs {
		if v.Announce == spec.AnnounceBGP {
			continue // all that are well have it
		}
		var who []string
		for _, p := range f.Peers {
			if p.Snapshot == nil {
				continue
			}
			if slices.ContainsFunc(p.Snapshot.VIPs, func(s status.VIP) bool { return s.Name == v.Name && s.State == status.Active && s.Present }) {
				who = append(who, p.Name)
			}
		}
		if len(who) > 1 {
			r.error(Finding{
				Code: CodeTwoHolders, Subject: "vip " + v.Name, Text: strings.Join(who, " and ") + " hold it at once: they do not hear each other's adverts",
				Evidence: "each says that it is active, on its port " + fmt.Sprint(f.Spec.Agent.Port), Remedy: "let IP protocol 112 pass between the controllers; on all of them",
				Command: fmt.Sprintf("nft insert rule inet filter input ip saddr { %s } ip protocol 112 accept", controllers(f)),
			})
		}
	}
}

// clockOff is how far apart two controllers' clocks may be: tokens and certificates are
// judged by them.
const clockOff = time.Second

func clocks(r *report, f Facts) {
	compared := false
	for _, p := range f.Peers {
		if p.Clock.IsZero() {
			continue
		}
		compared = true
		// It said its time at some moment between the question and the answer.
		switch there := p.Clock; {
		case there.Before(p.SentAt.Add(-clockOff)):
			clockIsOff(r, p, p.SentAt.Sub(there), "behind")
		case there.After(p.GotAt.Add(clockOff)):
			clockIsOff(r, p, there.Sub(p.GotAt), "ahead of")
		}
	}
	if !compared && f.Synchronized == No {
		r.warning(Finding{
			Code: CodeClockAlone, Subject: "clock", Text: "nobody keeps this host's clock right", Evidence: "adjtimex: the kernel says that it is not synchronized (STA_UNSYNC)",
			Remedy: "run a client of NTP: tokens of Keystone and certificates are judged by the clock", Command: "apt-get install chrony",
		})
	}
}

func clockIsOff(r *report, p Peer, by time.Duration, how string) {
	r.warning(Finding{
		Code: CodeClockOff, Subject: "controller " + p.Name, Text: fmt.Sprintf("its clock is %s this host's by %s or more", how, status.Brief(by)),
		Evidence: fmt.Sprintf("asked at %s, it says %s", p.SentAt.UTC().Format(time.RFC3339Nano), p.Clock.UTC().Format(time.RFC3339Nano)),
		Remedy:   "have both keep the time by NTP: tokens of Keystone are valid by the clock of who checks them", Command: "chronyc tracking || timedatectl timesync-status",
	})
}

// agents hands on what running agents say of themselves and the network, which they see for
// longer than a doctor does.
func agents(r *report, f Facts) {
	passed := []string{
		status.CodeDetourBlocked, status.CodeAdvertsBlocked, status.CodeForeignRouter, status.CodeVIPConflict, status.CodeConntrackFull, status.CodeOutOfFiles,
		status.CodeNotListening, status.CodeHAProxyAsRoot, status.CodeHAProxyReplaced, status.CodeHAProxyLibraryReplaced, status.CodeKeyUnusable, status.CodeDiskFull,
	}
	for _, p := range f.Peers {
		if p.Snapshot == nil {
			continue
		}
		for _, g := range p.Snapshot.Findings {
			if !slices.Contains(passed, g.Code) || g.Severity == status.Info {
				continue
			}
			// What another host says is for that host, and no command for root here.
			command := fmt.Sprintf("ssh %v holdfast status", p.Address)
			if p.Name == f.Controller.Name {
				command = cmp.Or(g.Command, "holdfast status")
			}
			remedy := g.Remedy
			if remedy == "" {
				remedy = "see docs/troubleshooting.md#" + g.Code
			}
			r.add(g.Severity, Finding{
				Code: CodeAgentSays, Subject: "controller " + p.Name, Text: g.Text,
				Evidence: "its agent says so (" + g.Code + "): " + g.Subject, Remedy: remedy, Command: command,
			})
		}
	}
}
