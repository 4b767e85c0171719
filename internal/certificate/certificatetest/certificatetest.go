// Package certificatetest issues the certificates of tests. It is for tests only.
package certificatetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"slices"
	"testing"
	"time"
)

// An Authority signs the certificates of a test.
type Authority struct {
	T    testing.TB
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// A Pair is a certificate with its key, each in PEM.
type Pair struct {
	Serial    int64
	Cert, Key []byte
}

// Both gives the certificate and, after it, the key.
func (p Pair) Both() []byte { return slices.Concat(p.Cert, p.Key) }

// NewAuthority makes one that is valid for an hour.
func NewAuthority(t testing.TB) *Authority {
	a := &Authority{T: t, Key: NewKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.Cert = template
	a.Cert = a.Sign(template, a.Key)
	return a
}

// NewKey makes a key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Sign makes the certificate of key that template describes.
func (a *Authority) Sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.T.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, &key.PublicKey, a.Key)
	if err != nil {
		a.T.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.T.Fatal(err)
	}
	return cert
}

// Issue makes a certificate for api.example.org that is valid for a quarter of a
// year, but for what change does to it.
func (a *Authority) Issue(serial int64, change ...func(*x509.Certificate)) Pair {
	a.T.Helper()
	key := NewKey(a.T)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"api.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
	}
	for _, f := range change {
		f(template)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.T.Fatal(err)
	}
	return Pair{
		serial, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Sign(template, key).Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
}

// Put has path hold data, at once.
func Put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
