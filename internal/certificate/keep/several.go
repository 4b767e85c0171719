package keep

import (
	"crypto/x509"
	"slices"

	"holdfast/internal/certificate"
	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// A slot is a certificate of a VIP: one that the spec names the files of.
type slot struct {
	vip   spec.VIP
	key   string // of what is held for it
	files spec.CertificateFiles
}

// slotsOf gives the certificates of v, the first of the spec first.
func slotsOf(v spec.VIP) []slot {
	var all []slot
	for i, files := range v.Certificates() {
		all = append(all, slot{v, haproxy.CertificateName(v, i), files})
	}
	return all
}

// slots gives the certificates of all VIPs of s.
func slots(s *spec.Spec) []slot {
	var all []slot
	for _, v := range s.VIPs {
		all = append(all, slotsOf(v)...)
	}
	return all
}

// needs gives the names of the VIP that o has to be for: those that none of its other
// certificates is for, which others gives by their keys; where they are for all, one of
// them will do.
func (o slot) needs(others map[string]*certificate.Bundle, own *certificate.Bundle) []string {
	names := o.vip.Hostnames()
	covers := func(b *certificate.Bundle, name string) bool { return b != nil && b.Leaf.VerifyHostname(name) == nil }
	needed := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		for key, b := range others {
			if key != o.key && covers(b, name) {
				return true
			}
		}
		return false
	})
	if len(needed) == 0 && !slices.ContainsFunc(names, func(n string) bool { return covers(own, n) }) {
		return names[:1]
	}
	return needed
}

// judgeAmong reads and checks the certificate of o, beside the others that its VIP has.
func (k *Keeper) judgeAmong(o slot, others map[string]*certificate.Bundle) judged {
	if len(o.vip.Certificates()) == 1 {
		return k.judge(o.files, o.vip.Hostnames())
	}
	own := k.judge(o.files, nil)
	return k.judge(o.files, o.needs(others, own.bundle))
}

// read gives what the files of all certificates of v have now.
func (k *Keeper) read(v spec.VIP) map[string]*certificate.Bundle {
	all := map[string]*certificate.Bundle{}
	for _, o := range slotsOf(v) {
		all[o.key] = k.judge(o.files, nil).bundle
	}
	return all
}

// holds gives what is held of all certificates of v.
func (k *Keeper) holds(v spec.VIP) map[string]*certificate.Bundle {
	all := map[string]*certificate.Bundle{}
	for _, o := range slotsOf(v) {
		if h := k.of(o.key); h != nil {
			all[o.key] = h.bundle
		}
	}
	return all
}

// namesOf gives what leaf is for.
func namesOf(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, a := range leaf.IPAddresses {
		names = append(names, a.String())
	}
	return append([]string{}, names...)
}
