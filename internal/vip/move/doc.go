// Package move has what a planned move of a VIP needs in the kernel: the Copy with
// which the giver keeps the connections that it has, the Detour by which the taker
// sends their segments on to it, and the proof that these arrive. It does not decide
// who moves what, nor when (package handover does), and the address itself is package
// vip's.
//
// # How connections go on
//
// The giver keeps a Copy of the VIP on lo, where no neighbour hears of it: NDP
// answers for the addresses of the interface that was asked, and asks with
// them. ARP does so with arp_ignore and arp_announce, which Keep sets, as
// vip.Settings have it: the giver's question for a client, in the name of the VIP, would take
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
// settings were is in vip.Settings, which outlive an agent. On the giver's host those that
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
// The network namespace is that of the calling thread.
package move
