package keep

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/certificate/certificatetest"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Several certificates of a VIP are together for all of its names: one that leaves a name to
// nobody is refused, one that leaves it to another is not.
func TestSeveralCertificates(t *testing.T) {
	ca := certificatetest.NewAuthority(t)
	names := func(all ...string) func(*x509.Certificate) { return func(c *x509.Certificate) { c.DNSNames = all } }
	b := newBench(t, ca.Issue(1))
	b.vip.Public = &spec.Public{Routes: []spec.Route{{Service: "nova", Name: "nova.example.org"}}}
	if _, err := b.Prepare(b.opt.Spec(), false); err == nil || !strings.Contains(err.Error(), "not for nova.example.org") {
		t.Fatalf("one that is not for all names was taken: %v", err)
	}
	more := filepath.Join(filepath.Dir(b.vip.TLS.Certificate), "more.pem")
	b.vip.TLS = &spec.TLS{Certificate: b.vip.TLS.Certificate, Key: b.vip.TLS.Key, More: []spec.CertificateFiles{{Certificate: more}}}
	certificatetest.Put(t, more, ca.Issue(7, names("cinder.example.org")).Both())
	if _, err := b.Prepare(b.opt.Spec(), false); err == nil {
		t.Fatal("one that is for no name of the VIP was taken")
	}
	certificatetest.Put(t, more, ca.Issue(8, names("nova.example.org")).Both())
	if events, err := b.Prepare(b.opt.Spec(), false); err != nil || len(events) != 0 {
		t.Fatal(events, err)
	}
	second := slotsOf(b.vip)[1]
	for _, o := range slotsOf(b.vip) {
		if _, err := os.Stat(b.path(o)); err != nil {
			t.Error(err)
		}
	}
	if all := b.Describe("api"); len(all) != 2 || all[1].File != more || all[1].Names[0] != "nova.example.org" {
		t.Errorf("described as %+v", all)
	}

	// The second one alone is for nova.
	certificatetest.Put(t, more, ca.Issue(9, names("api.example.org")).Both())
	b.look(second)
	b.clock = b.clock.Add(settle)
	if events := b.look(second); len(events) != 1 || !strings.Contains(events[0].Cause, "not for nova.example.org") {
		t.Errorf("%v", events)
	}
	if f := b.Findings(); len(f) != 1 || f[0].Code != status.CodeCertificateName || f[0].Subject != "vip api" {
		t.Errorf("found %v", f)
	}
	certificatetest.Put(t, more, ca.Issue(10, names("api.example.org", "nova.example.org")).Both())
	if events := b.look(second); len(events) != 0 || b.of(second.key).bundle.Leaf.SerialNumber.Int64() != 10 {
		t.Errorf("%v", events)
	}
	// Now the first may leave its name to the second, but not be for none.
	b.put(ca.Issue(11, names("nova.example.org")))
	b.want(0, 11)
	b.put(ca.Issue(12, names("other.example.org")))
	b.want(0, 11)

	b.vip.TLS = &spec.TLS{Certificate: more}
	b.Sweep(b.opt.Spec())
	if _, err := os.Stat(b.path(second)); !os.IsNotExist(err) {
		t.Errorf("the copy of a certificate that is no more is left: %v", err)
	}
}
