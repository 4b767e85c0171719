package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"holdfast/internal/status"
)

const (
	// journalKept is the number of events held in memory.
	journalKept = 1000
	// journalBytes is the size at which the file is set aside as its
	// predecessor: two files of that size are the most there is on disk.
	journalBytes = 4 << 20
	// followerBuffer is how many events a slow follower may lag behind
	// before it loses some.
	followerBuffer = 256
)

// A journal keeps the transitions of this controller: in memory for the page
// and the command line, in a file for after a restart, in the log for all else.
// A disk that is full or gone costs the file's lines, never the agent.
type journal struct {
	controller string
	path       string
	log        *slog.Logger
	now        func() time.Time

	mu        sync.Mutex // guards following
	events    []status.Event
	followers map[chan status.Event]struct{}
	written   int64
	diskError string
}

// openJournal reads what the file at path has of earlier runs. A line that
// cannot be read is left out.
func openJournal(path, controller string, log *slog.Logger) (*journal, error) {
	j := &journal{controller: controller, path: path, log: log, now: time.Now, followers: map[chan status.Event]struct{}{}}
	for _, name := range []string{path + ".1", path} {
		if err := j.read(name); err != nil {
			return nil, err
		}
	}
	return j, nil
}

func (j *journal) read(name string) error {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	j.written = 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		j.written += int64(len(lines.Bytes()) + 1)
		var e status.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			j.keep(e)
		}
	}
	return nil
}

// level says how loud the log is about events of a kind.
func level(kind string) slog.Level {
	switch kind {
	case "start-failed", "reload-rejected", "reload-rolled-back", "rollback-no-help", "haproxy-upgrade-failed", "haproxy-down", "haproxy-hung", "haproxy-failed", "host-down", "certificate-refused", codeOutOfFiles, codeDiskFull, codeNotKept, codeSocketLost:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (j *journal) keep(e status.Event) {
	if len(j.events) >= journalKept {
		j.events = append(j.events[:0], j.events[len(j.events)-journalKept+1:]...)
	}
	j.events = append(j.events, e)
}

// add puts e into the journal, with the time and the controller filled in, and
// into the log.
func (j *journal) add(e status.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = j.now()
	}
	e.Controller = j.controller
	j.log.Log(context.Background(), level(e.Kind), e.Text, "event", e.Kind, "subject", e.Subject, "cause", e.Cause, "took", e.Took)
	j.keep(e)
	for follower := range j.followers {
		select {
		case follower <- e:
		default: // a follower that doesn't read must not hold the agent up
		}
	}
	j.write(e)
}

// write appends e to the file. Trouble is logged once, until it is over.
func (j *journal) write(e status.Event) {
	err := j.appendLine(e)
	switch {
	case err != nil && err.Error() != j.diskError:
		j.log.Warn("the journal cannot be written; events are kept in memory only", "error", err)
		j.diskError = err.Error()
	case err == nil && j.diskError != "":
		j.log.Info("the journal can be written again")
		j.diskError = ""
	}
}

func (j *journal) appendLine(e status.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	if j.written > journalBytes {
		if err := os.Rename(j.path, j.path+".1"); err != nil {
			return fmt.Errorf("set the full journal aside: %w", err)
		}
		j.written = 0
	}
	file, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	n, err := file.Write(append(line, '\n'))
	j.written += int64(n)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// last gives the newest n events, oldest first.
func (j *journal) last(n int) []status.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := max(0, len(j.events)-max(0, n))
	return append([]status.Event{}, j.events[from:]...)
}

// follow gives a channel of the events from now on, and what ends it.
func (j *journal) follow() (<-chan status.Event, func()) {
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
