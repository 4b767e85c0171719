package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/internal/handover"
	"holdfast/internal/haproxy/client"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/hearing"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

// An owner is this controller's part in one VIP: its leased address, and the
// VRRP loop that says when to have it.
type owner struct {
	lease   vip.Options
	address *vip.Address
	loop    *link.Loop
	end     context.CancelFunc
	ended   chan struct{} // closed when the loop has given the VIP up
	view    atomic.Pointer[view]
}

// A view is what of an owner a reload may change while it goes on.
type view struct {
	vip    spec.VIP
	router link.Options
	ping   client.Pinger
}

// makeVIPs makes the owners of the VIPs of s; what it gives puts them in the place of
// those that there are.
func (a *Agent) makeVIPs(s *spec.Spec) (use func(context.Context), err error) {
	made, err := a.newOwners(s)
	return func(ctx context.Context) {
		controllers := map[netip.Addr]string{}
		for _, c := range s.Controllers {
			controllers[c.Address] = c.Name
		}
		a.check.Allow(controllers)
		a.reconcileVIPs(ctx, made)
	}, err
}

// newOwners makes the owners of the VIPs of s, or says why s cannot have them.
func (a *Agent) newOwners(s *spec.Spec) ([]*owner, error) {
	var all []*owner
	for _, v := range s.VIPs {
		o, err := a.newOwner(s, v)
		if err != nil {
			return nil, fmt.Errorf("vip %s: %w", v.Name, err)
		}
		all = append(all, o)
	}
	return all, nil
}

// reconcileVIPs starts, changes and ends owners until they are like those of made.
// A VIP whose addresses and router stay what they were is kept throughout.
func (a *Agent) reconcileVIPs(ctx context.Context, made []*owner) {
	before := a.owners()
	var next, fresh []*owner
	for _, o := range made {
		kept := a.keep(before, o)
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
	a.mu.Lock()
	a.vips = next
	a.mu.Unlock()
	a.noteSettings(next)
	a.settlePriorities() // a drain may have begun or ended meanwhile
	for _, o := range fresh {
		a.start(ctx, o)
	}
}

// noteSettings writes down what the VIPs of owners may change in the kernel for longer
// than they are held, and puts back what none of them needs.
func (a *Agent) noteSettings(owners []*owner) {
	var addresses []*vip.Address
	for _, o := range owners {
		addresses = append(addresses, o.address)
	}
	if err := a.moves.Note(addresses...); err != nil {
		a.log.Warn("what macvlan devices change below them is not put back, or not written down", "error", err)
	}
}

// newOwner makes the owner of v as s has it. It touches nothing until it is started.
func (a *Agent) newOwner(s *spec.Spec, v spec.VIP) (*owner, error) {
	self, _ := s.Controller(a.opt.Controller)
	o := &owner{
		lease: vip.Options{
			Name:      v.Name,
			Addresses: v.Addresses,
			Interface: s.Interface(v, self),
			Device:    vip.Device(v.Device),
			RouterID:  v.VRRP.RouterID,
			Log:       a.log.With("component", "vip"),
		},
		ended: make(chan struct{}),
	}
	var err error
	if o.address, err = vip.New(o.lease); err != nil {
		return nil, err
	}
	router := a.routerOptions(s, v, self)
	router.Holder = a.moves.Tenant(v.Name, o.address)
	if o.loop, err = link.New(router); err != nil {
		return nil, err
	}
	o.view.Store(&view{v, router, client.NewPinger(v, s.Services)})
	return o, nil
}

// routerOptions gives the virtual router of v on the controller self.
func (a *Agent) routerOptions(s *spec.Spec, v spec.VIP, self spec.Controller) link.Options {
	peers := map[netip.Addr]string{}
	for _, c := range s.Controllers {
		if c.Name != self.Name && c.Address.Is4() == self.Address.Is4() {
			peers[c.Address] = c.Name
		}
	}
	checksum := vrrp.MessageOnly
	if v.VRRP.Checksum == spec.ChecksumKeepalived {
		checksum = vrrp.PseudoHeader
	}
	// No Preempt: the agent takes a VIP back by a planned move; see handover/preempt.go.
	priority, patient := a.priority(s.Priority(self.Name))
	return link.Options{
		Name:         v.Name,
		Controller:   self.Name,
		VRID:         uint8(v.VRRP.RouterID),
		Priority:     priority,
		Patient:      patient,
		Interval:     v.VRRP.Interval,
		Interface:    s.Interface(v, self),
		Source:       self.Address,
		Peers:        peers,
		Multicast:    v.VRRP.Peers == spec.Multicast,
		Addresses:    v.Addrs(),
		Checksum:     checksum,
		Log:          a.log.With("component", "vrrp"),
		OnTransition: a.journalTransition,
	}
}

// lowering divides the VRRP priority of a controller that is to be the last to take a
// VIP: below those of all that are not, in the order of preference all the same.
const lowering = 10

// priority gives this controller's VRRP priority, own by the spec, as it is now: lower
// while it is drained, or its own link is bad, or it is about to leave and gives way
// to whoever comes. A patient one waits longer than others before it takes a VIP.
func (a *Agent) priority(own int) (priority uint8, patient bool) {
	if a.moves.GivesWay() {
		return 1, false
	}
	patient = a.moves.Limps()
	if patient || a.drains.Last() {
		own = max(1, own/lowering)
	}
	return uint8(own), patient
}

// settlePriorities gives each VRRP loop the priority that it should have now.
func (a *Agent) settlePriorities() {
	s := a.currentSpec()
	if s == nil {
		return
	}
	self, _ := s.Controller(a.opt.Controller)
	a.configuring.Lock()
	defer a.configuring.Unlock()
	for _, o := range a.owners() {
		next := *o.view.Load()
		before := next.router
		next.router = a.routerOptions(s, next.vip, self)
		if next.router.Priority == before.Priority && next.router.Patient == before.Patient {
			continue
		}
		if err := o.loop.Configure(next.router); err != nil {
			a.log.Error("the priority of a vip could not be changed", "vip", next.vip.Name, "error", err)
			continue
		}
		o.view.Store(&next)
	}
}

// keep gives the one of before that can go on in the place of o, reconfigured
// to be like it; nil if there is none.
func (a *Agent) keep(before []*owner, o *owner) *owner {
	a.configuring.Lock()
	defer a.configuring.Unlock()
	next := *o.view.Load()
	for _, b := range before {
		if !sameLease(b.lease, o.lease) {
			continue
		}
		if err := b.loop.Configure(next.router); err != nil {
			continue // the router itself is another: its options were found good
		}
		b.view.Store(&next)
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
func (a *Agent) start(ctx context.Context, o *owner) {
	ctx, o.end = context.WithCancel(ctx)
	o.setEligible(a.haproxy.State())
	go func() {
		defer close(o.ended)
		// Close waits until the connections to a released address are reset.
		if err := errors.Join(o.loop.Run(ctx), o.address.Close()); err != nil {
			a.log.Error("the VRRP loop ended", "vip", o.view.Load().vip.Name, "error", err)
		}
	}()
}

// setEligible lets o hold its VIP exactly while HAProxy runs.
func (o *owner) setEligible(h status.HAProxy) {
	reason := "HAProxy is " + string(h.State)
	if h.State != status.HAProxyRunning && h.Reason != "" {
		reason += ": " + h.Reason
	}
	o.loop.SetEligible(h.State == status.HAProxyRunning, reason)
}

// cleanUp removes the devices that an earlier agent left. An address that it
// left stays, for the sake of a controller that is alone: its lease ends, or the
// loop releases it at the first advert of another holder.
func (a *Agent) cleanUp(ctx context.Context) {
	var kept []*vip.Address
	for _, o := range a.owners() {
		kept = append(kept, o.address)
	}
	if err := vip.Cleanup(ctx, a.log.With("component", "vip"), kept...); err != nil {
		a.log.Warn("what an earlier agent left could not be removed", "error", err)
	}
}

// endVIPs gives every VIP up, and returns when that is done.
func (a *Agent) endVIPs() {
	for _, o := range a.owners() {
		o.end()
	}
	for _, o := range a.owners() {
		<-o.ended
	}
	a.noteSettings(nil)
}

func (a *Agent) owners() []*owner {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.vips)
}

// parts gives the VIPs as planned moves see them.
func (a *Agent) parts() []handover.VIP {
	var all []handover.VIP
	for _, o := range a.owners() {
		all = append(all, handover.VIP{VIP: o.view.Load().vip, Loop: o.loop, Release: o.address.Release})
	}
	return all
}

// heard gives the VIPs as who asks what is heard sees them.
func (a *Agent) heard() []hearing.VIP {
	var all []hearing.VIP
	for _, o := range a.owners() {
		all = append(all, hearing.VIP{Name: o.view.Load().vip.Name, Loop: o.loop})
	}
	return all
}

// ownerOf gives the owner of the VIP called name; nil for none.
func (a *Agent) ownerOf(name string) *owner {
	for _, o := range a.owners() {
		if o.view.Load().vip.Name == name {
			return o
		}
	}
	return nil
}

// setPreempt says whether VRRP takes a VIP from a holder with a lower
// priority, as it must when no word is possible with that: it runs keepalived. It
// changes nothing else: a drain or a reload at the same moment has its say. It
// reports whether that is another word than before.
func (a *Agent) setPreempt(name string, preempt bool) bool {
	a.configuring.Lock()
	defer a.configuring.Unlock()
	o := a.ownerOf(name)
	if o == nil || o.view.Load().router.Preempt == preempt {
		return false
	}
	next := *o.view.Load()
	next.router.Preempt = preempt
	if err := o.loop.Configure(next.router); err != nil {
		a.log.Error("the vip is not taken back as it should", "vip", name, "error", err)
		return false
	}
	o.view.Store(&next)
	return true
}

// held gives the VIPs that this controller holds.
func (a *Agent) held() []spec.VIP {
	var all []spec.VIP
	for _, o := range a.owners() {
		if o.holds() {
			all = append(all, o.view.Load().vip)
		}
	}
	return all
}

// holds reports whether this controller holds the VIP as far as VRRP goes.
func (o *owner) holds() bool { return o.loop.Stats().State == vrrp.Active }

// probeVIPs asks HAProxy for a sign of life through each VIP that is held here.
// HAProxy listens on the others too, but nothing on this host leads there. It
// gives the worst that came of it.
func (a *Agent) probeVIPs(ctx context.Context) (process.Sign, error) {
	worst := process.NoSign
	var errs []error
	for _, o := range a.owners() {
		if !o.holds() {
			continue
		}
		forcing := a.forcing.Load()
		sign, err := o.view.Load().ping.Ping(ctx)
		if sign == process.Refused && (forcing || a.forcing.Load()) {
			// HAProxy has the ports of the next spec already, and this is one
			// of those before.
			continue
		}
		errs = append(errs, err)
		if sign.WorseThan(worst) {
			worst = sign
		}
	}
	return worst, errors.Join(errs...)
}

// watchHAProxy lets the VIPs follow HAProxy's condition, at once.
func (a *Agent) watchHAProxy(ctx context.Context) {
	was, down := status.HAProxy{}, time.Now()
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		a.watchTurned.Store(int64(time.Since(a.started)))
		changed := a.haproxy.Changes()
		is := a.haproxy.State()
		for _, o := range a.owners() {
			o.setEligible(is)
		}
		if is.State != was.State && is.Reason != process.NotStarted { // a start is no change
			if was.State == status.HAProxyRunning {
				down = is.Since
			}
			a.journalHAProxy(was, is, down)
			was = is
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-tick.C:
		}
	}
}

// journalHAProxy writes down a change of HAProxy's condition. One that runs
// again tells how long it did not: since down.
func (a *Agent) journalHAProxy(was, is status.HAProxy, down time.Time) {
	e := status.Event{
		Time: is.Since, Kind: "haproxy-" + string(is.State), Subject: "haproxy",
		Text: "HAProxy is " + string(is.State), Cause: is.Reason,
	}
	if was.State != "" {
		e.Text += ", was " + string(was.State)
	}
	if is.State == status.HAProxyRunning {
		e.Took = is.Since.Sub(down)
	}
	a.journal.Add(e)
}

func (a *Agent) journalTransition(t link.Transition) {
	a.journal.Add(status.Event{
		Time: t.Time, Kind: "vip-" + t.To.String(), Subject: "vip " + t.VIP, Cause: t.Reason, Took: t.Took,
		Text: fmt.Sprintf("vip %s is %s here, was %s", t.VIP, t.To, t.From),
	})
}

// status tells of o for the Snapshot.
func (o *owner) status(self string) status.VIP {
	v, s := o.view.Load(), o.loop.Stats()
	present, err := o.address.Present()
	out := status.VIP{
		Name:        v.vip.Name,
		Hostname:    v.vip.Hostname,
		Interface:   v.router.Interface,
		State:       status.VIPState(s.State.String()),
		Since:       s.Since,
		Reason:      s.Reason,
		Holder:      s.Holder,
		Priority:    int(v.router.Priority),
		Present:     present && err == nil,
		Transitions: s.Transitions,
		AdvertsSent: s.AdvertsSent,
		AdvertsSeen: s.AdvertsSeen,
		Rejected:    s.Rejected,
		SendErrors:  s.SendErrors,
		HeldUp:      s.Late,
		PutBack:     o.address.Stats().PutBack,
	}
	if s.State == vrrp.Active {
		out.Holder = self
	}
	for _, p := range v.vip.Addresses {
		out.Addresses = append(out.Addresses, p.String())
	}
	return out
}
