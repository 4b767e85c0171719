// Package dns makes the hostname of a VIP map to the VIP's addresses, and to
// nothing else: what each authoritative server and each resolver answers comes in
// as a View; findings, a Plan of changes, and how each is undone (Entry.UndoStep)
// come out.
//
// It is pure, asks nobody and changes nothing: package dns/zone does, in messages
// of package dns/wire. It is no resolver and no DNS server, it caches nothing, and
// it checks no DNSSEC signatures.
package dns
