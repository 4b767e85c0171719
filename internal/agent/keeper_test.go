package agent

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

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A keeperBench is a keeper with a clock and files of its own.
type keeperBench struct {
	*keeper
	t     *testing.T
	clock time.Time
	vip   spec.VIP
}

func newKeeperBench(t *testing.T, first pair) *keeperBench {
	t.Helper()
	dir := t.TempDir()
	b := &keeperBench{
		t: t, clock: time.Now(), keeper: newKeeper(filepath.Join(dir, "state"), "ctl1", slog.New(slog.DiscardHandler)),
		vip: spec.VIP{Name: "api", Hostname: "api.example.org", TLS: &spec.TLS{Certificate: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}},
	}
	b.now = func() time.Time { return b.clock }
	put(t, b.vip.TLS.Certificate, first.cert)
	put(t, b.vip.TLS.Key, first.key)
	if events, err := b.prepare(&spec.Spec{VIPs: []spec.VIP{b.vip}}, false); err != nil || len(events) != 0 {
		t.Fatal(events, err)
	}
	return b
}

// want looks, and wants so many events and that certificate.
func (b *keeperBench) want(events int, serial int64) {
	b.t.Helper()
	if got := b.look(b.vip); len(got) != events {
		b.t.Errorf("%d events, want %d: %v", len(got), events, got)
	}
	if got := b.of("api").bundle.Leaf.SerialNumber.Int64(); got != serial {
		b.t.Errorf("certificate %d is held, want %d", got, serial)
	}
}

// Between the change of one file and that of the other nothing is said.
func TestTwoFilesChangeOneAfterTheOther(t *testing.T) {
	ca := newAuthority(t)
	b := newKeeperBench(t, ca.issue(1))
	second := ca.issue(2)
	put(t, b.vip.TLS.Certificate, second.cert)
	b.want(0, 1)
	b.clock = b.clock.Add(settle - 1)
	b.want(0, 1)
	put(t, b.vip.TLS.Key, second.key)
	b.want(0, 2)
	if f := b.findings(); len(f) != 0 {
		t.Errorf("found %v", f)
	}
}

// What stays bad is said once, and no more once it is as it was.
func TestBadContentIsSaidOnceItSettles(t *testing.T) {
	ca := newAuthority(t)
	first := ca.issue(1)
	b := newKeeperBench(t, first)
	put(t, b.vip.TLS.Key, []byte("half"))
	b.want(0, 1)
	b.clock = b.clock.Add(settle)
	b.want(1, 1)
	b.want(0, 1)
	if f := b.findings(); len(f) != 1 || !b.describe("api").Refused {
		t.Errorf("found %v", f)
	}
	put(t, b.vip.TLS.Key, first.key)
	b.want(0, 1)
	if f := b.findings(); len(f) != 0 || b.describe("api").Refused {
		t.Errorf("found %v of the file as it was", f)
	}
}

// A renewal whose chain ends in what has expired, and what clients do without, is
// taken, and it is said in the findings from then on.
func TestRenewalWithAnExpiredCrossSignedCertificate(t *testing.T) {
	newer := newAuthority(t)
	older := &authority{t: t, cert: &x509.Certificate{Subject: pkix.Name{CommonName: "Older CA"}}, key: ecKey(t)}
	b := newKeeperBench(t, newer.issue(1))
	middleKey := ecKey(t)
	middle := newer.sign(&x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Middle CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: b.clock.Add(-time.Hour), NotAfter: b.clock.AddDate(1, 0, 0),
	}, middleKey)
	cross := older.sign(&x509.Certificate{
		SerialNumber: big.NewInt(8), Subject: newer.cert.Subject, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: b.clock.AddDate(-1, 0, 0), NotAfter: b.clock.Add(-time.Hour),
	}, newer.key)
	renewed := (&authority{t: t, cert: middle, key: middleKey}).issue(2)
	chain := renewed.cert
	for _, c := range []*x509.Certificate{middle, cross} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	put(t, b.vip.TLS.Key, renewed.key)
	put(t, b.vip.TLS.Certificate, chain)
	b.want(0, 2)
	if f := b.findings(); len(f) != 1 || f[0].Code != "certificate-superfluous" || f[0].Severity != status.Warning {
		t.Errorf("found %v", f)
	}
	if end := b.describe("api").NotAfter; !end.After(b.clock) {
		t.Errorf("it is said to have ended on %v", end)
	}
}

// The end of a certificate comes without any change of its file.
func TestEndIsSaidInTime(t *testing.T) {
	b := newKeeperBench(t, newAuthority(t).issue(1))
	b.clock = b.of("api").bundle.End().Add(-time.Hour)
	if f := b.findings(); len(f) != 1 || f[0].Code != "certificate-expires" || f[0].Subject != "vip api on ctl1" {
		t.Errorf("an hour before the end: %v", f)
	}
	b.clock = b.clock.Add(2 * time.Hour)
	if f := b.findings(); len(f) != 1 || f[0].Code != "certificate-expired" {
		t.Errorf("after the end: %v", f)
	}
	b.want(0, 1)
}

func TestCopiesOfGoneVIPsAreRemoved(t *testing.T) {
	b := newKeeperBench(t, newAuthority(t).issue(1))
	old := haproxy.CertificateFile(b.stateDir, "old")
	put(t, old, []byte("a key"))
	b.sweep(&spec.Spec{VIPs: []spec.VIP{b.vip}})
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the copy of a VIP that is gone: %v", err)
	}
	if _, err := os.Stat(b.path(b.vip)); err != nil {
		t.Error(err)
	}
	b.sweep(&spec.Spec{})
	if b.describe("api") != nil {
		t.Error("a VIP that is gone is held")
	}
}
