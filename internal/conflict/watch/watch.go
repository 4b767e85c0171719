// Package watch looks, on one interface, whether another machine has a virtual address:
// it hears the frames that say so, asks the network before the address is taken because
// nobody was heard, and tells the VRRP loop when the silence of the others counts. It
// also hears adverts of routers that are none of the spec's, whatever the loop hears.
//
// What is to be done when is for package conflict; who holds the address for VRRP.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/conflict"
	"holdfast/internal/ether"
	"holdfast/internal/rtnl"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

const (
	// reopenEvery is the time between two tries to open the socket.
	reopenEvery = 500 * time.Millisecond
	// blindAfter is how long a doubt may last without a socket: a fault of this part of
	// the agent must not cost the address.
	blindAfter = 3 * time.Second
	// sweepEvery is how often it is looked whether what is told of is over.
	sweepEvery = time.Second
	// deafAfter is how long a controller whose adverts are not heard may have the address
	// before that is told of: the next advert may be under way.
	deafAfter = 3 * time.Second
)

// Options is what a Watch is made of.
type Options struct {
	Name      string // of the VIP
	Interface string
	Addresses []netip.Addr // of the VIP
	RouterID  uint8
	Multicast bool          // the controllers' adverts are
	Interval  time.Duration // of these
	Source    netip.Addr    // this controller's address
	// Peers gives the other controllers, name by address, and Delay how long after the
	// interface came up nobody need be heard on it. Both may change, see Poke.
	Peers func() map[netip.Addr]string
	Delay func() time.Duration

	Loop Loop
	// Announce tells the neighbours where the addresses are.
	Announce func()
	// Report is told the finding under a key of its code, nil when there is none any more.
	Report func(code, key string, f *status.Finding)
	Log    *slog.Logger
}

// A Loop is the VRRP loop of the VIP: see link.Loop.
type Loop interface {
	Stats() link.Stats
	Doubted() <-chan uint64
	SetTrust(link.Trust)
}

// A Watch is that of one VIP.
type Watch struct {
	opt    Options
	poked  chan struct{}
	claims atomic.Uint64
	rival  atomic.Pointer[time.Time]
}

// New makes a Watch. It touches nothing until it is run.
func New(opt Options) *Watch { return &Watch{opt: opt, poked: make(chan struct{}, 1)} }

// Poke has it look again: the loop's state is another, or the spec.
func (w *Watch) Poke() {
	tick.Wake(w.poked)
}

// Claims counts the frames in which another machine said that one of the addresses is its
// own, answers to this controller's questions included.
func (w *Watch) Claims() uint64 { return w.claims.Load() }

// Rival gives when a router that is none of the spec's last said, by an advert of
// whatever version, that it holds one of the addresses; the zero time for never.
func (w *Watch) Rival() time.Time {
	if at := w.rival.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// A round is a Watch that runs. All of it belongs to the goroutine of Run, but what
// listen puts into frames.
type round struct {
	*Watch
	links  rtnl.Conn
	frames chan frame
	wg     sync.WaitGroup

	socket  *socket // nil while there is none
	peers   map[netip.Addr]string
	targets []netip.Addr // hosts that are to answer, and are on the interface
	turn    int          // of the targets, to be asked
	reopen  time.Time
	trouble string // why it could not be opened
	nobody  bool   // nobody can be heard on the interface

	guard   conflict.Guard
	doubt   uint64
	since   time.Time // of the doubt
	up      time.Duration
	met     bool // a target has answered since then
	told    link.Trust
	own     map[ether.MAC]bool
	ownAt   time.Time
	foreign map[string]*foreigner
	taken   time.Time // since when another machine has the address
	said    string    // in the finding of that
}

// A frame is what listen has read; err is the end of it.
type frame struct {
	from    *socket
	claim   conflict.Claim
	foreign conflict.Foreign
	err     error
}

// A foreigner is a router that is none of the spec's.
type foreigner struct {
	conflict.Foreign
	last time.Time
	key  string
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	r := &round{Watch: w, frames: make(chan frame, 16), foreign: map[string]*foreigner{}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		r.listenAnew()
		next := r.step(time.Now())
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			r.end()
			return
		case r.doubt = <-w.opt.Loop.Doubted():
			r.begin(time.Now())
		case f := <-r.frames:
			r.take(time.Now(), f)
		case <-w.poked:
		case <-timer.C:
		}
	}
}

// end closes the socket and takes back what was told.
func (r *round) end() {
	r.closeSocket()
	done := make(chan struct{})
	go func() { r.wg.Wait(); close(done) }()
	for running := true; running; { // the one who reads may be about to tell something
		select {
		case <-r.frames:
		case <-done:
			running = false
		}
	}
	for _, f := range r.foreign {
		r.opt.Report(status.CodeForeignRouter, f.key, nil)
	}
	r.tellTaken("")
	if err := r.links.Close(); err != nil {
		r.opt.Log.Warn("close netlink", "vip", r.opt.Name, "error", err)
	}
}

// begin begins a doubt: the silence counts for nothing.
func (r *round) begin(now time.Time) {
	first := r.since.IsZero()
	r.since, r.met, r.told = now, false, link.Trust{Doubt: r.doubt}
	r.guard.Doubt(now)
	r.closeSocket() // the interface may be another
	r.reopen = now
	r.up = 0
	r.listenAnew()
	if r.socket == nil {
		return
	}
	// At the start of the agent the interface may have been up for long, and then it has
	// carried something: the kernel forgets its neighbours with the carrier.
	if first {
		if age, there, err := r.links.AddressAge(r.socket.index, r.opt.Source); err == nil && there {
			r.up = age
		}
	}
	r.lookAround()
}

// lookAround asks the kernel whether a host has answered on the interface, whoever asked it.
func (r *round) lookAround() {
	neighbours, err := r.links.Neighbours(r.socket.index)
	r.met = r.met || err == nil && len(neighbours) > 0
}

// listenAnew opens the socket, where it is not, or for other peers than before.
func (r *round) listenAnew() {
	now := time.Now()
	peers := r.opt.Peers()
	if r.socket != nil && !maps.EqualFunc(peers, r.peers, func(string, string) bool { return true }) {
		r.closeSocket()
		r.reopen = now
	}
	if r.socket != nil || now.Before(r.reopen) {
		return
	}
	r.peers, r.reopen = peers, now.Add(reopenEvery)
	err := r.openSocket()
	r.nobody = errors.Is(err, errNobody)
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != r.trouble && !r.nobody {
		r.opt.Log.Warn("cannot look whether another machine has the address; trying again", "vip", r.opt.Name, "error", err)
	}
	r.trouble = trouble
}

func (r *round) openSocket() error {
	l, err := r.links.LinkByName(r.opt.Interface)
	if err != nil {
		return fmt.Errorf("look for interface %s: %w", r.opt.Interface, err)
	}
	r.targets = r.findTargets(l.Index)
	s := sieve{
		addresses: append(slices.Clone(r.opt.Addresses), r.targets...), routerID: r.opt.RouterID,
		multicast: r.opt.Multicast,
	}
	for a := range r.peers {
		s.peers = append(s.peers, a)
	}
	if r.socket, err = open(l, s); err != nil {
		r.socket = nil
		return err
	}
	opened := r.socket
	r.wg.Go(func() { r.listen(opened) })
	return nil
}

// findTargets gives the hosts that are to answer on the interface, if it carries
// anything: the other controllers that are on it, and its routers.
func (r *round) findTargets(index int) []netip.Addr {
	gateways, err := r.links.Gateways(index)
	if err != nil {
		r.opt.Log.Debug("which routers there are is not known", "vip", r.opt.Name, "error", err)
	}
	var all []netip.Addr
	for a := range r.peers {
		if to, err := r.links.RouteTo(r.opt.Source, a, 0); err == nil && to.Device == index && !to.Behind {
			all = append(all, a)
		}
	}
	all = append(all, gateways...)
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return slices.Contains(r.opt.Addresses, a) })
}

func (r *round) closeSocket() {
	if r.socket == nil {
		return
	}
	if err := r.socket.close(); err != nil {
		r.opt.Log.Debug("close a packet socket", "vip", r.opt.Name, "error", err)
	}
	r.socket = nil
}

// listen reads frames until the socket is closed, or fails.
func (r *round) listen(s *socket) {
	buf := make([]byte, 2048)
	for {
		b, err := s.receive(buf)
		f := frame{from: s, err: err}
		if err == nil {
			if claim, ok := conflict.ParseClaim(b); ok {
				f.claim = claim
			} else if foreign, ok := conflict.ParseForeign(b); ok {
				f.foreign = foreign
			} else {
				continue
			}
		}
		r.frames <- f
		if err != nil {
			return
		}
	}
}

// take takes in a frame.
func (r *round) take(now time.Time, f frame) {
	switch {
	case f.from != r.socket: // of one that was closed
	case f.err != nil: // the interface is down, or gone
		r.closeSocket()
		r.reopen = now.Add(reopenEvery)
	case f.foreign.Version > 0:
		r.meet(now, f.foreign)
	case r.isOwn(now, f.claim.MAC):
	case slices.Contains(r.opt.Addresses, f.claim.Address):
		r.claims.Add(1)
		r.met = true
		r.guard.Claimed(now, f.claim)
	default: // one of the targets
		r.met = true
	}
}

// isOwn reports whether a MAC address is one of this host's: it may have several
// interfaces on one network, which answer for each other.
func (r *round) isOwn(now time.Time, mac ether.MAC) bool {
	const keep = time.Second
	if now.Sub(r.ownAt) > keep {
		links, err := r.links.Links()
		if err != nil {
			r.opt.Log.Debug("the interfaces of this host are not known", "vip", r.opt.Name, "error", err)
		}
		r.ownAt, r.own = now, map[ether.MAC]bool{}
		for _, l := range links {
			r.own[l.MAC()] = true
		}
	}
	return r.own[mac]
}

// step does what is due, and gives when there is something next.
func (r *round) step(now time.Time) time.Time {
	stats := r.opt.Loop.Stats()
	active := stats.State == vrrp.Active
	r.guard.Others, r.guard.Delay, r.guard.Interval = len(r.targets) > 0 && len(r.peers) > 0, r.opt.Delay(), r.opt.Interval
	out := r.guard.Step(now, conflict.Facts{
		Active: active, Heard: !active && stats.Holder != "", Forwards: r.met, Up: r.up + now.Sub(r.since),
	})
	if out.Probe {
		r.probe(active)
	}
	if out.Reach && r.socket != nil {
		if r.lookAround(); len(r.targets) > 0 {
			r.turn++
			r.send(r.targets[r.turn%len(r.targets)])
		}
	}
	if out.Answer {
		r.opt.Announce()
	}
	r.trust(now, out)
	r.dispute(now, out, active)
	r.sweep(now)
	next := now.Add(time.Hour)
	for _, at := range []time.Time{out.Next, r.due()} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// due gives when there is something to do beside the guard's.
func (r *round) due() time.Time {
	switch {
	case r.socket == nil && !r.nobody:
		return r.reopen
	case len(r.foreign) > 0 || !r.taken.IsZero():
		return time.Now().Add(sweepEvery)
	}
	return time.Time{}
}

// probe asks who has the addresses: the network, and this host, on which another program
// may have put them.
func (r *round) probe(active bool) {
	if r.socket == nil {
		return
	}
	for _, a := range r.opt.Addresses {
		r.send(a)
		if index, err := r.links.Fixed(a); err == nil && index != 0 && !active {
			r.guard.Claimed(time.Now(), conflict.Claim{MAC: r.socket.mac, Address: a})
		}
	}
}

func (r *round) send(a netip.Addr) {
	if err := r.socket.probe(a); err != nil {
		r.opt.Log.Debug("cannot ask for an address", "vip", r.opt.Name, "error", err)
	}
}

// trust tells the loop whether silence counts.
func (r *round) trust(now time.Time, out conflict.Output) {
	t := link.Trust{Doubt: r.doubt, Counts: out.Counts, Humble: out.Humble}
	switch {
	case r.doubt == 0:
		return
	case r.nobody, r.socket == nil && now.Sub(r.since) > blindAfter:
		t.Counts, t.Humble = true, false
	case !t.Counts:
		t.Why = out.Why
	}
	if t.Counts {
		t.Since = out.Since
	}
	if t != r.told {
		r.told = t
		r.opt.Loop.SetTrust(t)
	}
}
