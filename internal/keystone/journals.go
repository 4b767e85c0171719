package keystone

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

// Journals is the folder that has the journals of all applies, STATEDIR/endpoints.
type Journals struct {
	Dir string
}

// journalSuffix is that of every journal's name; before it is the time.
const journalSuffix = ".jsonl"

// Lock makes sure that there is one apply or rollback at a time on this
// machine. The kernel gives the lock back when the process ends, however it ends.
func (j Journals) Lock() (release func() error, err error) {
	if err := os.MkdirAll(j.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the journals: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(j.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the journals: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = fmt.Errorf("lock %s: %w", file.Name(), err)
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("another apply or rollback is at work%s; wait for it to end", lockedBy(file))
		}
		return nil, errors.Join(err, file.Close())
	}
	if err := file.Truncate(0); err == nil {
		_, err = fmt.Fprintf(file, "%d\n", os.Getpid())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the journals: %w", err), file.Close())
		}
	}
	return file.Close, nil
}

// lockedBy gives " (process 123)", or nothing when the file does not say.
func lockedBy(file io.Reader) string {
	pid, err := io.ReadAll(io.LimitReader(file, 20))
	if err != nil || len(bytes.TrimSpace(pid)) == 0 {
		return ""
	}
	return fmt.Sprintf(" (process %s)", bytes.TrimSpace(pid))
}

// A journalWriter takes the entries of one journal. When write returns, the
// entry is on disk.
type journalWriter interface {
	write(e Entry) error
	close() error
}

type journalFile struct {
	file *os.File
	now  func() time.Time
}

// create begins a new journal.
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

// reopen continues the journal called name, after what of its last line a crash
// has left is cut off.
func (j Journals) reopen(name string, now func() time.Time) (*journalFile, error) {
	file, err := os.OpenFile(j.path(name), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("continue the journal: %w", err)
	}
	data, err := io.ReadAll(file)
	if err == nil {
		whole := int64(bytes.LastIndexByte(data, '\n') + 1)
		err = errors.Join(file.Truncate(whole), seekTo(file, whole))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("continue the journal: %w", err), file.Close())
	}
	return &journalFile{file, now}, nil
}

func seekTo(file *os.File, offset int64) error {
	_, err := file.Seek(offset, io.SeekStart)
	return err
}

func (f *journalFile) write(e Entry) error {
	e.Time = f.now().UTC()
	line, err := e.Encode()
	if err != nil {
		return err
	}
	if _, err := f.file.Write(line); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := f.file.Sync(); err != nil {
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
	data, err := os.ReadFile(j.path(name))
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
	a, b = strings.TrimSuffix(a, journalSuffix), strings.TrimSuffix(b, journalSuffix)
	stampA, nA, _ := strings.Cut(a, "-")
	stampB, nB, _ := strings.Cut(b, "-")
	return cmp.Or(strings.Compare(stampA, stampB), cmp.Compare(len(nA), len(nB)), strings.Compare(nA, nB))
}

// Latest gives the newest journal that has something to undo, and those that it
// continues, newest first; none when there is nothing to undo.
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
		if before.Undoable() {
			all = append(all, before)
		}
		one = before
	}
	return all, nil
}

// unfinished gives the name of the newest journal with changes, if its apply
// was broken off and was not rolled back; "" otherwise.
func (j Journals) unfinished() (string, error) {
	names, err := j.Names()
	if err != nil {
		return "", err
	}
	for _, name := range slices.Backward(names) {
		last, err := j.Load(name)
		if err != nil {
			return "", err
		}
		switch {
		case len(last.Changes) == 0:
		case last.Unfinished():
			return last.Name, nil
		default:
			return "", nil
		}
	}
	return "", nil
}
