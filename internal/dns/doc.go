// Package dns makes the hostname of a VIP map to the VIP's addresses, and to
// nothing else.
//
// Planning is pure: what each authoritative server and each resolver answers
// comes in as a View, findings and a Plan come out. The edge is in files of its
// own: a Looker asks the servers, an Editor changes record sets at their source
// (Updater by RFC 2136 with TSIG, Designate through its API), and an Applier
// makes a plan's changes with a journal, verifies them and takes them back.
//
// It is no resolver and no DNS server, it caches nothing, and it checks no
// DNSSEC signatures.
package dns
