package look

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/doctor"
)

// listeners reads the listening TCP sockets of this network namespace, and whose they are.
func (l *looker) listeners(context.Context) {
	const listening = "0A"
	owners := l.owners()
	for _, file := range []string{"proc/thread-self/net/tcp", "proc/thread-self/net/tcp6"} {
		for line := range strings.Lines(l.read(file)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != listening {
				continue
			}
			at, ok := address(f[1])
			if !ok {
				continue
			}
			o := owners[f[9]]
			l.facts.Listeners = append(l.facts.Listeners, doctor.Listener{At: at, PID: o.pid, Command: o.command, Ours: o.ours})
		}
	}
}

type owner struct {
	pid     int
	command string
	ours    bool
}

// owners gives whose each socket is, by its inode: of several, ours, or the one that began
// first, by its process id, which has the others as its children.
func (l *looker) owners() map[string]owner {
	var pids []int
	for _, dir := range l.glob("proc/[0-9]*") {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	all := map[string]owner{}
	for _, pid := range pids {
		dir := "proc/" + strconv.Itoa(pid)
		o := owner{pid, l.read(dir + "/comm"), isOurs(strings.Split(l.read(dir+"/cmdline"), "\x00"))}
		for _, inode := range l.socketsOf(dir) {
			if _, known := all[inode]; !known || o.ours {
				all[inode] = o
			}
		}
	}
	return all
}

// isOurs reports whether a process with this command line is an agent, or the HAProxy of one.
func isOurs(line []string) bool {
	if filepath.Base(line[0]) == "holdfast" && slices.Contains(line, "agent") {
		return true
	}
	return slices.ContainsFunc(line, func(word string) bool { return strings.HasSuffix(word, "/master.sock,mode,600,level,admin") })
}

// socketsOf gives the inodes of the sockets that the process of dir has open.
func (l *looker) socketsOf(dir string) []string {
	files, err := os.ReadDir(l.path(dir + "/fd"))
	if err != nil {
		return nil // it has ended, or is another user's
	}
	var all []string
	for _, f := range files {
		target, err := os.Readlink(filepath.Join(l.path(dir+"/fd"), f.Name()))
		if inode, is := strings.CutPrefix(target, "socket:["); is && err == nil {
			all = append(all, strings.TrimSuffix(inode, "]"))
		}
	}
	return all
}

// address reads "0100007F:1F90" of proc(5): each 32 bits in the order of the machine, and the port.
func address(s string) (netip.AddrPort, bool) {
	addr, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(addr)
	if !ok || err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}
