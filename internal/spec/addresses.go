package spec

import (
	"fmt"
	"net/netip"
	"strings"

	"holdfast/internal/status"

	"go.yaml.in/yaml/v4"
)

// address reads the address of a host: unicast, without prefix length, zone or port.
func (d *decoder) address(v value) item[netip.Addr] {
	t := d.text(v)
	if !t.ok {
		return bad[netip.Addr](v)
	}
	if p, err := netip.ParsePrefix(t.v); err == nil {
		d.fail(status.CodeBadAddress, v.node, fmt.Sprintf("%s %s has a prefix length", v.path, quote(t.v)), "write "+p.Addr().String())
		return bad[netip.Addr](v)
	}
	a, ok := d.parseAddr(v.node, v.path, t.v)
	if !ok {
		return bad[netip.Addr](v)
	}
	return good(v, a)
}

// addressPort reads an address with a port: "10.64.20.13:8402", "[2001:db8::13]:8402".
func (d *decoder) addressPort(v value) item[netip.AddrPort] {
	t := d.text(v)
	if !t.ok {
		return bad[netip.AddrPort](v)
	}
	at, err := netip.ParseAddrPort(t.v)
	if err == nil && at.Port() != 0 {
		if _, ok := d.parseAddr(v.node, v.path, at.Addr().String()); !ok {
			return bad[netip.AddrPort](v)
		}
		return good(v, at)
	}
	remedy := v.hint.String()
	if a, err := netip.ParseAddr(t.v); err == nil {
		remedy = "write " + netip.AddrPortFrom(a, 8402).String() + ", with the port that is listened on"
	}
	d.fail(status.CodeBadAddress, v.node, fmt.Sprintf("%s %s is not an address with a port", v.path, quote(t.v)), remedy)
	return bad[netip.AddrPort](v)
}

// vip reads a VIP: an address with the prefix length of its network.
func (d *decoder) vip(v value) item[netip.Prefix] {
	t := d.text(v)
	if !t.ok {
		return bad[netip.Prefix](v)
	}
	text, bits, hasBits := strings.Cut(t.v, "/")
	a, ok := d.parseAddr(v.node, v.path, text)
	if !ok {
		return bad[netip.Prefix](v)
	}
	example := 24
	if a.Is6() {
		example = 64
	}
	if !hasBits {
		d.fail(status.CodeBadAddress, v.node, fmt.Sprintf("%s %s has no prefix length", v.path, quote(t.v)), fmt.Sprintf("write %s/%d, if that is how long the prefix of its network is", a, example))
		return bad[netip.Prefix](v)
	}
	p, err := netip.ParsePrefix(a.String() + "/" + bits)
	if err != nil || p.Bits() == 0 {
		d.fail(status.CodeBadAddress, v.node, fmt.Sprintf("%s %s has the prefix length %s", v.path, quote(t.v), quote(bits)), fmt.Sprintf("write one from 1 to %d, like %s/%d", a.BitLen(), a, example))
		return bad[netip.Prefix](v)
	}
	if what := edge(p); what != "" {
		d.fail(status.CodeOutsideNetwork, v.node, fmt.Sprintf("%s %s is the %s address of %s, not a host's", v.path, quote(t.v), what, p.Masked()), "write another address of that network, or correct the prefix length")
		return bad[netip.Prefix](v)
	}
	return good(v, p)
}

// edge says which address of its network, not for hosts, p is; "" for none. A
// /31 has two hosts (RFC 3021), a /127 too (RFC 6164), a /32 or /128 is one.
func edge(p netip.Prefix) string {
	if p.Bits() >= p.Addr().BitLen()-1 {
		return ""
	}
	if p.Addr() == p.Masked().Addr() {
		if p.Addr().Is6() {
			return "subnet-router anycast" // RFC 4291 section 2.6.1
		}
		return "network"
	}
	if p.Addr().Is4() && !p.Contains(p.Addr().Next()) {
		return "broadcast"
	}
	return ""
}

// parseAddr reads an address in any form and reports the forms that are not
// usable, or not as people and tools write them.
func (d *decoder) parseAddr(n *yaml.Node, path, text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		problem, remedy := notAnAddress(text)
		d.fail(status.CodeBadAddress, n, fmt.Sprintf("%s %s %s", path, quote(text), problem), remedy)
		return a, false
	}
	problem, remedy := addrProblem(a)
	if problem == "" && strings.HasPrefix(text, "[") {
		problem, remedy = "has brackets", "write "+a.String()
	}
	if problem != "" {
		d.fail(status.CodeBadAddress, n, fmt.Sprintf("%s %s %s", path, quote(text), problem), remedy)
		return a, false
	}
	if a.IsLoopback() {
		d.warn(status.CodeLoopback, n, fmt.Sprintf("%s %s is a loopback address, which no other machine reaches", path, quote(text)), "write one of the network, unless this is a trial on one machine")
	}
	if a.String() != text {
		d.warn(status.CodeAddressForm, n, fmt.Sprintf("%s %s is not the usual form", path, quote(text)), fmt.Sprintf("write %s (RFC 5952)", a))
	}
	return a, true
}

// addrProblem says why a is of no use as the address of a host or a VIP.
func addrProblem(a netip.Addr) (problem, remedy string) {
	switch {
	case a.Zone() != "":
		return "has a zone", "write an address without %; a link-local one will not do"
	case a.Is4In6():
		return "is an IPv4 address in IPv6 form", "write " + a.Unmap().String()
	case a.IsUnspecified():
		return "means any address", "write the one that is meant"
	case a.IsMulticast():
		return "is a multicast address", "write a unicast one"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address", "write a unicast one"
	case a.IsLinkLocalUnicast():
		return "is a link-local address, which means another host on every interface", "write an address of the network"
	}
	return "", ""
}

// notAnAddress says what text is instead of an address.
func notAnAddress(text string) (problem, remedy string) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return "has a port", "write " + ap.Addr().String()
	}
	if a, err := netip.ParseAddr(withoutZeros(text)); err == nil {
		return "has leading zeros, which some read as octal", "write " + a.String()
	}
	if p, _ := hostnameProblem(text); p == "" {
		return "is a name", "write its IP address: nothing here depends on DNS"
	}
	return "is not an IP address", "write one like 10.64.20.13 or 2001:db8::13"
}

// withoutZeros removes the leading zeros of each part of a dotted address.
func withoutZeros(text string) string {
	parts := strings.Split(text, ".")
	for i, p := range parts {
		if t := strings.TrimLeft(p, "0"); t != "" {
			parts[i] = t
		} else if p != "" {
			parts[i] = "0"
		}
	}
	return strings.Join(parts, ".")
}
