package spec

import "slices"

// Keys gives every key that the file may have.
func Keys() []string {
	return slices.Concat(keysOf(specFields()), keysOf(vipFields(true)), keysOf(vrrpFields()), keysOf(tlsFields()), keysOf(certificateFields()), keysOf(publicFields()), keysOf(routeFields()), keysOf(controllerFields()),
		keysOf(serviceFields()), keysOf(serviceHostFields()), keysOf(checkFields()), keysOf(timeoutFields()), keysOf(agentFields()), keysOf(logFields()),
		keysOf(serviceLimitFields()), keysOf(rawFields()), keysOf(behindFields()), keysOf(maintenanceFields()), keysOf(statsFields()),
		keysOf(bgpFields()), keysOf(peerFields()), keysOf(bfdFields()))
}
