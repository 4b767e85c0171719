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
// # Why one thread
//
// The whole of a Loop runs in one goroutine on one OS thread, which waits in
// ppoll(2) for its socket, its timers and its orders at once. On a host with
// every core busy, a timer or a socket of the Go runtime is served when one of
// the runtime's other threads gets to run, seconds later at worst (measured);
// this thread needs no other, and has real-time priority where that is
// allowed. Nothing in it waits for a log, a callback or a lock of a slower one.
package link
