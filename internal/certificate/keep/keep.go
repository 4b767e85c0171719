// Package keep keeps the certificates of VIPs on this machine. It reads the files
// that a spec names, has a copy of the last good one of each VIP, which is what
// HAProxy reads, and gives HAProxy what is new and good while that runs. Whether one
// is good it does not decide: see package certificate.
package keep

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"holdfast/internal/certificate"
	"holdfast/internal/file"
	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// maxCertificate is the largest file of a certificate or a key that is read, in bytes.
const maxCertificate = 1 << 20

// Options is what a Keeper is made of.
type Options struct {
	StateDir string // the copies are in a folder of it
	HAProxy  HAProxy
	// Spec gives the spec in force; nil while there is none.
	Spec func() *spec.Spec
	// Event is told what has happened.
	Event func(status.Event)
	Log   *slog.Logger
}

// A Keeper keeps the certificates of the VIPs. Its methods may be called by any
// goroutine.
type Keeper struct {
	opt Options
	now func() time.Time
	// roots are the authorities that this system trusts; nil where it says nothing of
	// them. They are read once.
	roots func() *x509.CertPool

	// work is held by who reads files, changes what is kept, or gives it to HAProxy:
	// one at a time.
	work sync.Mutex
	mu   sync.Mutex // guards held, and what is in it
	held map[string]*held
}

// held is the certificate of one VIP.
type held struct {
	file   string // that the spec names
	bundle *certificate.Bundle
	read   digest // of the files that were judged last
	// problems says why the file as it is now is not in use, or, when it had
	// to be used all the same, what is wrong with it.
	problems []status.Finding
	refused  bool // problems are of a file that is not in use

	// doubt is a content that was found bad, and since when; it may be half written.
	doubt   digest
	doubted time.Time

	changed  time.Time // when bundle took the place of another that HAProxy may have; zero: it did not
	reloaded bool      // HAProxy was reloaded for bundle
	served   string    // by which HAProxy bundle is known to be served
	trouble  string    // why HAProxy could not be given bundle
}

type digest [sha256.Size]byte

// New makes a Keeper. It touches nothing until Prepare.
func New(opt Options) *Keeper {
	return &Keeper{opt: opt, now: time.Now, held: map[string]*held{}, roots: sync.OnceValue(func() *x509.CertPool {
		roots, err := x509.SystemCertPool()
		if err != nil {
			opt.Log.Info("the authorities that this system trusts cannot be read: of a chain it is not known whether clients can do without its end", "error", err)
			return nil
		}
		return roots
	})}
}

// readSmall reads a file, if it is one: to open a pipe could take for ever.
func readSmall(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", file)
	case info.Size() > maxCertificate:
		return nil, fmt.Errorf("%s has %d bytes, more than a certificate has", file, info.Size())
	}
	return os.ReadFile(file)
}

// Prepare sees to it that there is a copy for each VIP of s with TLS, so that
// HAProxy can read it: of what its file has, or, when that is bad, the one of
// before. first says that nothing is in force yet: then a certificate that
// clients would complain of is better than none. It gives what is to be
// journaled. What it holds for VIPs that s does not have stays until Sweep: s
// may yet be refused. Where a file cannot be used, and nothing else either, the
// error has a method Findings.
func (k *Keeper) Prepare(s *spec.Spec, first bool) ([]status.Event, error) {
	k.work.Lock()
	defer k.work.Unlock()
	k.mu.Lock()
	next := maps.Clone(k.held)
	k.mu.Unlock()
	var events []status.Event
	for _, v := range s.VIPs {
		if v.TLS == nil {
			continue
		}
		h, err := k.choose(v, first)
		if err != nil {
			return nil, err
		}
		before := k.of(v.Name)
		if h.refused && (before == nil || before.read != h.read) {
			events = append(events, refusal(v, h))
		}
		if err := k.keep(v, h); err != nil {
			return nil, err
		}
		if h.changed.IsZero() && before != nil && !before.changed.IsZero() && before.served == "" {
			h.changed = before.changed // HAProxy was not given it yet
		}
		next[v.Name] = h
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = next
	return events, nil
}

// choose says which certificate v gets.
func (k *Keeper) choose(v spec.VIP, first bool) (*held, error) {
	now := k.judge(v)
	h := &held{file: v.TLS.Certificate, bundle: now.bundle, read: now.digest}
	if now.good() {
		return h, nil
	}
	h.problems = status.Errors(now.findings)
	own := v
	own.TLS = &spec.TLS{Certificate: k.path(v)}
	switch last := k.judge(own); {
	case last.good(), first && last.bundle != nil:
		h.bundle, h.refused = last.bundle, true
		return h, nil
	case first && now.bundle != nil:
		return h, nil
	}
	return nil, &unusableError{v.TLS.Certificate, h.problems}
}

// path is where the copy of the certificate of v is.
func (k *Keeper) path(v spec.VIP) string { return haproxy.CertificateFile(k.opt.StateDir, v.Name) }

// keep makes the copy of what h has, if it is another one than is there.
func (k *Keeper) keep(v spec.VIP, h *held) error {
	path := k.path(v)
	is, err := readSmall(path)
	if err == nil && bytes.Equal(is, h.bundle.PEM) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.opt.Log.Warn("the copy of a certificate cannot be read; making it anew", "vip", v.Name, "error", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the certificate of vip %s: %w", v.Name, err)
	}
	if err := file.Write(path, h.bundle.PEM, 0o600); err != nil {
		return fmt.Errorf("keep the certificate of vip %s: %w", v.Name, err)
	}
	h.changed = k.now()
	return nil
}

// settle is how long a bad content must stay as it is until it is called so:
// two files are not changed at one time, and a large one is not written at once.
const settle = time.Second

// look reads the files of v again, and holds what is new and good, for HAProxy
// to be given. It gives what is to be journaled.
func (k *Keeper) look(v spec.VIP) []status.Event {
	k.work.Lock()
	defer k.work.Unlock()
	h := k.of(v.Name)
	if h == nil {
		return nil
	}
	j := k.judge(v)
	if j.digest == h.read {
		return nil
	}
	if !j.good() {
		return k.doubt(v, h, j)
	}
	next := &held{file: v.TLS.Certificate, bundle: j.bundle, read: j.digest, changed: h.changed, served: h.served}
	if !bytes.Equal(j.bundle.PEM, h.bundle.PEM) {
		next.served = ""
		if err := k.keep(v, next); err != nil {
			next.trouble = err.Error()
		}
		next.changed = k.now()
	}
	k.set(v.Name, next)
	return nil
}

func (k *Keeper) of(vip string) *held {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held[vip]
}

// set puts h in the place of what is held for vip. What is held is never changed.
func (k *Keeper) set(vip string, h *held) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[vip] = h
}

// Sweep forgets the VIPs that s, which is in force, does not have, and removes
// the copies of their certificates: they have keys in them.
func (k *Keeper) Sweep(s *spec.Spec) {
	k.work.Lock()
	defer k.work.Unlock()
	next, kept := map[string]*held{}, map[string]bool{}
	for _, v := range s.VIPs {
		if h := k.of(v.Name); v.TLS != nil && h != nil {
			next[v.Name], kept[k.path(v)] = h, true
		}
	}
	k.mu.Lock()
	k.held = next
	k.mu.Unlock()
	dir := filepath.Dir(haproxy.CertificateFile(k.opt.StateDir, ""))
	all, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err := errors.Join(err, file.Sweep(dir)); err != nil { // what a crash left half written has a key in it, too
		k.opt.Log.Warn("copies of certificates may be left", "error", err)
	}
	for _, path := range all {
		if kept[path] {
			continue
		}
		if err := file.Remove(path); err != nil {
			k.opt.Log.Warn("the copy of a certificate, with its key, is left", "error", err)
		}
	}
}

// Describe gives what a Snapshot tells of the certificate of vip; nil for none.
func (k *Keeper) Describe(vip string) *status.Certificate {
	h := k.of(vip)
	if h == nil {
		return nil
	}
	leaf := h.bundle.Leaf
	names := slices.Clone(leaf.DNSNames)
	for _, a := range leaf.IPAddresses {
		names = append(names, a.String())
	}
	return &status.Certificate{
		File: h.file, Names: append([]string{}, names...), Issuer: leaf.Issuer.String(), NotBefore: leaf.NotBefore, NotAfter: h.bundle.End(),
		Fingerprint: fmt.Sprintf("%x", sha256.Sum256(leaf.Raw)), Refused: h.refused,
	}
}

// Findings gives what is wrong with the certificates now.
func (k *Keeper) Findings() []status.Finding {
	k.mu.Lock()
	all := maps.Clone(k.held)
	k.mu.Unlock()
	var out []status.Finding
	for _, vip := range slices.Sorted(maps.Keys(all)) {
		h := all[vip]
		found := certificate.Validity(h.file, h.bundle, k.now())
		for _, p := range h.problems {
			switch {
			case h.refused:
				p.Severity, p.Text = status.Warning, "refused, the certificate before it stays: "+p.Text
				found = append(found, p)
			case p.Code != status.CodeCertificateExpired && p.Code != status.CodeCertificateNotYetValid: // which Validity says
				found = append(found, p)
			}
		}
		if h.trouble != "" {
			found = append(found, status.Finding{Severity: status.Error, Code: status.CodeCertificateNotLive, Text: "the new certificate is not in use yet: " + h.trouble, Remedy: "the agent tries again every second"})
		}
		for _, f := range found {
			f.Subject = "vip " + vip // those that look alike on several controllers are told once
			out = append(out, f)
		}
	}
	return out
}
