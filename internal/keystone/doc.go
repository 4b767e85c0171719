// Package keystone knows the Keystone catalog's endpoints: it reads a listing
// of them as the openstack client prints it, and drafts a spec from it.
//
// All of that is pure: bytes and values in, bytes and findings out. It opens no
// file and talks to no Keystone; what does so hands it the same Endpoints.
package keystone
