package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ourProc reports whether /proc shows the processes of this PID namespace.
func ourProc() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == fmt.Sprint(os.Getpid())
}

// processes gives the ids of the processes called comm in b, as /proc tells.
func (b *box) processes(comm string) ([]int, error) {
	if !ourProc() {
		return nil, errors.New("this machine does not let the lab mount /proc, so it cannot see processes; run it outside of a container")
	}
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b.init.Process.Pid))
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", comm, err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", comm, err)
	}
	var found []int
	for _, dir := range dirs {
		is, err := isProcess(dir, comm, want)
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", comm, err)
		}
		if pid := 0; is {
			if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err != nil {
				return nil, fmt.Errorf("look for %s: %w", comm, err)
			}
			found = append(found, pid)
		}
	}
	return found, nil
}

// isProcess reports whether the process of dir, which may be gone by now, is
// called comm and in the PID namespace want.
func isProcess(dir, comm, want string) (bool, error) {
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil || string(name) != comm+"\n" {
		return false, ignoreGone(err)
	}
	namespace, err := os.Readlink(filepath.Join(dir, "ns/pid"))
	return namespace == want, ignoreGone(err)
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// isStopped reports whether the process pid is stopped by a signal.
func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false // gone
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "T")
}
