package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"holdfast/internal/status"
)

// remakeState makes anew what the state directory has for HAProxy and for the next
// agent, where somebody has removed it. HAProxy's configuration its supervisor writes.
// said is what it gave the last time: why not all is there; empty for nothing.
func (a *Agent) remakeState(said string) string {
	a.mu.Lock()
	kept := a.kept
	a.mu.Unlock()
	if _, err := os.Lstat(lastGood(a.opt.StateDir)); !kept || !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err := a.restoreState(); err != nil {
		if err.Error() != said {
			a.log.Warn("the state directory was cleared, and is not whole yet", "directory", a.opt.StateDir, "error", err)
		}
		return err.Error()
	}
	a.journal.add(status.Event{
		Kind: status.EventStateMadeAnew, Subject: "agent",
		Text: fmt.Sprintf("the state directory %s had been cleared; what is needed is there again, without the events of before", a.opt.StateDir),
	})
	return ""
}

// restoreState makes the state directory, with what is known of what was there.
func (a *Agent) restoreState() error {
	if err := os.MkdirAll(a.opt.StateDir, 0o750); err != nil {
		return err
	}
	a.drains.lose()
	a.mu.Lock()
	s, data, onTrial := a.spec, a.text, !a.config.TrialUntil.IsZero()
	a.mu.Unlock()
	if _, err := a.certificates.prepare(s, false); err != nil {
		return err
	}
	if onTrial {
		return errors.New("a spec is on trial, and is kept after it")
	}
	a.keepSpec(data)
	_, err := os.Lstat(lastGood(a.opt.StateDir))
	return err
}

// lose has the entries written again, as their file was removed.
func (d *drains) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) > 0 {
		d.unkept = fs.ErrNotExist
	}
}
