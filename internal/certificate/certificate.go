// Package certificate checks a TLS certificate, its chain and its key before
// clients get to see them: whether they belong together, are valid now, and are
// those of the name that clients use.
//
// It is pure: bytes and a time in, findings out. It reads no file and trusts no
// authority of its own; whether clients trust one, only they know.
package certificate

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // HAProxy names certificates by it
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"holdfast/internal/status"
)

// MaxFile is the largest file of a certificate or a key that is one, in octets.
const MaxFile = 1 << 20

// A Source is what the files of a certificate hold.
type Source struct {
	File string // of the certificate and its chain; for findings
	Data []byte
	// KeyFile and Key are the file of the key. Empty: the key is in File.
	KeyFile string
	Key     []byte
	// Roots are the authorities that clients are taken to trust, beside those that
	// are in the file; nil: nothing is known of them. No certificate is refused
	// because it leads to none of them.
	Roots *x509.CertPool
}

// keyPlace gives the file that the key is expected in, and its content.
func (s Source) keyPlace() (string, []byte) {
	if s.KeyFile == "" {
		return s.File, s.Data
	}
	return s.KeyFile, s.Key
}

// A Bundle is a certificate that can be served: its key is known.
type Bundle struct {
	Leaf  *x509.Certificate
	Chain []*x509.Certificate // that is sent with it, in the order of the file
	// PEM is all of it in the form that HAProxy wants: the certificate, the
	// chain, the key, and no empty line.
	PEM []byte

	roots  *x509.CertPool
	broken int // place of the first that the one behind it did not sign; -1: none
}

// Fingerprint gives the SHA-1 of the certificate in upper case hex digits, the
// name that HAProxy's "show ssl cert" has for it.
func (b *Bundle) Fingerprint() string { return fmt.Sprintf("%X", sha1.Sum(b.Leaf.Raw)) } //nolint:gosec // no secret hangs on it

// Check reads src and says all that is wrong with it at time now for clients
// that come to each of names. An error among the findings is a reason not to use it.
// The bundle is nil when it cannot be used at all; with an error it can be, but
// clients would complain.
func Check(src Source, names []string, now time.Time) (*Bundle, []status.Finding) {
	r := &report{}
	certs := r.certificates(src)
	key := r.key(src)
	if len(certs) == 0 || key == nil {
		return nil, r.findings
	}
	if !r.matches(src, certs, key) {
		return nil, r.findings
	}
	if !r.strong(src, certs) {
		return nil, r.findings
	}
	b, err := bundle(src, certs, key)
	if err != nil {
		r.fail(status.CodeCertificateKey, src.File, err.Error(), "make a new key and certificate")
		return nil, r.findings
	}
	r.chain(src, b, now)
	r.name(src, b.Leaf, names)
	r.usage(src, b.Leaf)
	r.findings = append(r.findings, Validity(src.File, b, now)...)
	return b, r.findings
}

// bundle puts certs and their key together.
func bundle(src Source, certs []*x509.Certificate, key crypto.PrivateKey) (*Bundle, error) {
	var out bytes.Buffer
	for _, c := range certs {
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return nil, fmt.Errorf("encode the certificate: %w", err)
		}
	}
	der, err := marshalPKCS8(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	if err := pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	return &Bundle{Leaf: certs[0], Chain: certs[1:], PEM: out.Bytes(), roots: src.Roots, broken: firstBreak(certs)}, nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// span gives d in days, or in hours when it is short.
func span(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
