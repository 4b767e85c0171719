package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	bridgeName = "lab0"
	// partitionTable is the nftables table, of the bridge family, that cuts
	// the wire between sets of nodes.
	partitionTable = "holdfast_lab"
)

// portName is the bridge's end of the wire to a node's link.
func portName(node, link int) string { return fmt.Sprintf("p%d.%d", node, link) }

// hardwareAddr gives the MAC address of a node's link: locally administered.
func hardwareAddr(node, link int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x68, 0x66, 0x00, byte(node), byte(link)}
}

// makeBridge makes the one wire of the lab in the server's own namespace.
func makeBridge() error {
	if err := linkUp("lo"); err != nil {
		return err
	}
	off := false // a plain switch: it floods multicast
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
		return fmt.Errorf("make the bridge: %w", err)
	}
	// The bridge itself is no host, and what crosses it is nobody's to filter
	// or to track but the partitions'.
	writeSysctl("net/ipv6/conf/"+bridgeName+"/disable_ipv6", "1")
	for _, hook := range []string{"arptables", "iptables", "ip6tables"} {
		writeSysctl("net/bridge/bridge-nf-call-"+hook, "0")
	}
	return linkUp(bridgeName)
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	return nil
}

// writeSysctl sets a kernel setting of the calling thread's network namespace.
// Kernels without that feature have no such file, and /proc may be read-only;
// the lab works without, only less exactly.
func writeSysctl(name, value string) {
	_ = os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) //nolint:errcheck // see above
}

// plug makes the links of n, the index-th node, and their ports on the bridge.
func (b *box) plug(index int, n *nodePlan) error {
	if err := b.prepare(n); err != nil {
		return err
	}
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("find the bridge: %w", err)
	}
	for i, link := range n.links {
		if err := b.plugLink(bridge, index, i, link); err != nil {
			return fmt.Errorf("interface %s of node %s: %w", link.name, n.name, err)
		}
	}
	for _, link := range n.links {
		if err := b.addRoutes(link); err != nil {
			return fmt.Errorf("interface %s of node %s: %w", link.name, n.name, err)
		}
	}
	return nil
}

// prepare sets the node's kernel before it has an interface: no waiting for
// duplicate addresses, which on this wire there are none of, and with several
// interfaces on the one wire each answers for its own addresses only.
func (b *box) prepare(n *nodePlan) error {
	lo, err := b.nl.LinkByName("lo")
	if err == nil {
		err = b.nl.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring lo of node %s up: %w", n.name, err)
	}
	return enter(b.pidfd, unix.CLONE_NEWNET, func() error {
		for _, conf := range []string{"all", "default"} {
			writeSysctl("net/ipv6/conf/"+conf+"/accept_dad", "0")
			writeSysctl("net/ipv6/conf/"+conf+"/accept_ra", "0")
			if n.role == roleRouter {
				beRouter()
			}
			if len(n.links) > 1 {
				writeSysctl("net/ipv4/conf/"+conf+"/arp_ignore", "1")
			}
		}
		return nil
	})
}

// plugLink makes one interface with its port, its addresses and carrier.
func (b *box) plugLink(bridge netlink.Link, node, index int, link linkPlan) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = portName(node, index)
	attrs.MasterIndex = bridge.Attrs().Index
	attrs.Flags = net.FlagUp
	wire := netlink.NewVeth(attrs)
	wire.PeerName = link.name
	wire.PeerHardwareAddr = hardwareAddr(node, index)
	wire.PeerNamespace = netlink.NsPid(b.init.Process.Pid)
	if err := netlink.LinkAdd(wire); err != nil {
		return fmt.Errorf("make the wire: %w", err)
	}
	writeSysctl("net/ipv6/conf/"+attrs.Name+"/disable_ipv6", "1")
	inside, err := b.nl.LinkByName(link.name)
	if err != nil {
		return fmt.Errorf("find it: %w", err)
	}
	for _, a := range link.addresses {
		addr := &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}
		if err := b.nl.AddrAdd(inside, addr); err != nil {
			return fmt.Errorf("add address %s: %w", a, err)
		}
	}
	if err := b.nl.LinkSetUp(inside); err != nil {
		return fmt.Errorf("bring it up: %w", err)
	}
	return nil
}

func (b *box) addRoutes(link linkPlan) error {
	inside, err := b.nl.LinkByName(link.name)
	if err != nil {
		return fmt.Errorf("find it: %w", err)
	}
	for _, dst := range link.routes {
		route := &netlink.Route{LinkIndex: inside.Attrs().Index, Dst: ipNet(dst), Scope: netlink.SCOPE_LINK}
		if err := b.nl.RouteAdd(route); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add a route to %s: %w", dst, err)
		}
	}
	for _, dst := range link.behind {
		route := &netlink.Route{LinkIndex: inside.Attrs().Index, Dst: ipNet(dst), Gw: link.gateway.AsSlice()}
		if err := b.nl.RouteAdd(route); err != nil {
			return fmt.Errorf("add a route to %s by %s: %w", dst, link.gateway, err)
		}
	}
	return nil
}

// ipNet gives p in the form that the netlink package takes.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// setPorts takes the carrier from the links of a node, or gives it back, by
// the switch's end of the wire.
func setPorts(node int, links int, up bool) error {
	set := netlink.LinkSetDown
	if up {
		set = netlink.LinkSetUp
	}
	for i := range links {
		port, err := netlink.LinkByName(portName(node, i))
		if err == nil {
			err = set(port)
		}
		if err != nil {
			return fmt.Errorf("port %s of the bridge: %w", portName(node, i), err)
		}
	}
	return nil
}

// removePorts takes away the wires of a node, and with them its interfaces.
func removePorts(node, links int) error {
	for i := range links {
		port, err := netlink.LinkByName(portName(node, i))
		if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
			continue
		}
		if err == nil {
			err = netlink.LinkDel(port)
		}
		if err != nil {
			return fmt.Errorf("remove port %s: %w", portName(node, i), err)
		}
	}
	return nil
}

// cut drops every frame between ports of different sets, of whatever protocol.
// It replaces what an earlier cut did; no sets heal it.
func cut(sets [][]string) error {
	return changeNFT("the bridge's filter", func(conn *nftables.Conn) {
		table := &nftables.Table{Family: nftables.TableFamilyBridge, Name: partitionTable}
		removeTable(conn, table)
		if len(sets) == 0 {
			return
		}
		var rules [][]expr.Any
		for _, pair := range pairs(sets) {
			rules = append(rules, dropBetween(pair[0], pair[1]))
		}
		addFilter(conn, table, "forward", nftables.ChainHookForward, rules...)
	})
}

// changeNFT changes the nftables of the calling thread's network namespace; what
// says of what, for the error.
func changeNFT(what string, change func(*nftables.Conn)) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("talk to nftables: %w", err)
	}
	change(conn)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("change %s: %w", what, err)
	}
	return nil
}

// removeTable removes a table, whether there is one or not.
func removeTable(conn *nftables.Conn, table *nftables.Table) {
	conn.AddTable(table) // so that there is one to remove
	conn.DelTable(table)
}

// addFilter adds a chain with its rules to a table, which it adds where there is none.
func addFilter(conn *nftables.Conn, table *nftables.Table, name string, hook *nftables.ChainHook, rules ...[]expr.Any) {
	conn.AddTable(table)
	chain := conn.AddChain(&nftables.Chain{
		Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
	for _, rule := range rules {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
	}
}

// pairs gives each ordered pair of ports that are in different sets.
func pairs(sets [][]string) [][2]string {
	var all [][2]string
	for i, from := range sets {
		for j, to := range sets {
			if i == j {
				continue
			}
			for _, a := range from {
				for _, b := range to {
					all = append(all, [2]string{a, b})
				}
			}
		}
	}
	return all
}

func dropBetween(from, to string) []expr.Any {
	return slices.Concat(
		match(expr.MetaKeyIIFNAME, from),
		match(expr.MetaKeyOIFNAME, to),
		[]expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}},
	)
}

func match(key expr.MetaKey, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: padded},
	}
}
