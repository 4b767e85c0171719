package changelog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/file"
)

// A Folder has the journals of all applies of one kind.
type Folder[D Detail[D]] struct {
	Dir     string           // STATEDIR/dns
	Command string           // which writes them: "holdfast dns"
	Now     func() time.Time // for the lines; nil is the system's clock
	// Through, if set, is what lines go through on their way into a file. Tests
	// break them there.
	Through func(io.Writer) io.Writer
}

// suffix ends the name of every journal; what it begins with is the time.
const suffix = ".jsonl"

// maxSize bounds what is read of a journal, in bytes.
const maxSize = 64 << 20

// A Held is a Folder whose lock this process has.
type Held[D Detail[D]] struct {
	Folder[D]
	lock *os.File
}

// Lock makes sure that one apply or rollback is at work on this machine at a
// time. The kernel takes the lock back when the process ends, however it does.
func (f Folder[D]) Lock() (*Held[D], error) {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the journals, which --state-dir says: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(f.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the journals: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another %q is at work (%s); wait for it to end", f.Command, holder(file))
		return nil, errors.Join(err, file.Close())
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(file, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the journals: %s: %w", file.Name(), err), file.Close())
	}
	return &Held[D]{f, file}, nil
}

// holder names who has the lock: "process 123", or the file when that does not say.
func holder(lock *os.File) string {
	pid, err := io.ReadAll(io.LimitReader(lock, 20))
	if pid = bytes.TrimSpace(pid); err != nil || len(pid) == 0 {
		return "it has " + lock.Name()
	}
	return fmt.Sprintf("process %s", pid)
}

// Release gives the lock back.
func (h *Held[D]) Release() error { return h.lock.Close() }

// Create begins a new journal, with a name that no other has. It has no line yet.
func (h *Held[D]) Create() (*Writer[D], error) {
	broken, err := h.unfinished()
	if err != nil {
		return nil, err
	}
	stamp := h.now().Format("20060102T150405Z")
	for n := 1; ; n++ {
		name := stamp + suffix
		if n > 1 {
			name = fmt.Sprintf("%s-%d%s", stamp, n, suffix)
		}
		made, err := os.OpenFile(filepath.Join(h.Dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) && n < 1000 {
			continue
		}
		if err == nil {
			err = file.SyncDir(h.Dir)
		}
		if err != nil {
			return nil, fmt.Errorf("begin a journal: %w", err)
		}
		return h.writer(made, name, broken), nil
	}
}

// reopen continues the journal called name, after cutting off what a crash has
// left of its last line.
func (h *Held[D]) reopen(name string) (*Writer[D], error) {
	file, err := os.OpenFile(h.path(name), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("continue the journal: %w", err)
	}
	data, err := read(file)
	if err == nil {
		whole := int64(bytes.LastIndexByte(data, '\n') + 1)
		if err = file.Truncate(whole); err == nil {
			_, err = file.Seek(whole, io.SeekStart)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("continue the journal: %w", err), file.Close())
	}
	return h.writer(file, name, ""), nil
}

func (h *Held[D]) writer(file *os.File, name, continues string) *Writer[D] {
	w := &Writer[D]{Name: name, Continues: continues, file: file, out: file, now: h.now}
	if h.Through != nil {
		w.out = h.Through(file)
	}
	return w
}

func (f Folder[D]) now() time.Time {
	if f.Now != nil {
		return f.Now().UTC()
	}
	return time.Now().UTC()
}

// path gives the file of a journal: name is one in the folder, or a path.
func (f Folder[D]) path(name string) string {
	if strings.ContainsRune(name, filepath.Separator) {
		return name
	}
	return filepath.Join(f.Dir, name)
}

// Load reads the journal called name, one in the folder or a path.
func (f Folder[D]) Load(name string) (Journal[D], error) {
	file, err := os.Open(f.path(name))
	if err != nil {
		return Journal[D]{}, fmt.Errorf("read the journal: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	data, err := read(file)
	if err != nil {
		return Journal[D]{}, fmt.Errorf("read the journal: %w", err)
	}
	return Parse[D](name, data)
}

// read gives all of a journal. One that is too large is no journal: to take back
// the part of it that fits would be worse than nothing.
func read(file *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("%s has more than %d MiB", file.Name(), maxSize>>20)
	}
	return data, err
}

// Names gives the names of all journals in the folder, oldest first. It is no
// error when there is no folder.
func (f Folder[D]) Names() ([]string, error) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the journals: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, compareNames)
	return names, nil
}

// compareNames orders "T.jsonl" before "T-2.jsonl" before "T-10.jsonl".
func compareNames(a, b string) int {
	stampA, nA, _ := strings.Cut(strings.TrimSuffix(a, suffix), "-")
	stampB, nB, _ := strings.Cut(strings.TrimSuffix(b, suffix), "-")
	return cmp.Or(strings.Compare(stampA, stampB), cmp.Compare(len(nA), len(nB)), strings.Compare(nA, nB))
}

// newest gives the newest journal that is wanted, nil for none.
func (f Folder[D]) newest(wanted func(Journal[D]) bool) (*Journal[D], error) {
	names, err := f.Names()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(names) {
		if one, err := f.Load(name); err != nil || wanted(one) {
			return &one, err
		}
	}
	return nil, nil
}

// unfinished gives the name of the newest journal that has changes, if its apply
// was broken off and not rolled back; "" otherwise.
func (f Folder[D]) unfinished() (string, error) {
	last, err := f.newest(func(j Journal[D]) bool { return len(j.Changes) > 0 })
	if err != nil || last == nil || !last.Unfinished() {
		return "", err
	}
	return last.Name, nil
}

// Latest gives the newest journal that has something to undo, and those that it
// continues and that were made the same way, newest first; none when there is
// nothing to undo.
func (f Folder[D]) Latest() ([]Journal[D], error) {
	one, err := f.newest(Journal[D].Undoable)
	if err != nil || one == nil {
		return nil, err
	}
	all, last := []Journal[D]{*one}, *one
	for last.Begin.Continues != "" && len(all) < 1000 {
		before, err := f.Load(filepath.Base(last.Begin.Continues))
		if err != nil {
			return nil, fmt.Errorf("%s continues another journal: %w", last.Name, err)
		}
		if !last.Begin.Detail.SameWay(before.Begin.Detail) {
			break // something else takes these back
		}
		if before.Undoable() {
			all = append(all, before)
		}
		last = before
	}
	return all, nil
}
