package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultName is the name of a lab that was given none.
const DefaultName = "lab"

// socketRoom is how many bytes of a socket's path (108 at most, unix(7)) are
// left to the sockets in an agent's run directory.
const socketRoom = 40

// validName is what a lab may be called: its directory's name.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,31}$`)

// A Dir is the directory of one lab: its control socket, its logs, and the
// files of its nodes.
type Dir string

// baseDir gives the directory that has those of all labs of this user.
func baseDir() string {
	// Root of a user namespace may not write there.
	if os.Geteuid() == 0 && unix.Access("/run", unix.W_OK) == nil {
		return "/run/holdfast-lab"
	}
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		return filepath.Join(run, "holdfast-lab")
	}
	return filepath.Join(os.TempDir(), "holdfast-lab-"+strconv.Itoa(os.Geteuid()))
}

// makeBase makes the base directory, and refuses one that another user made
// there first.
func makeBase() (string, error) {
	base := baseDir()
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of the labs: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(base, &st); err != nil {
		return "", fmt.Errorf("look at %s: %w", base, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() {
		return "", fmt.Errorf("%s is not a directory of this user's; remove it, or set XDG_RUNTIME_DIR", base)
	}
	return base, nil
}

// claim makes the directory of a new lab called name, clearing what a lab that
// crashed left in it. The lock it returns says that the lab runs, for as long
// as any process has it open.
func claim(name string) (Dir, *os.File, error) {
	if !validName.MatchString(name) {
		return "", nil, badName(name)
	}
	base, err := makeBase()
	if err != nil {
		return "", nil, err
	}
	dir := Dir(filepath.Join(base, name))
	if n := len(dir.socket()); n >= len(unix.RawSockaddrUnix{}.Path) {
		return "", nil, fmt.Errorf("%s is too long a path for a socket; use a shorter --name, or another XDG_RUNTIME_DIR", dir.socket())
	}
	lock, err := dir.takeLock()
	if err != nil {
		return "", nil, err
	}
	if err := dir.remake(); err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return dir, lock, nil
}

func badName(name string) error {
	return wrongf("a lab cannot be called %q; use up to 32 of a-z, 0-9, dot and dash", name)
}

// takeLock locks the lab's lock file: the one that is there when it has the
// lock, since a lab that ends removes its own.
func (d Dir) takeLock() (*os.File, error) {
	for {
		// The last of the other labs may have taken the base with it.
		if err := os.MkdirAll(filepath.Dir(string(d)), 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of the labs: %w", err)
		}
		lock, err := os.OpenFile(d.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the lab's lock: %w", err)
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(lockError(d.Name(), err), lock.Close())
		}
		if d.isLock(lock) {
			return lock, nil
		}
		if err := lock.Close(); err != nil {
			return nil, fmt.Errorf("open the lab's lock: %w", err)
		}
	}
}

// isLock reports whether lock is the lab's lock file, and not one of an
// earlier lab that is gone.
func (d Dir) isLock(lock *os.File) bool {
	mine, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(d.lockFile())
	return err == nil && os.SameFile(mine, there)
}

func lockError(name string, err error) error {
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("a lab called %q runs already; end it with \"holdfast lab down --name %s\", or give this one another --name", name, name)
	}
	return fmt.Errorf("lock the lab: %w", err)
}

func (d Dir) remake() error {
	if err := os.RemoveAll(string(d)); err != nil {
		return fmt.Errorf("clear what an earlier lab left: %w", err)
	}
	for _, sub := range []string{"bin", "nodes", "r"} {
		if err := os.MkdirAll(d.path(sub), 0o755); err != nil {
			return fmt.Errorf("make the lab's directory: %w", err)
		}
	}
	return nil
}

func (d Dir) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// Name is the lab's name.
func (d Dir) Name() string { return filepath.Base(string(d)) }

func (d Dir) lockFile() string                { return string(d) + ".lock" }
func (d Dir) socket() string                  { return d.path("control.sock") }
func (d Dir) specFile() string                { return d.path("holdfast.yaml") }
func (d Dir) keyFile() string                 { return d.path("key") }
func (d Dir) hostsFile() string               { return d.path("hosts") }
func (d Dir) logFile() string                 { return d.path("lab.log") }
func (d Dir) faultsFile() string              { return d.path("faults.jsonl") }
func (d Dir) addressesFile() string           { return d.path("addresses.jsonl") }
func (d Dir) binary() string                  { return d.path("bin", "holdfast") }
func (d Dir) node(name string) string         { return d.path("nodes", name) }
func (d Dir) nodeSpec(name string) string     { return d.path("nodes", name, "holdfast.yaml") }
func (d Dir) stateDir(name string) string     { return d.path("nodes", name, "state") }
func (d Dir) agentLog(name string) string     { return d.path("nodes", name, "agent.log") }
func (d Dir) notify(name string) string       { return d.path("nodes", name, "notify.sock") }
func (d Dir) syslogSocket(name string) string { return d.path("nodes", name, "syslog.sock") }
func (d Dir) syslog(name string) string       { return d.path("nodes", name, "syslog.log") }
func (d Dir) nodeLog(name string) string      { return d.path("nodes", name, "node.log") }

// runDir gives the run directory of the agent of the index-th node: a short
// one where the node's name would make the paths of its sockets too long.
func (d Dir) runDir(index int, name string) string {
	if run := d.path("nodes", name, "run"); len(run)+socketRoom < len(unix.RawSockaddrUnix{}.Path) {
		return run
	}
	return d.path("r", strconv.Itoa(index))
}

// list gives the directories, below base, of the labs that run now.
func list(ctx context.Context, base string) ([]Dir, error) {
	all, err := dirs(base)
	return slices.DeleteFunc(all, func(d Dir) bool { return !alive(ctx, d) }), err
}

// dirs gives the directories below base, whether their labs run or not.
func dirs(base string) ([]Dir, error) {
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for labs: %w", err)
	}
	var all []Dir
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, Dir(filepath.Join(base, e.Name())))
		}
	}
	return all, nil
}

// ErrNoLab says that no lab runs, or none of that name.
var ErrNoLab = errors.New("no lab runs")

type noSuchLabError struct {
	name    string
	running []string
}

func (e *noSuchLabError) Error() string {
	return fmt.Sprintf("no lab called %q runs; running: %s", e.name, strings.Join(e.running, ", "))
}

func (e *noSuchLabError) Is(target error) bool { return target == ErrNoLab }

// Sweep removes the files of labs that were killed, of the one called name or, with
// no name, of all, and gives their names. What runs stays.
func Sweep(name string) (swept []string, err error) { return sweep(baseDir(), name) }

func sweep(base, name string) (swept []string, err error) {
	all, err := dirs(base)
	errs := []error{err}
	for _, d := range all {
		if name != "" && d.Name() != name {
			continue
		}
		lock, err := d.takeLock()
		if err != nil {
			continue // it runs
		}
		swept = append(swept, d.Name())
		errs = append(errs, d.remove(), lock.Close())
	}
	return swept, errors.Join(errs...)
}

// Find gives the running lab called name; with no name, the only one.
func Find(ctx context.Context, name string) (Dir, error) { return find(ctx, baseDir(), name) }

func find(ctx context.Context, base, name string) (Dir, error) {
	running, err := list(ctx, base)
	if err != nil {
		return "", err
	}
	var names []string
	for _, d := range running {
		names = append(names, d.Name())
	}
	switch {
	case name != "" && !validName.MatchString(name):
		return "", badName(name)
	case name != "" && slices.Contains(names, name):
		return running[slices.Index(names, name)], nil
	case len(running) == 0:
		return "", fmt.Errorf("%w; start one with \"holdfast lab up\"", ErrNoLab)
	case name != "":
		return "", &noSuchLabError{name, names}
	case len(running) > 1:
		return "", wrongf("%d labs run; say which with --name: %s", len(running), strings.Join(names, ", "))
	}
	return running[0], nil
}
