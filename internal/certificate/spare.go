package certificate

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/status"
)

// The end of a certificate is warned of when one part in shareLeft of its lifetime
// is left, and at most Soon is. Who renews by itself does so by then, whether a certificate is
// for 90 days, for 47 or for 6.
const shareLeft = 3

// Soon is the longest time before its end that the end of a certificate is warned of.
const Soon = 30 * 24 * time.Hour

// notice gives how long before its end the end of c is warned of.
func notice(c *x509.Certificate) time.Duration {
	return min(Soon, c.NotAfter.Sub(c.NotBefore)/shareLeft)
}

// spare says which of b's certificates clients can do without at now: those at
// the end of a chain whose first part verifies. What issuers hand out often ends
// with more than is needed: a root, or the certificate that an older root, of
// which nobody speaks any more, gave to a newer one, and which ends one day.
// Clients that trust the newer one find their way without it.
//
// Whether the first part verifies can be said where it leads to a root that
// stands in the file, or to one of b.roots. Where it leads to none, as for an
// authority of one's own, an intermediate has to be there, and all that is behind
// the first part has ended: a chain that goes on with what is valid needs what is between.
func (b *Bundle) spare(now time.Time) []bool {
	all := b.all()
	out := make([]bool, len(all))
	if b.broken < 0 && !anyEnded(all, now) {
		return out // as nearly always: nothing to be looked for
	}
	if needed := path(all, b.roots, now); needed != nil {
		for i := range out {
			out[i] = !slices.Contains(needed, i)
		}
		return out
	}
	end := len(all)
	for end > 2 && all[end-1].NotAfter.Before(now) {
		end--
	}
	if (b.broken < 0 || b.broken >= end-1) && !anyEnded(all[:end], now) {
		for i := end; i < len(all); i++ {
			out[i] = true
		}
	}
	return out
}

func anyEnded(all []*x509.Certificate, now time.Time) bool {
	return slices.ContainsFunc(all, func(c *x509.Certificate) bool { return c.NotAfter.Before(now) })
}

// path gives the shortest way from the first of all to a root that verifies at
// now, by its places in all, in their order; nil for none. A root of roots that is
// not in the file has no place.
func path(all []*x509.Certificate, roots *x509.CertPool, now time.Time) []int {
	trusted, between := x509.NewCertPool(), x509.NewCertPool()
	if roots != nil {
		trusted = roots.Clone()
	}
	for _, c := range all[1:] {
		if selfIssued(c) {
			trusted.AddCert(c)
		} else {
			between.AddCert(c)
		}
	}
	chains, err := all[0].Verify(x509.VerifyOptions{Roots: trusted, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil
	}
	var best []int
	for _, chain := range chains {
		places, ok := placesIn(all, chain)
		if ok && (best == nil || len(places) < len(best)) {
			best = places
		}
	}
	return best
}

// placesIn gives the places in all of what is in chain; not ok when they are not in order.
func placesIn(all, chain []*x509.Certificate) (places []int, ok bool) {
	for _, c := range chain {
		at := slices.IndexFunc(all, c.Equal)
		if at < 0 {
			continue
		}
		if len(places) > 0 && at <= places[len(places)-1] {
			return nil, false
		}
		places = append(places, at)
	}
	return places, true
}

// signed reports whether c was signed by by, as far as can be told: of a
// signature in a way that is not known here, the names are what there is.
func signed(c, by *x509.Certificate) error {
	if err := c.CheckSignatureFrom(by); err != nil && !errors.Is(err, x509.ErrUnsupportedAlgorithm) {
		return err
	}
	return nil
}

// firstBreak gives the place of the first of all that the one behind it did not
// sign; -1 where each did.
func firstBreak(all []*x509.Certificate) int {
	for i, c := range all[:len(all)-1] {
		if !bytes.Equal(c.RawIssuer, all[i+1].RawSubject) || signed(c, all[i+1]) != nil {
			return i
		}
	}
	return -1
}

// Validity says whether b, of file, is valid at now, and, for some time before
// its end, when that is. What b could do without is no error, whatever is wrong with it.
func Validity(file string, b *Bundle, now time.Time) []status.Finding {
	r := &report{}
	all := b.all()
	needless := b.spare(now)
	for i, c := range all {
		what := "the certificate"
		if i > 0 {
			what = fmt.Sprintf("certificate %d of the chain (%s)", i+1, c.Subject)
		}
		if needless[i] {
			r.superfluous(file, what, c, now, b.broken >= 0 && i > b.broken)
			continue
		}
		switch left := c.NotAfter.Sub(now); {
		case now.Before(c.NotBefore):
			r.fail(status.CodeCertificateNotYetValid, file, fmt.Sprintf("%s is valid from %s on", what, day(c.NotBefore)), "wait until then, or set the clock of this host, which has "+day(now))
		case left < 0:
			r.fail(status.CodeCertificateExpired, file, fmt.Sprintf("%s expired on %s", what, day(c.NotAfter)), "renew it")
		case left < notice(c) && b.needs(i):
			r.add(status.Warning, status.CodeCertificateExpires, file, fmt.Sprintf("%s expires on %s, in %s", what, day(c.NotAfter), span(left)), "renew it, or see why it was not renewed by itself")
		}
	}
	return r.findings
}

// superfluous warns of c, which clients can do without, where it is of no use: it
// has ended, or is behind the end of the chain.
func (r *report) superfluous(file, what string, c *x509.Certificate, now time.Time, behind bool) {
	remedy := "remove it from the file, and from where renewals take it"
	switch {
	case c.NotAfter.Before(now):
		r.add(status.Warning, status.CodeCertificateSuperfluous, file, fmt.Sprintf("%s expired on %s; clients that trust %s itself do without it, others refuse the chain", what, day(c.NotAfter), c.Subject), remedy)
	case behind:
		r.add(status.Warning, status.CodeCertificateSuperfluous, file, what+" is not needed: what is before it verifies without it", remedy)
	}
}

// needs reports whether b would be refused once its certificate i had ended.
func (b *Bundle) needs(i int) bool {
	return i == 0 || !b.spare(b.all()[i].NotAfter.Add(time.Second))[i]
}

// End gives when the first certificate of b ends that it needs.
func (b *Bundle) End() time.Time {
	end := b.Leaf.NotAfter
	for i, c := range b.Chain {
		if c.NotAfter.Before(end) && b.needs(i+1) {
			end = c.NotAfter
		}
	}
	return end
}

// all gives the certificate of b and its chain.
func (b *Bundle) all() []*x509.Certificate { return append([]*x509.Certificate{b.Leaf}, b.Chain...) }
