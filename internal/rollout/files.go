package rollout

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"holdfast/internal/file"
	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

const (
	// filesEvery is how often the files of lists and pages are read. One counts as it is when
	// it was the same twice: files are not written at once.
	filesEvery = time.Second
	// maxListFile is the largest file of a list that is read, in octets: some 100,000 networks.
	maxListFile = 2 << 20
	// pageRoom is what of a buffer a page's own headers may take.
	pageRoom = 1 << 10
)

// A fileError says that a file that the spec names cannot be used.
type fileError struct {
	file string
	err  error
}

func (e *fileError) Error() string { return fmt.Sprintf("%s: %v", e.file, e.err) }
func (e *fileError) Unwrap() error { return e.err }

// fileContent is a file that was read and found good, as its copy is to be.
type fileContent struct {
	data []byte
	list []netip.Prefix // of a list
}

// A namedFile is a file that the spec names: what may be in it, and what becomes of that.
type namedFile struct {
	path  string
	limit int // in octets
	parse func(path string, text []byte) (fileContent, error)
}

func listFile(path string) namedFile { return namedFile{path, maxListFile, parseList} }

// pageFile is a page of s, which must fit one of HAProxy's buffers.
func pageFile(path string, s *spec.Spec) namedFile {
	return namedFile{path, haproxy.HeaderLimit(s) - pageRoom, func(_ string, text []byte) (fileContent, error) { return fileContent{data: text}, nil }}
}

// text reads the file.
func (f namedFile) text() ([]byte, error) {
	text, info, err := file.Read(f.path, f.limit)
	if err == nil && len(text) > f.limit {
		err = fmt.Errorf("it has %d bytes, and may have %d", info.Size(), f.limit)
	}
	if err != nil {
		return nil, &fileError{f.path, err}
	}
	return text, nil
}

// content reads the file and what is in it.
func (f namedFile) content() (fileContent, error) {
	text, err := f.text()
	if err != nil {
		return fileContent{}, err
	}
	return f.parse(f.path, text)
}

// parseList reads a list. The copy has one network a line, as HAProxy reads them.
func parseList(path string, text []byte) (fileContent, error) {
	all, err := spec.ParseList(text)
	if err != nil {
		return fileContent{}, &fileError{path, err}
	}
	var b bytes.Buffer
	for _, p := range all {
		b.WriteString(p.String() + "\n")
	}
	return fileContent{b.Bytes(), all}, nil
}

// keepFiles makes the copies of the lists and pages of s, which HAProxy reads. One that is bad
// has s refused, unless s must come into force, as where nothing is yet, and there is a copy of before.
func (r *Rollout) keepFiles(s *spec.Spec, must bool) error {
	keep := func(f namedFile) error {
		c, err := f.content()
		if err != nil {
			if _, none := os.Stat(r.copyOf(f.path)); must && none == nil {
				r.tellFile(f.path, err)
				return nil
			}
			return err
		}
		r.tellFile(f.path, nil)
		return r.writeCopy(f.path, c)
	}
	for _, path := range s.Lists() {
		if err := keep(listFile(path)); err != nil {
			return err
		}
	}
	for _, path := range s.Pages() {
		if err := keep(pageFile(path, s)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rollout) copyOf(path string) string { return haproxy.FileCopy(r.opt.StateDir, path) }

// writeCopy makes the copy of a file, unless that is there. HAProxy's user reads it.
func (r *Rollout) writeCopy(path string, c fileContent) error {
	to := r.copyOf(path)
	if is, err := os.ReadFile(to); err == nil && bytes.Equal(is, c.data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("keep a copy of %s: %w", path, err)
	}
	if err := file.Write(to, c.data, 0o644); err != nil {
		return fmt.Errorf("keep a copy of %s: %w", path, err)
	}
	return nil
}

// tellFile says that a file cannot be used, or, with nil, that it can.
func (r *Rollout) tellFile(path string, why error) {
	key := status.CodeFileRefused + " " + path
	if why == nil {
		r.opt.SetFinding(key, nil)
		return
	}
	r.opt.SetFinding(key, &status.Finding{
		Severity: status.Warning, Code: status.CodeFileRefused, Subject: "spec",
		Text: fmt.Sprintf("%v; what it had before stays in use", why), Remedy: "correct the file; it is read again every second",
	})
}

// sweepFiles removes the copies that s, which is in force, does not need.
func (r *Rollout) sweepFiles(s *spec.Spec) {
	var needed []string
	for _, path := range slices.Concat(s.Lists(), s.Pages()) {
		needed = append(needed, r.copyOf(path))
	}
	all, _ := filepath.Glob(filepath.Join(filepath.Dir(r.copyOf("")), "*")) // the pattern is good
	for _, path := range all {
		if slices.Contains(needed, path) {
			continue
		}
		if err := os.Remove(path); err != nil {
			r.log.Warn("the copy of a file that the spec has no more is left", "error", err)
		}
	}
}

// A seenFile is a file of the spec as it was read last.
type seenFile struct {
	text  [sha256.Size]byte // its digest; zero where it could not be read
	data  string            // of the content, or the error
	used  bool              // it is in use, or was refused
	inUse string            // of the content that HAProxy was given last
}

// watchFiles has lists and pages that changed used, until ctx ends: a list while HAProxy runs,
// a page by a reload.
func (r *Rollout) watchFiles(ctx context.Context) {
	ticker := time.NewTicker(filesEvery)
	defer ticker.Stop()
	seen := map[string]seenFile{}
	by := "" // the HAProxy that has the lists
	for tick.Next(ctx, ticker) {
		s := r.Spec()
		if s == nil || len(s.Lists())+len(s.Pages()) == 0 {
			continue
		}
		is := r.opt.HAProxy.State()
		now := fmt.Sprint(is.PID, is.Reloads, is.Restarts)
		for _, path := range s.Lists() {
			r.lookAt(listFile(path), seen, now != by, func(c fileContent) error {
				return r.opt.HAProxy.SetList(ctx, r.copyOf(path), c.list)
			})
		}
		by = now
		for _, path := range s.Pages() {
			r.lookAt(pageFile(path, s), seen, false, func(fileContent) error {
				_, err := r.opt.HAProxy.Reload(ctx)
				return err
			})
		}
	}
}

// lookAt reads a file, and uses what is new and good when it was the same twice. again has it
// used although it is as it was. What is as it was, and settled, is not parsed: a list may have
// 100,000 lines, and is looked at every second.
func (r *Rollout) lookAt(f namedFile, seen map[string]seenFile, again bool, use func(fileContent) error) {
	path := f.path
	was, known := seen[path]
	text, err := f.text()
	var digest [sha256.Size]byte
	if err == nil {
		if digest = sha256.Sum256(text); was.used && !again && was.text == digest {
			return
		}
	}
	var c fileContent
	if err == nil {
		c, err = f.parse(path, text)
	}
	data := string(c.data)
	if err != nil {
		data = "error: " + err.Error()
	}
	if !known && !again {
		// HAProxy has read the copy. Later the copy tells nothing of that: a spec that comes into
		// force makes it anew, and need not have HAProxy read it.
		if is, err := os.ReadFile(r.copyOf(path)); err == nil {
			was.inUse = string(is)
		}
	}
	switch {
	case !known || was.data != data:
		used := err == nil && data == was.inUse && !again
		seen[path] = seenFile{digest, data, used, was.inUse}
		if used {
			r.tellFile(path, nil)
		}
		return
	case was.used && !(again && err == nil):
		seen[path] = seenFile{digest, data, true, was.inUse} // the text of a list may change, and not what it says
		return
	case err != nil:
		r.tellFile(path, err)
		r.log.Warn("a file of the spec cannot be used; what it had before stays", "error", err)
		seen[path] = seenFile{digest, data, true, was.inUse}
		return
	}
	err = r.writeCopy(path, c)
	if err == nil {
		err = use(c)
	}
	r.tellFile(path, err)
	if err == nil {
		r.log.Info("a file of the spec changed, and is in use", "file", path)
		seen[path] = seenFile{digest, data, true, data}
	}
}
