package cloud

import (
	"fmt"
	"slices"
	"time"

	"holdfast/internal/status"
)

// togetherTime is how long all VIPs must have been on one controller: after a fault, or
// planned work, they are for a while.
const togetherTime = 10 * time.Minute

// findTogether tells of VIPs that are to lie on several controllers and have all been on
// one for some time, while another one that is to have one of them is well.
func (m *merger) findTogether() {
	vips := slices.DeleteFunc(slices.Clone(m.out.VIPs), func(v VIP) bool { return v.Announce != "" })
	if len(vips) < 2 {
		return
	}
	var latest time.Time
	for _, v := range vips {
		if v.Holder == "" || v.Holder != vips[0].Holder || v.Since.IsZero() {
			return
		}
		if v.Since.After(latest) {
			latest = v.Since
		}
	}
	if m.out.Time.Sub(latest) < togetherTime {
		return
	}
	for _, v := range vips {
		if len(v.Prefer) == 0 || v.Prefer[0] == v.Holder || !m.takes(v.Prefer[0], v.Name) {
			continue
		}
		m.find(status.Info, status.CodeVIPsTogether, "vip "+v.Name, fmt.Sprintf("it is to be on %s, and all %d VIPs are on %s", v.Prefer[0], len(vips), v.Holder),
			"hand it over; with preempt: true in the spec controllers do that themselves",
			also{
				brief: fmt.Sprintf("all VIPs on %s", v.Holder), since: latest,
				command: command("holdfast handover --vip %1 --to %2", v.Name, v.Prefer[0]),
			})
		return
	}
}

// takes reports whether a controller looks fit to take a VIP.
func (m *merger) takes(controller, vip string) bool {
	if slices.Contains(m.lagging, controller) || slices.ContainsFunc(m.blind, func(b blindness) bool { return b.controller == controller }) {
		return false
	}
	for _, s := range m.snapshots() {
		if s.Controller == controller {
			return s.HAProxy.State == status.HAProxyRunning && !status.DrainedWhole(s.Drains) &&
				slices.ContainsFunc(s.VIPs, func(v status.VIP) bool { return v.Name == vip && v.State == status.Backup })
		}
	}
	return false
}
