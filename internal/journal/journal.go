// Package journal keeps what has happened on a controller: in memory for the page and
// the command line, in a file for after a restart, in the log for all else. A disk
// that is full, gone or stands still costs the file's lines, never the caller: what
// adds an event may be on the way from HAProxy's death to VRRP. It makes no event.
package journal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"holdfast/internal/asynclog"
	"holdfast/internal/status"
)

const (
	// kept is the number of events held in memory.
	kept = 4000
	// fileBytes is the size at which the file is set aside as its predecessor: two
	// files of that size are the most there is on disk.
	fileBytes = 4 << 20
	// followerBuffer is how many events a slow follower may lag behind before it
	// loses some.
	followerBuffer = 256
	// patience is how long Close waits for the disk.
	patience = time.Second
)

// A Journal is that of one controller. Its methods may be called by any goroutine.
type Journal struct {
	opt     Options
	now     func() time.Time
	file    *asynclog.Writer // in front of a file
	ends    sync.Once
	numbers *numbers // of the goroutine that writes the file, while there is one

	mu        sync.Mutex // guards following
	events    []status.Event
	seq       uint64 // of the newest event
	followers map[chan status.Event]struct{}
}

// Options is what a Journal is made of.
type Options struct {
	Path       string // of the file; its predecessor has ".1" behind it
	Controller string // that the events are of
	// ClockAhead gives how far this controller's clock is ahead of the middle one; nil
	// where nobody knows.
	ClockAhead func() time.Duration
	Log        *slog.Logger
}

// Open reads what the file has of earlier runs. A line that cannot be read is left
// out, and a file that cannot be read is said.
func Open(opt Options) *Journal {
	j := &Journal{opt: opt, now: time.Now, followers: map[chan status.Event]struct{}{}}
	j.numbers = &numbers{path: opt.Path + ".seq", log: opt.Log}
	f := &file{path: opt.Path, log: opt.Log, numbers: j.numbers}
	for _, name := range []string{opt.Path + ".1", opt.Path} {
		var err error
		if f.written, err = j.read(name); err != nil {
			opt.Log.Warn("the events of earlier runs are not shown", "error", err)
		}
	}
	if given, err := j.numbers.read(); err != nil {
		opt.Log.Warn("some numbers of events may be given again", "error", err)
	} else {
		j.seq = max(j.seq, given)
	}
	j.file = asynclog.New(f, j.lost)
	return j
}

// Close returns when the file has every event, or its disk stands still.
func (j *Journal) Close() {
	j.ends.Do(func() {
		if !j.file.Close(patience) {
			j.opt.Log.Warn("the journal lacks the last events: its disk takes nothing")
			return
		}
		_ = j.numbers.write(j.newest()) //nolint:errcheck // then some are left out
	})
}

func (j *Journal) newest() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seq
}

// read takes the events of the file called name, and gives its size in bytes.
func (j *Journal) read(name string) (size int64, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the journal: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n') // however long
		size += int64(len(line))
		var e status.Event
		if json.Unmarshal(line, &e) == nil {
			j.keep(e)
			j.seq = max(j.seq, e.Seq)
		}
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, fmt.Errorf("read the journal: %w", err)
		}
	}
}

// level says how loud the log is about events of a kind.
func level(kind string) slog.Level {
	switch kind {
	case status.EventVIPLeft:
		return slog.LevelError
	case status.EventStartFailed, status.EventReloadRejected, status.EventReloadRolledBack, status.EventRollbackNoHelp,
		status.EventHAProxyUpgradeFailed, status.EventHAProxyDown, status.EventHAProxyHung, status.EventHAProxyFailed,
		status.EventHostDown, status.EventCertificateRefused, status.EventVIPKept,
		status.CodeOutOfFiles, status.CodeDiskFull, status.CodeLastGoodNotKept, status.CodeHAProxySocketLost:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (j *Journal) keep(e status.Event) {
	if len(j.events) >= kept {
		j.events = append(j.events[:0], j.events[len(j.events)-kept+1:]...)
	}
	j.events = append(j.events, e)
}

// Add puts e into the journal, with the time and the controller filled in, and
// into the log.
func (j *Journal) Add(e status.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = j.now()
	}
	j.seq++
	e.Controller, e.Seq = j.opt.Controller, j.seq
	if j.opt.ClockAhead != nil {
		e.ClockAhead = j.opt.ClockAhead()
	}
	j.log(e)
	j.keep(e)
	for follower := range j.followers {
		select {
		case follower <- e:
		default: // a follower that doesn't read must not hold the agent up
		}
	}
	j.write(e)
}

// log tells of e, with what it has.
func (j *Journal) log(e status.Event) {
	told := []any{"event", e.Kind, "subject", e.Subject, "cause", e.Cause, "took", e.Took}
	if e.By != "" {
		told = append(told, "by", e.By)
	}
	if e.Cost != nil {
		told = append(told, "cost", e.Cost.Words())
	}
	j.opt.Log.Log(context.Background(), level(e.Kind), e.Text, told...)
}

// write hands e to the file.
func (j *Journal) write(e status.Event) {
	line, err := json.Marshal(e)
	if err != nil {
		j.opt.Log.Warn("an event is not in the journal", "error", err)
		return
	}
	_, _ = j.file.Write(append(line, '\n')) //nolint:errcheck // it never fails
}

// lost gives the line that stands for events which the file lacks.
func (j *Journal) lost(n int) []byte {
	line, err := json.Marshal(status.Event{
		Time: j.now(), Controller: j.opt.Controller, Kind: status.EventEventsLost, Subject: "journal",
		Text: fmt.Sprintf("%d events are not in the journal: its disk took nothing", n),
	})
	if err != nil {
		return nil
	}
	return append(line, '\n')
}

// A file is what is on the disk. One goroutine writes each line.
type file struct {
	path    string
	log     *slog.Logger
	numbers *numbers
	written int64
	trouble string
}

// Write appends line. Trouble is logged once, until it is over.
func (f *file) Write(line []byte) (int, error) {
	var of struct{ Seq uint64 }
	if json.Unmarshal(line, &of) == nil {
		f.numbers.give(of.Seq)
	}
	n, err := f.append(line)
	f.written += int64(n)
	switch {
	case err != nil && err.Error() != f.trouble:
		f.log.Warn("the journal cannot be written; events are kept in memory only", "error", err)
		f.trouble = err.Error()
	case err == nil && f.trouble != "":
		f.log.Info("the journal can be written again")
		f.trouble = ""
	}
	return n, err
}

func (f *file) append(line []byte) (int, error) {
	if f.written > fileBytes {
		if err := os.Rename(f.path, f.path+".1"); err != nil {
			return 0, fmt.Errorf("set the full journal aside: %w", err)
		}
		f.written = 0
	}
	out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return 0, fmt.Errorf("open the journal: %w", err)
	}
	n, err := out.Write(line)
	if err := errors.Join(err, out.Close()); err != nil {
		return n, fmt.Errorf("write the journal: %w", err)
	}
	return n, nil
}

// Last gives the newest n events, oldest first.
func (j *Journal) Last(n int) []status.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := max(0, len(j.events)-max(0, n))
	return append([]status.Event{}, j.events[from:]...)
}

// Follow gives a channel of the events from now on, and what ends it.
func (j *Journal) Follow() (<-chan status.Event, func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	follower := make(chan status.Event, followerBuffer)
	j.followers[follower] = struct{}{}
	return follower, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.followers, follower)
	}
}
