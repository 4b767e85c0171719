package dns

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
)

// Journals is the folder that has the journals of all applies, STATEDIR/dns.
type Journals struct {
	Dir string
}

// journalSuffix ends the name of every journal; what it begins with is the time.
const journalSuffix = ".jsonl"

// maxJournal bounds what is read of a journal, in bytes.
const maxJournal = 64 << 20

// lock makes sure that one apply or rollback is at work on this machine at a
// time. The kernel takes the lock back when the process ends, however it does.
func (j Journals) lock() (release func() error, err error) {
	if err := os.MkdirAll(j.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the journals, which --state-dir says: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(j.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the journals: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another \"holdfast dns\" is at work (it has %s); wait for it to end", file.Name())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file.Close, nil
}

// A journalFile takes the entries of one journal.
type journalFile struct {
	file *os.File
	now  func() time.Time
}

// create begins a new journal, with a name that no other has.
func (j Journals) create(now func() time.Time) (*journalFile, string, error) {
	stamp := now().UTC().Format("20060102T150405Z")
	for n := 1; ; n++ {
		name := stamp + journalSuffix
		if n > 1 {
			name = fmt.Sprintf("%s-%d%s", stamp, n, journalSuffix)
		}
		file, err := os.OpenFile(filepath.Join(j.Dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) && n < 1000 {
			continue
		}
		if err == nil {
			err = syncDir(j.Dir)
		}
		if err != nil {
			return nil, "", fmt.Errorf("begin a journal: %w", err)
		}
		return &journalFile{file, now}, name, nil
	}
}

// reopen continues the journal called name, after cutting off what a crash has
// left of its last line.
func (j Journals) reopen(name string, now func() time.Time) (*journalFile, error) {
	file, err := os.OpenFile(j.path(name), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("continue the journal: %w", err)
	}
	data, err := io.ReadAll(file)
	if err == nil {
		whole := int64(bytes.LastIndexByte(data, '\n') + 1)
		if err = file.Truncate(whole); err == nil {
			_, err = file.Seek(whole, io.SeekStart)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("continue the journal: %w", err), file.Close())
	}
	return &journalFile{file, now}, nil
}

// write adds e. When it returns, e is on disk.
func (f *journalFile) write(e Entry) error {
	e.Time = f.now().UTC()
	line, err := e.Encode()
	if err != nil {
		return err
	}
	if _, err = f.file.Write(line); err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

func (f *journalFile) close() error { return f.file.Close() }

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// path gives the file of a journal: name is one in the folder, or a path.
func (j Journals) path(name string) string {
	if strings.ContainsRune(name, filepath.Separator) {
		return name
	}
	return filepath.Join(j.Dir, name)
}

// Load reads the journal called name, one in the folder or a path.
func (j Journals) Load(name string) (Journal, error) {
	file, err := os.Open(j.path(name))
	if err != nil {
		return Journal{}, fmt.Errorf("read the journal: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(file, maxJournal))
	if err != nil {
		return Journal{}, fmt.Errorf("read the journal: %w", err)
	}
	return ParseJournal(name, data)
}

// Names gives the names of all journals in the folder, oldest first. It is no
// error when there is no folder.
func (j Journals) Names() ([]string, error) {
	entries, err := os.ReadDir(j.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the journals: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), journalSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, compareNames)
	return names, nil
}

// compareNames orders "T.jsonl" before "T-2.jsonl" before "T-10.jsonl".
func compareNames(a, b string) int {
	stampA, nA, _ := strings.Cut(strings.TrimSuffix(a, journalSuffix), "-")
	stampB, nB, _ := strings.Cut(strings.TrimSuffix(b, journalSuffix), "-")
	return cmp.Or(strings.Compare(stampA, stampB), cmp.Compare(len(nA), len(nB)), strings.Compare(nA, nB))
}

// Latest gives the newest journal that has something to undo, and those that it
// continues and that were made the same way, newest first; none when there is
// nothing to undo.
func (j Journals) Latest() ([]Journal, error) {
	names, err := j.Names()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(names) {
		one, err := j.Load(name)
		if err != nil {
			return nil, err
		}
		if one.Undoable() {
			return j.chain(one)
		}
	}
	return nil, nil
}

// chain gives one and the journals that it continues, newest first.
func (j Journals) chain(one Journal) ([]Journal, error) {
	all := []Journal{one}
	for one.Begin.Continues != "" && len(all) < 1000 {
		before, err := j.Load(filepath.Base(one.Begin.Continues))
		if err != nil {
			return nil, fmt.Errorf("%s continues another journal: %w", one.Name, err)
		}
		if before.Begin.By != one.Begin.By {
			break // another kind of Editor takes these back
		}
		if before.Undoable() {
			all = append(all, before)
		}
		one = before
	}
	return all, nil
}

// unfinished gives the name of the newest journal that has changes, if its apply
// was broken off and not rolled back; "" otherwise.
func (j Journals) unfinished() (string, error) {
	names, err := j.Names()
	if err != nil {
		return "", err
	}
	for _, name := range slices.Backward(names) {
		one, err := j.Load(name)
		if err != nil {
			return "", err
		}
		switch {
		case one.Unfinished():
			return name, nil
		case len(one.Changes) > 0:
			return "", nil
		}
	}
	return "", nil
}
