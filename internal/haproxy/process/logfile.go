package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"holdfast/internal/haproxy/output"
)

const (
	// maxLog is the size at which HAProxy's log file is emptied, in bytes.
	maxLog = 1 << 20
	// maxComplaints is how many of them are kept.
	maxComplaints = 100
	// maxLogRead bounds what is read of it at once.
	maxLogRead = 256 << 10
)

// A logFile is what HAProxy's standard output and error go to: a file, since
// HAProxy must outlive whoever reads it. It has alerts and changes of servers'
// states; requests go to syslog.
type logFile struct {
	path string

	mu         sync.Mutex // guards following
	other      string     // a name of it for when path is gone; empty for none
	offset     int64      // that was read up to
	rest       []byte     // a line whose end was not there yet
	complaints []output.Message
}

// open opens the file for a HAProxy that is to be started, and forgets the
// complaints of an earlier one.
func (l *logFile) open() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.complaints = nil
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open HAProxy's log: %w", err)
	}
	if err := l.trim(f, maxLog); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// skip goes to the end, past what an earlier HAProxy or agent had there.
func (l *logFile) skip() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offset, l.rest = 0, nil
	if info, _, err := l.find(); err == nil {
		l.offset = info.Size()
	}
}

// of tells whose log it is: a HAProxy that runs has it open, whoever takes the
// name away.
func (l *logFile) of(master int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.other = fmt.Sprintf("/proc/%d/fd/2", master)
}

// find looks for the file, and gives a name of it.
func (l *logFile) find() (os.FileInfo, string, error) {
	info, err := os.Stat(l.path)
	if !errors.Is(err, os.ErrNotExist) || l.other == "" {
		return info, l.path, err
	}
	info, err = os.Stat(l.other)
	if err != nil || !info.Mode().IsRegular() {
		return nil, "", os.ErrNotExist
	}
	return info, l.other, nil
}

// trim empties f when it has more than most bytes. HAProxy appends, so that it
// goes on at the beginning.
func (l *logFile) trim(f *os.File, most int64) error {
	info, err := f.Stat()
	if err == nil && info.Size() > most {
		err = f.Truncate(0)
		l.offset, l.rest = 0, nil
	}
	if err != nil {
		return fmt.Errorf("empty HAProxy's log: %w", err)
	}
	return nil
}

// read gives what HAProxy has said since the last read. The file is opened
// only when it has grown.
func (l *logFile) read() ([]output.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, name, err := l.find()
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == l.offset {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read HAProxy's log: %w", err)
	}
	if info.Size() < l.offset {
		l.offset, l.rest = 0, nil // someone else emptied it
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("read HAProxy's log: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read
	data, err := io.ReadAll(io.NewSectionReader(f, l.offset, maxLogRead))
	if err != nil {
		return nil, fmt.Errorf("read HAProxy's log: %w", err)
	}
	l.offset += int64(len(data))
	data = append(l.rest, data...)
	end := bytes.LastIndexByte(data, '\n') + 1
	l.rest = bytes.Clone(data[end:])
	if len(l.rest) > maxLogRead {
		l.rest = nil
	}
	said := output.ParseMessages(string(data[:end]))
	l.complaints = append(l.complaints, output.Complaints(said)...)
	l.complaints = l.complaints[max(0, len(l.complaints)-maxComplaints):]
	return said, l.trim(f, maxLog)
}

// forget forgets the complaints so far.
func (l *logFile) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.complaints = nil
}

// why gives, on one line, what HAProxy complained of since forget, that may be
// why it did not start; empty for nothing.
func (l *logFile) why() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var alerts []string
	for _, m := range l.complaints {
		if m.Severity == "ALERT" && !isServerChange(m) && !isNoSyslog(m) && !slices.Contains(alerts, m.Text) {
			alerts = append(alerts, m.Text)
		}
	}
	if len(alerts) > 3 {
		alerts = append(alerts[:3], fmt.Sprintf("and %d more", len(alerts)-3))
	}
	return strings.Join(alerts, "; ")
}

// isServerChange reports whether m tells of a server that went up or down. A
// worker of 2.6 that was told of a server while it ran begins with "CLI" what
// it says after that.
func isServerChange(m output.Message) bool {
	text := strings.TrimPrefix(m.Text, "CLI : ")
	return strings.HasPrefix(text, "Server ") || strings.HasPrefix(text, "Backup Server ")
}

// isHelperEmpty reports whether m says that a backend which only helps another one, as
// "keystone:once" does keystone, has no server: the other says so, too, when it has none.
func isHelperEmpty(m output.Message) bool {
	name, found := strings.CutPrefix(strings.TrimPrefix(m.Text, "CLI : "), "backend ")
	name, rest, _ := strings.Cut(name, " ")
	return found && strings.Contains(name, ":") && strings.HasPrefix(rest, "has no server available")
}

// isNoSyslog reports whether m says, as each worker does once, that a request
// could not be logged.
func isNoSyslog(m output.Message) bool {
	return strings.HasPrefix(m.Text, "sendmsg()/writev() failed in logger")
}

// isChatter reports whether m says nothing that an operator wants to read:
// each reload says once for each proxy that it stopped, and for each server
// that was down and is so still.
func isChatter(m output.Message) bool {
	return m.Severity == "NOTICE" || strings.HasPrefix(m.Text, "Proxy ") || strings.HasPrefix(m.Text, "Former worker") ||
		strings.Contains(m.Text, "changed from server-state after a reload")
}
