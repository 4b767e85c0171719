package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// delayedPortName is the port of a node's link while a relay is between that
// and the bridge, relayName the relay's end of it.
func delayedPortName(node, link int) string { return fmt.Sprintf("d%d.%d", node, link) }
func relayName(node, link int) string       { return fmt.Sprintf("r%d.%d", node, link) }

const (
	// maxFrame is the longest frame that the kernel hands over: one that it
	// would cut up itself later, and the header that says how.
	maxFrame = 64<<10 + 256
	// relayQueue is how many frames a relay holds in one direction. More are
	// lost, as on any wire.
	relayQueue = 4096
	maxDelay   = 10 * time.Second
)

// A relay holds every frame between one link of a node and the bridge for a
// while. It passes frames with the kernel's own notes on checksums and
// segments, so that nothing has to be computed.
type relay struct {
	port  string // the node's port, taken out of the bridge
	ends  [2]*os.File
	delay time.Duration
	wg    sync.WaitGroup
}

// newRelay takes the link's port out of the bridge and puts the relay there.
func newRelay(node, link int, delay time.Duration) (*relay, error) {
	r := &relay{port: portName(node, link), delay: delay}
	if err := r.rewire(node, link); err != nil {
		return nil, errors.Join(fmt.Errorf("delay %s: %w", r.port, err), r.close(node, link))
	}
	for i, from := range r.ends {
		to := r.ends[1-i]
		r.wg.Go(func() { r.pass(from, to) })
	}
	return r, nil
}

func (r *relay) rewire(node, link int) error {
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("find the bridge: %w", err)
	}
	port, err := netlink.LinkByName(r.port)
	if err != nil {
		return fmt.Errorf("find the port: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags, attrs.MasterIndex = delayedPortName(node, link), net.FlagUp, bridge.Attrs().Index
	wire := netlink.NewVeth(attrs)
	wire.PeerName = relayName(node, link)
	if err := netlink.LinkAdd(wire); err != nil {
		return fmt.Errorf("make a second wire: %w", err)
	}
	for _, name := range []string{attrs.Name, wire.PeerName} {
		writeSysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1")
	}
	if err := linkUp(wire.PeerName); err != nil {
		return err
	}
	if err := netlink.LinkSetNoMaster(port); err != nil {
		return fmt.Errorf("unplug the port: %w", err)
	}
	for i, name := range []string{r.port, wire.PeerName} {
		if r.ends[i], err = openFrames(name); err != nil {
			return err
		}
	}
	return nil
}

// openFrames opens a packet socket for all that comes in on the interface.
func openFrames(name string) (*os.File, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	all := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8) // in the network's order
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(iface.Index), Type: unix.PACKET_MR_PROMISC}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: iface.Index}),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen to the frames of %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// A heldFrame is one on its way.
type heldFrame struct {
	until time.Time
	data  []byte
}

// pass hands on what comes from one side to the other, each frame as late.
func (r *relay) pass(from, to *os.File) {
	held := make(chan heldFrame, relayQueue)
	r.wg.Go(func() {
		for f := range held {
			time.Sleep(time.Until(f.until))
			// A frame that cannot be sent, as to a link that is down, is lost.
			_, _ = to.Write(f.data)
		}
	})
	defer close(held)
	buf := make([]byte, maxFrame)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue // said once, when the link goes down
		}
		if err != nil {
			return
		}
		select {
		case held <- heldFrame{time.Now().Add(r.delay), append([]byte(nil), buf[:n]...)}:
		default:
		}
	}
}

// close takes the relay away and plugs the node's port in again, if it is there.
func (r *relay) close(node, link int) error {
	var errs []error
	for _, end := range r.ends {
		if end != nil {
			errs = append(errs, end.Close())
		}
	}
	r.wg.Wait()
	if wire, err := netlink.LinkByName(delayedPortName(node, link)); err == nil {
		errs = append(errs, netlink.LinkDel(wire))
	}
	port, err := netlink.LinkByName(r.port)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return errors.Join(errs...)
	}
	bridge, bridgeErr := netlink.LinkByName(bridgeName)
	if err := errors.Join(err, bridgeErr); err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, netlink.LinkSetMaster(port, bridge))
	return errors.Join(errs...)
}
