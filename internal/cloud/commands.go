package cloud

import (
	"net/netip"
	"strings"

	"holdfast/internal/status"
)

// safe reports whether word may stand in a command that an operator pastes: names and addresses
// are other machines' words, and a shell, or ssh, would obey some.
func safe(word string) bool {
	return word != "" && word[0] != '-' && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:/") == ""
}

// command puts words together; "" if what another machine calls itself, or a file, cannot be one.
func command(format string, names ...string) string {
	var pairs []string
	for i, n := range names {
		if !safe(n) {
			return ""
		}
		pairs = append(pairs, "%"+string(rune('1'+i)), n)
	}
	return strings.NewReplacer(pairs...).Replace(format)
}

// curlFrom gives the command that asks a host from a controller; "" where its address is none.
func curlFrom(controller, address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	if at.Addr().Is6() { // curl and the shell both know brackets
		ask := command("ssh %1 ", controller)
		if ask == "" || at.Addr().Zone() != "" {
			return ""
		}
		return ask + "\"curl -gim5 'http://" + at.String() + "/'\""
	}
	return command("ssh %1 curl -im5 http://%2/", controller, at.String())
}

// bare gives the address without the port.
func bare(address string) string {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return at.Addr().String()
	}
	return address
}

// wireOf gives the interface of a controller's first VIP.
func (m *merger) wireOf(controller string) string {
	for _, s := range m.snapshots() {
		if s.Controller == controller && len(s.VIPs) > 0 {
			return s.VIPs[0].Interface
		}
	}
	return ""
}

func (m *merger) lookAtLink(controller string) string {
	return command("ssh %1 ip -s link show dev %2", controller, m.wireOf(controller))
}

func (m *merger) specFile(controller string) string {
	for _, s := range m.snapshots() {
		if s.Controller == controller && s.Config.File != "" {
			return s.Config.File
		}
	}
	return "/etc/holdfast/holdfast.yaml"
}

func lookAtUnit(service, host string) string {
	return command("ssh %2 systemctl status '%1*'", service, host)
}

func undrain(host, service string) string {
	if service == "" {
		return command("holdfast undrain %1", host)
	}
	return command("holdfast undrain %1 --service %2", host, service)
}

// commandFor gives what to do first, or to look at, for what an agent found of itself.
func (m *merger) commandFor(f status.Finding, controller string) string {
	switch f.Code {
	case status.CodeIsolated:
		return m.lookAtLink(controller)
	case status.CodeNotInForce, status.CodeConfigNotApplied, status.CodeConfigRolledBack:
		return command("ssh %1 holdfast validate -f %2", controller, m.specFile(controller))
	case status.CodeForeignRouter, status.CodeAdvertsBlocked:
		return command("ssh %1 timeout 5 tcpdump -ni %2 vrrp", controller, m.wireOf(controller))
	case status.CodeVIPConflict:
		if address := m.firstAddress(f.Subject); address != "" {
			return command("ssh %1 ip neighbour show %2", controller, address)
		}
	}
	if f.Code == status.CodeDiskFull && strings.HasPrefix(f.Subject, "/") {
		path, _, _ := strings.Cut(f.Subject, " ")
		return command("ssh %1 df -h %2", controller, path)
	}
	if file := m.certificateOf(f, controller); file != "" {
		return command("ssh %1 openssl x509 -noout -subject -dates -in %2", controller, file)
	}
	return command(commandsOfAgents()[f.Code], controller)
}

// certificateOf gives the file of the certificate that f is about; "" if it is about none.
func (m *merger) certificateOf(f status.Finding, controller string) string {
	if !strings.HasPrefix(f.Code, "certificate-") {
		return ""
	}
	for _, s := range m.snapshots() {
		for _, v := range s.VIPs {
			if s.Controller == controller && v.Certificate != nil && strings.HasPrefix(f.Subject+" ", "vip "+v.Name+" ") {
				for _, more := range v.MoreCertificates {
					if strings.HasPrefix(f.Text, more.File+": ") { // which of several, as the agent says
						return more.File
					}
				}
				return v.Certificate.File
			}
		}
	}
	return ""
}

// firstAddress gives the first address of the VIP that a subject names.
func (m *merger) firstAddress(subject string) string {
	for _, v := range m.out.VIPs {
		if strings.HasPrefix(subject+" ", "vip "+v.Name+" ") && len(v.Addresses) > 0 {
			address, _, _ := strings.Cut(v.Addresses[0], "/")
			return address
		}
	}
	return ""
}

// commandsOfAgents has those that need to know the controller only.
func commandsOfAgents() map[string]string {
	const journal = "ssh %1 journalctl -u holdfast -n 50"
	const disk = "ssh %1 df -h /var/lib/holdfast"
	return map[string]string{
		status.CodeAgentStalled:           "ssh %1 systemctl restart holdfast",
		status.CodeDrainUnknown:           "holdfast undrain %1",
		status.CodeDrainNotKept:           disk,
		status.CodeDiskFull:               disk,
		status.CodeLastGoodNotKept:        disk,
		status.CodePageCrowded:            "ssh %1 ss -tn",
		status.CodeHeadersTooLarge:        "ssh %1 journalctl -t haproxy -g BADREQ -n 20",
		status.CodeRequestsRefused:        "ssh %1 journalctl -t haproxy -g BADREQ -n 20",
		status.CodeClientsLimited:         "ssh %1 journalctl -t haproxy -g NOSRV -n 20",
		status.CodeHAProxyReplaced:        "ssh %1 systemctl reload holdfast",
		status.CodeHAProxyLibraryReplaced: "ssh %1 systemctl reload holdfast",
		status.CodeHAProxyAsRoot:          "ssh %1 systemctl cat holdfast",
		status.CodeUnknownController:      "ssh %1 systemctl cat holdfast",
		status.CodeHAProxySocketLost:      "ssh %1 ls -l /run/holdfast",
		status.CodeConntrackFull:          "ssh %1 conntrack -S",
		status.CodeDetourBlocked:          "ssh %1 nft list ruleset",
		status.CodeOutOfFiles:             "ssh %1 systemctl show holdfast -p LimitNOFILE",
		status.CodeNotListening:           "ssh %1 ss -tlnp",
		status.CodeRequestsUnproven:       "ssh %1 ss -tnp",
		status.CodeVIPMovesOften:          "holdfast events --incidents",
		status.CodeNotifyFails:            journal,
		status.CodeKeyUnusable:            journal,
	}
}
