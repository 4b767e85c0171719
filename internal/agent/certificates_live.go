package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

const (
	// certificateInterval is how often the files of certificates are read: a
	// change is live within a second of it.
	certificateInterval = 250 * time.Millisecond
	// certificateTimeout is how long HAProxy may take to change one.
	certificateTimeout = 2 * time.Second
	// certificateRetry is the pause after HAProxy did not take one.
	certificateRetry = time.Second
)

// watchCertificates looks after the certificates of the spec in use until ctx
// ends: their files, and that HAProxy serves what was found good.
func (a *Agent) watchCertificates(ctx context.Context) {
	ticker := time.NewTicker(certificateInterval)
	defer ticker.Stop()
	retry := map[string]time.Time{}
	for ticked(ctx, ticker) {
		s := a.currentSpec()
		if s == nil {
			continue
		}
		for _, v := range s.VIPs {
			if v.TLS == nil {
				continue
			}
			for _, e := range a.certificates.look(v) {
				a.journal.add(e)
			}
			if time.Now().Before(retry[v.Name]) {
				continue
			}
			if err := a.serveCertificate(ctx, v); err != nil {
				retry[v.Name] = time.Now().Add(certificateRetry)
			}
		}
	}
}

// serveCertificate sees to it that HAProxy serves the certificate held for v.
func (a *Agent) serveCertificate(ctx context.Context, v spec.VIP) error {
	k := a.certificates
	k.work.Lock()
	defer k.work.Unlock()
	h, is := k.of(v.Name), a.haproxy.State()
	by := fmt.Sprint(is.PID, is.Reloads, is.Restarts)
	if h == nil || is.State != status.HAProxyRunning || h.served == by {
		return nil
	}
	next := *h
	how, err := a.giveCertificate(ctx, v, &next)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		if h.trouble != err.Error() {
			a.log.Error("the new certificate is not in use", "vip", v.Name, "error", err)
		}
		next.trouble = err.Error()
		k.set(v.Name, &next)
		return err
	}
	took := k.now().Sub(next.changed)
	next.trouble, next.changed, next.reloaded = "", time.Time{}, false
	is = a.haproxy.State() // it may have been reloaded for this
	next.served = fmt.Sprint(is.PID, is.Reloads, is.Restarts)
	k.set(v.Name, &next)
	if how != "" {
		a.journal.add(status.Event{
			Kind: status.EventCertificateChanged, Subject: "vip " + v.Name, Took: took, Cause: h.file + " changed",
			Text: fmt.Sprintf("vip %s has a new certificate for %s, valid until %s, %s", v.Name, strings.Join(h.bundle.Leaf.DNSNames, ", "), h.bundle.End().Format(time.DateOnly), how),
		})
	}
	return nil
}

// giveCertificate gives HAProxy the certificate that h holds for v, unless it
// serves that, and notes in h what it had to do. It says how it did, and nothing where nothing had to be done.
func (a *Agent) giveCertificate(ctx context.Context, v spec.VIP, h *held) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, certificateTimeout)
	defer cancel()
	file, print := a.certificates.path(v), h.bundle.Fingerprint()
	if h.changed.IsZero() {
		serves, err := a.haproxy.ServesCertificate(ctx, file)
		if err != nil || serves == print {
			return "", err
		}
		h.changed = a.certificates.now()
	}
	err := a.haproxy.SetCertificate(ctx, file, h.bundle.PEM, print)
	if err == nil {
		return "live without a reload", nil
	}
	if ctx.Err() != nil {
		return "", err
	}
	if h.reloaded {
		return "", err
	}
	// The file is in place: a reload reads it, whatever the runtime API has
	// against it, such as its length. Once: reloads do not come for nothing.
	h.reloaded = true
	a.log.Warn("HAProxy is reloaded for a certificate", "vip", v.Name, "reason", err)
	reload, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*certificateTimeout)
	defer stop()
	if _, err := a.haproxy.Reload(reload); err != nil {
		return "", err
	}
	serves, err := a.haproxy.ServesCertificate(reload, file)
	if err != nil {
		return "", err
	}
	if serves != print {
		return "", fmt.Errorf("HAProxy serves the certificate %s, not %s", serves, print)
	}
	return "by a reload", nil
}
