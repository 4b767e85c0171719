// Package zone asks DNS servers and changes zones: a Looker asks, an Editor changes
// record sets at their source (Updater by RFC 2136 with TSIG, Designate through its
// API), and an Applier makes a plan's changes with a journal, verifies them at
// every name server and takes them back.
//
// What to change, and how a change is undone, is package dns's; the journal is
// package changelog's. It prints nothing.
package zone
