package keep

import (
	"context"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

const (
	// interval is how often the files of certificates are read: a change is live
	// within a second of it.
	interval = 250 * time.Millisecond
	// timeout is how long HAProxy may take to change one.
	timeout = 2 * time.Second
	// retryPause is the pause after HAProxy did not take one.
	retryPause = time.Second
)

// HAProxy is what serves the certificates: see process.Manager.
type HAProxy interface {
	State() status.HAProxy
	ServesCertificate(ctx context.Context, file string) (fingerprint string, err error)
	SetCertificate(ctx context.Context, file string, pem []byte, fingerprint string) error
	Reload(ctx context.Context) (process.Result, error)
}

// Watch looks after the certificates of the spec in force until ctx ends: their
// files, and that HAProxy serves what was found good.
func (k *Keeper) Watch(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	retry := map[string]time.Time{}
	for tick.Next(ctx, ticker) {
		s := k.opt.Spec()
		if s == nil {
			continue
		}
		for _, o := range slots(s) {
			for _, e := range k.look(o) {
				k.opt.Event(e)
			}
			if k.now().Before(retry[o.key]) {
				continue
			}
			if err := k.serve(ctx, o); err != nil {
				retry[o.key] = k.now().Add(retryPause)
			}
		}
	}
}

// serve sees to it that HAProxy serves the certificate held for o.
func (k *Keeper) serve(ctx context.Context, o slot) error {
	k.work.Lock()
	defer k.work.Unlock()
	h, is := k.of(o.key), k.opt.HAProxy.State()
	by := servedBy(is)
	if h == nil || is.State != status.HAProxyRunning || h.served == by {
		return nil
	}
	next := *h
	how, err := k.give(ctx, o, &next)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		if h.trouble != err.Error() {
			k.opt.Log.Error("the new certificate is not in use", "vip", o.vip.Name, "error", err)
		}
		next.trouble = err.Error()
		k.set(o.key, &next)
		return err
	}
	took := k.now().Sub(next.changed)
	next.trouble, next.changed, next.reloaded = "", time.Time{}, false
	next.served = servedBy(k.opt.HAProxy.State()) // it may have been reloaded for this
	k.set(o.key, &next)
	if how != "" {
		k.opt.Event(status.Event{
			Kind: status.EventCertificateChanged, Subject: "vip " + o.vip.Name, Took: took, Cause: h.file + " changed",
			Text: fmt.Sprintf("vip %s has a new certificate for %s, valid until %s, %s", o.vip.Name, strings.Join(h.bundle.Leaf.DNSNames, ", "), h.bundle.End().Format(time.DateOnly), how),
		})
	}
	return nil
}

// servedBy names the HAProxy that is as h says: another one, or one that was
// reloaded, is to be asked again what it serves.
func servedBy(h status.HAProxy) string { return fmt.Sprint(h.PID, h.Reloads, h.Restarts) }

// give gives HAProxy the certificate that h holds for o, unless it serves that, and
// notes in h what it had to do. It says how it did, and nothing where nothing had to
// be done.
func (k *Keeper) give(ctx context.Context, o slot, h *held) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	file, print := k.path(o), h.bundle.Fingerprint()
	if h.changed.IsZero() {
		serves, err := k.opt.HAProxy.ServesCertificate(ctx, file)
		if err != nil || serves == print {
			return "", err
		}
		h.changed = k.now()
	}
	err := k.opt.HAProxy.SetCertificate(ctx, file, h.bundle.PEM, print)
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
	k.opt.Log.Warn("HAProxy is reloaded for a certificate", "vip", o.vip.Name, "reason", err)
	reload, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*timeout)
	defer stop()
	if _, err := k.opt.HAProxy.Reload(reload); err != nil {
		return "", err
	}
	serves, err := k.opt.HAProxy.ServesCertificate(reload, file)
	if err != nil {
		return "", err
	}
	if serves != print {
		return "", fmt.Errorf("HAProxy serves the certificate %s, not %s", serves, print)
	}
	return "by a reload", nil
}
