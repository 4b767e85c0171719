package vip

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"holdfast/internal/ether"
	"holdfast/internal/rtnl"
)

// A target is a device to announce addresses on.
type target struct {
	name      string
	index     int
	hw        ether.MAC
	silent    bool // no Ethernet: rtnl.Loopback, point-to-point
	addresses []netip.Addr
}

func newTarget(l rtnl.Link, prefixes []netip.Prefix) target {
	t := target{name: l.Name, index: l.Index, hw: l.MAC()}
	t.silent = l.Flags&(unix.IFF_LOOPBACK|unix.IFF_NOARP) != 0 || l.MAC() == ether.MAC{}
	for _, p := range prefixes {
		t.addresses = append(t.addresses, p.Addr())
	}
	return t
}

// follow takes what l says now: a bond's MAC address, or a bridge's, is that of
// one of its ports, which may go.
func (t *target) follow(l rtnl.Link) {
	now := newTarget(l, nil)
	t.index, t.hw, t.silent = now.index, now.hw, now.silent
}

// An announcer sends announcements through one packet socket, opened when
// first used. It has nothing to announce until set.
type announcer struct {
	log          *slog.Logger
	sent, failed atomic.Uint64

	mu      sync.Mutex // guards following
	links   rtnl.Conn
	open    bool
	fd      int
	form    arpForm
	targets []target
	trouble string // the last error logged
}

// set replaces the targets.
func (n *announcer) set(targets []target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.targets, n.form = targets, 0
}

// add replaces the target of the same name.
func (n *announcer) add(t target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, have := range n.targets {
		if have.name == t.name {
			n.targets[i] = t
			return
		}
	}
	n.targets = append(n.targets, t)
}

// round sends one frame for each address, with the MAC addresses of this moment.
func (n *announcer) round() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.form == arpRequest {
		n.form = arpReply
	} else {
		n.form = arpRequest
	}
	var errs []error
	for i := range n.targets {
		t := &n.targets[i]
		l, err := n.links.LinkByName(t.name)
		if err != nil {
			n.failed.Add(1)
			errs = append(errs, fmt.Errorf("look up the MAC address of %s: %w", t.name, err))
			continue
		}
		if t.follow(l); t.silent {
			continue
		}
		errs = append(errs, n.sendAll(*t))
	}
	n.report(errors.Join(errs...))
}

func (n *announcer) sendAll(t target) error {
	forwarding := forwardsIPv6(t.name)
	for _, a := range t.addresses {
		etherType, frame := uint16(ether.ARP), []byte(nil)
		if a.Is4() {
			frame = gratuitousARP(t.hw, a, n.form)
		} else {
			etherType, frame = ether.IPv6, unsolicitedNA(t.hw, a, forwarding)
		}
		if err := n.send(t.index, etherType, frame); err != nil {
			n.failed.Add(1)
			return fmt.Errorf("announce %s on %s: %w", a, t.name, err)
		}
		n.sent.Add(1)
	}
	return nil
}

// send gives the frame to the device, or fails at once when its queue is full.
func (n *announcer) send(index int, etherType uint16, frame []byte) error {
	if !n.open {
		// Protocol 0: it sends, and receives nothing.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open packet socket, which needs CAP_NET_RAW: %w", err)
		}
		n.fd, n.open = fd, true
	}
	to := unix.SockaddrLinklayer{Protocol: rtnl.NetworkOrder(etherType), Ifindex: index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	return unix.Sendto(n.fd, frame, unix.MSG_DONTWAIT, &to)
}

// report logs an error once, until it changes.
func (n *announcer) report(err error) {
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != n.trouble {
		n.log.Warn("neighbours may still send to the old place", "error", err)
	}
	n.trouble = trouble
}

func (n *announcer) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.links.Close()
	if !n.open {
		return err
	}
	n.open = false
	return errors.Join(err, unix.Close(n.fd))
}

// forwardsIPv6 reports whether the host routes for others from this device,
// which an advertisement must say.
func forwardsIPv6(name string) bool {
	text, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/forwarding")
	return err == nil && strings.TrimSpace(string(text)) == "1"
}
