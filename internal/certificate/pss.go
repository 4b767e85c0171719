package certificate

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
)

// isPSS reports whether id is that of RSA keys that sign with RSA-PSS alone
// (id-RSASSA-PSS of RFC 4055). They are RSA keys under another name, which
// package x509 does not know; OpenSSL, HAProxy and clients do.
func isPSS(id asn1.ObjectIdentifier) bool {
	return id.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10})
}

// parseCertificate is x509.ParseCertificate for RSA-PSS keys, too.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil || c.PublicKey != nil {
		return c, err
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &info); err != nil || len(rest) > 0 || !isPSS(info.Algorithm.Algorithm) {
		return c, nil //nolint:nilerr // a key of another kind, which is told later
	}
	key, err := x509.ParsePKCS1PublicKey(info.Key.RightAlign())
	if err != nil {
		return nil, err
	}
	c.PublicKey, c.PublicKeyAlgorithm = key, x509.RSA
	return c, nil
}

// A pssKey is an RSA key with its form in PKCS #8, which says that it is for RSA-PSS.
type pssKey struct {
	*rsa.PrivateKey
	der []byte
}

// parsePKCS8 is x509.ParsePKCS8PrivateKey for RSA-PSS keys, too: a *pssKey.
func parsePKCS8(der []byte) (any, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		return key, nil
	}
	var info struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
		Attributes []asn1.RawValue `asn1:"optional,tag:0,set"`
	}
	if _, bad := asn1.Unmarshal(der, &info); bad != nil || !isPSS(info.Algorithm.Algorithm) {
		return nil, err
	}
	plain, bad := x509.ParsePKCS1PrivateKey(info.PrivateKey)
	if bad != nil {
		return nil, errors.Join(errors.New("it says that it is for RSA-PSS"), bad)
	}
	return &pssKey{plain, der}, nil
}

// marshalPKCS8 gives key in PKCS #8.
func marshalPKCS8(key any) ([]byte, error) {
	if pss, ok := key.(*pssKey); ok {
		return pss.der, nil
	}
	return x509.MarshalPKCS8PrivateKey(key)
}
