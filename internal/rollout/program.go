package rollout

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

// programInterval is how often the agent looks whether HAProxy's program was replaced.
const programInterval = 2 * time.Second

// An old is what of the HAProxy that runs is not as it is installed, and a reload
// would make so. The zero value is one that is as installed.
type old struct {
	version   string   // of its program, when that was replaced; else ""
	libraries []string // that were replaced
}

func (o old) isNew() bool { return o.version == "" && len(o.libraries) == 0 }

// outdated tells what of the HAProxy that runs a reload would renew.
func (r *Rollout) outdated() old {
	p, err := r.opt.HAProxy.Program()
	if err != nil {
		r.log.Debug("whether HAProxy's program or libraries were replaced is not known", "error", err)
	}
	o := old{libraries: p.Deleted}
	if p.ByReload {
		o.version = cmp.Or(r.opt.HAProxy.State().Version, "an unknown version")
	}
	return o
}

// renew has HAProxy take the program and the libraries that were put in the place of
// its own: was is what was known to be replaced before whatever else was done. It
// gives what was done, "" for nothing. Connections go on in the old ones.
func (r *Rollout) renew(ctx context.Context, was old, cause string) (string, error) {
	begun, now := time.Now(), r.outdated()
	if was.isNew() {
		was = now
	}
	if was.isNew() {
		return "", nil
	}
	if !now.isNew() { // what else was done has not brought it
		if _, err := r.opt.HAProxy.Reload(ctx); err != nil {
			err = fmt.Errorf("%s replaced, and the new one could not be taken into use: %w", was.subject(), err)
			r.opt.Event(status.Event{Kind: status.EventHAProxyUpgradeFailed, Subject: "haproxy", Cause: cause, Text: public(err)})
			return "", err
		}
	}
	text := was.subject() + " replaced: reloaded"
	if was.version != "" {
		text += fmt.Sprintf(", now %s (was %s)", r.opt.HAProxy.State().Version, was.version)
	}
	r.opt.SetFinding(status.CodeHAProxyReplaced, nil)
	r.opt.SetFinding(status.CodeHAProxyLibraryReplaced, nil)
	r.opt.Event(status.Event{Kind: status.EventHAProxyUpgraded, Subject: "haproxy", Cause: cause, Took: time.Since(begun), Text: text})
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
	return "HAProxy's libraries " + status.Few(o.libraries) + " were"
}

// watchProgram tells when HAProxy's program was replaced. It is not taken into
// use without being asked: the operator goes from one controller to the next.
func (r *Rollout) watchProgram(ctx context.Context) {
	ticker := time.NewTicker(programInterval)
	defer ticker.Stop()
	var told os.FileInfo // the program that the finding is about
	for more := true; more; more = tick.Next(ctx, ticker) {
		told = r.lookAtProgram(ctx, told)
	}
}

// lookAtProgram records the finding on the program installed now, unless told
// is that. It gives what the finding is about, nil when there is none.
func (r *Rollout) lookAtProgram(ctx context.Context, told os.FileInfo) os.FileInfo {
	p, err := r.opt.HAProxy.Program()
	if err == nil {
		r.opt.Report(status.CodeHAProxyLibraryReplaced, libraryFinding(p))
	}
	switch {
	case err != nil: // as in the middle of the upgrade
		return told
	case !p.Replaced:
		r.opt.SetFinding(status.CodeHAProxyReplaced, nil)
		return nil
	case told != nil && os.SameFile(told, p.File):
		return told
	}
	installed, err := r.opt.HAProxy.InstalledVersion(ctx)
	if err != nil {
		r.log.Debug("the version of the installed HAProxy is not known", "error", err)
		installed = "another build"
	}
	r.opt.SetFinding(status.CodeHAProxyReplaced, replacedFinding(p, r.opt.HAProxy.State(), installed))
	return p.File
}

// libraryFinding tells of libraries that HAProxy has loaded, and that were replaced;
// nil for none. They are most often replaced to mend a fault of theirs.
func libraryFinding(p process.Program) *status.Finding {
	if len(p.Deleted) == 0 {
		return nil
	}
	return &status.Finding{
		Severity: status.Info, Code: status.CodeHAProxyLibraryReplaced, Subject: "haproxy",
		Text:   "HAProxy runs with what was replaced since, or removed: " + status.Few(p.Deleted),
		Remedy: "systemctl reload holdfast takes what is installed now into use, and no connection is lost",
	}
}

func replacedFinding(p process.Program, running status.HAProxy, installed string) *status.Finding {
	f := &status.Finding{
		Severity: status.Info, Code: status.CodeHAProxyReplaced, Subject: "haproxy",
		Text:   fmt.Sprintf("HAProxy %s runs, and %s is installed in %s", running.Version, installed, p.Path),
		Remedy: "systemctl reload holdfast takes it into use, and no connection is lost",
	}
	if !p.ByReload {
		f.Remedy = fmt.Sprintf("the one that runs was started from another path, so a reload does not bring it: kill %d when the vip is elsewhere, and the agent starts the other at once", running.PID)
	}
	return f
}
