package process

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // HAProxy names certificates by it
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// newPEM makes a certificate with its key, and gives its fingerprint.
func newPEM(t testing.TB) ([]byte, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"api.example.org"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	return text, fmt.Sprintf("%X", sha1.Sum(cert)) //nolint:gosec // see above
}

func TestSetCertificate(t *testing.T) {
	b := newBench(t)
	b.state = filepath.Join(b.state, "with a blank; and more")
	b.spec.VIPs[0].TLS = &spec.TLS{}
	file := haproxy.CertificateFile(b.state, "api")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	first, print := newPEM(t)
	if err := os.WriteFile(file, first, 0o600); err != nil {
		t.Fatal(err)
	}
	m, _ := b.manager()
	if _, err := m.Apply(t.Context(), b.cfg()); err != nil {
		t.Fatal(err)
	}
	serves := func(want string) {
		t.Helper()
		if got, err := m.ServesCertificate(t.Context(), file); err != nil || got != want {
			t.Errorf("HAProxy serves %q, %v; want %q", got, err, want)
		}
	}
	serves(print)
	second, next := newPEM(t)
	for _, bad := range []struct{ pem, fingerprint, says string }{
		{"garbage", next, "<<"},
		{string(second) + "\n\n", next, "empty line"},
		{strings.Repeat("x", 40_000), next, "set ssl cert"}, // too long; it may also close the connection
	} {
		if err := m.SetCertificate(t.Context(), file, []byte(bad.pem), bad.fingerprint); err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%.20q: %v, want %q in it", bad.pem, err, bad.says)
		}
		serves(print)
	}
	if err := m.SetCertificate(t.Context(), file+"x", second, next); err == nil {
		t.Error("a certificate that HAProxy does not have was set")
	}
	if err := m.SetCertificate(t.Context(), file, second, next); err != nil {
		t.Fatal(err)
	}
	serves(next)
	if err := m.SetCertificate(t.Context(), file, first, next); err == nil || !strings.Contains(err.Error(), print) {
		t.Errorf("another fingerprint than was promised: %v", err)
	}
	if s := m.State(); s.Reloads != 0 {
		t.Errorf("%d reloads", s.Reloads)
	}
}
