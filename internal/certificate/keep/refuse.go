package keep

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/certificate"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A judged is what the files of a certificate hold, and what is to be said of it.
type judged struct {
	bundle   *certificate.Bundle // nil: it cannot be used
	findings []status.Finding
	digest   digest
}

func (j judged) good() bool {
	return j.bundle != nil && status.Worst(j.findings) != status.Error
}

// judge reads files and checks the certificate in them, which is to be for all of names.
func (k *Keeper) judge(files spec.CertificateFiles, names []string) judged {
	src := certificate.Source{File: files.Certificate, KeyFile: files.Key, Roots: k.roots()}
	var err, keyErr error
	src.Data, err = readSmall(src.File)
	if src.KeyFile != "" {
		src.Key, keyErr = readSmall(src.KeyFile)
	}
	d := sha256.New()
	fmt.Fprintf(d, "%q %q %q %v", names, src.Data, src.Key, errors.Join(err, keyErr)) // never fails
	j := judged{digest: digest(d.Sum(nil))}
	if err = errors.Join(err, keyErr); err != nil {
		text := strings.ReplaceAll(err.Error(), "\n", "; ")
		j.findings = []status.Finding{{Severity: status.Error, Code: status.CodeCertificateUnreadable, Text: text, Remedy: "put it there, or correct its path in the spec"}}
		return j
	}
	j.bundle, j.findings = certificate.Check(src, names, k.now())
	return j
}

// An unusableError says why the file of a certificate cannot be used.
type unusableError struct {
	file     string
	findings []status.Finding
}

func (e *unusableError) Error() string {
	if len(e.findings) == 0 {
		return e.file + " cannot be used"
	}
	return e.findings[0].String()
}

// doubt refuses what j found, once it has settled.
func (k *Keeper) doubt(o slot, h *held, j judged) []status.Event {
	next := *h
	if j.digest != h.doubt {
		next.doubt, next.doubted = j.digest, k.now()
		k.set(o.key, &next)
		return nil
	}
	if k.now().Sub(h.doubted) < settle {
		return nil
	}
	next.read, next.problems, next.refused = j.digest, status.Errors(j.findings), true
	k.set(o.key, &next)
	return []status.Event{refusal(o, &next)}
}

func refusal(o slot, h *held) status.Event {
	return status.Event{
		Kind: status.EventCertificateRefused, Subject: "vip " + o.vip.Name, Cause: h.problems[0].Text,
		Text: fmt.Sprintf("the certificate in %s is refused; vip %s goes on with the one before, valid until %s", h.file, o.vip.Name, h.bundle.End().Format(time.DateOnly)),
	}
}

// Findings gives what is wrong with the file.
func (e *unusableError) Findings() []status.Finding { return e.findings }
