package certificate

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/status"
)

// minRSA is the least length of an RSA key, in bits: with less OpenSSL refuses
// to serve it (security level 2), and clients to take it.
const minRSA = 2048

// matches reports whether key is that of the first of certs.
func (r *report) matches(src Source, certs []*x509.Certificate, key crypto.PrivateKey) bool {
	public, ok := publicOf(key)
	if !ok {
		r.fail(status.CodeCertificateKey, src.File, fmt.Sprintf("a key of type %T cannot sign", key), "make one with RSA or ECDSA")
		return false
	}
	isOf := func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) }
	file, _ := src.keyPlace()
	switch at := slices.IndexFunc(certs, isOf); at {
	case 0:
		return true
	case -1:
		r.fail(status.CodeCertificateKey, src.File, fmt.Sprintf("the key in %s is not that of the certificate (%s)", file, certs[0].Subject), "write the key that the certificate was made for, or have one made for this key")
	default:
		r.fail(status.CodeCertificateChain, src.File, fmt.Sprintf("the certificate of the key (%s) is number %d in it", certs[at].Subject, at+1), "write it first, and the intermediates after it, each before the one that signed it")
	}
	return false
}

type publicKey interface{ Equal(crypto.PublicKey) bool }

func publicOf(key crypto.PrivateKey) (publicKey, bool) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, false
	}
	public, ok := signer.Public().(publicKey)
	return public, ok
}

// strong reports whether every one of certs has a key that OpenSSL serves.
func (r *report) strong(src Source, certs []*x509.Certificate) bool {
	for i, c := range certs {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSA {
			r.fail(status.CodeCertificateWeak, src.File, fmt.Sprintf("the key of certificate %d (%s) has %d bits", i+1, c.Subject, key.N.BitLen()), fmt.Sprintf("make one with %d bits or more", minRSA))
			return false
		}
		// The others need nothing here.
		//exhaustive:ignore
		switch c.SignatureAlgorithm {
		case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
			if !selfIssued(c) { // nobody looks at the signature of an authority on itself
				r.fail(status.CodeCertificateWeak, src.File, fmt.Sprintf("certificate %d (%s) is signed with %s, which clients refuse", i+1, c.Subject, c.SignatureAlgorithm), "have it signed with SHA-256 or better")
				return false
			}
		}
	}
	return true
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// chain says whether each of b's certificates signed the one before it, and what may be
// missing at the end. What is behind a chain that verifies without it at now is
// no error: Validity tells of it.
func (r *report) chain(src Source, b *Bundle, now time.Time) {
	certs := b.all()
	if i := b.broken; i >= 0 {
		if needed := path(certs, src.Roots, now); needed == nil || i < 1 && len(needed) > 1 {
			r.broken(src, certs, i)
		}
		return
	}
	switch last := certs[len(certs)-1]; {
	case len(certs) == 1 && selfIssued(last):
		r.add(status.Info, status.CodeCertificateSelfSigned, src.File, "the certificate is signed by itself", "every client has to be told to trust it")
	case len(certs) == 1:
		r.add(status.Info, status.CodeCertificateAlone, src.File, "no intermediate certificate is with it", fmt.Sprintf("clients have to trust %s itself; if that is an intermediate, append its certificate", last.Issuer))
	}
}

// broken says what is wrong after the i-th of certs.
func (r *report) broken(src Source, certs []*x509.Certificate, i int) {
	c, next := certs[i], certs[i+1]
	if err := signed(c, next); err != nil && bytes.Equal(c.RawIssuer, next.RawSubject) {
		r.fail(status.CodeCertificateChain, src.File, fmt.Sprintf("certificate %d (%s) has the name of who signed number %d, and did not sign it: %v", i+2, next.Subject, i+1, err), "get the chain anew from where the certificate was issued")
		return
	}
	r.outOfOrder(src, certs, i)
}

// outOfOrder says what is wrong after the i-th of certs.
func (r *report) outOfOrder(src Source, certs []*x509.Certificate, i int) {
	c, next := certs[i], certs[i+1]
	signer := slices.IndexFunc(certs, func(s *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, s.RawSubject) && s != c })
	text := fmt.Sprintf("certificate %d (%s) did not sign number %d, which %s did", i+2, next.Subject, i+1, c.Issuer)
	switch {
	case signer > 0:
		r.fail(status.CodeCertificateChain, src.File, text, fmt.Sprintf("move certificate %d behind number %d", signer+1, i+1))
	case selfIssued(c):
		r.fail(status.CodeCertificateChain, src.File, text, fmt.Sprintf("remove certificate %d and those after it: the chain ends with number %d", i+2, i+1))
	default:
		r.fail(status.CodeCertificateChain, src.File, text, "write the certificate of "+c.Issuer.String()+" there")
	}
}

// name says whether leaf is for each of hostnames.
func (r *report) name(src Source, leaf *x509.Certificate, hostnames []string) {
	missing := slices.DeleteFunc(slices.Clone(hostnames), func(name string) bool { return leaf.VerifyHostname(name) == nil })
	if len(missing) == 0 {
		return
	}
	names := slices.Clone(leaf.DNSNames)
	for _, a := range leaf.IPAddresses {
		names = append(names, a.String())
	}
	lacks := status.Some(missing)
	text := "the certificate is not for " + lacks + " but for " + strings.Join(names, ", ")
	if len(names) == 0 {
		text = fmt.Sprintf("the certificate is for no name (%s has no subject alternative name)", leaf.Subject)
	}
	r.fail(status.CodeCertificateName, src.File, text, "have one made with "+lacks+" among its subject alternative names")
}

// usage says whether leaf may be a server's.
func (r *report) usage(src Source, leaf *x509.Certificate) {
	uses := leaf.ExtKeyUsage
	if len(uses)+len(leaf.UnknownExtKeyUsage) == 0 || slices.Contains(uses, x509.ExtKeyUsageServerAuth) || slices.Contains(uses, x509.ExtKeyUsageAny) {
		return
	}
	r.fail(status.CodeCertificateUsage, src.File, "the certificate is not for servers", "have one made with the extended key usage serverAuth")
}
