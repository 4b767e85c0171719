// Package announcer has this controller's part in the VIPs that are announced by BGP: for each
// the leased address, and the machine of package bgp that says what is announced; and one
// speaker for all, which runs only while there is such a VIP. It decides nothing that
// package bgp can.
package announcer

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/bgp"
	"holdfast/internal/bgp/speaker"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/systemd"
	"holdfast/internal/vip"
)

const (
	// turn is how often the VIPs are looked at, where HAProxy's condition does not change:
	// a lease outlives several of them.
	turn = 200 * time.Millisecond
	// lookInterval is how often the sessions are looked at, and connections are counted.
	lookInterval = time.Second
	// silence is how long the announcer may stand still: less than the unit's WatchdogSec.
	silence = 10 * time.Second
	// maxPassword bounds a file of a password; TCP's MD5 signature takes 80 octets.
	maxPassword = 80
)

// Options is what an Announcer is made of.
type Options struct {
	Controller string // this one's name in the spec
	Log        *slog.Logger
	// HAProxy gives its condition, and Changes a channel that is closed when that changes.
	HAProxy func() status.HAProxy
	Changes func() <-chan struct{}
	// Services gives how the services fare, as HAProxy sees them.
	Services func() []status.Service
	// Drained gives why the controller is out for maintenance; "" when it is not.
	Drained func() string
	Event   func(status.Event)
	Report  func(code, key string, f *status.Finding)
}

// An Announcer has the VIPs of the spec in force. Its methods may be called by any goroutine.
type Announcer struct {
	opt    Options
	began  time.Time
	turned atomic.Int64 // when Run turned last: a time.Duration since began
	runs   atomic.Bool  // there is a VIP to look after
	wake   chan struct{}

	mu       sync.Mutex // guards following
	spec     *spec.Spec
	all      []*owner
	next     speaker.Options // of the speaker that is to run
	wanted   bool            // one is
	speaker  *speaker.Speaker
	with     speaker.Options // of speaker
	spoke    time.Time       // when it was started
	sessions []speaker.Session
	failed   string    // why no speaker could be started, as was logged
	tried    time.Time // when that was tried last
	had      bool      // an agent before this one left an address
}

// New gives one without a VIP.
func New(opt Options) *Announcer {
	return &Announcer{opt: opt, began: time.Now(), wake: make(chan struct{}, 1)}
}

// Make makes what the VIPs of s need, and touches nothing: use puts them in the place of those
// that there are. The error says why s cannot have them.
func (a *Announcer) Make(s *spec.Spec) (use func(), err error) {
	var made []*owner
	for _, v := range s.Announced() {
		o := &owner{vip: v, open: -1, lease: vip.Options{
			Name: v.Name, Addresses: v.Addresses, Interface: v.Interface, Lease: s.BGP.GracefulRestart, Log: a.opt.Log.With("component", "vip"),
		}}
		if o.address, err = vip.New(o.lease); err != nil {
			return nil, fmt.Errorf("vip %s: %w", v.Name, err)
		}
		made = append(made, o)
	}
	next, wanted := speaker.Options{}, len(made) > 0 && s.BGP.Engine == spec.EngineEmbedded
	var unread error
	if wanted {
		if next, unread, err = a.speakerOptions(s); err != nil {
			return nil, err
		}
	}
	return func() {
		a.reconcile(s, made, next, wanted)
		a.opt.Report(status.CodeBGPSessionDown, "bgp password", unreadFinding(unread))
	}, nil
}

// reconcile puts the VIPs of made in the place of those that there are. One whose addresses
// and place stay goes on; where these change, what is known of it stays, and the addresses
// that it goes on having stay too, with their connections.
func (a *Announcer) reconcile(s *spec.Spec, made []*owner, next speaker.Options, wanted bool) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	first := a.spec == nil
	var all []*owner
	for _, o := range made {
		if i := slices.IndexFunc(a.all, func(b *owner) bool { return sameLease(b.lease, o.lease) }); i >= 0 {
			a.all[i].vip = o.vip
			o = a.all[i]
		} else {
			o.begin(now, s, first)
			a.had = a.had || o.machine.Decision().State == bgp.Resuming
			if i := slices.IndexFunc(a.all, o.follows); i >= 0 {
				o.machine, o.status = a.all[i].machine, a.all[i].status
			}
		}
		o.machine.SetLimit(limitOf(s))
		all = append(all, o)
	}
	gone := slices.DeleteFunc(slices.Clone(a.all), func(b *owner) bool { return slices.Contains(all, b) })
	a.spec, a.all, a.next, a.wanted, a.tried = s, all, next, wanted, time.Time{}
	a.turned.Store(int64(time.Since(a.began)))
	a.runs.Store(len(all) > 0)
	a.settle(context.Background(), now)
	for _, o := range gone { // behind its route
		a.logged(o.giveUp(all), "take away the addresses of vip "+o.vip.Name)
		a.logged(o.address.Close(), "close what vip "+o.vip.Name+" had")
		a.opt.Report(status.CodeBGPSessionDown, "absent vip "+o.vip.Name, nil)
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run looks after the VIPs until ctx ends. Without one it does nothing.
func (a *Announcer) Run(ctx context.Context) {
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	looked := time.Time{}
	for ctx.Err() == nil {
		if !a.runs.Load() {
			select {
			case <-ctx.Done():
			case <-a.wake:
			}
			continue
		}
		changed := a.opt.Changes()
		now := time.Now()
		a.mu.Lock()
		a.settle(ctx, now)
		if now.Sub(looked) >= lookInterval {
			looked = now
			a.look(ctx)
		}
		a.mu.Unlock()
		a.turned.Store(int64(time.Since(a.began)))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-a.wake:
		case <-ticker.C:
		}
	}
}

// settle has the kernel and the routers be as the machines say: the address before its route,
// and the route gone before its address.
func (a *Announcer) settle(ctx context.Context, now time.Time) {
	resuming := false
	var routes []bgp.Route
	for _, o := range a.all {
		was := o.status
		o.status = o.machine.Step(now, a.facts(o, now))
		a.tell(o, was)
		resuming = resuming || o.status.State == bgp.Resuming
		if o.status.Address && a.hold(ctx, o) {
			routes = append(routes, bgp.Routes(a.spec, o.vip, a.opt.Controller, o.status)...)
		}
	}
	a.speak(ctx, routes, resuming)
	for _, o := range a.all {
		if !o.status.Address {
			o.release(ctx)
		}
	}
}

func (a *Announcer) logged(err error, what string) {
	if err != nil {
		a.opt.Log.Error("it failed to "+what, "error", err)
	}
}

// Closing gives the addresses whose clients are to come anew.
func (a *Announcer) Closing() []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []netip.Addr
	for _, o := range a.all {
		if o.status.Closing {
			all = append(all, o.vip.Addrs()...)
		}
	}
	return all
}

// Held gives the VIPs that clients of this controller have.
func (a *Announcer) Held() []spec.VIP {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []spec.VIP
	for _, o := range a.all {
		if o.claimed {
			all = append(all, o.vip)
		}
	}
	return all
}

// Alive says whether Run stands still; nil: it does not, or has nothing to do.
func (a *Announcer) Alive() error {
	if !a.runs.Load() {
		return nil
	}
	turned := a.began.Add(time.Duration(a.turned.Load()))
	return systemd.StandsStill("who announces vips by BGP", turned, silence) //nolint:wrapcheck // it says all
}

// Status tells of each VIP for the Snapshot.
func (a *Announcer) Status() []status.VIP {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []status.VIP
	for _, o := range a.all {
		present, err := o.address.Present()
		is := o.status
		out := status.VIP{
			Name: o.vip.Name, Hostname: o.vip.Hostname, Interface: o.vip.Interface, Announce: string(spec.AnnounceBGP), Announced: status.AnnouncedState(is.State),
			State: status.Initialize, Since: is.Since, Reason: is.Reason, Prefer: o.vip.Prefer, Present: present && err == nil, PutBack: o.address.Stats().PutBack,
		}
		if why := a.untold(o); is.Route && why == "" {
			out.State, out.Holder = status.Active, a.opt.Controller
		} else if is.Route {
			out.Announced, out.Reason = status.Withdrawn, why
		}
		for _, p := range o.vip.Addresses {
			out.Addresses = append(out.Addresses, p.String())
		}
		all = append(all, out)
	}
	return all
}

// End is the end of the agent. The leases of the addresses go on until they end, or the next
// agent renews them, and so do the routes where routers wait for that one. With BFD, which ends
// with the agent, they would not: there they are told.
func (a *Announcer) End() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.speaker != nil {
		a.logged(a.speaker.Stop(context.Background(), a.with.BFD == nil), "end the sessions of BGP")
		a.speaker = nil
	}
	for _, o := range a.all {
		a.logged(o.address.Close(), "close what vip "+o.vip.Name+" had")
	}
	a.runs.Store(false)
}
