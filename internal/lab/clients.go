package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxClients is how many addresses of clients a node can be given.
const maxClients = 10000

// AddClients gives the network namespace of this process n addresses of
// clients, of the family of vip, which every node of the lab has a route to.
func AddClients(n int, vip netip.Addr) ([]netip.Addr, error) {
	if n < 1 || n > maxClients {
		return nil, fmt.Errorf("%d clients; 1 to %d", n, maxClients)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find lo: %w", err)
	}
	v4, v6 := clientNets()
	addr := v4.Addr()
	if vip.Is6() {
		addr = v6.Addr()
	}
	// From .1.0 on: the first ones may be the node's own.
	for range 256 {
		addr = addr.Next()
	}
	var all []netip.Addr
	for range n {
		addr = addr.Next()
		err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(host(addr)), Flags: unix.IFA_F_NODAD})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("add the address of a client: %w", err)
		}
		all = append(all, addr)
	}
	return all, nil
}
