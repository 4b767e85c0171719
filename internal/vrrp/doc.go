// Package vrrp is the Virtual Router Redundancy Protocol, version 3
// (RFC 9568), without any I/O: the codec of its one message, the
// ADVERTISEMENT, and the state machine that elects one Active router.
//
// It opens no socket, reads no clock and starts no goroutine. Package
// vrrp/link drives one Machine with real sockets, timers and addresses.
//
// docs/rfc9568.md has the RFC clause by clause, with the tests. Where it differs,
// on purpose:
//
//   - A checksum over IPv4 is accepted in both forms in use, see Checksum.
//   - An advert over IPv6 is accepted whatever its first address is. It is to be
//     a link-local one (section 5.2.9), which keepalived does not see to.
//   - Nobody is the address owner: priorities are 1 to 254. A peer with
//     priority 255 wins like any higher priority.
//   - A process that was held up knows it, see Machine.
//   - An Active router can hand over to one of choice, see Yield. To the others
//     on the network it does nothing that the RFC does not know.
package vrrp
