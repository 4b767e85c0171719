package rollout

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"holdfast/internal/file"
	"holdfast/internal/status"
)

// lastGood is where the last spec that was put in force is kept.
func (r *Rollout) lastGood() string { return filepath.Join(r.opt.StateDir, "last-good.yaml") }

// keep writes the spec that came into force to where the next start looks for it
// when the file is bad, unless it is there, as after most starts. What cannot be kept is
// said, and tried again.
func (r *Rollout) keep(data []byte) {
	r.keeping.Lock()
	defer r.keeping.Unlock()
	r.keepLocked(data)
}

// keepLocked is keep for who has keeping.
func (r *Rollout) keepLocked(data []byte) {
	r.mu.Lock()
	again := r.unkept != nil // what is there was not written to the end
	r.mu.Unlock()
	var err error
	if have, readErr := os.ReadFile(r.lastGood()); again || readErr != nil || !bytes.Equal(have, data) {
		err = file.Write(r.lastGood(), data, 0o640)
	}
	r.mu.Lock()
	r.unkept = nil
	if err != nil {
		r.unkept = data
	}
	r.kept = r.kept || err == nil
	r.mu.Unlock()
	if err == nil {
		r.opt.Report(status.CodeLastGoodNotKept, nil)
		return
	}
	r.opt.Report(status.CodeLastGoodNotKept, &status.Finding{
		Severity: status.Warning, Code: status.CodeLastGoodNotKept, Subject: "spec",
		Text:   fmt.Sprintf("the spec is in force, but not kept as the last good one: %v", err),
		Remedy: "until it is, a restart of the agent with a bad file comes up with an older spec; it is tried again every second",
	})
}

// KeepLater tries again what could not be kept. While a spec is being kept it
// waits for its next turn, not for the disk, and never writes an older one over it.
func (r *Rollout) KeepLater() {
	if !r.keeping.TryLock() {
		return
	}
	defer r.keeping.Unlock()
	r.mu.Lock()
	data := r.unkept
	r.mu.Unlock()
	if data != nil {
		r.keepLocked(data)
	}
}

// Lost reports whether the last good spec was kept, and somebody has removed it.
func (r *Rollout) Lost() bool {
	r.mu.Lock()
	kept := r.kept
	r.mu.Unlock()
	_, err := os.Lstat(r.lastGood())
	return kept && errors.Is(err, fs.ErrNotExist)
}

// Restore writes anew what was lost: the certificates of the spec in force, and that as
// the last good one. The error says why not all is there.
func (r *Rollout) Restore() error {
	is := r.InForce()
	if _, err := r.opt.Certificates(is.Spec, false); err != nil {
		return err
	}
	if !is.Config.TrialUntil.IsZero() {
		return errors.New("a spec is on trial, and is kept after it")
	}
	r.keep(is.Text)
	_, err := os.Lstat(r.lastGood())
	return err
}
