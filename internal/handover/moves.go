// Package handover moves VIPs as planned work: it gives one that this controller holds
// to another one, takes one, goes on with what an agent before it began, and hands all
// over when the agent ends. The connections that are open go on at the giver until they
// end: it keeps a copy of the address, and the taker sends their segments there.
//
// Who may take a VIP, and for what reason one moves unasked, it decides by what
// controllers say that they reach (package reach). Who holds a VIP is VRRP's business:
// a handover asks it to yield.
package handover

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

// Options is what Moves are made of. None of the functions is nil.
type Options struct {
	Controller string // this one's name in the spec
	RunDir     string // where what is under way is written down: it lasts as long as the kernel does
	Log        *slog.Logger
	HAProxy    HAProxy
	// Spec gives the spec in force; nil while there is none.
	Spec func() *spec.Spec
	// VIPs gives this controller's part in each VIP, in the order of the spec.
	VIPs func() []VIP
	// Ask has the agent of another controller carry out a command, and decodes its
	// answer into resp, unless that is nil. Where that agent has said no, or could
	// not be asked, the error is a *peer.Error.
	Ask func(ctx context.Context, controller, command string, req, resp any) error
	// Gather asks controllers for what they say of themselves, now.
	Gather func(ctx context.Context, controllers []string) []cloud.Answer
	// Reach gives what this controller's HAProxy reaches.
	Reach func() reach.View
	// Drained reports whether this whole controller is taken out for maintenance.
	Drained func() bool
	// Greet has a VIP's loop send hellos to another controller, at once and from then
	// on, and reports whether it does.
	Greet func(vip, controller string) bool
	// Preempt says whether VRRP itself takes a VIP from a holder with a lower priority.
	// It reports whether that is another word than before.
	Preempt func(vip string, preempt bool) bool
	// Settle is called when GivesWay or Limps says something else than before.
	Settle func()
	// Closing gives addresses beside those of moves whose clients are to come anew; may be nil.
	Closing func() []netip.Addr
	// Event is told what has happened.
	Event func(status.Event)
	// SetFinding is told the finding under a key, nil when there is none. Report is told
	// it when beginning and end are events of its code, too.
	SetFinding func(key string, f *status.Finding)
	Report     func(code, key string, f *status.Finding)
}

// HAProxy is what moves need of this controller's HAProxy: see process.Manager.
type HAProxy interface {
	State() status.HAProxy
	Info(ctx context.Context) (output.Info, error)
	ClosingIs(addresses []netip.Addr) bool
	SetClosing(ctx context.Context, addresses []netip.Addr) error
}

// A VIP is this controller's part in one VIP of the spec.
type VIP struct {
	spec.VIP
	Loop    Loop
	Release func(context.Context) error // of the address
	// Rival gives when a router that is none of the spec's, of any version of VRRP, last
	// said that it holds the VIP.
	Rival func() time.Time
}

// A Loop is the VRRP loop of one VIP: see link.Loop.
type Loop interface {
	Stats() link.Stats
	Hearing() map[netip.Addr]link.Hearing
	Yield(ctx context.Context, to netip.Addr, o link.YieldOptions) error
	GiveWay(ctx context.Context, to netip.Addr, o link.YieldOptions) error
}

// Holds reports whether this controller holds the VIP as far as VRRP goes.
func (v VIP) Holds() bool { return v.Loop.Stats().State == vrrp.Active }

// Moves are the planned moves of VIPs that this controller has a part in, as
// the one who gives or the one who takes.
type Moves struct {
	opt   Options
	file  string
	nudge chan struct{} // has room for one
	// settings are what the moves have changed in the kernel.
	settings *vip.Settings
	// devices are what the macvlan devices of VIPs have changed below them.
	devices *vip.Settings
	// flushed has room for one, too: somebody has changed nftables.
	flushed chan struct{}
	proofs  sync.WaitGroup // those under way
	// kernel is held while the kernel is given, or rid of, what belongs to a
	// record, and the record with it: what is left of one move must not take
	// away what the next one of the same VIP has just put there.
	kernel sync.Mutex
	closer closer // of watchRecords
	// writing is held while the records are written down: else an older set could
	// be the last on the disk.
	writing sync.Mutex

	ending   atomic.Bool // the agent was told to end
	stay     atomic.Bool // and nobody took what this controller holds
	lastHere atomic.Bool // and it holds that on until somebody does
	limps    atomic.Bool // this controller's own link is the bad one

	mu       sync.Mutex // guards following
	busy     string     // the VIP that is being given at this moment; empty for none
	giving   map[string]*giving
	taking   map[string]*taking
	blocked  map[string]blocked       // by controller
	paces    map[string]*pace         // by VIP
	arrivals map[string]reach.Arrival // by VIP: its last planned move to this controller
}

// New makes Moves. They touch nothing until Resume.
func New(opt Options) *Moves {
	m := &Moves{
		opt: opt, file: filepath.Join(opt.RunDir, "moves.json"),
		nudge: make(chan struct{}, 1), flushed: make(chan struct{}, 1),
		giving: map[string]*giving{}, taking: map[string]*taking{},
		blocked: map[string]blocked{}, paces: map[string]*pace{}, arrivals: map[string]reach.Arrival{},
	}
	m.settings, m.devices = vip.NewSettings(nil, m.write), vip.NewSettings(nil, nil)
	return m
}

// Commands gives what the agents of other controllers may ask for, by name.
func (m *Moves) Commands() map[string]peer.Handler {
	return map[string]peer.Handler{
		"handover": peer.Handle(m.moveAsked),
		"prepare":  peer.Handle(m.prepare),
		"prove":    peer.Handle(m.prove),
		"moved":    peer.Handle(m.moved),
		"giving":   peer.Handle(m.stillGiving),
		"reach":    peer.Handle(m.tellReach),
	}
}

// Watch looks after what is under way, and moves VIPs for which there is a reason,
// until ctx ends.
func (m *Moves) Watch(ctx context.Context) {
	var all sync.WaitGroup
	for _, part := range []func(context.Context){m.watchRecords, m.watchRules, m.watchPreference, m.watchReach, m.watchPace, m.watchBlocked} {
		all.Go(func() { part(ctx) })
	}
	all.Wait()
}

// Ending reports whether the agent was told to end: then it takes no VIP.
func (m *Moves) Ending() bool { return m.ending.Load() }

// GivesWay reports whether this controller has nobody to leave its VIPs to, and so
// is to give way to whoever comes.
func (m *Moves) GivesWay() bool { return m.lastHere.Load() }

// Limps reports whether this controller's own link is the bad one: then it is to be
// the last to take a VIP.
func (m *Moves) Limps() bool { return m.limps.Load() }

// Tenant gives who has the leased address of a VIP for its VRRP loop. It knows when
// connections must survive that the address goes.
func (m *Moves) Tenant(name string, address *vip.Address) link.Holder {
	return tenant{address, name, m}
}

type tenant struct {
	*vip.Address
	name  string
	moves *Moves
}

// Release gives the address up, as is due: it stays, until its lease ends, where this
// agent ends, nobody took the VIP, and the next agent goes on; its connections stay
// where this controller has handed the VIP over.
func (t tenant) Release(ctx context.Context) error {
	switch {
	case t.moves.stay.Load():
		return nil
	case t.moves.isGiving(t.name):
		return t.Withdraw(ctx)
	}
	return t.Address.Release(ctx)
}

// vip gives this controller's part in the VIP called name.
func (m *Moves) vip(name string) (VIP, bool) {
	for _, v := range m.opt.VIPs() {
		if v.Name == name {
			return v, true
		}
	}
	return VIP{}, false
}

// held gives the VIPs that this controller holds.
func (m *Moves) held() []VIP {
	return slices.DeleteFunc(m.opt.VIPs(), func(v VIP) bool { return !v.Holds() })
}

// others gives the names of all controllers but this one, in the order of preference.
func (m *Moves) others() []string {
	return m.opt.Spec().OtherNames(m.opt.Controller)
}

// logged logs an error that stops nothing.
func (m *Moves) logged(err error) {
	if err != nil {
		m.opt.Log.Warn("a handover left something behind, or is not written down", "error", err)
	}
}

// Intervals of watchRecords.
const (
	// moveInterval is how often connections are counted after a handover.
	moveInterval = 200 * time.Millisecond
	// idleInterval is how often it is seen that HAProxy closes no connections when there was none.
	idleInterval = time.Second
)

// watchRecords ends, one after the other, what handovers have left.
func (m *Moves) watchRecords(ctx context.Context) {
	defer m.proofs.Wait()
	looked := time.Now()
	for {
		wait := idleInterval
		if !m.empty() {
			wait = moveInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-m.nudge:
		case <-m.flushed:
			m.mendDetours(ctx)
			if time.Since(looked) < wait {
				continue // the rest has time, however often rules change
			}
		case <-time.After(wait):
		}
		looked = time.Now()
		given, taken := m.names()
		for _, name := range given {
			m.watchGiving(ctx, name)
		}
		for _, name := range taken {
			m.watchTaking(ctx, name)
		}
		m.closePolitely(ctx)
	}
}
