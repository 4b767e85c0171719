package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// filterFaultKinds gives the faults of filters, of a node's own and of the switch,
// and of whoever manages a node's network.
func filterFaultKinds() []FaultKind {
	return []FaultKind{
		{Name: "adverts-blocked", Args: "NODE [SIDE]", Text: "a filter on the node drops VRRP (IP protocol 112) on SIDE: out, which is usual, in, or both; back ends it", onNode: advertsBlocked},
		{Name: "source-guard", Args: "NODE", Text: "the switch drops what the node sends on for others: what is neither from its own addresses nor from a VIP; back and heal end it", onNode: sourceGuard},
		{Name: "flush-rules", Args: "NODE", Text: "flush the node's nftables, the routing rules and routes of others than the kernel, and lo's addresses, as a network manager does that starts anew; it is done once, and nothing has to be ended", onNode: flushRules},
	}
}

// advertsTable is the nftables table, in a node, that drops its adverts. Its
// name is not one of the agent's.
const advertsTable = "lab_adverts"

// advertsBlocked drops adverts in the node itself: its kernel then says
// "operation not permitted" to who sends one.
func advertsBlocked(_ context.Context, n *node, f Fault) (string, error) {
	side := cmp.Or(f.Value, "out")
	hooks := map[string]map[string]*nftables.ChainHook{
		"out":  {"out": nftables.ChainHookOutput},
		"in":   {"in": nftables.ChainHookInput},
		"both": {"out": nftables.ChainHookOutput, "in": nftables.ChainHookInput},
	}[side]
	if hooks == nil {
		return "", wrongf("%q is not a direction; write out, in or both", f.Value)
	}
	if err := errors.Join(n.needOn(), n.endSlow("adverts-blocked")); err != nil {
		return "", err
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: advertsTable}
	const vrrp = 112
	end := func() error { return n.withNFT(func(conn *nftables.Conn) { removeTable(conn, table) }) }
	err := n.withNFT(func(conn *nftables.Conn) {
		for chain, hook := range hooks {
			addFilter(conn, table, chain, hook, append(isProtocol(vrrp), &expr.Verdict{Kind: expr.VerdictDrop}))
		}
	})
	if err != nil {
		return "", err
	}
	n.setSlow("adverts-blocked", end)
	return fmt.Sprintf("VRRP is dropped on %s, %s", n.plan.name, side), nil
}

// withNFT changes the nftables of the node.
func (n *node) withNFT(change func(*nftables.Conn)) error {
	return n.inNetwork(func() error { return changeNFT("the nftables of "+n.plan.name, change) })
}

// inNetwork runs f in the node's network namespace.
func (n *node) inNetwork(f func() error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return n.offError()
	}
	return enter(n.box.pidfd, unix.CLONE_NEWNET, f)
}

// sourceGuard has the switch check the sources of what a node sends.
func sourceGuard(_ context.Context, n *node, _ Fault) (string, error) {
	allowed := append([]netip.Addr{netip.IPv6Unspecified()}, n.holder.vips...)
	for _, p := range n.plan.addresses() {
		allowed = append(allowed, p.Addr())
	}
	return fmt.Sprintf("the switch drops what %s sends from other addresses than its own and the VIPs", n.plan.name), n.wire.guard(n, allowed)
}

// guard lets nothing from n pass but what comes from an address that is allowed.
func (w *lossyWire) guard(n *node, allowed []netip.Addr) error {
	w.guarded[n] = allowed
	return w.apply()
}

// guardRules gives the rules of a chain of their own: what they accept, others
// may lose.
func (w *lossyWire) guardRules() [][]expr.Any {
	var rules [][]expr.Any
	for n, allowed := range w.guarded {
		for _, port := range n.ports() {
			for _, a := range allowed {
				rules = append(rules, guardRule(port, a.Is6(), a.AsSlice(), expr.VerdictAccept))
			}
			rules = append(rules,
				guardRule(port, true, []byte{0xfe, 0x80}, expr.VerdictAccept), // link-local
				guardRule(port, false, nil, expr.VerdictDrop), guardRule(port, true, nil, expr.VerdictDrop))
		}
	}
	return rules
}

// guardRule gives the verdict on a packet of the family that came in at the port,
// and whose source begins with source.
func guardRule(port string, six bool, source []byte, kind expr.VerdictKind) []expr.Any {
	offset := uint32(12)
	if six {
		offset = 8
	}
	rule := slices.Concat(match(expr.MetaKeyIIFNAME, port), isIP(six))
	if len(source) > 0 {
		rule = append(rule, has(expr.PayloadBaseNetworkHeader, offset, source)...)
	}
	return append(rule, &expr.Verdict{Kind: kind})
}

// flushRules removes what a network manager does not know, as systemd-networkd
// does with foreign rules and routes, and a firewall with all nftables.
func flushRules(_ context.Context, n *node, _ Fault) (string, error) {
	if err := n.needOn(); err != nil {
		return "", err
	}
	err := errors.Join(
		n.withNFT(func(conn *nftables.Conn) { conn.FlushRuleset() }),
		n.inNetwork(func() error { return errors.Join(n.flushRouting(netlink.FAMILY_V4), n.flushRouting(netlink.FAMILY_V6)) }),
	)
	return "the rules and routes of " + n.plan.name + " flushed", err
}

// flushRouting removes, of one family, what is neither the kernel's nor the
// lab's: it is called with the node's lock.
func (n *node) flushRouting(family int) error {
	var errs []error
	rules, err := n.box.nl.RuleList(family)
	errs = append(errs, err)
	for _, r := range rules {
		if r.Protocol == unix.RTPROT_KERNEL || r.Protocol == unix.RTPROT_UNSPEC {
			continue
		}
		errs = append(errs, ignoreGone(n.box.nl.RuleDel(&r)))
	}
	routes, err := n.box.nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	errs = append(errs, err)
	for _, r := range routes {
		switch r.Protocol {
		case unix.RTPROT_UNSPEC, unix.RTPROT_KERNEL, unix.RTPROT_BOOT, unix.RTPROT_STATIC, unix.RTPROT_RA:
		default:
			errs = append(errs, ignoreGone(n.box.nl.RouteDel(&r)))
		}
	}
	lo, err := n.box.nl.LinkByName("lo")
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	addresses, err := n.box.nl.AddrList(lo, family)
	errs = append(errs, err)
	for _, a := range addresses {
		if !a.IP.IsLoopback() {
			errs = append(errs, ignoreGone(n.box.nl.AddrDel(lo, &a)))
		}
	}
	return errors.Join(errs...)
}
