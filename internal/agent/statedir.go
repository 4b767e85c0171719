package agent

import (
	"fmt"
	"os"

	"holdfast/internal/status"
)

// remakeState makes anew what the state directory has for HAProxy and for the next
// agent, where somebody has removed it. HAProxy's configuration its supervisor writes.
// said is what it gave the last time: why not all is there; empty for nothing.
func (a *Agent) remakeState(said string) string {
	if !a.rollout.Lost() {
		return ""
	}
	if err := a.restoreState(); err != nil {
		if err.Error() != said {
			a.log.Warn("the state directory was cleared, and is not whole yet", "directory", a.opt.StateDir, "error", err)
		}
		return err.Error()
	}
	a.journal.Add(status.Event{
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
	a.drains.KeepAgain()
	return a.rollout.Restore()
}
