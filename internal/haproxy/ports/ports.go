// Package ports tells whether HAProxy could listen where it is to: which addresses
// somebody else has, and who that is. It asks the kernel, and starts and ends nothing.
package ports

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Conflict is an address of HAProxy's that another process has.
type Conflict struct {
	Bind    netip.AddrPort
	Taken   netip.AddrPort // what the other one listens on: the same, or all addresses
	PID     int            // 0: it could not be found
	Command string
	UID     int
}

// String says who has it, and what to do.
func (c Conflict) String() string {
	who := fmt.Sprintf("a process of uid %d that cannot be seen from here", c.UID)
	if c.PID != 0 {
		who = fmt.Sprintf("%s (pid %d)", c.Command, c.PID)
	}
	what := "make it listen on the controller's own address"
	if !c.Taken.Addr().IsUnspecified() {
		what = "stop it, or make it listen elsewhere: this address is HAProxy's"
	}
	return fmt.Sprintf("cannot bind %v: taken by %s on %v; %s", c.Bind, who, c.Taken, what)
}

// A TakenError says why HAProxy cannot be started, or reloaded, with a
// configuration.
type TakenError struct{ Conflicts []Conflict }

func (e *TakenError) Error() string {
	s := e.Conflicts[0].String()
	if more := len(e.Conflicts) - 1; more > 0 {
		s += fmt.Sprintf(" (and %d more addresses)", more)
	}
	return s
}

// A Listener is a listening TCP socket of a network namespace.
type Listener struct {
	At    netip.AddrPort
	Inode uint64
	UID   int
}

// Check finds what of binds cannot be bound, or is shared; ours are the
// pids of the running HAProxy, if any. It is asked before HAProxy is, because a
// reload that fails to bind silences every port for two seconds in HAProxy 2.6,
// and ends HAProxy in 2.4. Two things are looked for: that the kernel refuses
// the address (a service on 0.0.0.0), and, worse because it does not, that a
// process with SO_REUSEPORT listens on the very address and would share its
// connections.
//
// Errors: *TakenError, or another.
func Check(binds []netip.AddrPort, ours []int) error {
	listeners, err := readListeners()
	if err != nil {
		return fmt.Errorf("look for ports that are taken: %w", err)
	}
	own, all := inodesOf(ours)
	var conflicts []Conflict
	for _, at := range binds {
		exact := slices.IndexFunc(listeners, func(l Listener) bool { return l.At == at })
		if exact >= 0 {
			if !own[listeners[exact].Inode] {
				conflicts = append(conflicts, conflictOf(at, listeners[exact]))
			}
			continue
		}
		switch err := tryBind(at); {
		case errors.Is(err, unix.EADDRINUSE):
			conflicts = append(conflicts, conflictOf(at, wildcard(listeners, at)))
		case err != nil:
			return fmt.Errorf("cannot bind %v: %w", at, err)
		}
	}
	if len(conflicts) == 0 {
		return nil
	}
	nameOwners(conflicts, listeners)
	if !all { // what nobody else is seen to have may well be our own
		conflicts = slices.DeleteFunc(conflicts, func(c Conflict) bool { return c.PID == 0 && c.Taken == c.Bind })
	}
	if len(conflicts) == 0 {
		return nil
	}
	return &TakenError{conflicts}
}

func conflictOf(at netip.AddrPort, l Listener) Conflict {
	return Conflict{Bind: at, Taken: l.At, UID: l.UID}
}

// wildcard finds the Listener on all addresses that keeps at from being bound.
func wildcard(listeners []Listener, at netip.AddrPort) Listener {
	for _, l := range listeners {
		sameFamily := l.At.Addr().Is4() == at.Addr().Is4()
		if l.At.Port() == at.Port() && l.At.Addr().IsUnspecified() && (sameFamily || l.At.Addr().Is6()) {
			return l
		}
	}
	return Listener{At: at, UID: -1}
}

// tryBind binds at to a socket with the options that HAProxy's have, and gives
// the kernel's refusal. It does not listen, so no connection can come to it.
func tryBind(at netip.AddrPort) error {
	family, options := unix.AF_INET, [][2]int{{unix.SOL_IP, unix.IP_FREEBIND}}
	if at.Addr().Is6() {
		family, options = unix.AF_INET6, [][2]int{{unix.SOL_IPV6, unix.IPV6_FREEBIND}, {unix.SOL_IPV6, unix.IPV6_V6ONLY}}
	}
	options = append(options, [2]int{unix.SOL_SOCKET, unix.SO_REUSEADDR}, [2]int{unix.SOL_SOCKET, unix.SO_REUSEPORT})
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // it was only bound
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], 1); err != nil {
			return err
		}
	}
	if at.Addr().Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
}

// readListeners reads the listening TCP sockets of this network namespace (proc(5)).
func readListeners() ([]Listener, error) {
	var all []Listener
	for _, file := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) { // no IPv6
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, ParseListeners(string(data))...)
	}
	return all, nil
}

// ParseListeners reads the text of /proc/net/tcp or tcp6 (proc(5)); lines that are not of a
// listening socket, or not readable, are passed over.
func ParseListeners(text string) []Listener {
	const listening = "0A"
	var all []Listener
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != listening {
			continue
		}
		at, ok := procAddress(f[1])
		uid, err := strconv.Atoi(f[7])
		inode, err2 := strconv.ParseUint(f[9], 10, 64)
		if ok && err == nil && err2 == nil {
			all = append(all, Listener{at, inode, uid})
		}
	}
	return all
}

// procAddress reads "0100007F:1F90": each 32 bits in the order of the machine,
// and the port.
func procAddress(s string) (netip.AddrPort, bool) {
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

// inodesOf gives the sockets that the processes pids have, and whether all of
// these could be read.
func inodesOf(pids []int) (inodes map[uint64]bool, all bool) {
	inodes, all = make(map[uint64]bool), true
	for _, pid := range pids {
		sockets, err := SocketsOf("/proc/" + strconv.Itoa(pid))
		all = all && err == nil
		for _, inode := range sockets {
			inodes[inode] = true
		}
	}
	return inodes, all
}

// SocketsOf gives the inodes of the sockets that the process with the directory dir of /proc
// has open. The error is of one that has ended, or may not be looked into.
func SocketsOf(dir string) ([]uint64, error) {
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return nil, err
	}
	var inodes []uint64
	for _, fd := range fds {
		link, err := os.Readlink(dir + "/fd/" + fd.Name())
		if err != nil {
			continue // it was closed meanwhile
		}
		number, ok := strings.CutPrefix(link, "socket:[")
		if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); ok && err == nil {
			inodes = append(inodes, inode)
		}
	}
	return inodes, nil
}

// nameOwners fills in who has the sockets that conflicts are about.
func nameOwners(conflicts []Conflict, listeners []Listener) {
	wanted := make(map[uint64][]*Conflict)
	for i := range conflicts {
		for _, l := range listeners {
			if l.At == conflicts[i].Taken {
				wanted[l.Inode] = append(wanted[l.Inode], &conflicts[i])
			}
		}
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return // the pattern is a good one
	}
	for _, dir := range dirs {
		sockets, err := SocketsOf(dir)
		if err != nil {
			continue // it has ended, or may not be looked into
		}
		for _, inode := range sockets {
			for _, c := range wanted[inode] {
				c.setOwner(dir)
			}
		}
	}
}

// setOwner names the process of dir as the owner; of several that share the
// socket, the one with the lowest pid: the parent.
func (c *Conflict) setOwner(dir string) {
	pid, err := strconv.Atoi(filepath.Base(dir))
	if err != nil || c.PID != 0 && c.PID < pid {
		return
	}
	comm, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return
	}
	c.PID, c.Command = pid, strings.TrimSpace(string(comm))
}
