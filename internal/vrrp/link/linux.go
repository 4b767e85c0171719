package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
	"holdfast/internal/vrrp/link/nic"
	"holdfast/internal/vrrp/link/thread"
)

// linux is the host of production. Between enter and leave, all but wake and
// what the hand does is for the goroutine that called enter.
type linux struct {
	waker   atomic.Pointer[os.File] // an eventfd(2)
	links   int                     // netlink socket that tells of links
	control *nic.Control            // nil when closed
	socket  *socket                 // nil when closed
	polls   [3]unix.PollFd
	timeout unix.Timespec

	thread  thread.Priority
	routes  rtnl.Conn
	errands rtnl.Conn // of the hand's thread
}

func newLinux() *linux { return &linux{links: -1} }

// enter locks the goroutine to its thread, which gets the priority, and opens
// what wait needs.
func (h *linux) enter(o *Options) (string, error) {
	runtime.LockOSThread()
	if !o.NoPriority {
		thread.SpareProcessors()
	}
	if err := h.openDescriptors(); err != nil {
		return "", errors.Join(err, h.leave())
	}
	return h.thread.Raise(o.NoPriority), nil
}

func (h *linux) openDescriptors() error {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make an eventfd: %w", err)
	}
	h.waker.Store(os.NewFile(uintptr(event), "eventfd"))
	if h.control, err = nic.Open(); err != nil {
		return err
	}
	h.links, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	if err := unix.Bind(h.links, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return fmt.Errorf("listen to changes of links: %w", err)
	}
	h.polls = [3]unix.PollFd{
		{Fd: int32(event), Events: unix.POLLIN},
		{Fd: int32(h.links), Events: unix.POLLIN},
		{Fd: -1, Events: unix.POLLIN},
	}
	return nil
}

// leave closes all and gives the thread back as it was.
func (h *linux) leave() error {
	var errs []error
	if h.socket != nil {
		errs = append(errs, h.socket.close())
	}
	if f := h.waker.Swap(nil); f != nil {
		errs = append(errs, f.Close())
	}
	if h.links >= 0 {
		errs = append(errs, unix.Close(h.links))
		h.links = -1
	}
	if h.control != nil {
		errs = append(errs, h.control.Close())
		h.control = nil
	}
	errs = append(errs, h.routes.Close(), h.thread.Restore())
	runtime.UnlockOSThread()
	return errors.Join(errs...)
}

func (h *linux) wake() {
	f := h.waker.Load()
	if f == nil {
		return // not running: there is nothing to wake
	}
	// It fails only when leave has closed the file, and there is nothing to wake.
	_, _ = f.Write(binary.NativeEndian.AppendUint64(nil, 1))
}

func (h *linux) wait(until time.Time) (bool, error) {
	var timeout *unix.Timespec
	if !until.IsZero() {
		h.timeout = unix.NsecToTimespec(int64(max(0, time.Until(until))))
		timeout = &h.timeout
	}
	for i := range h.polls {
		h.polls[i].Revents = 0
	}
	n, err := unix.Ppoll(h.polls[:], timeout, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("wait for adverts: %w", err)
	}
	if n <= 0 {
		return false, nil
	}
	if h.polls[0].Revents != 0 {
		var count [8]byte
		if _, err := unix.Read(int(h.polls[0].Fd), count[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
			return false, fmt.Errorf("read an eventfd: %w", err)
		}
	}
	if h.polls[1].Revents != 0 {
		h.drainLinks()
		return true, nil
	}
	return false, nil
}

// drainLinks reads what netlink says and forgets it: that something changed is
// all that counts, fault looks for itself. A lost message says that too.
func (h *linux) drainLinks() {
	var buf [8192]byte
	for range 64 {
		if _, err := unix.Read(h.links, buf[:]); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
	}
}

func (h *linux) fault(o *Options) string {
	if f := h.control.Fault(o.Interface); f != "" {
		return f
	}
	if o.Multicast && o.Source.Is6() {
		return "" // open looks for the link-local address
	}
	if !nic.HasAddress(o.Source) {
		return fmt.Sprintf("this host does not have the controller's address %v", o.Source)
	}
	if o.Multicast {
		return ""
	}
	return h.pathFault(o)
}

// pathFault says why no peer at all can be reached, as far as this host can
// know: its own interfaces, which may be others than the VIP's.
func (h *linux) pathFault(o *Options) string {
	first := ""
	for _, peer := range o.destinations() {
		r, err := h.routes.RouteTo(o.Source, peer, 0)
		f := ""
		switch {
		case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
			f = fmt.Sprintf("this host has no route to another controller, such as %s", o.name(peer))
		case err == nil:
			f = h.control.IndexFault(r.Device)
		}
		if f == "" {
			return ""
		}
		if first == "" {
			first = f
		}
	}
	return first
}

func (h *linux) index(o *Options) int {
	index, err := h.control.Index(o.Interface)
	if err != nil {
		return 0
	}
	return index
}

// look looks for a VRF, and for the MAC addresses of the VIP's interface and of
// those towards the peers, which need not be the same.
func (h *linux) look(o *Options) sight {
	own, err := h.errands.LinkByName(o.Interface)
	if err != nil {
		return sight{} // fault says why
	}
	s := sight{macs: own.Hardware}
	if o.wantsLinkLocal() {
		s.linkLocal, _ = linkLocal(&h.errands, own.Index, o.Addresses) // not valid if there is none
	}
	if own.Master != 0 {
		if above, err := h.errands.LinkByIndex(own.Master); err == nil && above.Kind == "vrf" {
			s.fault = fmt.Sprintf("interface %s is in the VRF %s, and HAProxy hears only what is in none: "+
				"take it out (ip link set %s nomaster), or name another interface", o.Interface, above.Name, o.Interface)
		}
	}
	seen := map[int]bool{own.Index: true}
	for _, peer := range o.peers() {
		r, err := h.errands.RouteTo(o.Source, peer, 0)
		if err != nil || seen[r.Device] {
			continue
		}
		seen[r.Device] = true
		if l, err := h.errands.LinkByIndex(r.Device); err == nil {
			s.macs += " " + l.Hardware
		}
	}
	return s
}

// linkLocal gives the link-local address of an interface from which it is allowed to
// send adverts: not a virtual one.
func linkLocal(k *rtnl.Conn, index int, virtual []netip.Addr) (netip.Addr, error) {
	all, err := k.LinkLocals(index)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range all {
		if !slices.Contains(virtual, a) {
			return a, nil
		}
	}
	return netip.Addr{}, errNoLinkLocal
}

var errNoLinkLocal = errors.New("no link-local address to send adverts from (yet)")

func (h *linux) open(o *Options) (conn, error) {
	s, err := h.openSocket(o)
	if err != nil {
		return nil, err
	}
	h.socket = s
	h.polls[2].Fd = int32(s.fd)
	s.closed = func() { h.socket, h.polls[2].Fd = nil, -1 }
	return s, nil
}

func (h *linux) newBell() (bell, error) { return thread.NewBell() }

func (h *linux) onThread(o *Options, f func()) error {
	return thread.Go(o.NoPriority, func() {
		f()
		_ = h.errands.Close() // a socket that was only read: there is nothing to lose
	})
}
