package rollout

import (
	"bytes"
	"context"
	"errors"
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

// readList reads a list. The copy has one network a line, as HAProxy reads them.
func readList(path string) (fileContent, error) {
	text, err := readRegular(path, maxListFile)
	if err != nil {
		return fileContent{}, &fileError{path, err}
	}
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

// readPage reads a page, which must fit one of HAProxy's buffers.
func readPage(path string, s *spec.Spec) (fileContent, error) {
	limit := haproxy.HeaderLimit(s) - pageRoom
	text, err := readRegular(path, limit)
	if err != nil {
		return fileContent{}, &fileError{path, err}
	}
	return fileContent{data: text}, nil
}

func readRegular(path string, limit int) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case info.Size() > int64(limit):
		return nil, fmt.Errorf("it has %d bytes, and may have %d", info.Size(), limit)
	}
	return os.ReadFile(path)
}

// keepFiles makes the copies of the lists and pages of s, which HAProxy reads. One that is bad
// has s refused, unless s must come into force, as where nothing is yet, and there is a copy of before.
func (r *Rollout) keepFiles(s *spec.Spec, must bool) error {
	keep := func(path string, c fileContent, err error) error {
		if err != nil {
			if _, none := os.Stat(r.copyOf(path)); must && none == nil {
				r.tellFile(path, err)
				return nil
			}
			return err
		}
		r.tellFile(path, nil)
		return r.writeCopy(path, c)
	}
	for _, path := range s.Lists() {
		c, err := readList(path)
		if err := keep(path, c, err); err != nil {
			return err
		}
	}
	for _, path := range s.Pages() {
		c, err := readPage(path, s)
		if err := keep(path, c, err); err != nil {
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
	data  string // of the content, or the error
	used  bool   // it is in use, or was refused
	inUse string // of the content that HAProxy was given last
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
			r.lookAt(path, seen, now != by, func() (fileContent, error) { return readList(path) }, func(c fileContent) error {
				return r.opt.HAProxy.SetList(ctx, r.copyOf(path), c.list)
			})
		}
		by = now
		for _, path := range s.Pages() {
			r.lookAt(path, seen, false, func() (fileContent, error) { return readPage(path, s) }, func(fileContent) error {
				_, err := r.opt.HAProxy.Reload(ctx)
				return err
			})
		}
	}
}

// lookAt reads a file, and uses what is new and good when it was the same twice. again has it
// used although it is as it was.
func (r *Rollout) lookAt(path string, seen map[string]seenFile, again bool, read func() (fileContent, error), use func(fileContent) error) {
	c, err := read()
	data := string(c.data)
	if err != nil {
		data = "error: " + err.Error()
	}
	was, known := seen[path]
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
		seen[path] = seenFile{data, used, was.inUse}
		if used {
			r.tellFile(path, nil)
		}
		return
	case was.used && !(again && err == nil):
		return
	case err != nil:
		r.tellFile(path, err)
		r.log.Warn("a file of the spec cannot be used; what it had before stays", "error", err)
		seen[path] = seenFile{data, true, was.inUse}
		return
	}
	err = r.writeCopy(path, c)
	if err == nil {
		err = use(c)
	}
	r.tellFile(path, err)
	if err == nil {
		r.log.Info("a file of the spec changed, and is in use", "file", path)
		seen[path] = seenFile{data, true, data}
	}
}
