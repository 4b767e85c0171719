// Package nic says what is wrong with the interfaces and addresses of this host, as quickly
// as the kernel can: by ioctl(2), with no message to wait for. It changes nothing.
package nic

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Control is the socket that is asked. It is for one goroutine at a time.
type Control struct{ fd int }

// Open opens one.
func Open() (*Control, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket to ask for interfaces: %w", err)
	}
	return &Control{fd}, nil
}

// Close closes it.
func (c *Control) Close() error { return unix.Close(c.fd) }

// IndexFault says what is wrong with the interface with the index.
func (c *Control) IndexFault(index int) string {
	req, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	req.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFNAME, req); err != nil {
		return "" // it went away just now: the next look finds another path
	}
	return c.Fault(req.Name())
}

// Fault says what is wrong with an interface, for people; "" for nothing.
func (c *Control) Fault(name string) string {
	is, err := c.flags(name)
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Sprintf("there is no interface %s", name)
	case err != nil:
		return fmt.Sprintf("cannot ask for the state of interface %s: %v", name, err)
	case is&unix.IFF_UP == 0:
		return fmt.Sprintf("interface %s is down", name)
	case is&unix.IFF_RUNNING == 0:
		return fmt.Sprintf("interface %s has no carrier", name)
	}
	return ""
}

// Index gives the index of an interface.
func (c *Control) Index(name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, unix.ENODEV
	}
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}

func (c *Control) flags(name string) (uint16, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, unix.ENODEV // no interface can have such a name
	}
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFFLAGS, req); err != nil {
		return 0, err
	}
	return req.Uint16(), nil
}

// HasAddress reports whether this host has the address, and not as a tentative
// one: only then can a socket be bound to it.
func HasAddress(a netip.Addr) bool {
	// What else can go wrong, such as too many open files, says nothing of it.
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	err = errors.Join(unix.Bind(fd, Sockaddr(a)), unix.Close(fd))
	return !errors.Is(err, unix.EADDRNOTAVAIL)
}

// Sockaddr gives a with port 0.
func Sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}
