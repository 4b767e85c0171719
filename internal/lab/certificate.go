package lab

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"holdfast/internal/spec"
)

// ownCertificates makes a certificate for each VIP whose own is not on this
// machine, and gives the spec's bytes with the paths of those in their place.
func (d Dir) ownCertificates(s *spec.Spec, data []byte, tell func(string)) ([]byte, error) {
	for _, v := range s.VIPs {
		if v.TLS == nil {
			continue
		}
		if _, err := os.Stat(v.TLS.Certificate); !errors.Is(err, fs.ErrNotExist) {
			continue // it is there, or HAProxy says what is wrong with it
		}
		own := d.path(v.Name + ".pem")
		if err := makeCertificate(own, v); err != nil {
			return nil, fmt.Errorf("make a certificate for VIP %s: %w", v.Name, err)
		}
		data = bytes.ReplaceAll(data, []byte(v.TLS.Certificate), []byte(own))
		if v.TLS.Key != "" { // it is in the same file
			data = bytes.ReplaceAll(data, []byte(v.TLS.Key), []byte(own))
		}
		if tell != nil {
			tell(fmt.Sprintf("%s is not on this machine: VIP %s has a certificate of the lab's own", v.TLS.Certificate, v.Name))
		}
	}
	return data, nil
}

// RenewCertificate puts another certificate of the lab's own in the place of
// the one of v, a VIP of the spec that the lab in d was made from, for all
// controllers at the same moment.
func RenewCertificate(d Dir, v spec.VIP) error {
	path := d.path(v.Name + ".pem")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("VIP %s has no certificate of the lab's own: %w", v.Name, err)
	}
	next := path + ".new"
	if err := makeCertificate(next, v); err != nil {
		return fmt.Errorf("make a certificate for VIP %s: %w", v.Name, err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("replace the certificate of VIP %s: %w", v.Name, err)
	}
	return nil
}

// makeCertificate writes a self-signed certificate and its key for v to path.
func makeCertificate(path string, v spec.VIP) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: v.Hostname, Organization: []string{"holdfast lab"}},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     v.Hostnames(),
	}
	for _, a := range v.Addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(a.Addr().AsSlice()))
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	), 0o600)
}
