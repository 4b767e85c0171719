// Package admin talks to Keystone: it finds the credentials as the openstack
// client does, reads the catalog, proves that services answer through the VIP
// before the catalog names it, makes a plan's changes one at a time with a
// journal, verifies each in a fresh token, and takes them back.
//
// What to change, and how a change is undone, is package keystone's; the journal
// is package changelog's. It prints nothing.
package admin
