// Package keystone knows the Keystone catalog's endpoints: it plans what to
// change so that they name the VIPs, makes the changes, and takes them back.
//
// All but the last two are pure: bytes and values in, bytes and findings out. The
// edge, which opens files and talks to Keystone, is in client.go, probe.go,
// apply.go and rollback.go. It decides nothing that the pure part
// can decide, and prints nothing.
package keystone
