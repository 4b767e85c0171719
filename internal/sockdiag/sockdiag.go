// Package sockdiag lists the TCP connections of this host, as the kernel has them,
// and destroys those that it is told to: by their ends, their processes or their
// silence. It knows no VIP, and does not decide which.
//
// The network namespace is that of the thread which opens a Conn.
package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
)

// A Match names TCP connections by their ends. An end without an address
// matches any address, one with port 0 any port; a zero end matches all.
// An IPv4 address matches the connections of IPv6 sockets to it, too.
type Match struct {
	Local, Remote netip.AddrPort
}

// normal gives m without zones, and IPv4 addresses in their own form.
func (m Match) normal() Match {
	for _, end := range []*netip.AddrPort{&m.Local, &m.Remote} {
		*end = netip.AddrPortFrom(end.Addr().Unmap().WithZone(""), end.Port())
	}
	return m
}

// families gives those whose sockets can match.
func (m Match) families() []uint8 {
	if m.Local.Addr().Is6() || m.Remote.Addr().Is6() {
		return []uint8{unix.AF_INET6}
	}
	return []uint8{unix.AF_INET, unix.AF_INET6}
}

// matches reports whether m names s.
func (m Match) matches(s Socket) bool {
	return endMatches(m.Local, s.Local) && endMatches(m.Remote, s.Remote)
}

func endMatches(want, end netip.AddrPort) bool {
	return (!want.Addr().IsValid() || want.Addr() == end.Addr()) && (want.Port() == 0 || want.Port() == end.Port())
}

// Destroy destroys the TCP connections of this host that m names, as Conn.Destroy does.
func Destroy(ctx context.Context, m Match) (n int, err error) {
	var c Conn
	n, err = c.Destroy(ctx, m, Anybodys)
	return n, errors.Join(err, c.Close())
}

// destroyOf destroys those of the TCP connections of the processes pids to one of
// remotes that are chosen, in the way of Destroy. It gives the number of those
// destroyed by remote address.
func destroyOf(ctx context.Context, pids []int, remotes []netip.AddrPort, chosen func(Socket) bool) (map[netip.AddrPort]int, error) {
	inodes, err := socketsOf(pids)
	if err != nil || len(inodes) == 0 {
		return nil, err
	}
	destroyed, counted := map[netip.AddrPort]int{}, map[uint32]bool{}
	whose := func(s Socket) bool {
		if !inodes[s.inode] || !chosen(s) {
			return false
		}
		if !counted[s.inode] { // one that ends slowly is listed again
			counted[s.inode] = true
			destroyed[s.Remote]++
		}
		return true
	}
	var c Conn
	for _, r := range remotes {
		if _, err = c.Destroy(ctx, Match{Remote: r}, whose); err != nil {
			break
		}
	}
	return destroyed, errors.Join(err, c.Close())
}

// socketsOf gives the inodes of the sockets that the processes pids have open.
// A process that has ended has none.
func socketsOf(pids []int) (map[uint32]bool, error) {
	inodes := map[uint32]bool{}
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the sockets of process %d: %w", pid, err)
		}
		for _, f := range files {
			target, err := os.Readlink(filepath.Join(dir, f.Name()))
			if err != nil {
				continue // closed in the meantime
			}
			var inode uint32
			if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err == nil {
				inodes[inode] = true
			}
		}
	}
	return inodes, nil
}

// Anybodys stands for the connections of every process.
func Anybodys(Socket) bool { return true }

// A Conn lists and destroys sockets. It is not safe for concurrent use; the zero Conn
// is one that is not open.
type Conn struct{ socket rtnl.Socket }

// Open opens the netlink socket in the network namespace of the calling thread,
// unless it is open. The other methods do so, too.
func (c *Conn) Open() error {
	c.socket.Family = unix.NETLINK_SOCK_DIAG
	return c.socket.Open()
}

// Close closes the netlink socket, if it is open. The Conn can be used again.
func (c *Conn) Close() error { return c.socket.Close() }

// Destroy destroys the TCP connections that m names and whose chooses, as
// SOCK_DESTROY does: the process that has one gets ECONNABORTED, the other end
// a reset where the local address is still the host's or the socket is
// transparent. Listening sockets are left alone. It gives the number destroyed,
// also when it fails half way.
func (c *Conn) Destroy(ctx context.Context, m Match, whose func(Socket) bool) (n int, err error) {
	m = m.normal()
	if m == (Match{}) {
		return 0, errors.New("destroy sockets: the match names neither end")
	}
	for _, family := range m.families() {
		destroyed, err := c.destroyAll(ctx, family, m, whose)
		n += destroyed
		if err != nil {
			return n, fmt.Errorf("destroy sockets: %w", explain(err))
		}
	}
	return n, nil
}

// destroyAll goes on until none is found twice: one that changes its place in the
// kernel's table while that is read can be missed, also the only one.
func (c *Conn) destroyAll(ctx context.Context, family uint8, m Match, whose func(Socket) bool) (n int, err error) {
	const rounds = 5
	none := 0
	for range rounds {
		found, err := c.list(family, m)
		found = slices.DeleteFunc(found, func(s Socket) bool { return !whose(s) })
		if err != nil {
			return n, err
		}
		if len(found) > 0 {
			none = 0
		} else if none++; none == 2 {
			return n, nil
		}
		for _, s := range found {
			if err := ctx.Err(); err != nil {
				return n, err
			}
			_, err := c.socket.Do(unix.SOCK_DESTROY, netlink.Acknowledge, destroySocket(s))
			if errors.Is(err, unix.ENOENT) {
				continue // it ended by itself
			}
			if err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// Sockets lists the connected TCP sockets that m names.
func (c *Conn) Sockets(m Match) (found []Socket, err error) {
	for _, family := range m.families() {
		some, err := c.list(family, m)
		if err != nil {
			return nil, fmt.Errorf("list sockets: %w", explain(err))
		}
		found = append(found, some...)
	}
	return found, nil
}

// list lists those of one family.
func (c *Conn) list(family uint8, m Match) ([]Socket, error) {
	if err := c.Open(); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	replies, err := c.socket.Dump(unix.SOCK_DIAG_BY_FAMILY, listSockets(family, m))
	if err != nil {
		return nil, err
	}
	var found []Socket
	for _, r := range replies {
		s, err := parseSocket(r.Data)
		if err != nil {
			return nil, err
		}
		if m.matches(s) {
			found = append(found, s)
		}
	}
	return found, nil
}

func explain(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w; this kernel is built without CONFIG_INET_DIAG_DESTROY", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w; the kernel has no socket diagnosis: modprobe tcp_diag", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; run as root or with CAP_NET_ADMIN", err)
	}
	return err
}
