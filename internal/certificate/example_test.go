package certificate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"holdfast/internal/certificate"
)

// A certificate that HAProxy would take and clients would complain of.
func ExampleCheck() {
	day := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "openstack.example.org"}, DNSNames: []string{"openstack.example.org"},
		NotBefore: day.AddDate(0, -3, 0), NotAfter: day.AddDate(0, 0, -1),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "openstack.example.org"}}, key.Public(), key)
	if err != nil {
		panic(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	_, findings := certificate.Check(certificate.Source{
		File: "api.pem", Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyFile: "api.key", Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}, []string{"api.example.org"}, day)
	for _, f := range findings {
		fmt.Println(f)
	}
	// Output:
	// info: api.pem: the certificate is signed by itself; every client has to be told to trust it
	// api.pem: the certificate is not for api.example.org but for openstack.example.org; have one made with api.example.org among its subject alternative names
	// api.pem: the certificate expired on 2026-11-21 12:00 UTC; renew it
}
