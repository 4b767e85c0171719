package vip

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
func (m Match) matches(s diagSocket) bool {
	return endMatches(m.Local, s.local) && endMatches(m.Remote, s.remote)
}

func endMatches(want, end netip.AddrPort) bool {
	return (!want.Addr().IsValid() || want.Addr() == end.Addr()) && (want.Port() == 0 || want.Port() == end.Port())
}

// DestroySockets destroys the TCP connections of this host that m names, as
// SOCK_DESTROY does: the process that has one gets ECONNABORTED, the other end
// a reset where the local address is still the host's or the socket is
// transparent. Listening sockets are left alone. It gives the number destroyed,
// also when it fails half way.
func DestroySockets(ctx context.Context, m Match) (n int, err error) {
	k := kernel{family: unix.NETLINK_SOCK_DIAG}
	n, err = k.destroy(ctx, m, anybodys)
	return n, errors.Join(err, k.close())
}

// destroyOf destroys those of the TCP connections of the processes pids to one of
// remotes that are chosen, in the way of DestroySockets. It gives the number of those
// destroyed by remote address.
func destroyOf(ctx context.Context, pids []int, remotes []netip.AddrPort, chosen func(diagSocket) bool) (map[netip.AddrPort]int, error) {
	inodes, err := socketsOf(pids)
	if err != nil || len(inodes) == 0 {
		return nil, err
	}
	destroyed, counted := map[netip.AddrPort]int{}, map[uint32]bool{}
	whose := func(s diagSocket) bool {
		if !inodes[s.inode] || !chosen(s) {
			return false
		}
		if !counted[s.inode] { // one that ends slowly is listed again
			counted[s.inode] = true
			destroyed[s.remote]++
		}
		return true
	}
	k := kernel{family: unix.NETLINK_SOCK_DIAG}
	for _, r := range remotes {
		if _, err = k.destroy(ctx, Match{Remote: r}, whose); err != nil {
			break
		}
	}
	return destroyed, errors.Join(err, k.close())
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

// anybodys stands for the connections of every process.
func anybodys(diagSocket) bool { return true }

func (k *kernel) destroy(ctx context.Context, m Match, whose func(diagSocket) bool) (n int, err error) {
	m = m.normal()
	if m == (Match{}) {
		return 0, errors.New("destroy sockets: the match names neither end")
	}
	for _, family := range m.families() {
		destroyed, err := k.destroyAll(ctx, family, m, whose)
		n += destroyed
		if err != nil {
			return n, fmt.Errorf("destroy sockets: %w", explainDiag(err))
		}
	}
	return n, nil
}

// destroyAll goes on until none is found twice: one that changes its place in the
// kernel's table while that is read can be missed, also the only one.
func (k *kernel) destroyAll(ctx context.Context, family uint8, m Match, whose func(diagSocket) bool) (n int, err error) {
	const rounds = 5
	none := 0
	for range rounds {
		found, err := k.sockets(family, m)
		found = slices.DeleteFunc(found, func(s diagSocket) bool { return !whose(s) })
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
			_, err := k.do(unix.SOCK_DESTROY, netlink.Acknowledge, destroySocket(s))
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

// sockets lists the connected TCP sockets that m names.
func (k *kernel) sockets(family uint8, m Match) ([]diagSocket, error) {
	replies, err := k.dump(unix.SOCK_DIAG_BY_FAMILY, listSockets(family, m))
	if err != nil {
		return nil, err
	}
	var found []diagSocket
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

// socketsOfAny lists those of all families.
func (k *kernel) socketsOfAny(m Match) (found []diagSocket, err error) {
	for _, family := range m.families() {
		some, err := k.sockets(family, m)
		if err != nil {
			return nil, fmt.Errorf("list sockets: %w", explainDiag(err))
		}
		found = append(found, some...)
	}
	return found, nil
}

func explainDiag(err error) error {
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
