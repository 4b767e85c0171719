package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Pause stops every process of the lab, so that it takes nothing from what else
// is measured on this machine. Resume lets it go on; leases have ended then, and
// it has to find together again, as after the pause of a virtual machine.
func (l *Lab) Pause() error {
	for {
		all, err := descendants(l.cmd.Process.Pid)
		if err != nil {
			return fmt.Errorf("pause the lab: %w", err)
		}
		running := slices.DeleteFunc(all, isStopped)
		if len(running) == 0 {
			return nil
		}
		for _, pid := range running { // the server is the first, and starts no others then
			if err := ignoreGone(unix.Kill(pid, unix.SIGSTOP)); err != nil {
				return fmt.Errorf("pause the lab: %w", err)
			}
		}
	}
}

// Resume undoes Pause.
func (l *Lab) Resume() error {
	all, err := descendants(l.cmd.Process.Pid)
	for _, pid := range all {
		err = errors.Join(err, ignoreGone(unix.Kill(pid, unix.SIGCONT)))
	}
	if err != nil {
		return fmt.Errorf("resume the lab: %w", err)
	}
	return nil
}

// descendants gives the process pid and all below it, each after its parent.
// What has ended and was not waited for is none.
func descendants(pid int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			if ignoreGone(err) == nil {
				continue
			}
			return nil, err
		}
		var child, parent int
		var state string
		_, rest, _ := strings.Cut(string(data), ") ") // the name may have blanks in it
		_, err = fmt.Sscan(rest, &state, &parent)
		if _, err2 := fmt.Sscan(string(data), &child); err != nil || err2 != nil {
			return nil, fmt.Errorf("read %s: %q", path, data)
		}
		if state != "Z" {
			children[parent] = append(children[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}
