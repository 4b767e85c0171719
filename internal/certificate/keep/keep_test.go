package keep

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/internal/certificate/certificatetest"
	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A bench is a Keeper with a clock, files and an HAProxy of its own.
type bench struct {
	*Keeper
	t       *testing.T
	clock   time.Time
	vip     spec.VIP
	haproxy *fakeHAProxy
	events  []status.Event
}

func newBench(t *testing.T, first certificatetest.Pair) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{
		t: t, clock: time.Now(), haproxy: &fakeHAProxy{state: status.HAProxy{State: status.HAProxyRunning, PID: 1}},
		vip: spec.VIP{Name: "api", Hostname: "api.example.org", TLS: &spec.TLS{Certificate: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}},
	}
	b.Keeper = New(Options{
		StateDir: filepath.Join(dir, "state"), HAProxy: b.haproxy, Log: slog.New(slog.DiscardHandler),
		Spec:  func() *spec.Spec { return &spec.Spec{VIPs: []spec.VIP{b.vip}} },
		Event: func(e status.Event) { b.events = append(b.events, e) },
	})
	b.now = func() time.Time { return b.clock }
	b.put(first)
	if events, err := b.Prepare(b.opt.Spec(), false); err != nil || len(events) != 0 {
		t.Fatal(events, err)
	}
	return b
}

// put has the files hold p.
func (b *bench) put(p certificatetest.Pair) {
	b.t.Helper()
	certificatetest.Put(b.t, b.vip.TLS.Certificate, p.Cert)
	certificatetest.Put(b.t, b.vip.TLS.Key, p.Key)
}

// want looks, and wants so many events and that certificate.
func (b *bench) want(events int, serial int64) {
	b.t.Helper()
	if got := b.look(slotsOf(b.vip)[0]); len(got) != events {
		b.t.Errorf("%d events, want %d: %v", len(got), events, got)
	}
	if got := b.of("api").bundle.Leaf.SerialNumber.Int64(); got != serial {
		b.t.Errorf("certificate %d is held, want %d", got, serial)
	}
}

// Between the change of one file and that of the other nothing is said.
func TestTwoFilesChangeOneAfterTheOther(t *testing.T) {
	ca := certificatetest.NewAuthority(t)
	b := newBench(t, ca.Issue(1))
	second := ca.Issue(2)
	certificatetest.Put(t, b.vip.TLS.Certificate, second.Cert)
	b.want(0, 1)
	b.clock = b.clock.Add(settle - 1)
	b.want(0, 1)
	certificatetest.Put(t, b.vip.TLS.Key, second.Key)
	b.want(0, 2)
	if f := b.Findings(); len(f) != 0 {
		t.Errorf("found %v", f)
	}
}

// What stays bad is said once, and no more once it is as it was.
func TestBadContentIsSaidOnceItSettles(t *testing.T) {
	ca := certificatetest.NewAuthority(t)
	first := ca.Issue(1)
	b := newBench(t, first)
	certificatetest.Put(t, b.vip.TLS.Key, []byte("half"))
	b.want(0, 1)
	b.clock = b.clock.Add(settle)
	b.want(1, 1)
	b.want(0, 1)
	if f := b.Findings(); len(f) != 1 || !b.Describe("api")[0].Refused {
		t.Errorf("found %v", f)
	}
	certificatetest.Put(t, b.vip.TLS.Key, first.Key)
	b.want(0, 1)
	if f := b.Findings(); len(f) != 0 || b.Describe("api")[0].Refused {
		t.Errorf("found %v of the file as it was", f)
	}
}

// A renewal whose chain ends in what has expired, and what clients do without, is
// taken, and it is said in the findings from then on.
func TestRenewalWithAnExpiredCrossSignedCertificate(t *testing.T) {
	newer := certificatetest.NewAuthority(t)
	older := &certificatetest.Authority{T: t, Cert: &x509.Certificate{Subject: pkix.Name{CommonName: "Older CA"}}, Key: certificatetest.NewKey(t)}
	b := newBench(t, newer.Issue(1))
	middleKey := certificatetest.NewKey(t)
	middle := newer.Sign(&x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Middle CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: b.clock.Add(-time.Hour), NotAfter: b.clock.AddDate(1, 0, 0),
	}, middleKey)
	cross := older.Sign(&x509.Certificate{
		SerialNumber: big.NewInt(8), Subject: newer.Cert.Subject, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: b.clock.AddDate(-1, 0, 0), NotAfter: b.clock.Add(-time.Hour),
	}, newer.Key)
	renewed := (&certificatetest.Authority{T: t, Cert: middle, Key: middleKey}).Issue(2)
	chain := renewed.Cert
	for _, c := range []*x509.Certificate{middle, cross} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	certificatetest.Put(t, b.vip.TLS.Key, renewed.Key)
	certificatetest.Put(t, b.vip.TLS.Certificate, chain)
	b.want(0, 2)
	if f := b.Findings(); len(f) != 1 || f[0].Code != "certificate-superfluous" || f[0].Severity != status.Warning {
		t.Errorf("found %v", f)
	}
	if end := b.Describe("api")[0].NotAfter; !end.After(b.clock) {
		t.Errorf("it is said to have ended on %v", end)
	}
}

// The end of a certificate comes without any change of its file.
func TestEndIsSaidInTime(t *testing.T) {
	b := newBench(t, certificatetest.NewAuthority(t).Issue(1))
	b.clock = b.of("api").bundle.End().Add(-time.Hour)
	if f := b.Findings(); len(f) != 1 || f[0].Code != "certificate-expires" || f[0].Subject != "vip api" {
		t.Errorf("an hour before the end: %v", f)
	}
	b.clock = b.clock.Add(2 * time.Hour)
	if f := b.Findings(); len(f) != 1 || f[0].Code != "certificate-expired" {
		t.Errorf("after the end: %v", f)
	}
	b.want(0, 1)
}

func TestCopiesOfGoneVIPsAreRemoved(t *testing.T) {
	b := newBench(t, certificatetest.NewAuthority(t).Issue(1))
	old := haproxy.CertificateFile(b.opt.StateDir, "old")
	certificatetest.Put(t, old, []byte("a key"))
	half := filepath.Join(filepath.Dir(old), ".api.pem.1234567") // of a write that a crash cut short
	if err := os.WriteFile(half, []byte("a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Sweep(&spec.Spec{VIPs: []spec.VIP{b.vip}})
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("a half written copy: %v", err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the copy of a VIP that is gone: %v", err)
	}
	if _, err := os.Stat(b.path(slotsOf(b.vip)[0])); err != nil {
		t.Error(err)
	}
	b.Sweep(&spec.Spec{})
	if b.Describe("api") != nil {
		t.Error("a VIP that is gone is held")
	}
}
