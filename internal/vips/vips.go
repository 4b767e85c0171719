// Package vips has this controller's part in each VIP of the spec in force: the leased
// address, and the VRRP loop that says when to have it. A reload keeps what it can. Who
// holds a VIP is VRRP's business, and when one is given away that of planned moves.
package vips

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/conflict/watch"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/systemd"
	"holdfast/internal/vip"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

const (
	// loopSilence is how long a VRRP loop may be silent before it counts as stuck.
	// It must be less than the unit's WatchdogSec.
	loopSilence = 2 * time.Second
	// followInterval is how often Follow turns with nothing to do, and followSilence
	// how long it may not.
	followInterval = time.Second
	followSilence  = 10 * time.Second
)

// Options is what VIPs are made of.
type Options struct {
	Controller string // this one's name in the spec
	Log        *slog.Logger
	HAProxy    *process.Manager
	Spec       func() *spec.Spec // the one in force
	// Holder gives the address of the VIP called name as its loop is to have it.
	Holder func(name string, a *vip.Address) link.Holder
	// Priority gives what the VRRP priority that the spec has is now, and whether this
	// controller waits longer than others before it takes a VIP.
	Priority func(own int) (priority uint8, patient bool)
	// Policy gives the keys that controllers of s have, and what is done with them.
	Policy func(s *spec.Spec) auth.Policy
	// GivesWay reports whether this controller holds its VIPs on only until somebody
	// else has them.
	GivesWay func() bool
	// Note writes down what these addresses change in the kernel for longer than they
	// are held, and puts back what none of them needs.
	Note func(...*vip.Address) error
	// Event writes into the journal. Report is told a finding under a key of its code, nil
	// when there is none any more.
	Event  func(status.Event)
	Report func(code, key string, f *status.Finding)
	// Taken is called when this controller begins to hold a VIP. It must not wait.
	Taken func()
	// GivenBy gives the controller that hands a VIP over to this one now; "" for none.
	GivenBy func(vip string) string
}

// VIPs are those of the spec in force. Their methods may be called by any goroutine.
type VIPs struct {
	opt   Options
	log   *slog.Logger
	began time.Time
	// followed is when Follow turned last: a time.Duration since began.
	followed atomic.Int64
	// configuring is held while the options of VRRP loops are changed.
	configuring sync.Mutex

	mu  sync.Mutex // guards following
	all []*owner
}

// New gives none yet.
func New(opt Options) *VIPs { return &VIPs{opt: opt, log: opt.Log, began: time.Now()} }

// A VIP is this controller's part in one, as others see it.
type VIP struct {
	spec.VIP
	Loop    *link.Loop
	Address *vip.Address
	// Rival gives when a router that is none of the spec's last said that it holds one
	// of the addresses.
	Rival func() time.Time
}

// All gives the VIPs, in the order of the spec.
func (v *VIPs) All() []VIP {
	var all []VIP
	for _, o := range v.owners() {
		all = append(all, VIP{o.view.Load().vip, o.loop, o.address, o.watch.Rival})
	}
	return all
}

// Held gives those that this controller holds, as far as VRRP goes.
func (v *VIPs) Held() []spec.VIP {
	var all []spec.VIP
	for _, o := range v.owners() {
		if o.loop.Stats().State == vrrp.Active {
			all = append(all, o.view.Load().vip)
		}
	}
	return all
}

// Holds reports whether this controller holds any.
func (v *VIPs) Holds() bool { return len(v.Held()) > 0 }

// Status tells of each for the Snapshot.
func (v *VIPs) Status() []status.VIP {
	all := []status.VIP{}
	for _, o := range v.owners() {
		all = append(all, o.status(v.opt.Controller))
	}
	return all
}

// Alive says who stands still of those who must turn: every VRRP loop, since a VIP that
// nobody renews is lost, and Follow; nil: nobody.
func (v *VIPs) Alive() error {
	stuck := []error{systemd.StandsStill("who watches HAProxy for VRRP", v.began.Add(time.Duration(v.followed.Load())), followSilence)}
	for _, o := range v.owners() {
		stuck = append(stuck, systemd.StandsStill("the VRRP loop of vip "+o.view.Load().vip.Name, o.loop.Stats().Turned, loopSilence))
	}
	return errors.Join(stuck...)
}

// Make makes what the VIPs of s need, and touches nothing: use puts them in the place of
// those that there are. The error says why s cannot have them.
func (v *VIPs) Make(s *spec.Spec) (use func(context.Context), err error) {
	made, err := v.newOwners(s)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) { v.reconcile(ctx, made) }, nil
}

// An owner is this controller's part in one VIP: its leased address, and the
// VRRP loop that says when to have it.
type owner struct {
	lease   vip.Options
	address *vip.Address
	loop    *link.Loop
	watch   *watch.Watch
	end     context.CancelFunc
	ended   chan struct{} // closed when the loop has given the VIP up
	view    atomic.Pointer[view]
}

// A view is what of an owner a reload may change while it goes on.
type view struct {
	vip    spec.VIP
	router link.Options
}

// newOwners makes the owners of the VIPs of s, or says why s cannot have them.
func (v *VIPs) newOwners(s *spec.Spec) ([]*owner, error) {
	var all []*owner
	for _, one := range s.VIPs {
		if one.Announce == spec.AnnounceBGP {
			continue // package bgp/announcer has those
		}
		o, err := v.newOwner(s, one)
		if err != nil {
			return nil, fmt.Errorf("vip %s: %w", one.Name, err)
		}
		all = append(all, o)
	}
	return all, nil
}

// reconcile starts, changes and ends owners until they are like those of made.
// A VIP whose addresses and router stay what they were is kept throughout.
func (v *VIPs) reconcile(ctx context.Context, made []*owner) {
	before := v.owners()
	var next, fresh []*owner
	for _, o := range made {
		kept := v.keep(before, o)
		if kept == nil {
			fresh = append(fresh, o)
			kept = o
		}
		next = append(next, kept)
	}
	for _, o := range before {
		if !slices.Contains(next, o) {
			o.end()
			<-o.ended
		}
	}
	v.mu.Lock()
	v.all = next
	v.mu.Unlock()
	v.noteSettings(next)
	v.Settle() // a drain may have begun or ended meanwhile
	for _, o := range fresh {
		v.start(ctx, o)
	}
}

// noteSettings writes down what the VIPs of owners may change in the kernel for longer
// than they are held, and puts back what none of them needs.
func (v *VIPs) noteSettings(owners []*owner) {
	var addresses []*vip.Address
	for _, o := range owners {
		addresses = append(addresses, o.address)
	}
	if err := v.opt.Note(addresses...); err != nil {
		v.log.Warn("what macvlan devices change below them is not put back, or not written down", "error", err)
	}
}

// newOwner makes the owner of a VIP as s has it. It touches nothing until it is started.
func (v *VIPs) newOwner(s *spec.Spec, of spec.VIP) (*owner, error) {
	self, _ := s.Controller(v.opt.Controller)
	o := &owner{
		lease: vip.Options{
			Name:      of.Name,
			Addresses: of.Addresses,
			Interface: s.Interface(of, self),
			Device:    vip.Device(of.Device),
			RouterID:  of.VRRP.RouterID,
			Log:       v.log.With("component", "vip"),
		},
		ended: make(chan struct{}),
	}
	var err error
	if o.address, err = vip.New(o.lease); err != nil {
		return nil, err
	}
	router := v.routerOptions(s, of, self)
	router.Holder = v.opt.Holder(of.Name, o.address)
	if o.loop, err = link.New(router); err != nil {
		return nil, err
	}
	o.view.Store(&view{of, router})
	o.watch = watch.New(watch.Options{
		Name: of.Name, Interface: o.lease.Interface, Addresses: of.Addrs(), RouterID: uint8(of.VRRP.RouterID),
		Multicast: router.Multicast, Interval: of.VRRP.Interval, Source: router.Source,
		Peers: func() map[netip.Addr]string { return o.view.Load().router.Peers },
		Delay: func() time.Duration { return o.view.Load().vip.VRRP.StartupDelay },
		Loop:  o.loop,
		Announce: func() {
			if !v.opt.GivesWay() { // then whoever claims it is to have it
				o.address.Announce()
			}
		},
		Report: v.opt.Report,
		Log:    v.log.With("component", "vrrp"),
	})
	return o, nil
}

// routerOptions gives the virtual router of a VIP on the controller self.
func (v *VIPs) routerOptions(s *spec.Spec, of spec.VIP, self spec.Controller) link.Options {
	peers := map[netip.Addr]string{}
	for _, c := range s.Controllers {
		if c.Name != self.Name && c.Address.Is4() == self.Address.Is4() {
			peers[c.Address] = c.Name
		}
	}
	checksum := vrrp.MessageOnly
	if of.VRRP.Checksum == spec.ChecksumKeepalived {
		checksum = vrrp.PseudoHeader
	}
	// No Preempt: the agent takes a VIP back by a planned move; see handover/preempt.go.
	priority, patient := v.opt.Priority(s.Priority(of, self.Name))
	return link.Options{
		Name:         of.Name,
		Controller:   self.Name,
		VRID:         uint8(of.VRRP.RouterID),
		Priority:     priority,
		Patient:      patient,
		Interval:     of.VRRP.Interval,
		Interface:    s.Interface(of, self),
		Source:       self.Address,
		Peers:        peers,
		Multicast:    of.VRRP.Peers == spec.Multicast,
		Addresses:    of.Addrs(),
		Checksum:     checksum,
		Guarded:      true,
		Keys:         v.opt.Policy(s),
		Log:          v.log.With("component", "vrrp"),
		OnTransition: v.journalTransition,
	}
}

// Settle gives each VRRP loop the priority, and the keys, that it should have now.
func (v *VIPs) Settle() {
	s := v.opt.Spec()
	if s == nil {
		return
	}
	self, _ := s.Controller(v.opt.Controller)
	v.configuring.Lock()
	defer v.configuring.Unlock()
	for _, o := range v.owners() {
		next := *o.view.Load()
		before := next.router
		next.router = v.routerOptions(s, next.vip, self)
		if next.router.Priority == before.Priority && next.router.Patient == before.Patient && next.router.Keys == before.Keys {
			continue
		}
		if err := o.loop.Configure(next.router); err != nil {
			v.log.Error("the priority of a vip could not be changed", "vip", next.vip.Name, "error", err)
			continue
		}
		o.view.Store(&next)
	}
}

// keep gives the one of before that can go on in the place of o, reconfigured
// to be like it; nil if there is none.
func (v *VIPs) keep(before []*owner, o *owner) *owner {
	v.configuring.Lock()
	defer v.configuring.Unlock()
	next := *o.view.Load()
	for _, b := range before {
		if !sameLease(b.lease, o.lease) {
			continue
		}
		if err := b.loop.Configure(next.router); err != nil {
			continue // the router itself is another: its options were found good
		}
		b.view.Store(&next)
		b.watch.Poke()
		return b
	}
	return nil
}

// sameLease reports whether a and b lease the same addresses in the same place.
func sameLease(a, b vip.Options) bool {
	a.Log, b.Log = nil, nil
	return reflect.DeepEqual(a, b)
}

// start lets o take part, with HAProxy's condition as it is now.
func (v *VIPs) start(ctx context.Context, o *owner) {
	ctx, o.end = context.WithCancel(ctx)
	o.setEligible(v.opt.HAProxy.State())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		o.watch.Run(ctx)
	}()
	go func() {
		defer close(o.ended)
		defer func() { <-watched }()
		// Close waits until the connections to a released address are reset.
		if err := errors.Join(o.loop.Run(ctx), o.address.Close()); err != nil {
			v.log.Error("the VRRP loop ended", "vip", o.view.Load().vip.Name, "error", err)
		}
	}()
}

// setEligible lets o hold its VIP exactly while HAProxy runs.
func (o *owner) setEligible(h status.HAProxy) {
	reason := "HAProxy is " + string(h.State)
	if h.Reason == process.NotStarted { // one that served all the time may be there to be adopted
		o.loop.SetEligible(false, "HAProxy is being looked for")
		return
	}
	if h.State != status.HAProxyRunning && h.Reason != "" {
		reason += ": " + h.Reason
	}
	o.loop.SetEligible(h.State == status.HAProxyRunning, reason)
}

// CleanUp removes the devices that an earlier agent left. An address that it
// left stays, for the sake of a controller that is alone: its lease ends, or the
// loop releases it at the first advert of another holder.
func (v *VIPs) CleanUp(ctx context.Context) {
	var kept []*vip.Address
	for _, o := range v.owners() {
		kept = append(kept, o.address)
	}
	if err := vip.Cleanup(ctx, v.log.With("component", "vip"), kept...); err != nil {
		v.log.Warn("what an earlier agent left could not be removed", "error", err)
	}
}

// End gives every VIP up, and returns when that is done.
func (v *VIPs) End() {
	for _, o := range v.owners() {
		o.end()
	}
	for _, o := range v.owners() {
		<-o.ended
	}
	v.noteSettings(nil)
}

func (v *VIPs) owners() []*owner {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.all)
}

// ownerOf gives the owner of the VIP called name; nil for none.
func (v *VIPs) ownerOf(name string) *owner {
	for _, o := range v.owners() {
		if o.view.Load().vip.Name == name {
			return o
		}
	}
	return nil
}

// SetPreempt says whether VRRP takes a VIP from a holder with a lower
// priority, as it must when no word is possible with that: it runs keepalived. It
// changes nothing else: a drain or a reload at the same moment has its say. It
// reports whether that is another word than before.
func (v *VIPs) SetPreempt(name string, preempt bool) bool {
	v.configuring.Lock()
	defer v.configuring.Unlock()
	o := v.ownerOf(name)
	if o == nil || o.view.Load().router.Preempt == preempt {
		return false
	}
	next := *o.view.Load()
	next.router.Preempt = preempt
	if err := o.loop.Configure(next.router); err != nil {
		v.log.Error("the vip is not taken back as it should", "vip", name, "error", err)
		return false
	}
	o.view.Store(&next)
	return true
}

// Follow lets the VIPs follow HAProxy's condition, at once.
func (v *VIPs) Follow(ctx context.Context) {
	was, down := status.HAProxy{}, time.Now()
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		v.followed.Store(int64(time.Since(v.began)))
		changed := v.opt.HAProxy.Changes()
		is := v.opt.HAProxy.State()
		for _, o := range v.owners() {
			o.setEligible(is)
		}
		for _, next := range conditions(was, is) {
			if was.State == status.HAProxyRunning {
				down = next.Since
			}
			v.journalHAProxy(was, next, down)
			was = next
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-tick.C:
		}
	}
}

// conditions gives those that HAProxy went through from was to is, as far as the journal
// tells of them. It may have ended, and be started again, between two looks.
func conditions(was, is status.HAProxy) []status.HAProxy {
	if is.Reason == process.NotStarted { // a start is no change
		return nil
	}
	var all []status.HAProxy
	if was.State == status.HAProxyRunning && is.Restarts > was.Restarts && is.State != status.HAProxyDown {
		gone := is
		gone.State, gone.Reason = status.HAProxyDown, cmp.Or(is.Reason, "it was started again at once")
		all = append(all, gone)
	}
	if is.State != was.State || len(all) > 0 {
		all = append(all, is)
	}
	return all
}

// journalHAProxy writes down a change of HAProxy's condition. One that runs
// again tells how long it did not: since down.
func (v *VIPs) journalHAProxy(was, is status.HAProxy, down time.Time) {
	e := status.Event{
		Time: is.Since, Kind: "haproxy-" + string(is.State), Subject: "haproxy",
		Text: "HAProxy is " + string(is.State), Cause: is.Reason,
	}
	switch {
	case was.State != "":
		e.Text += ", was " + string(was.State)
	case is.State == status.HAProxyRunning && is.Adopted:
		e.Text += ", and has been: it was adopted"
	}
	if is.State == status.HAProxyRunning && (was.State != "" || !is.Adopted) {
		e.Took = is.Since.Sub(down)
	}
	v.opt.Event(e)
}

func (v *VIPs) journalTransition(t link.Transition) {
	if t.To == vrrp.Active {
		v.opt.Taken()
	}
	if o := v.ownerOf(t.VIP); o != nil {
		o.watch.Poke()
	}
	cause := t.Reason
	if t.To == vrrp.Active {
		// Who hands over resigns, and so does one whose HAProxy died.
		if from := v.opt.GivenBy(t.VIP); from != "" && cause == from+" resigned" {
			cause = status.HandedOverBy + from
		}
	}
	v.opt.Event(status.Event{
		Time: t.Time, Kind: "vip-" + t.To.String(), Subject: "vip " + t.VIP, Cause: cause, Took: t.Took,
		Text: fmt.Sprintf("vip %s is %s here, was %s", t.VIP, t.To, t.From),
	})
}

// status tells of o for the Snapshot.
func (o *owner) status(self string) status.VIP {
	is, s := o.view.Load(), o.loop.Stats()
	present, err := o.address.Present()
	out := status.VIP{
		Name:        is.vip.Name,
		Hostname:    is.vip.Hostname,
		Interface:   is.router.Interface,
		State:       status.VIPState(s.State.String()),
		Since:       s.Since,
		Reason:      s.Reason,
		Holder:      s.Holder,
		Priority:    int(is.router.Priority),
		Prefer:      is.vip.Prefer,
		Present:     present && err == nil,
		Transitions: s.Transitions,
		AdvertsSent: s.AdvertsSent,
		AdvertsSeen: s.AdvertsSeen,
		Rejected:    s.Rejected,
		SendErrors:  s.SendErrors,
		HeldUp:      s.Late,
		PutBack:     o.address.Stats().PutBack,
		Claims:      o.watch.Claims(),
	}
	if s.State == vrrp.Active {
		out.Holder = self
	}
	for _, p := range is.vip.Addresses {
		out.Addresses = append(out.Addresses, p.String())
	}
	return out
}
