package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

// A Loop is this controller's part in one virtual router. Its methods may be
// called from any goroutine.
type Loop struct {
	host host

	options  atomic.Pointer[Options]     // as of New and Configure
	eligible atomic.Pointer[eligibility] // as of SetEligible
	counters counters
	public   atomic.Pointer[public]
	yielding atomic.Pointer[yieldRequest] // the call of Yield under way
	hearers  atomic.Pointer[[]netip.Addr] // as of SetHearers
	prompted atomic.Uint64                // calls of Hello
	trust    atomic.Pointer[Trust]        // as of SetTrust
	deferred atomic.Pointer[string]       // as of Defer
	insists  atomic.Bool                  // see Insist
	other    atomic.Bool                  // see Elsewhere
	doubts   chan uint64                  // see Doubted; has room for one
	epoch    time.Time                    // what the clock said when it was made, for signatures
	signed   atomic.Pointer[Signed]       // what was signed last
	told     chan told                    // by Told
	ended    chan struct{}                // Run has
}

// eligibility is what SetEligible said last.
type eligibility struct {
	ok     bool
	reason string
}

// New gives a Loop that is not eligible yet: SetEligible(true) is the word of
// the one who knows that the service behind the address works. The error has
// everything that is wrong with the options.
func New(o Options) (*Loop, error) { return newLoop(o, newLinux()) }

func newLoop(o Options, h host) (*Loop, error) {
	o = o.normal()
	if err := o.check(); err != nil {
		return nil, err
	}
	l := &Loop{host: h, ended: make(chan struct{}), doubts: make(chan uint64, 1), told: make(chan told, 64)}
	l.counters.begun = time.Now()
	l.epoch = l.counters.begun
	l.options.Store(&o)
	l.eligible.Store(&eligibility{reason: "not ready yet"})
	l.public.Store(&public{since: time.Now(), reason: "not running"})
	return l, nil
}

// SetEligible says whether this controller may be Active, and why, in words
// for people. An Active one that may not resigns at once, with an advert of
// priority 0. The last call counts.
func (l *Loop) SetEligible(ok bool, reason string) {
	if !ok && reason == "" {
		reason = "not eligible"
	}
	l.eligible.Store(&eligibility{ok, reason})
	l.host.wake()
}

// Configure takes new options without leaving Active: Priority, Interval,
// Preempt, Patient, Peers, Addresses, Checksum, Keys, Refresh and AnnouncePeriod count from
// now on. Guarded, Holder, Log, OnTransition and NoPriority stay what they are. The
// error is about options that are bad, or that need another Loop; then
// nothing changes.
func (l *Loop) Configure(o Options) error {
	old := l.options.Load()
	o = o.normal()
	o.Guarded, o.Holder, o.Log, o.OnTransition, o.NoPriority = old.Guarded, old.Holder, old.Log, old.OnTransition, old.NoPriority
	if err := errors.Join(o.check(), old.sameRouter(o)); err != nil {
		return err
	}
	l.options.Store(&o)
	l.host.wake()
	return nil
}

// Run is the life of the loop. It ends with ctx, after it has resigned and
// released the addresses; whatever goes wrong before that is reported, and
// tried again. The error is about what could not begin, or not be undone. Run
// is called once.
func (l *Loop) Run(ctx context.Context) error {
	defer close(l.ended)
	o := l.options.Load()
	scheduling, err := l.host.enter(o)
	if err != nil {
		return fmt.Errorf("vip %s: %w", o.Name, err)
	}
	hand, err := newHand(ctx, l.host, o)
	if err != nil {
		return fmt.Errorf("vip %s: %w", o.Name, errors.Join(err, l.host.leave()))
	}
	reports := startReports(o)
	reports.debug("the loop runs", "scheduling", scheduling)
	stop := context.AfterFunc(ctx, l.host.wake)
	runErr := newRunner(ctx, l, hand, reports).run()
	stop()
	err = errors.Join(runErr, l.host.leave())
	reports.stop()
	if err != nil {
		return fmt.Errorf("vip %s: %w", o.Name, err)
	}
	return nil
}
