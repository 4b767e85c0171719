// Package vip puts a virtual IP on an interface and takes it off again: as a
// lease that the kernel ends by itself, with the announcements that tell the
// neighbours, and with an end for the connections that it leaves behind. For a
// planned move it lets these go on where they are. It does not decide who holds
// the address (package vrrp does).
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
// # A planned move
//
// The giver keeps a Copy of the VIP on lo, where no neighbour hears of it: NDP
// answers for the addresses of the interface that was asked, and asks with
// them. ARP does so with arp_ignore and arp_announce, which Keep sets, as
// Settings have it: the giver's question for a client, in the name of the VIP, would take
// the VIP back. The Copy is a lease, too, over the whole time that connections
// may take. The taker has a Detour: TCP
// segments of connections that it does not know go to the giver's MAC address
// as they are (nftables' dup). So connections stay with the HAProxy that has
// them, and no state moves. The order is Install, Keep, Claim and Announce on
// the taker, Withdraw; at the end End, and Remove.
//
// Which connections the taker knows is conntrack's to say, which the rules
// switch on, for the whole host. Where nothing else has it on, rules before it
// keep all TCP, UDP and VRRP out of it that is not from or to a VIP with a
// Detour, so the VIP's connections alone fill its table. That ends at once when
// rules of others come that may need it (KeepNarrow), and by itself without an
// agent. Conntrack does not know what was there before; Install reads that from the
// kernel's sockets. What it knows too much, connections that have ended, Install
// removes: their ports may be those of connections to the giver by now. It takes
// some segments for invalid that are not, and it can be flushed, so a set of the
// connections that began here is asked as well.
//
// Clients on the two hosts themselves are the hard part, as the address is
// their own host's. On the taker's host those that are connected to the giver
// are in a set, whose segments go round by lo into the rules; the replies come
// from an address of this host, so Install sets accept_local on the interface
// and makes its rp_filter loose until the last Detour is removed. What these
// settings were is in Settings, which outlive an agent. On the giver's host those that
// are connected to it have the VIP at both ends. They go on until End, which
// then leads new ones away without touching these: routing rules make the VIP
// local for packets from other hosts and from itself only.
//
// The giver must be on a network with the taker: dup sends to a neighbour. The
// VIP's own network is always one, so GiverAddresses gives the addresses there
// besides the controller's own; an IPv6 one is there always. The frames have the
// taker's MAC address and the client's IP address: a switch or a hypervisor that
// guards source addresses has to let them through.
//
// Whether they do so Probe and a Witness find out: the taker sends segments that
// nobody answers as if from clients, through its own filters and by the way of the
// others, and the giver looks which arrive. What other programs remove from the
// kernel meanwhile Mend and Install put back; Whole and WatchRules tell of it.
//
// What this does not do: ICMP errors about the giver's connections stay on the
// taker, and connections that the taker translates (NAT) on their way to the
// giver are reset.
//
// The network namespace is that of the thread which first uses an Address, or
// calls anything else; in the agent, the process's.
package vip
