// Package vip puts a virtual IP on an interface and takes it off again: as a
// lease that the kernel ends by itself, with the announcements that tell the
// neighbours, and with an end for the connections that it leaves behind, or without
// one: what a planned move needs beside is package vip/move. It does not decide who
// holds the address (package vrrp does).
//
// # The lease
//
// Claim adds each address with a valid lifetime of some seconds, Hold renews
// it, and an agent that dies or hangs loses the address with nobody's help.
// That is why a crash needs no cleanup command: the unit has no ExecStopPost
// that would delete the address, since it would also delete it at each restart
// of the agent, which the lease survives. What a crash can leave is a macvlan
// device without an address; Cleanup removes it when the agent starts again.
//
// # The prefix length
//
// An address is always added as a host address, /32 or /128, whatever the
// length of its network is. With the network's own length
//
//   - an IPv4 address of the host that is added later becomes a secondary of
//     the VIP, and vanishes with it (promote_secondaries is 0 by default);
//   - there are two connected routes, and the host may choose the VIP as the
//     source of its own connections;
//   - the lifetime of an IPv6 VIP becomes that of the host's connected route.
//
// Where no other address of the interface is in the VIP's network, the package
// adds the missing connected route itself, with a metric above the kernel's
// own, tied to the address: the kernel removes it with an IPv4 address, and
// ends it with the lease of an IPv6 one. This is the one case in which the host
// uses an IPv4 VIP as a source: towards that network, in which it has no other
// address.
//
// # Never a source
//
// The preferred lifetime is 0, which makes IPv6 avoid the address. IPv4 source
// selection does not know deprecated addresses, so an IPv4 VIP has the scope
// "host", which no route accepts as a source. ARP answers for it as for any
// other, unless arp_ignore is 3 or 8, and "ip address show scope global" does
// not list it.
//
// What the host connects to while it holds the VIP is the VIP itself, from the
// VIP. Release ends those connections; Withdraw, for a planned move, does not.
//
// # Interfaces
//
// A direct VIP is on the interface itself. A macvlan one is on a device of its
// own, hf-ROUTERID (hf-ROUTERIDv6 for IPv6, whose virtual MAC address is a
// different one), which exists only while the VIP is held. The settings that
// this needs on the interface below, arp_ignore and arp_announce, stay until
// Settings.Note finds no such VIP on it any more.
//
// The network namespace is that of the thread which first uses an Address, or
// calls anything else; in the agent, the process's.
package vip
