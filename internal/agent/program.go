package agent

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/status"
)

// programInterval is how often the agent looks whether HAProxy's program was replaced.
const programInterval = 2 * time.Second

const (
	// codeHAProxyReplaced is the code of the finding that another HAProxy is
	// installed than the one that runs.
	codeHAProxyReplaced = "haproxy-replaced"
	// codeLibraryReplaced is that of the finding that HAProxy runs with libraries
	// that were replaced.
	codeLibraryReplaced = "haproxy-library-replaced"
)

// An old is what of the HAProxy that runs is not as it is installed, and a reload
// would make so. The zero value is one that is as installed.
type old struct {
	version   string   // of its program, when that was replaced; else ""
	libraries []string // that were replaced
}

func (o old) isNew() bool { return o.version == "" && len(o.libraries) == 0 }

// outdated tells what of the HAProxy that runs a reload would renew.
func (a *Agent) outdated() old {
	p, err := a.haproxy.Program()
	if err != nil {
		a.log.Debug("whether HAProxy's program or libraries were replaced is not known", "error", err)
	}
	o := old{libraries: p.Deleted}
	if p.ByReload {
		o.version = cmp.Or(a.haproxy.State().Version, "an unknown version")
	}
	return o
}

// renew has HAProxy take the program and the libraries that were put in the place of
// its own: was is what was known to be replaced before whatever else was done. It
// gives what was done, "" for nothing. Connections go on in the old ones.
func (c *configurer) renew(ctx context.Context, was old, cause string) (string, error) {
	begun, now := time.Now(), c.outdated()
	if was.isNew() {
		was = now
	}
	if was.isNew() {
		return "", nil
	}
	if !now.isNew() { // what else was done has not brought it
		if _, err := c.haproxy.Reload(ctx); err != nil {
			err = fmt.Errorf("%s replaced, and the new one could not be taken into use: %w", was.subject(), err)
			c.journal.add(status.Event{Kind: status.EventHAProxyUpgradeFailed, Subject: "haproxy", Cause: cause, Text: err.Error()})
			return "", err
		}
	}
	text := was.subject() + " replaced: reloaded"
	if was.version != "" {
		text += fmt.Sprintf(", now %s (was %s)", c.haproxy.State().Version, was.version)
	}
	c.setFinding(codeHAProxyReplaced, nil)
	c.setFinding(codeLibraryReplaced, nil)
	c.journal.add(status.Event{Kind: status.EventHAProxyUpgraded, Subject: "haproxy", Cause: cause, Took: time.Since(begun), Text: text})
	return text, nil
}

// subject says what was replaced, as the beginning of a sentence.
func (o old) subject() string {
	switch {
	case o.version != "":
		return "HAProxy's program was"
	case len(o.libraries) == 1:
		return "HAProxy's library " + o.libraries[0] + " was"
	}
	return "HAProxy's libraries " + someOf(o.libraries) + " were"
}

// someOf names the first three.
func someOf(paths []string) string {
	if more := len(paths) - 3; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(paths[:3], ", "), more)
	}
	return strings.Join(paths, ", ")
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
	if err == nil {
		a.report(codeLibraryReplaced, libraryFinding(p))
	}
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

// libraryFinding tells of libraries that HAProxy has loaded, and that were replaced;
// nil for none. They are most often replaced to mend a fault of theirs.
func libraryFinding(p process.Program) *status.Finding {
	if len(p.Deleted) == 0 {
		return nil
	}
	return &status.Finding{
		Severity: status.Info, Code: codeLibraryReplaced, Subject: "haproxy",
		Text:   "HAProxy runs with what was replaced since, or removed: " + someOf(p.Deleted),
		Remedy: "systemctl reload holdfast takes what is installed now into use, and no connection is lost",
	}
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
