// Package keystone knows the Keystone catalog: what endpoints are in it, which
// service of a spec each belongs to, what to change so that they name the VIPs (a
// Plan), how each change is undone (Entry.UndoStep), whose API answers at a URL,
// and what Keystone fills into URLs.
//
// It is pure: values in, values and findings out. It opens no file and talks to
// nobody; package keystone/admin does, and decides nothing that this one can.
// What makes a spec of a listing is package importer.
package keystone
