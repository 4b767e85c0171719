package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/file"
	"holdfast/internal/status"
)

const (
	// scarcityInterval is how often the agent looks whether it has what it needs.
	scarcityInterval = time.Second
	// diskReserve is what should be free where the state is, in octets: room for
	// a spec, a configuration of HAProxy and some thousand events.
	diskReserve = 1 << 20
)

// Codes of the findings about what the agent lacks.
const (
	codeOutOfFiles = "out-of-files"
	codeDiskFull   = "disk-full"
	codeNotKept    = "last-good-not-kept"
)

// watchScarcity looks after what the agent needs and may run out of. Nothing of
// it stops the agent: adverts, the lease and HAProxy go on without. It is said,
// and what could not be done for the want of it is done when there is enough.
func (a *Agent) watchScarcity(ctx context.Context) {
	ticker := time.NewTicker(scarcityInterval)
	defer ticker.Stop()
	said := "" // of the state directory
	for {
		a.report(codeOutOfFiles, lackOfFiles())
		said = a.remakeState(said)
		a.report(codeDiskFull, lackOfDisk(a.opt.StateDir))
		a.watchTracking()
		a.watchPace(time.Now())
		a.keepLater()
		if !ticked(ctx, ticker) {
			return
		}
	}
}

// report records f under its code, nil for none, and journals when it begins and ends.
func (a *Agent) report(code string, f *status.Finding) { a.reportOne(code, code, f) }

// reportOne does it for one of several findings of a code, under a key of its own.
func (a *Agent) reportOne(code, key string, f *status.Finding) {
	a.mu.Lock()
	was, known := a.findings[key]
	a.mu.Unlock()
	if known == (f != nil) {
		return
	}
	a.setFinding(key, f)
	e := status.Event{Kind: code, Subject: "agent", Text: "over: " + was.Text}
	if f != nil {
		e.Subject, e.Text = f.Subject, f.Text
	}
	a.journal.add(e)
}

// lackOfFiles says that the agent can open no file.
func lackOfFiles() *status.Finding {
	file, err := os.Open(os.DevNull)
	if err == nil {
		err = file.Close()
	}
	if !outOfFiles(err) {
		return nil
	}
	return &status.Finding{
		Severity: status.Error, Code: codeOutOfFiles, Subject: "agent", Text: fmt.Sprintf("the agent can open no more files: %v", err),
		Remedy: "raise LimitNOFILE of its unit, or fs.file-max; the vip is served meanwhile, but a HAProxy that hangs is not noticed",
	}
}

// outOfFiles reports whether err says that this process, or the whole host,
// has no descriptor to spare.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// lackOfDisk says that the disk with dir has no room.
func lackOfDisk(dir string) *status.Finding {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return &status.Finding{
			Severity: status.Warning, Code: codeDiskFull, Subject: dir, Text: fmt.Sprintf("the state directory %s cannot be used: %v", dir, err),
			Remedy: "make it again; events are kept in memory only, and a restart finds no last good spec",
		}
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return &status.Finding{
			Severity: status.Warning, Code: codeDiskFull, Subject: dir,
			Text:   fmt.Sprintf("nothing can be written to the state directory %s: it is read-only", dir),
			Remedy: "see why in the kernel's log, as for a file system with errors, and mount it read-write; HAProxy goes on, a changed spec is refused, and events are kept in memory only",
		}
	}
	free := fs.Bavail * uint64(fs.Bsize)
	inodes := fs.Files == 0 || fs.Ffree > 0 // some file systems do not count them
	if free >= diskReserve && inodes {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: codeDiskFull, Subject: dir,
		Text:   fmt.Sprintf("the disk with the state directory %s is full: %d KiB and %d inodes are free", dir, free>>10, fs.Ffree),
		Remedy: "make room; until then events are kept in memory only, and a changed spec may not be kept for the next start",
	}
}

// keepSpec writes the spec that came into force to where the next start looks for
// it when the file is bad, unless it is there, as after most starts. What cannot be kept is said, and tried again.
func (a *Agent) keepSpec(data []byte) {
	a.keeping.Lock()
	defer a.keeping.Unlock()
	a.keepSpecLocked(data)
}

// keepSpecLocked is keepSpec for who has keeping.
func (a *Agent) keepSpecLocked(data []byte) {
	a.mu.Lock()
	again := a.unkept != nil // what is there was not written to the end
	a.mu.Unlock()
	var err error
	if have, readErr := os.ReadFile(lastGood(a.opt.StateDir)); again || readErr != nil || !bytes.Equal(have, data) {
		err = file.Write(lastGood(a.opt.StateDir), data, 0o640)
	}
	a.mu.Lock()
	a.unkept = nil
	if err != nil {
		a.unkept = data
	}
	a.kept = a.kept || err == nil
	a.mu.Unlock()
	if err == nil {
		a.report(codeNotKept, nil)
		return
	}
	a.report(codeNotKept, &status.Finding{
		Severity: status.Warning, Code: codeNotKept, Subject: "spec",
		Text:   fmt.Sprintf("the spec is in force, but not kept as the last good one: %v", err),
		Remedy: "until it is, a restart of the agent with a bad file comes up with an older spec; it is tried again every second",
	})
}

// keepLater tries again what could not be kept. While a spec is being kept it
// waits for its next turn, not for the disk, and never writes an older one over it.
func (a *Agent) keepLater() {
	if !a.keeping.TryLock() {
		return
	}
	defer a.keeping.Unlock()
	a.mu.Lock()
	data := a.unkept
	a.mu.Unlock()
	if data != nil {
		a.keepSpecLocked(data)
	}
}
