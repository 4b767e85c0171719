package systemd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Sockets are those that listen and that the service manager has handed over: of a
// socket unit (systemd.socket(5)), or which an earlier life of this service gave it to
// keep (FDSTORE=1 of sd_notify(3)). While no daemon runs the manager has them, and nobody
// else can listen there. Their methods may be called by any goroutine.
type Sockets struct {
	manager *Manager

	mu  sync.Mutex // guards following
	all map[netip.AddrPort]*os.File
}

// NewSockets has none yet.
func NewSockets(m *Manager) *Sockets {
	return &Sockets{manager: m, all: map[netip.AddrPort]*os.File{}}
}

// Take takes over those that this process was given. It is called once, before another
// process is started, which is not to have them.
func (s *Sockets) Take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range activation.Files(true) {
		at, err := listensAt(f)
		if err == nil && s.all[at] == nil {
			s.all[at] = f
			continue
		}
		if err != nil {
			s.manager.log.Warn("what the service manager has handed over is no socket for this agent", "name", f.Name(), "error", err)
		}
		_ = f.Close() // nothing is lost
	}
}

// listensAt gives where a socket listens, if it is one of TCP that does.
func listensAt(f *os.File) (netip.AddrPort, error) {
	var name unix.Sockaddr
	err := onDescriptor(f, func(fd int) error {
		if is, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || is == 0 {
			return errors.Join(errors.New("it does not listen"), err)
		}
		var err error
		name, err = unix.Getsockname(fd)
		return err
	})
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, errors.New("it is not of TCP")
}

// onDescriptor calls do with the descriptor of f. Fd would have what f shares with a
// listener block.
func onDescriptor(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}

// Listener gives a listener of the socket that was handed over for an address, or for its
// port on every address; nil where there is none. When it is closed, the manager goes on
// having the socket, and it can be had again.
func (s *Sockets) Listener(at netip.AddrPort) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	any4, any6 := netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	for _, where := range []netip.AddrPort{at, any6, any4} {
		f := s.all[where]
		if f == nil || where == any4 && at.Addr().Is6() {
			continue
		}
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("take over the socket of the service manager at %s: %w", where, err)
		}
		if tcp, ok := l.(*net.TCPListener); ok && where != at {
			return &oneAddress{tcp, at.Addr()}, nil
		}
		return l, nil
	}
	return nil, nil
}

// oneAddress is a listener at every address of this host, of which one counts: who comes
// to another is sent away.
type oneAddress struct {
	*net.TCPListener
	address netip.Addr
}

// Accept gives the next connection to the address.
func (l *oneAddress) Accept() (net.Conn, error) {
	for {
		conn, err := l.TCPListener.Accept()
		if err != nil {
			return nil, err
		}
		if at, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil && at.Addr().Unmap().WithZone("") == l.address {
			return conn, nil
		}
		_ = conn.Close() // nothing was said
	}
}

// Keep gives the manager a socket of this daemon to keep, so that the next life of it
// gets it: nobody else can listen there meanwhile. A manager that does not want it
// (FileDescriptorStoreMax= in the unit) forgets it.
func (s *Sockets) Keep(at netip.AddrPort, l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tcp, ok := l.(*net.TCPListener)
	if !ok || s.manager.path == "" || s.all[at] != nil {
		return
	}
	f, err := tcp.File()
	if err != nil {
		s.manager.log.Warn("the service manager cannot keep a socket", "address", at, "error", err)
		return
	}
	if err := s.manager.store(name(at), f); err != nil {
		s.manager.log.Warn("the service manager is not given a socket to keep", "address", at, "error", err)
		_ = f.Close() // it is the listener's that counts
		return
	}
	s.all[at] = f
}

// Drop has nobody keep sockets that are not at one of addresses, or at the port of one on
// every address.
func (s *Sockets) Drop(but ...netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range s.all {
		if !slices.ContainsFunc(but, func(b netip.AddrPort) bool { return at == b || at.Addr().IsUnspecified() && at.Port() == b.Port() }) {
			s.drop(at)
		}
	}
}

// Forget has nobody keep the socket at an address, which is not listened at any more: a
// reload has made it another, and somebody else may.
func (s *Sockets) Forget(at netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[at] != nil {
		s.drop(at)
	}
}

// drop does it for one; s.mu is held.
func (s *Sockets) drop(at netip.AddrPort) {
	_ = s.all[at].Close() // nothing is lost
	delete(s.all, at)
	s.manager.Tell("FDSTOREREMOVE=1\nFDNAME=" + name(at))
}

// name is what the manager calls a socket that it keeps: no colon may be in it.
func name(at netip.AddrPort) string { return fmt.Sprintf("port-%d", at.Port()) }

// store gives the manager a file to keep.
func (m *Manager) store(name string, f *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket to the service manager: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // it was written to, or not
	path := m.path
	if path[0] == '@' { // of the abstract name space
		path = "\x00" + path[1:]
	}
	err = onDescriptor(f, func(kept int) error {
		return unix.Sendmsg(fd, []byte("FDSTORE=1\nFDNAME="+name), unix.UnixRights(kept), &unix.SockaddrUnix{Name: path}, unix.MSG_NOSIGNAL)
	})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
