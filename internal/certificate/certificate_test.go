package certificate_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/certificate"
	"holdfast/internal/status"
)

const host = "api.example.org"

// now is the time of all tests.
func now() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// An issued is a certificate and its key.
type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate for name, signed by by; by itself when by is nil.
func issue(t testing.TB, name string, by *issued, key crypto.Signer, change func(*x509.Certificate)) *issued {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now().Add(-time.Hour), NotAfter: now().AddDate(0, 3, 0),
	}
	if strings.HasSuffix(name, "CA") {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		template.DNSNames = []string{name}
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{cert, key}
}

// unknownKind makes a certificate whose key looks like one of RSA, and says that it is of a
// kind that nobody knows.
func unknownKind(t *testing.T, by *issued) *issued {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := issue(t, host, by, key, nil)
	rsaEncryption := []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01}
	der := bytes.Replace(i.cert.Raw, rsaEncryption, append(rsaEncryption[:10:10], 0x63), 1)
	cert, err := x509.ParseCertificate(der)
	if err != nil || cert.PublicKey != nil {
		t.Fatalf("%v, %T", err, cert.PublicKey)
	}
	return &issued{cert, key}
}

func certs(all ...*issued) []byte {
	var b bytes.Buffer
	for _, i := range all {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))
	}
	return b.Bytes()
}

func keyOf(t testing.TB, i *issued) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func retyped(typ string, data []byte) []byte {
	block, _ := pem.Decode(data)
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: block.Bytes})
}

// lineOf gives "line N" of the end of data.
func lineOf(data []byte) string { return fmt.Sprintf("line %d", 1+bytes.Count(data, []byte("\n"))) }

func TestCheck(t *testing.T) {
	root := issue(t, "Root CA", nil, newKey(t), nil)
	mid := issue(t, "Middle CA", root, newKey(t), nil)
	fake := issue(t, "Middle CA", nil, newKey(t), nil)
	leaf := issue(t, host, mid, newKey(t), nil)
	changed := func(change func(*x509.Certificate)) *issued { return issue(t, host, mid, newKey(t), change) }
	expired := changed(func(c *x509.Certificate) { c.NotAfter = now().Add(-time.Minute) })
	early := changed(func(c *x509.Certificate) { c.NotBefore = now().Add(time.Hour) })
	soon := changed(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = now().AddDate(0, 0, -61), now().AddDate(0, 0, 29)
	})
	hours := changed(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now().Add(-11*time.Hour), now().Add(5*time.Hour) })
	client := changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	server := changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	wild := changed(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.org"} })
	other := changed(func(c *x509.Certificate) { c.DNSNames = []string{"www.example.org", "example.org"} })
	nameless := changed(func(c *x509.Certificate) { c.DNSNames = nil })
	oldMid := issue(t, "Old CA", root, newKey(t), func(c *x509.Certificate) { c.NotAfter = now().Add(-time.Hour) })
	underOld := issue(t, host, oldMid, newKey(t), nil)
	weakKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := issue(t, host, mid, weakKey, nil)
	unknown := unknownKind(t, mid)
	renamed := issue(t, "Another CA", root, mid.key, nil)
	self := issue(t, host, nil, newKey(t), nil)
	// The newer root has a certificate of an older one, too, which has ended; both did.
	ended := func(c *x509.Certificate) { c.NotAfter = now().Add(-time.Hour) }
	oldRoot := issue(t, "Older CA", nil, newKey(t), nil)
	endedRoot := &issued{issue(t, "Older CA", nil, oldRoot.key, ended).cert, oldRoot.key}
	cross := issue(t, "Root CA", oldRoot, root.key, ended)
	stillCross := issue(t, "Root CA", oldRoot, root.key, nil)
	underRoot := issue(t, host, root, newKey(t), nil)
	days := func(life, left int) *issued {
		return changed(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = now().AddDate(0, 0, left-life), now().AddDate(0, 0, left)
		})
	}
	short, later, late47 := days(6, 6), days(47, 16), days(47, 15)
	late6 := days(6, 1)
	noLineEnd := bytes.TrimSuffix(certs(leaf), []byte("\n"))
	bom := []byte("\xEF\xBB\xBF")
	damaged := bytes.Replace(certs(mid), []byte("\nM"), []byte("\n*"), 1)

	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	encrypted := retyped("ENCRYPTED PRIVATE KEY", keyOf(t, leaf))
	for name, test := range map[string]struct {
		data, key []byte // key: in a file of its own
		roots     *issued
		want      string // codes
		says      string // in the findings' text
		usable    bool
	}{
		"good":           {data: join(certs(leaf, mid), keyOf(t, leaf)), usable: true},
		"key first":      {data: join(keyOf(t, leaf), certs(leaf, mid)), usable: true},
		"with root":      {data: join(certs(leaf, mid, root), keyOf(t, leaf)), usable: true},
		"two files":      {data: certs(leaf, mid), key: keyOf(t, leaf), usable: true},
		"same in both":   {data: join(certs(leaf, mid), keyOf(t, leaf)), key: join(certs(leaf, mid), keyOf(t, leaf)), usable: true},
		"wildcard":       {data: join(certs(wild, mid), keyOf(t, wild)), usable: true},
		"for servers":    {data: join(certs(server, mid), keyOf(t, server)), usable: true},
		"alone":          {data: join(certs(leaf), keyOf(t, leaf)), want: "certificate-alone", says: "append", usable: true},
		"self-signed":    {data: join(certs(self), keyOf(t, self)), want: "certificate-self-signed", usable: true},
		"key of another": {data: join(certs(leaf, mid), keyOf(t, self)), want: "certificate-key", says: "is not that of"},
		"other key file": {data: certs(leaf, mid), key: keyOf(t, self), want: "certificate-key", says: "the key in /k.pem"},
		"no key":         {data: certs(leaf, mid), want: "certificate-key", says: "no key"},
		"empty key file": {data: certs(leaf, mid), key: []byte("\n"), want: "certificate-key", says: "/k.pem"},
		"two keys":       {data: join(certs(leaf, mid), keyOf(t, leaf), keyOf(t, self)), want: "certificate-key", says: "2 keys"},
		"passphrase":     {data: join(certs(leaf, mid), encrypted), want: "certificate-key", says: "passphrase"},
		"openssh key":    {data: join(certs(leaf, mid), retyped("OPENSSH PRIVATE KEY", encrypted)), want: "certificate-key", says: "OPENSSH"},
		"broken key":     {data: join(certs(leaf, mid), retyped("RSA PRIVATE KEY", encrypted)), want: "certificate-key", says: "cannot be read"},
		"expired":        {data: join(certs(expired, mid), keyOf(t, expired)), want: "certificate-expired", says: "2026-11-22 11:59 UTC", usable: true},
		"not yet":        {data: join(certs(early, mid), keyOf(t, early)), want: "certificate-not-yet-valid", says: "clock", usable: true},
		"29 days":        {data: join(certs(soon, mid), keyOf(t, soon)), want: "certificate-expires", says: "in 29 days", usable: true},
		"5 hours":        {data: join(certs(hours, mid), keyOf(t, hours)), want: "certificate-expires", says: "in 5 hours", usable: true},
		"expired chain":  {data: join(certs(underOld, oldMid), keyOf(t, underOld)), want: "certificate-expired", says: "CN=Old CA", usable: true},
		"other name":     {data: join(certs(other, mid), keyOf(t, other)), want: "certificate-name", says: "www.example.org, example.org", usable: true},
		"no name":        {data: join(certs(nameless, mid), keyOf(t, nameless)), want: "certificate-name", says: "for no name", usable: true},
		"for clients":    {data: join(certs(client, mid), keyOf(t, client)), want: "certificate-usage", usable: true},
		"unknown kind":   {data: join(certs(unknown, mid), keyOf(t, unknown)), want: "certificate-key"},
		"weak":           {data: join(certs(weak, mid), keyOf(t, weak)), want: "certificate-weak", says: "1024 bits"},
		"chain first":    {data: join(certs(mid, leaf), keyOf(t, leaf)), want: "certificate-chain", says: "number 2"},
		"chain swapped":  {data: join(certs(leaf, root, mid), keyOf(t, leaf)), want: "certificate-chain", says: "move certificate 3 behind number 1", usable: true},
		"middle missing": {data: join(certs(leaf, root), keyOf(t, leaf)), want: "certificate-chain", says: "write the certificate of CN=Middle CA", usable: true},
		"after the root": {data: join(certs(leaf, mid, root, fake), keyOf(t, leaf)), want: "certificate-superfluous", says: "certificate 4", usable: true},

		"expired cross":           {data: join(certs(leaf, mid, cross), keyOf(t, leaf)), want: "certificate-superfluous", says: "certificate 3 of the chain (CN=Root CA) expired on 2026-11-22", usable: true},
		"expired cross, old root": {data: join(certs(leaf, mid, cross, endedRoot), keyOf(t, leaf)), want: "certificate-superfluous certificate-superfluous", says: "CN=Older CA", usable: true},
		"cross, ended old root":   {data: join(certs(leaf, mid, stillCross, endedRoot), keyOf(t, leaf)), want: "certificate-superfluous", says: "certificate 4 of the chain (CN=Older CA)", usable: true},
		"expired cross, root":     {data: join(certs(leaf, mid, cross, root), keyOf(t, leaf)), want: "certificate-superfluous", says: "certificate 3", usable: true},
		"cross and root":          {data: join(certs(leaf, mid, stillCross, root), keyOf(t, leaf)), usable: true},
		"only the cross, expired": {data: join(certs(underRoot, cross), keyOf(t, underRoot)), want: "certificate-expired", usable: true},
		"cross, known root":       {data: join(certs(underRoot, cross), keyOf(t, underRoot)), roots: root, want: "certificate-superfluous", usable: true},
		"expired between":         {data: join(certs(leaf, mid, cross, oldRoot), keyOf(t, leaf)), want: "certificate-expired", usable: true},
		"between, known root":     {data: join(certs(leaf, mid, cross, oldRoot), keyOf(t, leaf)), roots: root, want: "certificate-superfluous", usable: true},
		"stranger, known root":    {data: join(certs(leaf, mid, self), keyOf(t, leaf)), roots: root, want: "certificate-superfluous", says: "is not needed", usable: true},
		"stranger":                {data: join(certs(leaf, mid, self), keyOf(t, leaf)), want: "certificate-chain", usable: true},
		"swapped, known root":     {data: join(certs(leaf, root, mid), keyOf(t, leaf)), roots: root, want: "certificate-chain", says: "move certificate 3", usable: true},

		"renamed":                   {data: join(certs(leaf, renamed), keyOf(t, leaf)), want: "certificate-chain", says: "write the certificate of CN=Middle CA", usable: true},
		"impostor, then expired":    {data: join(certs(leaf, fake, cross), keyOf(t, leaf)), want: "certificate-chain certificate-expired", usable: true},
		"expired and cross":         {data: join(certs(expired, mid, cross), keyOf(t, expired)), want: "certificate-expired certificate-expired", usable: true},
		"two ways, the first alone": {data: join(certs(underRoot, self, stillCross, oldRoot), keyOf(t, underRoot)), roots: root, want: "certificate-superfluous certificate-superfluous certificate-superfluous", usable: true},

		"6 days":           {data: join(certs(short, mid), keyOf(t, short)), usable: true},
		"6 days, 1 left":   {data: join(certs(late6, mid), keyOf(t, late6)), want: "certificate-expires", usable: true},
		"47 days, 16 left": {data: join(certs(later, mid), keyOf(t, later)), usable: true},
		"47 days, 15 left": {data: join(certs(late47, mid), keyOf(t, late47)), want: "certificate-expires", says: "in 15 days", usable: true},

		"joined":             {data: join(noLineEnd, certs(mid), keyOf(t, leaf)), want: "certificate-format", says: lineOf(noLineEnd) + " has two blocks joined without a line end"},
		"joined with blanks": {data: join(noLineEnd, []byte(" \t"), certs(mid), keyOf(t, leaf)), want: "certificate-format", says: lineOf(noLineEnd) + " has two blocks joined without a line end"},
		"joined with a key":  {data: join(certs(leaf), bytes.TrimSuffix(certs(mid), []byte("\n")), keyOf(t, leaf)), want: "certificate-format", says: "joined without a line end"},
		"key file joined":    {data: certs(leaf, mid), key: join(bytes.TrimSuffix(keyOf(t, leaf), []byte("\n")), certs(leaf)), want: "certificate-key", says: "/k.pem: line"},
		"byte order mark":    {data: join(bom, certs(leaf, mid), keyOf(t, leaf)), want: "certificate-format", says: "begins with a byte order mark (line 1)"},
		"mark in the middle": {data: join(certs(leaf), bom, certs(mid), keyOf(t, leaf)), want: "certificate-format", says: lineOf(certs(leaf)) + " begins with a byte order mark"},
		"mark of a key file": {data: certs(leaf, mid), key: join(bom, keyOf(t, leaf)), want: "certificate-key", says: "/k.pem: the file begins with a byte order mark"},
		"UTF-16":             {data: []byte("\xFF\xFE-\x00-\x00"), key: keyOf(t, leaf), want: "certificate-format", says: "UTF-16"},
		"indented":           {data: join(certs(leaf), []byte("  "), certs(mid), keyOf(t, leaf)), want: "certificate-format", says: lineOf(certs(leaf)) + ": there is space before"},
		"text before":        {data: join([]byte("cert: "), certs(leaf, mid), keyOf(t, leaf)), want: "certificate-format", says: "line 1: there is text before"},
		"damaged":            {data: join(certs(leaf), damaged, keyOf(t, leaf)), want: "certificate-format", says: "the block that begins on " + lineOf(certs(leaf)) + " cannot be read"},
		"cut in the chain":   {data: join(certs(leaf), certs(mid)[:200]), key: keyOf(t, leaf), want: "certificate-format", says: "the block that begins on " + lineOf(certs(leaf)) + " has no end"},
		"CRLF":               {data: bytes.ReplaceAll(join(certs(leaf, mid), keyOf(t, leaf)), []byte("\n"), []byte("\r\n")), usable: true},
		"bag attributes":     {data: join([]byte("Bag Attributes\n    friendlyName: api\n"), certs(leaf), []byte("\nsubject=CN = Middle CA\n"), certs(mid), keyOf(t, leaf)), usable: true},

		"impostor":         {data: join(certs(leaf, fake), keyOf(t, leaf)), want: "certificate-chain", says: "did not sign it", usable: true},
		"list of CAs":      {data: join(bytes.Repeat(certs(root), 30), keyOf(t, leaf)), want: "certificate-chain", says: "30 certificates"},
		"empty":            {data: []byte(" \n"), want: "certificate-format", says: "empty"},
		"no PEM":           {data: []byte("hello"), want: "certificate-format certificate-key", says: "not PEM"},
		"DER":              {data: leaf.cert.Raw, key: keyOf(t, leaf), want: "certificate-format", says: "openssl x509 -inform der"},
		"PKCS7":            {data: retyped("PKCS7", certs(leaf)), key: keyOf(t, leaf), want: "certificate-format", says: "openssl pkcs7"},
		"request":          {data: retyped("CERTIFICATE REQUEST", certs(leaf)), key: keyOf(t, leaf), want: "certificate-format", says: "request"},
		"trusted":          {data: retyped("TRUSTED CERTIFICATE", certs(leaf)), key: keyOf(t, leaf), want: "certificate-format", says: "OpenSSL's own"},
		"key for cert":     {data: keyOf(t, leaf), key: keyOf(t, leaf), want: "certificate-format", says: "a key and no certificate"},
		"broken cert":      {data: join(retyped("CERTIFICATE", encrypted), keyOf(t, leaf)), want: "certificate-format", says: "certificate 1 cannot be read"},
		"half of the file": {data: certs(leaf, mid)[:300], key: keyOf(t, leaf), want: "certificate-format"},
	} {
		t.Run(name, func(t *testing.T) {
			src := certificate.Source{File: "/c.pem", Data: test.data}
			if test.key != nil {
				src.KeyFile, src.Key = "/k.pem", test.key
			}
			if test.roots != nil {
				src.Roots = x509.NewCertPool()
				src.Roots.AddCert(test.roots.cert)
			}
			got, findings := certificate.Check(src, []string{host}, now())
			var codes, texts []string
			for _, f := range findings {
				codes = append(codes, f.Code)
				texts = append(texts, f.String())
				if f.Remedy == "" || !strings.HasPrefix(f.Text, "/") {
					t.Errorf("%q names no file, or no remedy", f)
				}
			}
			if strings.Join(codes, " ") != test.want || !strings.Contains(strings.Join(texts, "\n"), test.says) {
				t.Errorf("got %q, want %s saying %q", texts, test.want, test.says)
			}
			if (got != nil) != test.usable {
				t.Errorf("usable: %v, want %v", got != nil, test.usable)
			}
			if got == nil {
				return
			}
			again, more := certificate.Check(certificate.Source{File: "/c.pem", Data: got.PEM, Roots: src.Roots}, []string{host}, now())
			if again == nil || !bytes.Equal(again.PEM, got.PEM) || len(more) != len(findings) || bytes.Contains(got.PEM, []byte("\n\n")) {
				t.Errorf("what was made of it reads otherwise: %v", more)
			}
		})
	}
}

func TestValidityFollowsTheClock(t *testing.T) {
	b, findings := certificate.Check(certificate.Source{File: "/c.pem", Data: func() []byte {
		i := issue(t, host, nil, newKey(t), nil)
		return append(certs(i), keyOf(t, i)...)
	}()}, []string{host}, now())
	if status.Worst(findings) == status.Error {
		t.Fatal(findings)
	}
	for _, test := range []struct {
		at   time.Time
		want status.Severity
	}{
		{b.End().Add(-certificate.Soon), ""},
		{b.End().Add(-certificate.Soon + time.Second), status.Warning},
		{b.End(), status.Warning},
		{b.End().Add(time.Second), status.Error},
	} {
		if got := status.Worst(certificate.Validity("/c.pem", b, test.at)); got != test.want {
			t.Errorf("%v before the end: %q, want %q", b.End().Sub(test.at), got, test.want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	i := issue(f, host, nil, newKey(f), nil)
	f.Add(certs(i), keyOf(f, i))
	f.Add(append(certs(i, i), keyOf(f, i)...), []byte{})
	f.Add([]byte("0\x82"), []byte("-----BEGIN"))
	f.Fuzz(func(t *testing.T, data, key []byte) {
		src := certificate.Source{File: "/c.pem", Data: data}
		if len(key) > 0 {
			src.KeyFile, src.Key = "/k.pem", key
		}
		if b, findings := certificate.Check(src, []string{host}, now()); b == nil && status.Worst(findings) != status.Error {
			t.Errorf("no bundle, and no error: %v", findings)
		}
	})
}

// TestRSAPSS reads keys and certificates that OpenSSL made for RSA-PSS alone: a
// chain whose two keys and signatures are.
func TestRSAPSS(t *testing.T) {
	at := now().AddDate(1, 0, 0) // the files are younger than now
	data, err := os.ReadFile("testdata/rsa-pss.pem")
	if err != nil {
		t.Fatal(err)
	}
	b, findings := certificate.Check(certificate.Source{File: "/c.pem", Data: data}, []string{host}, at)
	if b == nil || len(findings) > 0 {
		t.Fatal(findings)
	}
	if !bytes.Equal(b.PEM, data) {
		t.Errorf("it comes out as something else: the key must go on saying that it is for RSA-PSS\n%s", b.PEM)
	}
	block, rest := pem.Decode(data)
	block.Bytes[len(block.Bytes)-1] ^= 1 // of the signature
	_, findings = certificate.Check(certificate.Source{File: "/c.pem", Data: append(pem.EncodeToMemory(block), rest...)}, []string{host}, at)
	if len(findings) != 1 || findings[0].Code != "certificate-chain" {
		t.Errorf("with a signature that is none: %v", findings)
	}
	_, findings = certificate.Check(certificate.Source{File: "/c.pem", Data: data, KeyFile: "/k.pem", Key: keyOf(t, issue(t, host, nil, newKey(t), nil))}, []string{host}, at)
	if len(findings) != 1 || findings[0].Code != "certificate-key" {
		t.Errorf("with the key of another: %v", findings)
	}
}

// TestEnd tells when a bundle ends: with what it needs, and not with the rest.
func TestEnd(t *testing.T) {
	root := issue(t, "Root CA", nil, newKey(t), nil)
	mid := issue(t, "Middle CA", root, newKey(t), func(c *x509.Certificate) { c.NotAfter = now().AddDate(0, 2, 0) })
	cross := issue(t, "Root CA", issue(t, "Older CA", nil, newKey(t), nil), root.key, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = now().AddDate(-1, 0, 0), now().AddDate(0, 0, 5)
	})
	leaf := issue(t, host, mid, newKey(t), nil)
	b, findings := certificate.Check(certificate.Source{File: "/c.pem", Data: slices.Concat(certs(leaf, mid, cross), keyOf(t, leaf))}, []string{host}, now())
	if len(findings) > 0 {
		t.Errorf("a certificate that is not needed ends in 5 days: %v", findings)
	}
	if b == nil || !b.End().Equal(mid.cert.NotAfter) {
		t.Errorf("it ends %v, want the end of the intermediate, %v", b.End(), mid.cert.NotAfter)
	}
	first := issue(t, host, mid, newKey(t), func(c *x509.Certificate) { c.NotAfter = now().AddDate(0, 1, 0) })
	b, _ = certificate.Check(certificate.Source{File: "/c.pem", Data: slices.Concat(certs(first, mid, cross), keyOf(t, first))}, []string{host}, now())
	if b == nil || !b.End().Equal(first.cert.NotAfter) {
		t.Errorf("it ends %v, want its own end, %v", b.End(), first.cert.NotAfter)
	}
}
