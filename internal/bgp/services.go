package bgp

import (
	"slices"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Services gives what services, as this controller's HAProxy sees them, say of v: whether the
// first checks have ended, and whether one of them has a host.
func Services(s *spec.Spec, v spec.VIP, services []status.Service) (checked, serves bool) {
	checked = true
	for _, svc := range s.Services {
		if !svc.On(v) {
			continue
		}
		i := slices.IndexFunc(services, func(seen status.Service) bool { return seen.Name == svc.Name })
		if i < 0 {
			checked = false
			continue
		}
		seen := services[i]
		known := func(h status.Host) bool { return h.State != status.Unknown }
		up := func(h status.Host) bool { return h.State == status.Up }
		checked = checked && slices.ContainsFunc(seen.Hosts, known)
		serves = serves || seen.LastResort || slices.ContainsFunc(seen.Hosts, up)
	}
	return checked, serves
}
