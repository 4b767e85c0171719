package certificate

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"holdfast/internal/status"
)

// maxChain bounds the certificates that are read from a file: far more than any
// chain has, as in a file of authorities.
const maxChain = 20

// A report collects findings.
type report struct{ findings []status.Finding }

func (r *report) fail(code, file, text, remedy string) {
	r.add(status.Error, code, file, text, remedy)
}

func (r *report) add(severity status.Severity, code, file, text, remedy string) {
	r.findings = append(r.findings, status.Finding{Severity: severity, Code: code, Text: file + ": " + text, Remedy: remedy})
}

// blocks gives the PEM blocks of data.
func blocks(data []byte) []*pem.Block {
	var all []*pem.Block
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return all
		}
		all = append(all, block)
		data = rest
	}
}

// certificates reads the certificates of src; none when one cannot be read.
func (r *report) certificates(src Source) []*x509.Certificate {
	if problem, remedy := form(src.Data); problem != "" {
		r.fail(status.CodeCertificateFormat, src.File, problem, remedy)
		return nil
	}
	var certs []*x509.Certificate
	for _, block := range blocks(src.Data) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := parseCertificate(block.Bytes)
		if err != nil {
			r.fail(status.CodeCertificateFormat, src.File, fmt.Sprintf("certificate %d cannot be read: %v", len(certs)+1, err), "get the file anew from where it was issued")
			return nil
		}
		certs = append(certs, c)
	}
	switch {
	case len(certs) == 0:
		text, remedy := noCertificate(src)
		r.fail(status.CodeCertificateFormat, src.File, text, remedy)
	case len(certs) > maxChain:
		r.fail(status.CodeCertificateChain, src.File, fmt.Sprintf("there are %d certificates in it", len(certs)), "leave the certificate and its intermediates in it: it is not a list of authorities")
		return nil
	}
	return certs
}

// noCertificate says what data is instead of a certificate in PEM.
func noCertificate(src Source) (text, remedy string) {
	types := map[string]bool{}
	for _, b := range blocks(src.Data) {
		types[b.Type] = true
	}
	switch {
	case len(bytes.TrimSpace(src.Data)) == 0:
		return "it is empty", "write the certificate, its chain and its key into it, in PEM"
	case types["TRUSTED CERTIFICATE"]:
		return "it has OpenSSL's own form of a certificate", "convert it: openssl x509 -in FILE -out NEW"
	case types["CERTIFICATE REQUEST"], types["NEW CERTIFICATE REQUEST"]:
		return "it has a request for a certificate, and none", "have it signed, and write what comes back"
	case types["PKCS7"], types["CMS"]:
		return "it is PKCS #7", "convert it: openssl pkcs7 -print_certs -in FILE -out NEW"
	case len(types) > 0:
		return "it has a key and no certificate", "write the certificate and its chain into it"
	case src.Data[0] == 0x30: // the SEQUENCE that DER begins with
		return "it is in DER or PKCS #12, not in PEM", "convert it: openssl x509 -inform der -in FILE -out NEW, or openssl pkcs12 -nodes -in FILE -out NEW"
	}
	return "it is not PEM", "write the certificate, its chain and its key into it, each from -----BEGIN to -----END"
}

// key reads the one key of src.
func (r *report) key(src Source) crypto.PrivateKey {
	file, data := src.keyPlace()
	if problem, remedy := form(data); problem != "" {
		if src.KeyFile != "" { // else it is said already
			r.fail(status.CodeCertificateKey, file, problem, remedy)
		}
		return nil
	}
	var keys []crypto.PrivateKey
	for _, block := range blocks(data) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		key, problem, remedy := parseKey(block)
		if problem != "" {
			r.fail(status.CodeCertificateKey, file, problem, remedy)
			return nil
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 1:
		return keys[0]
	case len(keys) > 1:
		r.fail(status.CodeCertificateKey, file, fmt.Sprintf("there are %d keys in it", len(keys)), "leave the one of the certificate")
	case len(bytes.TrimSpace(data)) > 0 || src.KeyFile != "": // else it is said already that the file is empty
		r.fail(status.CodeCertificateKey, file, "there is no key in it", `write the key into it, in PEM; if it has a file of its own, name that as "key" in the spec`)
	}
	return nil
}

// parseKey reads a key in PKCS #8, PKCS #1 or SEC 1.
func parseKey(block *pem.Block) (key crypto.PrivateKey, problem, remedy string) {
	const decrypt = "nobody is there to type it when HAProxy starts; remove it: openssl pkey -in FILE -out NEW, and let only root read that"
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, "the key has a passphrase", decrypt
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "PRIVATE KEY":
		key, err = parsePKCS8(block.Bytes)
	default:
		return nil, "the key has the form " + block.Type, "convert it: openssl pkey -in FILE -out NEW"
	}
	if err != nil {
		return nil, fmt.Sprintf("the key cannot be read: %v", err), "get the file anew from where it was made"
	}
	return key, "", ""
}
