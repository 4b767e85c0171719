// Package wire has the DNS messages of package dns/zone: questions, what replies
// say, updates (RFC 2136), signatures (TSIG, RFC 8945), and what the refusal of
// each make of server means.
//
// It is pure: it sends nothing, and takes what comes from hostile servers apart.
package wire
