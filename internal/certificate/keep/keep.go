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
	"strings"
	"sync"
	"time"

	"holdfast/internal/certificate"
	"holdfast/internal/file"
	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

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

// readSmall reads a file, if it is one.
func readSmall(path string) ([]byte, error) {
	data, info, err := file.Read(path, certificate.MaxFile)
	switch {
	case errors.Is(err, file.ErrNotRegular):
		return nil, fmt.Errorf("%s is no regular file", path)
	case err == nil && len(data) > certificate.MaxFile:
		return nil, fmt.Errorf("%s has %d bytes, more than a certificate has", path, info.Size())
	}
	return data, err
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
	for _, o := range slots(s) {
		h, err := k.choose(o, first)
		if err != nil {
			return nil, err
		}
		before := k.of(o.key)
		if h.refused && (before == nil || before.read != h.read) {
			events = append(events, refusal(o, h))
		}
		if err := k.keep(o, h); err != nil {
			return nil, err
		}
		if h.changed.IsZero() && before != nil && !before.changed.IsZero() && before.served == "" {
			h.changed = before.changed // HAProxy was not given it yet
		}
		next[o.key] = h
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = next
	return events, nil
}

// choose says which certificate o gets.
func (k *Keeper) choose(o slot, first bool) (*held, error) {
	others := map[string]*certificate.Bundle(nil)
	if len(o.vip.Certificates()) > 1 {
		others = k.read(o.vip)
	}
	now := k.judgeAmong(o, others)
	h := &held{file: o.files.Certificate, bundle: now.bundle, read: now.digest}
	if now.good() {
		return h, nil
	}
	h.problems = status.Errors(now.findings)
	own := o
	own.files = spec.CertificateFiles{Certificate: k.path(o)}
	switch last := k.judgeAmong(own, others); {
	case last.good(), first && last.bundle != nil:
		h.bundle, h.refused = last.bundle, true
		return h, nil
	case first && now.bundle != nil:
		return h, nil
	}
	return nil, &unusableError{o.files.Certificate, h.problems}
}

// path is where the copy of the certificate o is.
func (k *Keeper) path(o slot) string { return haproxy.CertificateFile(k.opt.StateDir, o.key) }

// keep makes the copy of what h has, if it is another one than is there.
func (k *Keeper) keep(o slot, h *held) error {
	path := k.path(o)
	is, err := readSmall(path)
	if err == nil && bytes.Equal(is, h.bundle.PEM) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.opt.Log.Warn("the copy of a certificate cannot be read; making it anew", "vip", o.vip.Name, "error", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the certificate of vip %s: %w", o.vip.Name, err)
	}
	if err := file.Write(path, h.bundle.PEM, 0o600); err != nil {
		return fmt.Errorf("keep the certificate of vip %s: %w", o.vip.Name, err)
	}
	h.changed = k.now()
	return nil
}

// settle is how long a bad content must stay as it is until it is called so:
// two files are not changed at one time, and a large one is not written at once.
const settle = time.Second

// look reads the files of o again, and holds what is new and good, for HAProxy
// to be given. It gives what is to be journaled.
func (k *Keeper) look(o slot) []status.Event {
	k.work.Lock()
	defer k.work.Unlock()
	h := k.of(o.key)
	if h == nil {
		return nil
	}
	j := k.judgeAmong(o, k.holds(o.vip))
	if j.digest == h.read {
		return nil
	}
	if !j.good() {
		return k.doubt(o, h, j)
	}
	next := &held{file: o.files.Certificate, bundle: j.bundle, read: j.digest, changed: h.changed, served: h.served}
	if !bytes.Equal(j.bundle.PEM, h.bundle.PEM) {
		next.served = ""
		if err := k.keep(o, next); err != nil {
			next.trouble = err.Error()
		}
		next.changed = k.now()
	}
	k.set(o.key, next)
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
	for _, o := range slots(s) {
		if h := k.of(o.key); h != nil {
			next[o.key], kept[k.path(o)] = h, true
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

// Describe gives what a Snapshot tells of the certificates of vip, the first of the spec
// first; nil for none.
func (k *Keeper) Describe(vip string) []status.Certificate {
	var all []status.Certificate
	for i := 0; ; i++ {
		h := k.of(haproxy.CertificateName(spec.VIP{Name: vip}, i))
		if h == nil {
			return all
		}
		leaf := h.bundle.Leaf
		all = append(all, status.Certificate{
			File: h.file, Names: namesOf(leaf), Issuer: leaf.Issuer.String(), NotBefore: leaf.NotBefore, NotAfter: h.bundle.End(),
			Fingerprint: fmt.Sprintf("%x", sha256.Sum256(leaf.Raw)), Refused: h.refused,
		})
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
			name, _, more := strings.Cut(vip, ":")
			if _, others := all[haproxy.CertificateName(spec.VIP{Name: name}, 1)]; more || others {
				f.Text = h.file + ": " + f.Text // which of several
			}
			f.Subject = "vip " + name // those that look alike on several controllers are told once
			out = append(out, f)
		}
	}
	return out
}
