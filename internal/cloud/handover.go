package cloud

import (
	"fmt"

	"holdfast/internal/status"
)

// findHandovers tells of connections that go on at a controller which has
// handed their VIP over.
func (m *merger) findHandovers() {
	for _, s := range m.snapshots() {
		for _, v := range s.VIPs {
			g := v.Giving
			if g == nil || g.Connections == 0 {
				continue
			}
			connections := fmt.Sprintf("%d connections go on at %s", g.Connections, s.Controller)
			if g.Connections == 1 {
				connections = "1 connection goes on at " + s.Controller
			}
			m.find(status.Info, status.CodeHandover, "vip "+v.Name, fmt.Sprintf("%s, which handed it over to %s at %s", connections, g.To, m.at(g.Since)),
				fmt.Sprintf("wait until they have ended before you stop HAProxy there; they are cut at %s", m.at(g.Until)),
				also{brief: "VIP " + v.Name + " handed over to " + g.To, since: g.Since, command: "holdfast status --watch"})
		}
	}
}
