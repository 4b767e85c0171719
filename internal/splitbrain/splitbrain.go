// Package splitbrain ends two holders of a VIP that do not hear each other: their adverts
// are filtered, or no frame passes between them and only a third controller reaches both.
// VRRP has two then for as long as that lasts. So agents tell each other over their own
// channel what they hold, and of two that neither hears the other's adverts one gives way:
// the one with the lower priority, and of two with the same the one that holds it for less
// long. It takes the VIP from nobody then, as long as the other says that it holds it.
//
// Two that hear each other, if only one the other, are VRRP's business. So is every
// takeover: nothing here delays one, or prevents it, but where a split brain was ended.
package splitbrain

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/tick"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

const (
	// lookEvery is how often there is a look while there is something to look at, and
	// askEvery how often another agent is asked then.
	lookEvery = 100 * time.Millisecond
	askEvery  = 400 * time.Millisecond
	// askTime is how long an agent may take to answer. One that reaches this one does so
	// within milliseconds.
	askTime = 700 * time.Millisecond
	// newFor is how long after it took a VIP a controller asks everybody: a split brain
	// begins so. After that what the agents tell each other anyway is enough.
	newFor = 5 * time.Second
	// fresh is how old another controller's word may be: it is told every two seconds.
	fresh = 5 * time.Second
	// sureAfter is for how long both must have been seen to hold a VIP: adverts may be on
	// their way when the agents' channel is there already.
	sureAfter = 300 * time.Millisecond
	// A holder whose adverts have not come for deafIntervals of them, and for deafLeast, is
	// not heard. Where adverts do not say from whom they are, hellos do, every second.
	deafIntervals = 5
	deafLeast     = 600 * time.Millisecond
	deafAnonymous = 2500 * time.Millisecond
	// lostAfter is the silence after which it does not hold a VIP any more to which this
	// controller gave way.
	lostAfter = 2 * time.Second
	// newHolder is how long after this controller gave way another one that is heard may be
	// one that gives way, too.
	newHolder = time.Second
	// again is how long after a split brain could not be ended that is tried again.
	again = 500 * time.Millisecond
)

// Options is what a SplitBrain is made of. None of the functions is nil.
type Options struct {
	Controller string // this one's name in the spec
	Log        *slog.Logger
	// Spec gives the spec in force; nil while there is none.
	Spec func() *spec.Spec
	// VIPs gives this controller's part in each VIP.
	VIPs func() []VIP
	// Ask has the agent of another controller carry out a command, and decodes its answer
	// into resp. Where that agent could not be asked, the error is a *peer.Error.
	Ask func(ctx context.Context, controller, command string, req, resp any) error
	// GiveWay ends that this controller holds a VIP which another one holds, too. With
	// keep its connections go on here, where the other one can send on what is theirs.
	GiveWay func(ctx context.Context, vip, to string, keep bool) error
}

// A VIP is this controller's part in one.
type VIP struct {
	spec.VIP
	Loop Loop
}

// A Loop is the VRRP loop of a VIP: see link.Loop.
type Loop interface {
	Stats() link.Stats
	Hearing() map[netip.Addr]link.Hearing
	Defer(why string)
	Insist()
	Elsewhere()
}

// A Holding is one controller's holding of a VIP, in its own words.
type Holding struct {
	Priority int           `json:"priority"`
	For      time.Duration `json:"for_ns"`
	// Ago is how long ago it said so: 0 from itself.
	Ago time.Duration `json:"ago_ns,omitempty"`
}

// beats reports whether h stays, and not other, of the controllers called name and
// otherName.
func (h Holding) beats(other Holding, name, otherName string) bool {
	const same = time.Second // they did not begin at the same moment, but who knows which was first
	switch {
	case h.Priority != other.Priority:
		return h.Priority > other.Priority
	case h.For-other.For > same || other.For-h.For > same:
		return h.For > other.For
	}
	return name < otherName
}

// A Word is what a controller tells the others.
type Word struct {
	// Holds has the VIPs that it holds, Defers those that it takes from nobody, by the
	// controller that holds them.
	Holds  map[string]Holding `json:"holds,omitempty"`
	Defers map[string]string  `json:"defers,omitempty"`
	// Others has what other controllers have told it, by their names.
	Others map[string]map[string]Holding `json:"others,omitempty"`
}

// A known is what is known of a VIP held by another controller.
type known struct {
	Holding
	at time.Time // when it said so
}

// A deferral is a VIP that this controller takes from nobody, since another one holds it.
type deferral struct {
	to    string
	since time.Time
	until time.Time // unless the other one says so again
}

// A SplitBrain ends those of this controller. Its methods may be called by any goroutine.
type SplitBrain struct {
	opt   Options
	poked chan struct{}

	mu      sync.Mutex // guards following
	others  map[string]map[string]known
	both    map[[2]string]time.Time // VIP and controller: both hold it since then
	defers  map[string]*deferral
	asking  map[string]bool      // controllers that are being asked
	asked   map[string]time.Time // when they were last
	asks    time.Time            // until then: others go by what this controller hears
	ending  map[string]bool      // VIPs in which a split brain is being ended
	said    map[[2]string]string // why one could not be ended
	gone    map[string]time.Time // controllers that did not answer: what they said before is void
	holding map[string]time.Time // VIPs that this controller holds, since
}

// New makes a SplitBrain. It asks nobody until Watch.
func New(opt Options) *SplitBrain {
	return &SplitBrain{
		opt: opt, poked: make(chan struct{}, 1),
		others: map[string]map[string]known{}, both: map[[2]string]time.Time{},
		defers: map[string]*deferral{}, asking: map[string]bool{}, asked: map[string]time.Time{},
		ending: map[string]bool{}, holding: map[string]time.Time{}, said: map[[2]string]string{}, gone: map[string]time.Time{},
	}
}

// Poke has it look: who holds a VIP is another one.
func (b *SplitBrain) Poke() {
	tick.Wake(b.poked)
}

// Commands gives what the agents of other controllers may ask for, by name.
func (b *SplitBrain) Commands() map[string]peer.Handler {
	return map[string]peer.Handler{
		"holds":  peer.Handle(b.holds),
		"settle": peer.Handle(b.settled),
		"relay":  peer.Handle(b.relay),
	}
}

// Word gives what this controller tells the others.
func (b *SplitBrain) Word() Word {
	now := time.Now()
	w := Word{Holds: b.own(now), Defers: map[string]string{}, Others: map[string]map[string]Holding{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	for vip, d := range b.defers {
		w.Defers[vip] = d.to
	}
	for name, all := range b.others {
		told := map[string]Holding{}
		for vip, k := range all {
			if ago := now.Sub(k.at); ago < fresh {
				told[vip] = Holding{Priority: k.Priority, For: k.For, Ago: ago}
			}
		}
		if len(told) > 0 {
			w.Others[name] = told
		}
	}
	return w
}

// own gives what this controller holds.
func (b *SplitBrain) own(now time.Time) map[string]Holding {
	all := map[string]Holding{}
	for _, v := range b.opt.VIPs() {
		if s := v.Loop.Stats(); s.State == vrrp.Active {
			all[v.Name] = Holding{Priority: int(s.Priority), For: now.Sub(s.Since)}
		}
	}
	return all
}

// Hears takes in the word of another controller, as JSON. What is not understood is not
// said.
func (b *SplitBrain) Hears(from string, word json.RawMessage) {
	var w Word
	if json.Unmarshal(word, &w) == nil {
		b.Told(from, w)
	}
}

// Told takes in the word of another controller.
func (b *SplitBrain) Told(from string, w Word) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(from, w.Holds, now)
	b.releaseLeftovers(w.Holds)
	for name, all := range w.Others {
		if name != b.opt.Controller && name != from {
			b.noteOf(name, all, now)
		}
	}
	for vip, to := range w.Defers {
		if to == b.opt.Controller {
			continue
		}
		// Who hears that one alone would take the VIP in its place.
		b.asks = now.Add(lostAfter)
		v, there := b.vip(vip)
		c, known := b.controller(to)
		// That one waits is no sign that the holder lives: two would tell each other for ever.
		until := b.others[to][vip].at.Add(lostAfter)
		if d := b.defers[vip]; d != nil && d.to == from {
			d.to, d.until = to, until // to whom this one gave way gives way itself
		}
		if _, holds := b.holding[vip]; there && known && !holds && b.defers[vip] == nil && now.Before(until) && !b.hears(v, c) {
			b.defers[vip] = &deferral{to: to, since: now, until: until}
		}
	}
	if len(b.holding) > 0 || len(b.defers) > 0 || now.Before(b.asks) {
		b.Poke()
	}
}

// releaseLeftovers has this controller release what a former process of its left of the
// VIPs that another controller has just said to hold: where its adverts do not arrive,
// nothing but the end of the lease would.
func (b *SplitBrain) releaseLeftovers(holds map[string]Holding) {
	for name := range holds {
		if v, there := b.vip(name); there && v.Loop.Stats().State != vrrp.Active {
			v.Loop.Elsewhere()
		}
	}
}

// note takes in what a controller says of itself: what it does not say it does not hold.
func (b *SplitBrain) note(of string, all map[string]Holding, now time.Time) {
	b.others[of] = map[string]known{}
	b.noteOf(of, all, now)
	for vip, d := range b.defers {
		if _, holds := all[vip]; d.to == of && !holds {
			d.until = now
		}
	}
}

// noteOf takes in what somebody says that a controller has said, if it is news.
func (b *SplitBrain) noteOf(of string, all map[string]Holding, now time.Time) {
	if b.others[of] == nil {
		b.others[of] = map[string]known{}
	}
	for vip, h := range all {
		at := now.Add(-h.Ago)
		if h.Ago >= 0 && h.Ago < fresh && at.After(b.others[of][vip].at) && at.After(b.gone[of]) {
			b.others[of][vip] = known{h, at}
			if d := b.defers[vip]; d != nil && d.to == of && at.Add(lostAfter).After(d.until) {
				d.until = at.Add(lostAfter)
			}
		}
	}
}

// holds is the command of another agent, which tells what it holds and is told.
func (b *SplitBrain) holds(_ context.Context, from string, w Word) (any, error) {
	b.Told(from, w)
	return b.Word(), nil
}

// A relayRequest asks for a command to be carried out by an agent that who asks does not
// reach.
type relayRequest struct {
	To      string          `json:"to"`
	Command string          `json:"command"`
	Body    json.RawMessage `json:"body"`
}

// A relayReply is what came of it.
type relayReply struct {
	Answered bool   `json:"answered"`
	Refusal  string `json:"refusal,omitempty"` // empty if it was done
}

// relay is the command of another agent. It passes on what this package asks for alone.
func (b *SplitBrain) relay(ctx context.Context, _ string, req relayRequest) (any, error) {
	if req.Command != "settle" {
		return nil, fmt.Errorf("the command %q is not passed on", req.Command)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err := b.opt.Ask(ctx, req.To, req.Command, req.Body, &struct{}{})
	switch {
	case peer.Unanswered(err):
		return relayReply{}, nil
	case err != nil:
		return relayReply{Answered: true, Refusal: err.Error()}, nil
	}
	return relayReply{Answered: true}, nil
}

// A settleRequest says that the controller Of gives way, if the one that is asked stays.
type settleRequest struct {
	VIP string  `json:"vip"`
	Of  string  `json:"of"`
	Its Holding `json:"its"`
}

// settled is the command of a controller that holds a VIP, too, and is about to give way.
func (b *SplitBrain) settled(_ context.Context, _ string, req settleRequest) (any, error) {
	v, there := b.vip(req.VIP)
	other, known := b.controller(req.Of)
	if !there || !known {
		return nil, fmt.Errorf("there is no vip %s, or no controller %s here; are the specs of both the same?", req.VIP, req.Of)
	}
	own, holds := b.own(time.Now())[v.Name]
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !holds:
		return nil, fmt.Errorf("%s does not hold vip %s", b.opt.Controller, v.Name)
	case b.hears(v, other):
		return nil, fmt.Errorf("%s hears the adverts of %s, and VRRP ends this", b.opt.Controller, req.Of)
	case b.ending[v.Name], !own.beats(req.Its, b.opt.Controller, req.Of):
		return nil, fmt.Errorf("%s gives way itself", b.opt.Controller)
	}
	v.Loop.Insist() // clients may have heard the other one last, and VRRP never does
	return struct{}{}, nil
}

func (b *SplitBrain) vip(name string) (VIP, bool) {
	all := b.opt.VIPs()
	i := slices.IndexFunc(all, func(v VIP) bool { return v.Name == name })
	if i < 0 {
		return VIP{}, false
	}
	return all[i], true
}

func (b *SplitBrain) controller(name string) (spec.Controller, bool) {
	s := b.opt.Spec()
	if s == nil {
		return spec.Controller{}, false
	}
	return s.Controller(name)
}

// hears reports whether adverts of the controller for v arrive here, if it holds it.
func (b *SplitBrain) hears(v VIP, c spec.Controller) bool {
	least := max(deafLeast, deafIntervals*v.VRRP.Interval)
	if v.VRRP.Peers == spec.Multicast && c.Address.Is6() {
		least = max(least, deafAnonymous)
	}
	return v.Loop.Hearing()[c.Address].Hears(least)
}

// beside gives the other controllers, in the order of the spec.
func (b *SplitBrain) beside() []spec.Controller {
	s := b.opt.Spec()
	if s == nil {
		return nil
	}
	return s.Others(b.opt.Controller)
}

// Watch looks for split brains of this controller, until ctx ends.
func (b *SplitBrain) Watch(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for ctx.Err() == nil {
		busy := b.look(ctx, time.Now(), &tasks)
		var timer <-chan time.Time
		if busy {
			timer = time.After(lookEvery)
		}
		select {
		case <-ctx.Done():
		case <-b.poked:
		case <-timer:
		}
	}
}

// look does what is due, and reports whether there will be more soon.
func (b *SplitBrain) look(ctx context.Context, now time.Time, tasks *sync.WaitGroup) bool {
	own := b.own(now)
	b.mu.Lock()
	defer b.mu.Unlock()
	busy := b.lookAtDeferrals(now, own)
	for name := range b.holding {
		if _, holds := own[name]; !holds {
			delete(b.holding, name)
		}
	}
	for name := range own {
		if b.holding[name].IsZero() {
			b.holding[name] = now
		}
		if now.Sub(b.holding[name]) < newFor {
			busy = true
		}
	}
	if b.lookForOthers(ctx, now, own, tasks) || now.Before(b.asks) {
		busy = true
	}
	if busy {
		b.askAll(ctx, now, tasks)
	}
	return busy
}

// lookAtDeferrals ends those whose time is over, and those of VIPs of which a holder is
// heard: who has just begun to give way may be heard a moment longer. It reports whether
// there are any.
func (b *SplitBrain) lookAtDeferrals(now time.Time, own map[string]Holding) bool {
	for name, d := range b.defers {
		v, there := b.vip(name)
		c, known := b.controller(d.to)
		_, holds := own[name]
		switch {
		case !there:
			delete(b.defers, name)
		case now.After(d.until):
			b.forget(d.to, d.until)
			delete(b.defers, name)
			v.Loop.Defer("")
		case !known, holds && !b.ending[name], b.hears(v, c), !holds && now.Sub(d.since) > newHolder && v.Loop.Stats().Holder != "":
			delete(b.defers, name)
			v.Loop.Defer("")
		default:
			v.Loop.Defer(whyDeferred(d.to))
		}
	}
	return len(b.defers) > 0
}

// whyDeferred says why a VIP is taken from nobody while a controller holds it.
func whyDeferred(to string) string {
	return to + " has the address, by the word of its agent; none of its adverts arrives here"
}

// forget makes void what a controller said before a time: it does not answer.
func (b *SplitBrain) forget(name string, before time.Time) {
	if before.After(b.gone[name]) {
		b.gone[name] = before
	}
	delete(b.others, name)
}

// lookForOthers begins to end the split brains that have lasted for long enough, and
// reports whether there are any.
func (b *SplitBrain) lookForOthers(ctx context.Context, now time.Time, own map[string]Holding, tasks *sync.WaitGroup) bool {
	seen := map[[2]string]bool{}
	for name, mine := range own {
		v, _ := b.vip(name)
		to, said := "", time.Time{} // of those that stay, the one that said so last: it lives
		for _, c := range b.beside() {
			other := c.Name
			its, holds := b.others[other][name]
			if !holds || now.Sub(its.at) > fresh || b.hears(v, c) {
				continue
			}
			key := [2]string{name, other}
			seen[key] = true
			if b.both[key].IsZero() {
				b.both[key] = now
			}
			theirs := Holding{Priority: its.Priority, For: its.For + now.Sub(its.at)}
			if now.Sub(b.both[key]) < sureAfter || mine.beats(theirs, b.opt.Controller, other) || b.ending[name] {
				continue
			}
			if its.at.After(said) {
				to, said = other, its.at
			}
		}
		if to != "" {
			b.ending[name] = true
			tasks.Go(func() { b.end(ctx, name, to, mine) })
		}
	}
	maps.DeleteFunc(b.both, func(key [2]string, _ time.Time) bool { return !seen[key] })
	return len(seen) > 0
}

// askAll tells each of the others what this controller holds, and asks what it holds.
func (b *SplitBrain) askAll(ctx context.Context, now time.Time, tasks *sync.WaitGroup) {
	for _, c := range b.beside() {
		if b.asking[c.Name] || now.Sub(b.asked[c.Name]) < askEvery {
			continue
		}
		b.asking[c.Name], b.asked[c.Name] = true, now
		tasks.Go(func() { b.ask(ctx, c.Name) })
	}
}

func (b *SplitBrain) ask(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var w Word
	err := b.opt.Ask(ctx, name, "holds", b.Word(), &w)
	b.mu.Lock()
	b.asking[name] = false
	b.mu.Unlock()
	if err == nil {
		b.Told(name, w)
	}
}

// end gives way to another holder of a VIP, if that one stays.
func (b *SplitBrain) end(ctx context.Context, vip, to string, mine Holding) {
	defer func() {
		b.mu.Lock()
		delete(b.ending, vip)
		b.mu.Unlock()
		b.Poke()
	}()
	direct, err := b.agree(ctx, settleRequest{VIP: vip, Of: b.opt.Controller, Its: mine}, to)
	if err != nil {
		b.mu.Lock()
		key := [2]string{vip, to}
		news := b.said[key] != err.Error()
		b.both[key], b.said[key] = time.Now().Add(again), err.Error()
		if peer.Unanswered(err) {
			b.forget(to, time.Now())
		}
		b.mu.Unlock()
		if news {
			b.opt.Log.Warn("two controllers hold a vip, and do not hear each other; this one does not give way", "vip", vip, "other", to, "reason", err)
		}
		return
	}
	v, there := b.vip(vip)
	if !there {
		return
	}
	b.mu.Lock()
	b.defers[vip] = &deferral{to: to, since: time.Now(), until: time.Now().Add(lostAfter)}
	b.mu.Unlock()
	v.Loop.Defer(whyDeferred(to))
	b.tellOthers(ctx, to)
	if err := b.opt.GiveWay(ctx, vip, to, direct); err != nil {
		b.opt.Log.Warn("a vip that another controller holds too was not given up", "vip", vip, "other", to, "error", err)
	}
}

// tellOthers tells those beside to whom this controller is about to give way: who hears
// only this one would take the VIP in its place.
func (b *SplitBrain) tellOthers(ctx context.Context, to string) {
	const patience = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var tasks sync.WaitGroup
	for _, c := range b.beside() {
		if c.Name != to {
			tasks.Go(func() { b.ask(ctx, c.Name) })
		}
	}
	tasks.Wait()
}

// agree has the other one say that it stays: by a word with it or, where that cannot be,
// through one that reaches both.
func (b *SplitBrain) agree(ctx context.Context, req settleRequest, to string) (direct bool, err error) {
	once := func(controller, command string, body, answer any) error {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		return b.opt.Ask(ctx, controller, command, body, answer)
	}
	if err = once(to, "settle", req, &struct{}{}); !peer.Unanswered(err) {
		return true, err
	}
	body, jsonErr := json.Marshal(req)
	if jsonErr != nil {
		return false, fmt.Errorf("write what is to be passed on: %w", jsonErr)
	}
	for _, by := range b.beside() {
		var answer relayReply
		if by.Name == to || once(by.Name, "relay", relayRequest{To: to, Command: "settle", Body: body}, &answer) != nil || !answer.Answered {
			continue
		}
		if answer.Refusal != "" {
			return false, fmt.Errorf("by the word of %s: %s", by.Name, answer.Refusal)
		}
		return false, nil
	}
	return false, err
}
