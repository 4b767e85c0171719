// Package link drives one vrrp.Machine with the real thing: raw sockets of IP
// protocol 112, the clock, the condition of the interfaces, and a Holder that
// has the addresses. One Loop is one VIP; several share a host, each with a
// socket and a kernel filter of its own.
//
// It decides nothing about who is Active (package vrrp does) and puts no
// address anywhere (package vip does). It runs on Linux only.
//
// # Whom it believes
//
// Unicast and IPv4 multicast adverts must come from the address of a controller;
// others are dropped, counted and reported. IPv6 multicast adverts come from
// link-local addresses (RFC 9568 section 5.1.2.1), which the spec does not
// know: there any neighbour on the link is believed. TTL and hop limit must be
// 255 in every mode, as the RFC says, so that no advert comes from another
// network; keepalived needs "unicast_ttl 255" for that with IPv6 unicast.
//
// # Handover
//
// Yield hands over to one controller of choice, and no moment is without an
// address: the giver has it for some milliseconds after it hears the taker. To a
// multicast group the giver goes on saying that it is Active, for the others; to
// the taker it says by unicast that it resigns, and a Loop knows that this
// counts, and not what it hears with the group. Nothing else is accepted by
// unicast there. keepalived does not know that, see Loop.Yield. Over IPv6
// multicast a controller's link-local address is not known, so the first Active
// router that is heard during a handover is taken for the one asked for.
//
// # Hellos
//
// Who is in Backup sends no adverts, so that those of one whose adverts are
// dropped, by its own host or on the way, are missed only when it takes over.
// A Loop sends hellos (vrrp.Hello) to those that SetHearers names, whatever its
// state, and Hearing tells what came from whom. They change nothing in VRRP.
//
// # Why one thread
//
// The whole of a Loop runs in one goroutine on one OS thread, which waits in
// ppoll(2) for its socket, its timers and its orders at once. On a host with
// every core busy, a timer or a socket of the Go runtime is served when one of
// the runtime's other threads gets to run, seconds later at worst (measured);
// this thread needs no other, and has real-time priority where that is
// allowed. Nothing in it waits for a log, a callback or a lock of a slower one.
package link
