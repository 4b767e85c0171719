package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/ether"
	"holdfast/internal/rtnl"
	"holdfast/internal/sockdiag"
)

// routeMetric is above that of the kernel's own connected routes, 0 for IPv4 and 256
// for IPv6, so that those are preferred where they exist. CopyMetric is that of the
// routes of a Copy (package move): the end of an Address's must not be that of the Copy's.
const (
	routeMetric = 1024
	CopyMetric  = routeMetric + 1
)

// An Address is one VIP, with all its addresses, on one interface of this
// host. Its methods may be called from several goroutines. Claim, Hold and
// Announce wait for nothing but the kernel, so that a thread with real-time
// priority can call them.
type Address struct {
	options   Options
	log       *slog.Logger
	seconds   uint32 // of the lease
	announcer announcer
	putBack   atomic.Uint64
	lapsed    atomic.Uint64
	moved     atomic.Uint64

	mu      sync.Mutex // guards following
	kernel  rtnl.Conn
	devices []*device // of each, only index, announced and networks change
	renewed time.Time // when all leases were last known to run
	// stopReset ends the resetting that the last Release began; may be nil.
	stopReset context.CancelFunc
	resetting sync.WaitGroup

	// Present is not to make Hold wait, so it has a socket of its own.
	lookMu sync.Mutex // guards look
	look   rtnl.Conn
}

// Stats counts since the Address was made.
type Stats struct {
	// PutBack counts addresses that Hold found removed by someone else, Lapsed
	// those whose lease had ended because Hold came too late.
	PutBack, Lapsed uint64
	// Moved counts changes of the MAC address at which the VIP is, which Hold
	// found and announced.
	Moved uint64
	// Announced and AnnounceFailed count frames.
	Announced, AnnounceFailed uint64
}

// New gives the Address that options describe, without touching the machine.
// The error has everything that is wrong with them.
func New(options Options) (*Address, error) {
	options = options.withDefaults()
	if err := options.validate(); err != nil {
		return nil, err
	}
	log := options.Log.With("vip", options.Name, "interface", options.Interface)
	return &Address{
		options:   options,
		log:       log,
		seconds:   uint32(options.Lease / time.Second),
		devices:   devicesOf(options),
		announcer: announcer{log: log},
	}, nil
}

// Claim adds all addresses as a lease, or renews the lease of those that are
// there. After an error none is there. Announce is the caller's to call.
func (a *Address) Claim(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("claim vip %s: %w", a.options.Name, err)
	}
	a.endReset()
	begun := time.Now()
	var targets []target
	for _, d := range a.devices {
		t, err := a.claimDevice(ctx, d)
		if err != nil {
			return errors.Join(fmt.Errorf("claim vip %s: %w", a.options.Name, err), a.remove())
		}
		targets = append(targets, t)
	}
	a.announcer.set(targets)
	a.renewed = begun
	return nil
}

// claimDevice readies a device and leases its addresses.
func (a *Address) claimDevice(ctx context.Context, d *device) (target, error) {
	l, err := d.ready(&a.kernel, a.log)
	if err != nil {
		return target{}, err
	}
	if l.Flags&unix.IFF_UP == 0 && d.parent == "" {
		a.log.Warn("the interface is down: nobody reaches the address; ip link set up")
	}
	for _, p := range d.prefixes {
		added, err := a.lease(d, p.Addr())
		if err == nil && added {
			err = a.reroute(d.index, p.Addr())
		}
		if err != nil {
			return target{}, err
		}
	}
	networks, copies, err := d.survey(&a.kernel)
	if err != nil {
		return target{}, err
	}
	for _, c := range copies {
		a.log.Warn("the network configuration has the address too, without a lease; take it out there", "address", c)
	}
	d.networks = networks
	if err := a.connect(d); err != nil {
		return target{}, err
	}
	d.announced = l.MAC()
	return newTarget(l, d.prefixes), a.settled(ctx, d)
}

// reroute has the connections of this host's own clients look again where address
// is, which is one of this host now. An IPv6 one would go on with the route that it
// has until its segments are lost for some seconds, as the new route is in another
// table; a route in the same table, for a moment, changes that.
func (a *Address) reroute(index int, address netip.Addr) error {
	if address.Is4() {
		return nil // the kernel does so itself
	}
	err := a.kernel.Connect(index, rtnl.HostPrefix(address), address, 1, CopyMetric)
	if errors.Is(err, unix.ENETDOWN) {
		return nil
	}
	if err == nil {
		err = a.kernel.Disconnect(index, rtnl.HostPrefix(address), CopyMetric)
	}
	if err != nil {
		return fmt.Errorf("refresh the routes to %s: %w", address, err)
	}
	return nil
}

// Hold renews the lease. An address that someone has removed, even with the
// device that it was on, is put back, announced, logged and counted. So is one
// whose device has another MAC address than it had: neighbours would send to the
// old one for as long as they remember it.
func (a *Address) Hold(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("hold vip %s: %w", a.options.Name, err)
	}
	begun := time.Now()
	var errs []error
	lost := false
	for _, d := range a.devices {
		put, err := a.holdDevice(ctx, d)
		lost = lost || put
		errs = append(errs, err)
	}
	if lost && ctx.Err() == nil {
		a.announcer.round() // not where the kernel took so long that another has it by now
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("hold vip %s: %w", a.options.Name, err)
	}
	a.renewed = begun
	return nil
}

func (a *Address) holdDevice(ctx context.Context, d *device) (lost bool, err error) {
	l, err := a.follow(d)
	if err != nil || l.Index == 0 {
		return true, errors.Join(err, a.reclaim(ctx, d))
	}
	for _, p := range d.prefixes {
		added, err := a.lease(d, p.Addr())
		if errors.Is(err, unix.ENODEV) {
			return true, a.reclaim(ctx, d)
		}
		if err != nil {
			return lost, err
		}
		if added {
			a.missed(p.Addr())
		}
		lost = lost || added
	}
	if lost {
		err = a.settled(ctx, d)
	}
	return lost || a.hasMoved(d, l.MAC()), errors.Join(a.connect(d), err)
}

// follow gives the device that has d's name now, a zero link when it is not the
// one that has the addresses: it was made anew, or another was given its name.
func (a *Address) follow(d *device) (rtnl.Link, error) {
	if d.index == 0 {
		return rtnl.Link{}, nil
	}
	l, err := a.kernel.LinkByName(d.name)
	if errors.Is(err, unix.ENODEV) {
		err = nil
	}
	if err != nil {
		return l, a.kernel.Explain("find", d.name, err)
	}
	if l.Index == d.index {
		return l, nil
	}
	// The old one is gone, as a rule. One that only has another name is not to
	// have the addresses too.
	var errs []error
	for _, p := range d.prefixes {
		errs = append(errs, a.delete(d.index, d, rtnl.HostPrefix(p.Addr())))
	}
	return rtnl.Link{}, errors.Join(errs...)
}

// hasMoved counts and logs that d has another MAC address than was announced.
func (a *Address) hasMoved(d *device, hw ether.MAC) bool {
	if hw == d.announced {
		return false
	}
	a.log.Warn("the device of the address has another MAC address; announce it", "device", d.name, "was", d.announced.String(), "is", hw.String())
	d.announced = hw
	a.moved.Add(1)
	return true
}

// missed counts and logs that an address was not there, and is again.
func (a *Address) missed(address netip.Addr) {
	if late := time.Since(a.renewed); late >= a.options.Lease {
		a.lapsed.Add(1)
		a.log.Warn("the lease ended before it was renewed; put the address back", "address", address, "since renewed", late.Round(time.Millisecond).String())
		return
	}
	a.putBack.Add(1)
	a.log.Warn("someone removed the address; put it back", "address", address)
}

// reclaim finds or makes a device that went away, and puts all its addresses
// on it.
func (a *Address) reclaim(ctx context.Context, d *device) error {
	t, err := a.claimDevice(ctx, d)
	if err != nil {
		return err
	}
	a.putBack.Add(uint64(len(d.prefixes)))
	a.log.Warn("the device of the address was gone; put the address back", "device", d.name)
	a.announcer.add(t)
	return nil
}

func (a *Address) lease(d *device, address netip.Addr) (added bool, err error) {
	if added, err = a.kernel.Lease(d.index, address, a.seconds); err != nil {
		return added, a.kernel.Explain(fmt.Sprintf("add %s to", address), d.name, err)
	}
	return added, nil
}

// settled waits until the IPv6 addresses of the device work.
func (a *Address) settled(ctx context.Context, d *device) error {
	for _, p := range d.prefixes {
		if p.Addr().Is4() {
			continue
		}
		err := a.kernel.AwaitLocal(ctx, p.Addr())
		if errors.Is(err, rtnl.ErrUnsettled) {
			a.log.Warn(err.Error(), "address", p.Addr())
		} else if err != nil {
			return fmt.Errorf("wait for %s on %s: %w", p.Addr(), d.name, err)
		}
	}
	return nil
}

// connect adds or renews the routes that only the VIP gives.
func (a *Address) connect(d *device) error {
	for _, network := range d.networks {
		err := a.kernel.Connect(d.index, network, SourceIn(d.prefixes, network), a.seconds, routeMetric)
		if err != nil && !errors.Is(err, unix.ENETDOWN) { // it comes with the interface
			return fmt.Errorf("add route to %s on %s: %w", network, d.name, err)
		}
	}
	return nil
}

// Announce tells the neighbours, once for each address, where it now is: by
// gratuitous ARP, in the form of a request and of a reply in turn, or by an
// unsolicited neighbour advertisement. It never waits, and does nothing unless
// the addresses are claimed. What cannot be sent is logged and counted.
func (a *Address) Announce() { a.announcer.round() }

// Withdraw removes the addresses, and the macvlan devices, but leaves the
// connections alone: for a planned move, which keeps them. It is done also
// when nothing was there, and whether or not ctx has ended.
func (a *Address) Withdraw(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.remove()
}

// Release removes the addresses, and then resets the TCP connections that have
// one of them as their local address, so that their peers need not wait for an
// answer in vain. It returns when the addresses are gone, whether or not ctx
// has ended; the connections, some 25 µs for each, end in a goroutine of their
// own, which a Claim ends and Close waits for.
func (a *Address) Release(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.remove()
	a.endReset()
	// Opened here, in the network namespace of the caller's thread.
	sockets := &sockdiag.Conn{}
	if failed := sockets.Open(); failed != nil {
		return errors.Join(err, fmt.Errorf("reset the connections of vip %s: %w", a.options.Name, failed))
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), resetTime)
	a.stopReset = stop
	a.resetting.Go(func() {
		defer stop()
		a.reset(ctx, sockets)
	})
	return err
}

// resetTime bounds the resetting of connections after a Release.
const resetTime = 10 * time.Second

func (a *Address) endReset() {
	if a.stopReset != nil {
		a.stopReset()
		a.stopReset = nil
	}
}

// reset destroys the connections of all addresses, until ctx ends, and closes
// sockets.
func (a *Address) reset(ctx context.Context, sockets *sockdiag.Conn) {
	for _, p := range a.options.Addresses {
		n, err := sockets.Destroy(ctx, sockdiag.Match{Local: netip.AddrPortFrom(p.Addr(), 0)}, sockdiag.Anybodys)
		if n > 0 {
			a.log.Info("reset the connections of the released address", "address", p.Addr(), "connections", n)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			a.log.Warn("connections of the released address are left to time out", "address", p.Addr(), "error", err)
		}
	}
	if err := sockets.Close(); err != nil {
		a.log.Warn("close netlink", "error", err)
	}
}

// remove removes all that Claim adds, going on after an error.
func (a *Address) remove() error {
	a.announcer.set(nil)
	var errs []error
	for _, d := range a.devices {
		if err := a.removeFrom(d); err != nil {
			errs = append(errs, fmt.Errorf("release vip %s: %w", a.options.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (a *Address) removeFrom(d *device) error {
	l, err := d.find(&a.kernel)
	if err != nil || l.Index == 0 {
		d.index = 0
		return err
	}
	var errs []error
	for _, p := range d.prefixes {
		errs = append(errs, a.delete(l.Index, d, rtnl.HostPrefix(p.Addr())))
	}
	errs = append(errs, a.removeCopies(l.Index, d))
	for _, network := range d.networks {
		errs = append(errs, a.kernel.Disconnect(l.Index, network, routeMetric), a.reconnect(l.Index, d, network))
	}
	if d.parent != "" && l.Kind == rtnl.KindMacvlan && l.MAC() == d.hw {
		if err := a.kernel.DeleteLink(l.Index); err != nil {
			errs = append(errs, a.kernel.Explain("delete macvlan device", d.name, err))
		}
	}
	d.index, d.networks = 0, nil
	return errors.Join(errs...)
}

// reconnect puts the route of a Copy back. With the last IPv4 address of an
// interface the kernel removes all its routes; the Copy's address is on lo.
func (a *Address) reconnect(index int, d *device, network netip.Prefix) error {
	if d.parent != "" || !network.Addr().Is4() {
		return nil
	}
	source := SourceIn(d.prefixes, network)
	kept, err := a.kernel.IsLocal(source)
	if err != nil || !kept {
		return err
	}
	return a.kernel.Connect(index, network, source, a.seconds, CopyMetric)
}

// removeCopies removes the VIP's addresses that the interface has with another
// prefix length: the network configuration's, which no lease ends.
func (a *Address) removeCopies(index int, d *device) error {
	on, err := a.kernel.Addresses(index)
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", d.name, err)
	}
	var errs []error
	for _, p := range on {
		if d.has(p.Addr()) {
			a.log.Warn("removed an address that the network configuration has; take it out there", "address", p)
			errs = append(errs, a.delete(index, d, p))
		}
	}
	return errors.Join(errs...)
}

func (a *Address) delete(index int, d *device, p netip.Prefix) error {
	if err := a.kernel.DeleteAddress(index, p); err != nil {
		return a.kernel.Explain(fmt.Sprintf("remove %s from", p), d.name, err)
	}
	return nil
}

// Present reports whether the kernel has all addresses on their devices now,
// whoever put them there: an agent that starts finds out with it whether an
// earlier one's lease still runs, and then claims or releases.
func (a *Address) Present() (bool, error) {
	a.lookMu.Lock()
	defer a.lookMu.Unlock()
	for _, d := range a.devices {
		l, err := d.find(&a.look)
		if err != nil {
			return false, fmt.Errorf("look for vip %s: %w", a.options.Name, err)
		}
		if l.Index == 0 {
			return false, nil
		}
		on, err := a.look.Addresses(l.Index)
		if err != nil {
			return false, fmt.Errorf("list the addresses of %s: %w", d.name, err)
		}
		for _, p := range d.prefixes {
			if !slices.ContainsFunc(on, func(q netip.Prefix) bool { return q.Addr() == p.Addr() }) {
				return false, nil
			}
		}
	}
	return true, nil
}

// Stats gives the counters.
func (a *Address) Stats() Stats {
	return Stats{
		PutBack:        a.putBack.Load(),
		Lapsed:         a.lapsed.Load(),
		Moved:          a.moved.Load(),
		Announced:      a.announcer.sent.Load(),
		AnnounceFailed: a.announcer.failed.Load(),
	}
}

// Close waits for the connections that Release resets, and closes the sockets.
// It does not remove the addresses. The Address can be used again.
func (a *Address) Close() error {
	a.resetting.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lookMu.Lock()
	defer a.lookMu.Unlock()
	return errors.Join(a.kernel.Close(), a.look.Close(), a.announcer.close())
}
