package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/status"
	"holdfast/internal/tick"
)

const (
	// scarcityInterval is how often the agent looks whether it has what it needs.
	scarcityInterval = time.Second
	// diskReserve is what should be free where the state is, in octets: room for
	// a spec, a configuration of HAProxy and some thousand events.
	diskReserve = 1 << 20
)

// watchScarcity looks after what the agent needs and may run out of. Nothing of
// it stops the agent: adverts, the lease and HAProxy go on without. It is said,
// and what could not be done for the want of it is done when there is enough.
func (a *Agent) watchScarcity(ctx context.Context) {
	ticker := time.NewTicker(scarcityInterval)
	defer ticker.Stop()
	said := "" // of the state directory
	for {
		a.report(status.CodeOutOfFiles, lackOfFiles())
		said = a.remakeState(said)
		a.report(status.CodeDiskFull, lackOfDisk(a.opt.StateDir))
		a.watchTracking()
		a.rollout.KeepLater()
		if !tick.Next(ctx, ticker) {
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
	a.journal.Add(e)
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
		Severity: status.Error, Code: status.CodeOutOfFiles, Subject: "agent", Text: fmt.Sprintf("the agent can open no more files: %v", err),
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
			Severity: status.Warning, Code: status.CodeDiskFull, Subject: dir, Text: fmt.Sprintf("the state directory %s cannot be used: %v", dir, err),
			Remedy: "make it again; events are kept in memory only, and a restart finds no last good spec",
		}
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return &status.Finding{
			Severity: status.Warning, Code: status.CodeDiskFull, Subject: dir,
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
		Severity: status.Warning, Code: status.CodeDiskFull, Subject: dir,
		Text:   fmt.Sprintf("the disk with the state directory %s is full: %d KiB and %d inodes are free", dir, free>>10, fs.Ffree),
		Remedy: "make room; until then events are kept in memory only, and a changed spec may not be kept for the next start",
	}
}
