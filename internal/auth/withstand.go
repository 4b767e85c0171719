package auth

// A Threat is somebody who should not be believed, and what becomes of what he says.
type Threat struct {
	Who  string `json:"who"`
	What string `json:"what"` // in words, as the end of a sentence that begins with Who
}

// Withstands says what a policy withstands, and what it does not.
func (p Policy) Withstands() []Threat {
	if p.Demands() {
		return []Threat{
			{"a rogue container", "is refused wherever it runs, unless it can read the file of keys"},
			{"a local user of a controller", "is refused, unless he can read the file of keys; while no agent runs and systemd does not hold its ports, he can tell HAProxys there that this controller's services are drained, or are not, and no more"},
			{"a stolen address of a controller", "moves no VIP and has no agent do anything, and what it has recorded is refused; it can still answer ARP for a VIP, and HAProxys' agent-checks and health checks in that controller's place, against which the network has to help"},
			{"a rogue controller", "is not withstood: it has the key; put it out of the spec and make the others a new key"},
		}
	}
	all := []Threat{
		{"a rogue container", "is refused where its packets are forwarded, behind masquerading too: they arrive with a TTL below 255; with the host's own network and CAP_NET_RAW or CAP_NET_BIND_SERVICE, or on the controllers' network with CAP_NET_RAW, it can take every VIP, as root of a host there can"},
		{"a local user of a controller", "sends no adverts, and no commands unless net.ipv4.ip_unprivileged_port_start is below 1024 there; while no agent runs and systemd does not hold its ports, he can answer other agents and HAProxys in its place"},
		{"a stolen address of a controller", "is not withstood: who sends from it, on the controllers' network, can take every VIP, and drain controllers"},
		{"a rogue controller", "is not withstood"},
	}
	if p.Keys != nil {
		for i := range all[:3] {
			all[i].What += "; so it is until agent.authentication is strict, since what is not signed is believed"
		}
	}
	return all
}
