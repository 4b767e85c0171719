package watch

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/conflict"
	"holdfast/internal/ether"
	"holdfast/internal/status"
)

// dispute tells of another machine that has the address.
func (r *round) dispute(now time.Time, out conflict.Output, active bool) {
	if !out.Taken {
		r.taken = time.Time{}
		r.tellTaken("")
		return
	}
	if r.taken.IsZero() {
		r.taken = now
	}
	m := r.identify(out.By.MAC)
	switch {
	case active:
		r.tellTaken(fmt.Sprintf("%s says that %v is its own, and so does this controller: clients come to one or the other", m, out.By.Address))
	case m.own:
		r.tellTaken(fmt.Sprintf("another program of this host has put %v on an interface for good, so this controller does not take it", out.By.Address))
	case !m.controller:
		r.tellTaken(fmt.Sprintf("%s answers for %v, so this controller does not take it", m, out.By.Address))
	case now.Sub(r.taken) > deafAfter:
		r.tellTaken(fmt.Sprintf("%s has %v, so this controller does not take it; none of its adverts arrives here", m, out.By.Address))
	}
}

// tellTaken reports the finding with the text; "" ends it.
func (r *round) tellTaken(text string) {
	if text == r.said {
		return
	}
	key := status.CodeVIPConflict + " " + r.opt.Name
	if r.said != "" {
		r.opt.Report(status.CodeVIPConflict, key, nil)
	}
	if r.said = text; text == "" {
		return
	}
	r.opt.Report(status.CodeVIPConflict, key, &status.Finding{
		Severity: status.Error, Code: status.CodeVIPConflict, Subject: "vip " + r.opt.Name, Text: text,
		Remedy: "take the address from the other machine (there: systemctl stop keepalived, or ip address del); it is asked again every second",
	})
}

// A machine is who a MAC address is, as far as this host knows.
type machine struct {
	mac        ether.MAC
	names      []string
	controller bool
	own        bool
	router     string // what it advertises
}

func (m machine) String() string {
	text := "the machine with the MAC address " + m.mac.String()
	if len(m.names) > 0 {
		text = fmt.Sprintf("%s (MAC address %v)", strings.Join(m.names, ", "), m.mac)
	}
	if m.router != "" {
		text += ", which advertises " + m.router + ","
	}
	return text
}

// identify asks the kernel's neighbours, and what was advertised, who has a MAC address.
func (r *round) identify(mac ether.MAC) machine {
	m := machine{mac: mac, own: r.socket != nil && mac == r.socket.mac}
	var addresses []netip.Addr
	if r.socket != nil {
		neighbours, err := r.links.Neighbours(r.socket.index)
		if err != nil {
			r.opt.Log.Debug("the neighbours are not known", "vip", r.opt.Name, "error", err)
		}
		for _, n := range neighbours {
			if n.MAC == mac {
				addresses = append(addresses, n.Address)
			}
		}
	}
	for _, f := range r.foreign {
		if f.MAC == mac {
			m.router = f.String()
			addresses = append(addresses, f.Source)
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	for _, a := range slices.Compact(addresses) {
		switch name, known := r.peers[a]; {
		case slices.Contains(r.opt.Addresses, a):
		case known:
			m.controller = true
			m.names = append(m.names, fmt.Sprintf("%s (%v)", name, a))
		case len(m.names) < 3 && !a.IsLinkLocalUnicast():
			m.names = append(m.names, a.String())
		}
	}
	return m
}

// mostForeigners bounds what is kept of routers that are none of the spec's.
const mostForeigners = 8

// meet takes in the advert of a router that is none of the spec's.
func (r *round) meet(now time.Time, f conflict.Foreign) {
	if r.isOwn(now, f.MAC) || f.Source == r.opt.Source {
		return
	}
	takes := slices.ContainsFunc(f.Addresses, func(a netip.Addr) bool { return slices.Contains(r.opt.Addresses, a) })
	if takes && f.Priority > 0 {
		r.rival.Store(&now)
	}
	id := fmt.Sprint(f.MAC, f.Source, f.Version)
	known := r.foreign[id]
	if known != nil {
		known.last = now
		if f.Priority == 0 || known.String() == f.String() {
			return // it only resigns
		}
		r.opt.Report(status.CodeForeignRouter, known.key, nil)
	} else if len(r.foreign) >= mostForeigners {
		return
	}
	known = &foreigner{Foreign: f, last: now, key: strings.Join([]string{status.CodeForeignRouter, r.opt.Name, id}, " ")}
	r.foreign[id] = known
	r.opt.Report(status.CodeForeignRouter, known.key, r.strangerFinding(f))
}

func (r *round) strangerFinding(f conflict.Foreign) *status.Finding {
	who := f.Source.String()
	if name, known := r.peers[f.Source]; known {
		who = fmt.Sprintf("%s (%v)", name, f.Source)
	}
	finding := &status.Finding{
		Severity: status.Error, Code: status.CodeForeignRouter, Subject: "vip " + r.opt.Name,
		Text:   fmt.Sprintf("%s, MAC address %v, advertises %s: no controller of the spec does so, and it is not obeyed", who, f.MAC, f),
		Remedy: "two clouds on one network need two router_ids",
	}
	if slices.ContainsFunc(f.Addresses, func(a netip.Addr) bool { return slices.Contains(r.opt.Addresses, a) }) {
		finding.Remedy = "stop it there (systemctl stop keepalived): it takes the address of this vip; docs/runbooks/keepalived.md has the way from one to the other"
	}
	return finding
}

// sweep ends what is told of routers that are heard no more.
func (r *round) sweep(now time.Time) {
	const least, intervals = 15 * time.Second, 4
	for id, f := range r.foreign {
		if now.Sub(f.last) > max(least, intervals*f.Interval) {
			delete(r.foreign, id)
			r.opt.Report(status.CodeForeignRouter, f.key, nil)
		}
	}
}
