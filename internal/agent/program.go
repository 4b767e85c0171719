package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/status"
)

// programInterval is how often the agent looks whether HAProxy's program was replaced.
const programInterval = 2 * time.Second

// codeHAProxyReplaced is the code of the finding that another HAProxy is
// installed than the one that runs.
const codeHAProxyReplaced = "haproxy-replaced"

// outdated gives the version of the HAProxy that runs, when its program was
// replaced by one that a reload brings; else "".
func (a *Agent) outdated() string {
	p, err := a.haproxy.Program()
	if err != nil {
		a.log.Debug("whether HAProxy's program was replaced is not known", "error", err)
	}
	if !p.ByReload {
		return ""
	}
	if v := a.haproxy.State().Version; v != "" {
		return v
	}
	return "an unknown version"
}

// renew has HAProxy take the program that was put in the place of its own: it
// ran version was before, "" when nothing was known to be replaced then. It
// gives what was done, "" for nothing. Connections go on in the old program.
func (c *configurer) renew(ctx context.Context, was, cause string) (string, error) {
	begun, now := time.Now(), c.outdated()
	if was == "" {
		was = now
	}
	if was == "" {
		return "", nil
	}
	if now != "" { // what else was done has not brought it
		if _, err := c.haproxy.Reload(ctx); err != nil {
			err = fmt.Errorf("HAProxy's program was replaced, and the new one could not be taken into use: %w", err)
			c.journal.add(status.Event{Kind: "haproxy-upgrade-failed", Subject: "haproxy", Cause: cause, Text: err.Error()})
			return "", err
		}
	}
	text := fmt.Sprintf("HAProxy's program was replaced: reloaded, now %s (was %s)", c.haproxy.State().Version, was)
	c.setFinding(codeHAProxyReplaced, nil)
	c.journal.add(status.Event{Kind: "haproxy-upgraded", Subject: "haproxy", Cause: cause, Took: time.Since(begun), Text: text})
	return text, nil
}

// watchProgram tells when HAProxy's program was replaced. It is not taken into
// use without being asked: the operator goes from one controller to the next.
func (a *Agent) watchProgram(ctx context.Context) {
	ticker := time.NewTicker(programInterval)
	defer ticker.Stop()
	var told os.FileInfo // the program that the finding is about
	for {
		told = a.lookAtProgram(ctx, told)
		if !ticked(ctx, ticker) {
			return
		}
	}
}

// lookAtProgram records the finding on the program installed now, unless told
// is that. It gives what the finding is about, nil when there is none.
func (a *Agent) lookAtProgram(ctx context.Context, told os.FileInfo) os.FileInfo {
	p, err := a.haproxy.Program()
	switch {
	case err != nil: // as in the middle of the upgrade
		return told
	case !p.Replaced:
		a.setFinding(codeHAProxyReplaced, nil)
		return nil
	case told != nil && os.SameFile(told, p.File):
		return told
	}
	installed, err := a.haproxy.InstalledVersion(ctx)
	if err != nil {
		a.log.Debug("the version of the installed HAProxy is not known", "error", err)
		installed = "another build"
	}
	a.setFinding(codeHAProxyReplaced, replacedFinding(p, a.haproxy.State(), installed))
	return p.File
}

func replacedFinding(p process.Program, running status.HAProxy, installed string) *status.Finding {
	f := &status.Finding{
		Severity: status.Info, Code: codeHAProxyReplaced, Subject: "haproxy",
		Text:   fmt.Sprintf("HAProxy %s runs, and %s is installed in %s", running.Version, installed, p.Path),
		Remedy: "systemctl reload holdfast takes it into use, and no connection is lost",
	}
	if !p.ByReload {
		f.Remedy = fmt.Sprintf("the one that runs was started from another path, so a reload does not bring it: kill %d when the vip is elsewhere, and the agent starts the other at once", running.PID)
	}
	return f
}
