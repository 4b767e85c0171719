package rollout

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"holdfast/internal/file"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A trialNote is what an agent leaves for the next one on a trial, in
// STATEDIR/trial.json: one that goes on, or one that was failed.
type trialNote struct {
	Digest string `json:"digest"` // of the spec
	// Services had a healthy host before it.
	Services []string `json:"services,omitempty"`
	// Rejected says why it was taken back; unset while the trial goes on.
	Rejected *status.Finding `json:"rejected,omitempty"`
}

func (r *Rollout) noteFile() string { return filepath.Join(r.opt.StateDir, "trial.json") }

// readNote gives the note that there is. One that cannot be read is as none: the
// worst of it is that a spec is tried once more.
func (r *Rollout) readNote() trialNote {
	var n trialNote
	data, err := os.ReadFile(r.noteFile())
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("what became of the last trial of a spec cannot be read", "file", r.noteFile(), "error", err)
		}
		return trialNote{}
	}
	return n
}

func (r *Rollout) writeNote(n trialNote) {
	data, err := json.Marshal(n)
	if err == nil {
		err = file.Write(r.noteFile(), append(data, '\n'), 0o640)
	}
	if err != nil {
		r.log.Warn("the trial of the spec is not written down: an agent that starts now would not know of it", "error", err)
	}
}

// forgetTrial removes the note.
func (r *Rollout) forgetTrial() {
	if err := file.Remove(r.noteFile()); err != nil {
		r.log.Warn("the note of the last trial of a spec stays", "error", err)
	}
}

// noteTrial writes down that t, nil for none, goes on, before anything is
// touched; what it gives puts back what was noted before.
func (r *Rollout) noteTrial(t *trial) (restore func()) {
	if t == nil {
		return func() {}
	}
	before := r.readNote()
	r.writeNote(trialNote{Digest: t.spec.Digest, Services: t.healthy})
	return func() {
		if before.Digest == "" {
			r.forgetTrial()
			return
		}
		r.writeNote(before)
	}
}

// failedTrial gives why s, nil for none, was taken back by an earlier agent;
// nil if it was not.
func (r *Rollout) failedTrial(s *spec.Spec) *status.Finding {
	if s == nil {
		return nil
	}
	if n := r.readNote(); n.Digest == s.Digest {
		return n.Rejected
	}
	return nil
}

// recallGood reads the last good spec that an earlier agent kept.
func (r *Rollout) recallGood() {
	s, data, _, err := readSpec(r.lastGood(), r.opt.Controller)
	if err != nil {
		r.log.Debug("there is no last good spec", "error", err)
		return
	}
	r.good = candidate{spec: s, data: data}
}
