package cloud

import (
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/status"
)

// drains reports whether the agent of the controller that has the address of a
// host, address:port, says that it drains service.
func (m *merger) drains(host, service string) bool {
	at, err := netip.ParseAddrPort(host)
	if err != nil {
		return false
	}
	for _, a := range m.answers {
		agent, err := netip.ParseAddrPort(a.Address)
		if err != nil || a.Snapshot == nil || agent.Addr().Unmap() != at.Addr().Unmap() {
			continue
		}
		if slices.ContainsFunc(a.Snapshot.Drains, func(d status.Drained) bool { return d.Service == "" || d.Service == service }) {
			return true
		}
	}
	return false
}

// asDrained gives the hosts of s, with those that are down as drained where
// their agent says so: what is stopped for maintenance is no fault, though an
// HAProxy may have found it down before it was told of the drain.
func (m *merger) asDrained(s status.Service) []status.Host {
	hosts := slices.Clone(s.Hosts)
	for i, h := range hosts {
		if h.State == status.Down && m.drains(h.Address, s.Name) {
			hosts[i].State = status.Drain
		}
	}
	return hosts
}

// findDrains tells what agents have taken out, and until when.
func (m *merger) findDrains() {
	for _, s := range m.snapshots() {
		for _, d := range s.Drains {
			subject, undoing, brief := "controller "+s.Controller, "holdfast undrain "+s.Controller, s.Controller+" drained"
			if d.Service != "" {
				subject, undoing, brief = status.HostSubject(d.Service, s.Controller), undoing+" --service "+d.Service, d.Service+" drained on "+s.Controller
			}
			text := "drained"
			if !d.Until.IsZero() {
				text += ", until " + m.at(d.Until)
			}
			m.find(status.Info, status.CodeDrained, subject, text+because(d.Reason), undoing+" when done",
				also{brief, d.Since, undrain(s.Controller, d.Service)})
		}
	}
}

// at gives "10:02:11 UTC", with the date when it is another day.
func (m *merger) at(t time.Time) string {
	t = t.UTC()
	if t.Format(time.DateOnly) == m.now.UTC().Format(time.DateOnly) {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04 UTC")
}
