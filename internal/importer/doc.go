// Package importer makes a spec of a cloud that runs: ParseListing reads its
// endpoints as the openstack client prints them, as table, JSON, CSV or YAML;
// Draft groups them into services, settles ports and hosts, and writes the
// spec's YAML. What a listing cannot tell is a Mark in it, each with what to write.
//
// It is pure: bytes and values in, bytes and findings out. It opens no file and
// asks no Keystone; package keystone/admin has the endpoints of a live one.
package importer
