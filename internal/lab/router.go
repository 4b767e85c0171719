package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"holdfast/internal/spec"
)

// A lab whose VIPs are announced by BGP has a router between its client and its controllers:
// FRR, on a node with the address of the spec's one peer. It spreads flows over all controllers
// that announce a VIP, by addresses and ports.

// frrPrograms is where Debian's package has them.
const frrPrograms = "/usr/lib/frr/"

// routerOf gives the router of s; false where it has none.
func routerOf(s *spec.Spec) (spec.BGPPeer, bool) {
	if s.BGP == nil || len(s.Announced()) == 0 || len(s.BGP.Peers) == 0 {
		return spec.BGPPeer{}, false
	}
	return s.BGP.Peers[0], true
}

// checkRouter finds what the lab's router cannot be.
func checkRouter(s *spec.Spec) error {
	if len(s.Announced()) == 0 {
		return nil
	}
	if s.BGP.Engine != spec.EngineEmbedded || len(s.BGP.Peers) != 1 {
		return errors.New("a lab takes a spec that announces by BGP with engine embedded and one peer, its router")
	}
	if p := s.BGP.Peers[0]; !p.Address.Is4() || p.PasswordFile != "" || p.TTLSecurity || p.Multihop > 0 || p.Port != 179 || p.ASN == s.BGP.ASN {
		return errors.New("the router of a lab has an IPv4 address and an autonomous system of its own, and neither a password, ttl_security, multihop nor another port")
	}
	for _, c := range s.Controllers {
		if !c.Address.Is4() {
			return fmt.Errorf("the router of a lab speaks IPv4, and controller %s has the address %s", c.Name, c.Address)
		}
	}
	if _, err := os.Stat(frrPrograms + "bgpd"); err != nil {
		return errors.New("FRR is not installed; the router of a lab is the real one: apt-get install frr")
	}
	if os.Geteuid() != 0 {
		return errors.New("the router of a lab needs root: FRR changes to a user of its own")
	}
	return nil
}

// routerConfig gives the files of FRR's daemons.
func routerConfig(s *spec.Spec, peer spec.BGPPeer) map[string][]byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n bgp bestpath as-path multipath-relax\n", peer.ASN, peer.Address)
	for _, c := range s.Controllers {
		fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s timers connect 1\n", c.Address, s.BGP.ASN, c.Address)
		if f := s.BGP.BFD; f != nil {
			every := f.Interval.Milliseconds()
			fmt.Fprintf(&b, " neighbor %s bfd %d %d %d\n", c.Address, f.Multiplier, every, every)
		}
	}
	b.WriteString(" address-family ipv4 unicast\n  maximum-paths 64\n exit-address-family\n")
	return map[string][]byte{"zebra": []byte("\n"), "bfdd": []byte("\n"), "bgpd": b.Bytes()}
}

// addRouter adds the router to the nodes, and its network to those that all nodes are in.
func (p *planner) addRouter() {
	peer, has := routerOf(p.spec)
	if !has {
		return
	}
	network, _ := peer.Address.Prefix(24)
	p.used[peer.Address] = true
	if !slices.Contains(p.networks, network) {
		p.networks = append(p.networks, network)
	}
	p.router = peer.Address
}

// routerNode gives the router's node.
func (p *planner) routerNode() nodePlan {
	name := "router"
	if slices.ContainsFunc(p.nodes, func(n nodePlan) bool { return n.name == name }) {
		name = "lab-router"
	}
	return nodePlan{name: name, role: roleRouter, links: []linkPlan{{name: "eth0", addresses: []netip.Prefix{p.withPrefix(p.router)}}}}
}

// beRouter has the node's kernel be one: it sends on, spreads flows by addresses and ports,
// and tells nobody on its one wire of a shorter way.
func beRouter() {
	writeSysctl("net/ipv4/ip_forward", "1")
	writeSysctl("net/ipv4/fib_multipath_hash_policy", "1")
	for _, conf := range []string{"all", "default"} {
		writeSysctl("net/ipv4/conf/"+conf+"/send_redirects", "0")
	}
}

// routerScript starts FRR in a node, with a /run/frr of its own, which FRR's user can write to and
// where vtysh looks. It ends when the node does.
const routerScript = `set -e
mkdir -p /run/frr
mount -t tmpfs -o mode=755 none /run/frr
cp "$1"/zebra.conf "$1"/bfdd.conf "$1"/bgpd.conf /run/frr/
chown -R frr:frr /run/frr
for daemon in zebra bfdd bgpd; do
	` + frrPrograms + `$daemon -f /run/frr/$daemon.conf -A 127.0.0.1 -P 0 --log stdout &
done
wait
`

// launchRouter starts FRR on the node; n.mu is held.
func (n *node) launchRouter(s *spec.Spec) error {
	peer, has := routerOf(s)
	if !has {
		return nil
	}
	dir := n.dir.path("nodes", n.plan.name)
	for name, text := range routerConfig(s, peer) {
		if err := os.WriteFile(filepath.Join(dir, name+".conf"), text, 0o644); err != nil {
			return fmt.Errorf("write the files of the router: %w", err)
		}
	}
	args := []string{"/bin/sh", "-c", routerScript, "router", dir}
	if _, err := starter(n.box.start).spawn(args, n.env(os.Environ()), filepath.Join(dir, "frr.log")); err != nil {
		return fmt.Errorf("start the router: %w", err)
	}
	return nil
}
