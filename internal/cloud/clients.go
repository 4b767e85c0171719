package cloud

import "holdfast/internal/status"

// Clients gives what clients of a service got in the last minute, of all controllers and
// VIPs together, and whether there were any. Its percentiles are those of the VIP and the
// controller that had the most requests.
func (c Cloud) Clients(service string) (status.Client, bool) {
	sum, most := status.Client{Service: service}, uint64(0)
	for _, controller := range c.Controllers {
		if controller.Snapshot == nil {
			continue
		}
		for _, one := range controller.Snapshot.Clients {
			if one.Service != service {
				continue
			}
			if one.Requests > most {
				most = one.Requests
				sum.P50, sum.P99, sum.P999 = one.P50, one.P99, one.P999
			}
			sum.Span = max(sum.Span, one.Span)
			sum.Requests += one.Requests
			sum.Failed += one.Failed
			sum.PerSecond += one.PerSecond
		}
	}
	return sum, sum.Requests > 0
}
