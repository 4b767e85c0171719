package doctor

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/spec"
)

func linkCalled(f Facts, name string) (Link, bool) {
	i := slices.IndexFunc(f.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return f.Links[i], true
}

// used gives the interfaces that VIPs are to be on here, each once, with the first VIP of each.
func used(f Facts) (names []string, of map[string]spec.VIP) {
	of = map[string]spec.VIP{}
	for _, v := range f.Spec.VIPs {
		name := f.Spec.Interface(v, f.Controller)
		if _, known := of[name]; !known {
			names, of[name] = append(names, name), v
		}
	}
	return names, of
}

func links(r *report, f Facts) {
	if len(f.Links) == 0 {
		return
	}
	here := slices.ContainsFunc(f.Links, func(l Link) bool { return slices.Contains(l.Addresses, f.Controller.Address) })
	if !here {
		var have []string
		for _, l := range f.Links {
			for _, a := range l.Addresses {
				have = append(have, a.String()+" on "+l.Name)
			}
		}
		r.error(Finding{
			Code: CodeNotThisHost, Subject: "controller " + f.Controller.Name, Text: fmt.Sprintf("no interface here has its address, %v", f.Controller.Address),
			Evidence: "this host has " + strings.Join(have, ", "), Remedy: "name this controller with --controller (HOLDFAST_CONTROLLER in /etc/default/holdfast), or correct its address in the spec",
			Command: "ip -brief address; grep -n -A1 'name:' " + f.SpecFile,
		})
	}
	names, of := used(f)
	for _, name := range names {
		l, there := linkCalled(f, name)
		if !there {
			var have []string
			for _, l := range f.Links {
				have = append(have, l.Name)
			}
			r.error(Finding{
				Code: CodeNoInterface, Subject: "vip " + of[name].Name, Text: "there is no interface " + name + " here",
				Evidence: "this host has " + strings.Join(have, ", "), Remedy: "write the right one for this controller: interface of its entry in controllers", Command: "ip -brief link; grep -n interface " + f.SpecFile,
			})
			continue
		}
		link(r, f, l)
	}
}

// link judges an interface that VIPs are to be on.
func link(r *report, f Facts, l Link) {
	if !l.Up || !l.Carrier {
		text, remedy := "it has no carrier", "plug the cable in, or switch the port on"
		if !l.Up {
			text, remedy = "it is down", "set it up, and have it come up at boot"
		}
		r.error(Finding{
			Code: CodeInterfaceDown, Subject: l.Name, Text: text, Evidence: fmt.Sprintf("ip link: up %v, carrier %v", l.Up, l.Carrier),
			Remedy: remedy, Command: "ip link set " + l.Name + " up",
		})
	}
	if l.Master != "" {
		within(r, f, l)
	}
	if l.ParentMTU > 0 && l.MTU > l.ParentMTU {
		r.error(Finding{
			Code: CodeMTUAboveParent, Subject: l.Name, Text: fmt.Sprintf("its MTU is %d, and that of %s below it %d: large frames are lost", l.MTU, l.Parent, l.ParentMTU),
			Evidence: fmt.Sprintf("%s mtu %d, %s mtu %d", l.Name, l.MTU, l.Parent, l.ParentMTU), Remedy: "give it the MTU of what is below it, or that more",
			Command: fmt.Sprintf("ip link set %s mtu %d", l.Name, l.ParentMTU),
		})
	}
	bond(r, l)
	if l.LRO == Yes {
		r.warning(Finding{
			Code: CodeOffload, Subject: l.Name, Text: "it joins packets that it receives (LRO), and what is then sent on, as in a planned move, is too large",
			Evidence: "ethtool -k " + l.Name + ": large-receive-offload: on", Remedy: "switch it off; GRO does the same without harm", Command: "ethtool -K " + l.Name + " lro off",
		})
	}
}

// within judges one that is part of another.
func within(r *report, f Facts, l Link) {
	if l.MasterKind == "vrf" {
		r.error(Finding{
			Code: CodeInterfaceVRF, Subject: l.Name, Text: "it is in the VRF " + l.Master + ", whose routes the agent and HAProxy do not use",
			Evidence: fmt.Sprintf("ip link show %s: master %s, a vrf", l.Name, l.Master), Remedy: "take it out of the VRF, or name an interface that is in none", Command: "ip -d link show dev " + l.Name + "; ip route show vrf " + l.Master,
		})
		return
	}
	r.error(Finding{
		Code: CodeInterfacePort, Subject: l.Name, Text: fmt.Sprintf("it is a port of the %s %s, and receives nothing for an address of its own", l.MasterKind, l.Master),
		Evidence: fmt.Sprintf("ip link show %s: master %s", l.Name, l.Master), Remedy: "write interface: " + l.Master + " in the spec",
		// A name may go on after a "." or a "-", and is another one then: "bond0.100".
		Command: fmt.Sprintf(`sed -i -E 's/interface: %s([^[:alnum:]_.:@-]|$)/interface: %s\1/g' %s && holdfast validate -f %s`, strings.ReplaceAll(l.Name, ".", `\.`), l.Master, f.SpecFile, f.SpecFile),
	})
}

func bond(r *report, l Link) {
	if l.Kind != "bond" {
		return
	}
	if l.BondMode == "balance-alb" || l.BondMode == "balance-tlb" || l.BondMode == "balance-rr" {
		text := "has answers to ARP come from one port's address and then another's, so that clients lose a VIP that moves"
		switch l.BondMode {
		case "balance-rr":
			text = "puts the frames of one connection out of order"
		case "balance-tlb":
			text = "sends with the addresses of several ports, so that switches learn the VIP's where it is not"
		}
		r.warning(Finding{
			Code: CodeBondMode, Subject: l.Name, Text: "the bond's mode " + l.BondMode + " " + text, Evidence: "/proc/net/bonding/" + l.Name + ": mode " + l.BondMode,
			Remedy: "use active-backup, or 802.3ad with the switch's help", Command: "grep -rn " + l.BondMode + " /etc/netplan /etc/network /etc/systemd/network /etc/NetworkManager 2>/dev/null",
		})
	}
	if l.BondMII == 0 && l.BondMode != "" {
		r.warning(Finding{
			Code: CodeBondBlind, Subject: l.Name, Text: "the bond does not look whether its ports have a carrier, and goes on sending into a dead one",
			Evidence: "/proc/net/bonding/" + l.Name + ": MII polling interval 0 ms", Remedy: "have it look every 100 ms", Command: "ip link set " + l.Name + " type bond miimon 100",
		})
	}
	if len(l.BondPorts) > 0 && len(l.BondUp) < 2 {
		r.warning(Finding{
			Code: CodeBondAlone, Subject: l.Name, Text: fmt.Sprintf("%d of the bond's %d ports has a carrier", len(l.BondUp), len(l.BondPorts)),
			Evidence: "/proc/net/bonding/" + l.Name + ": up: " + strings.Join(l.BondUp, ", ") + "; all: " + strings.Join(l.BondPorts, ", "),
			Remedy:   "mend the other link, before this one goes", Command: "cat /proc/net/bonding/" + l.Name,
		})
	}
}

// managers judges programs that take away addresses which are not their own.
func managers(r *report, f Facts) {
	names, _ := used(f)
	for _, m := range f.Managers {
		if m.Keeps || m.Link != "" && !slices.Contains(names, m.Link) {
			continue
		}
		manager(r, m)
	}
}

func manager(r *report, m Manager) {
	evidence := m.File + " configures " + m.Link
	switch m.Name {
	case "systemd-networkd":
		r.warning(Finding{
			Code: CodeNetworkd, Subject: m.Link, Text: "systemd-networkd takes addresses away that it did not set, when it starts or is told to reconfigure: the VIP is gone until the agent's next refresh",
			Evidence: evidence + " without KeepConfiguration=yes", Remedy: "have it keep them", Command: keepConfiguration(m.File),
		})
	case "netplan":
		r.warning(Finding{
			Code: CodeNetplan, Subject: m.Link, Text: "netplan apply takes addresses away that it did not set: the VIP is gone until the agent's next refresh",
			Evidence: evidence + " without critical: true", Remedy: "write critical: true, which is KeepConfiguration=yes", Command: netplanCommand(m),
		})
	case "NetworkManager":
		r.warning(Finding{
			Code: CodeNetworkManager, Subject: m.Link, Text: "NetworkManager takes the devices of the VIPs (hf-*, device: macvlan) for its own, and their addresses away",
			Evidence: evidence, Remedy: "have it leave them alone",
			Command: "printf '[keyfile]\\nunmanaged-devices+=interface-name:hf-*\\n' > /etc/NetworkManager/conf.d/90-holdfast.conf && systemctl reload NetworkManager",
		})
	case "cloud-init":
		r.warning(Finding{
			Code: CodeCloudInit, Subject: "cloud-init", Text: "cloud-init writes the network's configuration anew at boot, and what was changed there is lost",
			Evidence: m.File + " is there, and nothing switches its part for the network off", Remedy: "switch that part off",
			Command: "echo 'network: {config: disabled}' > /etc/cloud/cloud.cfg.d/99-holdfast-network.cfg",
		})
	}
}

// keepConfiguration adds to the network file called file.
func keepConfiguration(file string) string {
	name := file[strings.LastIndexByte(file, '/')+1:]
	return fmt.Sprintf("mkdir -p /etc/systemd/network/%s.d && printf '[Network]\\nKeepConfiguration=yes\\n' > /etc/systemd/network/%s.d/holdfast.conf && networkctl reload", name, name)
}

func netplanCommand(m Manager) string {
	kind := "ethernets"
	switch {
	case strings.HasPrefix(m.Link, "bond"):
		kind = "bonds"
	case strings.HasPrefix(m.Link, "br"):
		kind = "bridges"
	case strings.Contains(m.Link, "."), strings.HasPrefix(m.Link, "vlan"):
		kind = "vlans"
	}
	return fmt.Sprintf("netplan set %s.%s.critical=true", kind, strings.ReplaceAll(m.Link, ".", "\\."))
}
