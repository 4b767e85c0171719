package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/internal/haproxy/ours"
	"holdfast/internal/haproxy/runtime"
)

// versionTimeout is how long "haproxy -v" may take.
const versionTimeout = 5 * time.Second

// A Program tells whether the HAProxy that runs is the one that would be
// started now: a package that is upgraded puts another file in its place.
type Program struct {
	Path string // of the one that would be started now
	File os.FileInfo
	// Replaced reports whether another file runs. It is false where that cannot
	// be told: none runs, or Path is a script.
	Replaced bool
	// ByReload reports whether a reload brings Path: the master executes the
	// path that it was started with once more.
	ByReload bool
	// Deleted has the libraries that the one that runs has loaded and that were
	// replaced since, or removed: a security fix is not in force. A reload
	// loads those that are there now.
	Deleted []string
}

// Startable says why no HAProxy could be started, for want of the program; nil also while
// one runs that can be adopted. It is for before Run.
func (m *Manager) Startable() error {
	_, err := exec.LookPath(m.opt.HAProxy)
	if err == nil {
		return nil
	}
	if running, lookErr := ours.Find(m.opt.RunDir, m.opt.HAProxy, ours.Identity{}); lookErr != nil || len(running) > 0 {
		return nil
	}
	return fmt.Errorf("no program can be run as %s: %w", m.opt.HAProxy, errors.Unwrap(err))
}

// Program looks which programs there are. The error is about files and
// processes that cannot be looked at.
func (m *Manager) Program() (Program, error) {
	path, err := exec.LookPath(m.opt.HAProxy)
	if err != nil {
		return Program{}, fmt.Errorf("look for HAProxy's program: %w", err)
	}
	installed, err := os.Stat(path)
	if err != nil {
		return Program{}, fmt.Errorf("look for HAProxy's program: %w", err)
	}
	p := Program{Path: path, File: installed}
	running := m.current()
	if running == nil || running.over() || !isExecutable(path) {
		return p, nil
	}
	dir := fmt.Sprintf("/proc/%d", running.master.PID)
	runs, err := os.Stat(dir + "/exe")
	if err != nil {
		return p, fmt.Errorf("look for the program that HAProxy is: %w", err)
	}
	p.Replaced = !os.SameFile(installed, runs)
	p.ByReload = p.Replaced && startsAs(dir, installed)
	maps, err := os.ReadFile(dir + "/maps")
	if errors.Is(err, os.ErrPermission) {
		return p, nil // another user's process, to somebody without SYS_PTRACE
	}
	if err != nil {
		return p, fmt.Errorf("look for the libraries that HAProxy runs with: %w", err)
	}
	p.Deleted = deletedLibraries(string(maps))
	return p, nil
}

// deletedLibraries reads proc(5)'s maps for code of shared libraries whose files were
// replaced, or removed.
func deletedLibraries(maps string) []string {
	var gone []string
	for line := range strings.Lines(maps) {
		// "7f00-7f10 r-xp 00000000 08:01 1234   /usr/lib/libssl.so.3 (deleted)"
		f := strings.SplitN(strings.TrimSpace(line), " ", 6)
		if len(f) < 6 || !strings.Contains(f[1], "x") {
			continue
		}
		path, deleted := strings.CutSuffix(strings.TrimLeft(f[5], " "), " (deleted)")
		name := filepath.Base(path)
		isLibrary := strings.HasPrefix(path, "/") && (strings.HasSuffix(name, ".so") || strings.Contains(name, ".so."))
		if deleted && isLibrary && !slices.Contains(gone, path) {
			gone = append(gone, path)
		}
	}
	return gone
}

// startsAs reports whether the process of dir was started by the path of file.
func startsAs(dir string, file os.FileInfo) bool {
	cmdline, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return false
	}
	name, _, _ := bytes.Cut(cmdline, []byte{0})
	path := string(name)
	if !filepath.IsAbs(path) {
		path = filepath.Join("/", path) // its working directory
	}
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, file)
}

// isExecutable reports whether the file is a program itself (elf(5)), and no
// script that starts one.
func isExecutable(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close() //nolint:errcheck // it was only read
	magic := make([]byte, 4)
	n, err := file.Read(magic)
	return err == nil && string(magic[:n]) == "\x7fELF"
}

// InstalledVersion asks the program that would be started now for its version.
func (m *Manager) InstalledVersion(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.opt.HAProxy, "-v")
	cmd.Env = environment(os.Environ())
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s -v: %w", m.opt.HAProxy, err)
	}
	version := versionOf(string(out))
	if version == "" {
		return "", fmt.Errorf("%s -v: no version in %q", m.opt.HAProxy, runtime.OneLine(string(out)))
	}
	return version, nil
}

// versionOf reads what "haproxy -v" says: "HAProxy version 2.6.12-1 2023/..",
// and "HA-Proxy version" before 2.4.
func versionOf(said string) string {
	_, after, _ := strings.Cut(said, "version ")
	words := strings.Fields(after)
	if len(words) == 0 {
		return ""
	}
	return words[0]
}
