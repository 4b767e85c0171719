package vrrp

import (
	"cmp"
	"net/netip"
	"time"
)

// A Config is what a Machine is configured with.
type Config struct {
	// Priority is 1 to 254: the higher, the earlier this router takes over.
	// Values outside are taken as the nearest one inside.
	Priority uint8
	// Interval is the Advertisement_Interval; see Advert.Interval.
	Interval time.Duration
	// Preempt says whether this router takes over from one that is Active with
	// a lower priority (Preempt_Mode of RFC 9568 section 6.1). Two that are both
	// Active are resolved by priority and address whatever it says.
	Preempt bool
	// Source is the address from which this router sends. Between equal
	// priorities the higher address wins.
	Source netip.Addr
	// Patient has a Backup router wait as long as if it had learned that adverts
	// get lost, by whoever knows it: before it hears many it cannot know.
	Patient bool
}

// normal gives c with every value in its bounds.
func (c Config) normal() Config {
	c.Priority = min(max(c.Priority, 1), 254)
	c.Interval = min(max(c.Interval, MinInterval), MaxInterval)
	c.Source = c.Source.WithZone("")
	return c
}

// A Machine is the state machine of one virtual router (RFC 9568 section 6.4),
// without the address owner's priority 255. It is a value in memory: Step
// tells it the time and what happened, and gets what is to be done. The same
// steps give the same outputs. It is not safe for concurrent use.
//
// To the RFC it adds:
//
//   - Eligibility: a router whose service is down stays in Initialize.
//   - It knows when it was held up. An Active router that could not advertise
//     for so long that a Backup one must have taken over concedes to any advert
//     it then hears, whatever the priorities, for one Active_Down_Interval. A
//     Backup router that served its deadline late was starved, and so perhaps
//     was the Active one beside it: it listens once more before it takes over.
//   - After two routers were Active at once, the winner announces the address
//     again although its state did not change, and once more an interval after
//     the loser's last advert, when the loser has dropped it. So that the winner
//     knows, the loser sends a last advert when it concedes.
//   - A Backup router that hears two Active ones follows the one that wins.
//   - The first advert of an Active router after Startup makes it release what
//     a former process may have left on the interface.
//   - Where adverts are lost now and then, a Backup router waits for more of them:
//     see patience. On a network that loses none the RFC's bounds hold.
//   - An Active router that hears a second one which does not hear it concedes
//     after a while, though it would win: else there would be two for ever.
//   - One that preempts, and loses the address again each time, waits longer
//     each time before it preempts; see calmDown.
//   - A longer interval is advertised at the old pace first, since a Backup
//     router that misses the first advert with it still counts by the old one.
//   - It hands over to a router of choice without a moment in which nobody has
//     the addresses: see Yield.
//   - The silence of the others counts only while its driver says so: see Silence.
//   - It gives way to one that its driver knows of and that is not heard: see GiveWay.
//   - A second advert of priority 0 does not make a Backup router wait for its
//     skew time anew: one that hands over sends one every interval.
type Machine struct {
	cfg      Config
	started  bool
	bar      string // why not eligible; "" when eligible
	leftover bool   // a former process may have left the addresses
	unsure   bool   // the silence of the others does not count, see Silence
	defers   bool   // nor that of one that was heard
	state    State

	deadline time.Time // Active: Adver_Timer; Backup: Active_Down_Timer
	out      Output
	sends    [2]uint8

	backup   backup
	active   active
	patience patience
	calm     calmDown
	given    given
	yielded  netip.Addr // handed over to, and not to be preempted; until Backup ends
}

// backup is what a machine knows while it is in Backup.
type backup struct {
	interval time.Duration // Active_Adver_Interval: learned, or the own one
	learned  bool
	since    time.Time  // the silence began: at the last accepted advert, or the start
	peer     netip.Addr // who sent it
	priority uint8      // of peer
	resigned bool       // peer sent priority 0
	lower    AdvertReceived
	again    bool // the deadline was late once, and this is the second one
}

// active is what a machine knows while it is in Active.
type active struct {
	sent time.Time // the last advert

	contested bool      // a losing advert was heard: announce again
	again     time.Time // at the first deadline not before this
	calm      time.Time // losing adverts before this do not begin another contest

	pace time.Duration
	slow int // deadlines to set by pace before the interval counts

	rival rival
	yield yielding

	doubtUntil time.Time // a peer may have taken over, while this process was held up
	heldUp     time.Duration
	spoke      bool // an advert was sent in doubt
}

// NewMachine gives a machine in Initialize, which is eligible and waits for Startup.
func NewMachine(c Config) *Machine {
	return &Machine{cfg: c.normal()}
}

// State gives the state.
func (m *Machine) State() State { return m.state }

// Config gives the configuration, with every value in its bounds.
func (m *Machine) Config() Config { return m.cfg }

// Step tells m that e happened, at the time now, which is never before that of
// the step before.
func (m *Machine) Step(now time.Time, e Event) Output {
	m.out = Output{Send: m.sends[:0]}
	m.noticeDelay(now)
	switch e := e.(type) {
	case Startup:
		m.startup(now)
	case Timer:
		m.timer(now)
	case AdvertReceived:
		m.heard(now, e)
	case Eligible:
		m.setEligible(now, e)
	case Configure:
		m.configure(now, e.Config.normal())
	case Yield:
		m.yield(now, e)
	case Stay:
		m.stay(now)
	case Silence:
		m.silence(now, e)
	case Elsewhere:
		m.releaseLeftover()
	case GiveWay:
		m.giveWay(now, e)
	case Shutdown:
		m.started = false
		m.toInitialize(Cause{Kind: CauseShutdown})
	}
	if until := m.active.yield.until; m.Yielding() && until.Before(m.deadline) {
		m.deadline = until
	}
	m.out.State, m.out.Deadline = m.state, m.deadline
	if m.waits() {
		m.out.Deadline = time.Time{}
	}
	return m.out
}

func (m *Machine) startup(now time.Time) {
	if m.started {
		return
	}
	m.started, m.leftover = true, true
	if m.bar == "" {
		m.toBackup(now, Cause{Kind: CauseStarted})
	}
}

func (m *Machine) setEligible(now time.Time, e Eligible) {
	was := m.bar == ""
	m.bar = ""
	if !e.OK {
		if m.state == Active {
			m.calm.lost(now)
		}
		m.bar = e.Reason
		if m.bar == "" {
			m.bar = "not eligible"
		}
		m.toInitialize(Cause{Kind: CauseIneligible, Text: m.bar})
		return
	}
	if m.started && !was {
		m.toBackup(now, Cause{Kind: CauseEligible, Text: e.Reason})
	}
}

// toInitialize leaves Backup or Active; an Active router says so first.
func (m *Machine) toInitialize(c Cause) {
	if m.state == Initialize {
		return
	}
	if m.state == Active {
		m.send(0)
		m.out.Release = true
	}
	m.state, m.deadline, m.out.Cause = Initialize, time.Time{}, c
	m.yielded = netip.Addr{}
}

// toBackup enters Backup with nobody heard yet.
func (m *Machine) toBackup(now time.Time, c Cause) {
	m.state, m.out.Cause = Backup, c
	m.backup = backup{interval: m.cfg.Interval, since: now}
	m.deadline = now.Add(m.downInterval())
	if m.unsure {
		m.deadline = time.Time{}
	}
}

// toActive takes over. The interval learned from the one before is forgotten.
func (m *Machine) toActive(now time.Time, c Cause) {
	m.state, m.out.Cause = Active, c
	m.active, m.leftover, m.yielded = active{}, false, netip.Addr{}
	m.out.Claim, m.out.Announce = true, true
	m.advertise(now)
	m.deadline = now.Add(m.cfg.Interval)
}

// concede goes from Active to Backup, to the sender of a.
func (m *Machine) concede(now time.Time, a AdvertReceived, c Cause) {
	m.out.Release = true
	m.toBackup(now, c)
	m.learn(now, a)
}

// learn takes a for the advert of the Active router.
func (m *Machine) learn(now time.Time, a AdvertReceived) {
	m.patience.heard(now, a)
	m.backup = backup{
		interval: max(a.Interval, MinInterval),
		learned:  true,
		since:    now,
		peer:     a.Src,
		priority: a.Priority,
	}
	m.deadline = now.Add(m.downInterval())
}

func (m *Machine) downInterval() time.Duration {
	extra := m.patience.extra()
	if m.cfg.Patient {
		extra = maxExtra
	}
	return ActiveDownInterval(m.backup.interval, m.cfg.Priority) + time.Duration(extra)*m.backup.interval
}

func (m *Machine) skewTime() time.Duration {
	return SkewTime(m.backup.interval, m.cfg.Priority)
}

func (m *Machine) send(priority uint8) {
	m.out.Send = append(m.out.Send, priority)
}

// advertise sends the own priority, as Active, and 0 to whom it hands over to.
func (m *Machine) advertise(now time.Time) {
	y := &m.active.yield
	if y.on && !y.to.IsValid() {
		m.send(0)
	} else {
		m.send(m.cfg.Priority)
	}
	m.out.Yield = y.to
	m.active.sent = now
	m.active.spoke = true
}

// noticeDelay finds out that an Active router was held up for so long that a
// Backup one, which waits for at most four intervals, has taken over. It looks
// at every event: the first one after the delay may be the other's advert.
func (m *Machine) noticeDelay(now time.Time) {
	late := now.Sub(m.deadline)
	if m.state != Active || late <= ActiveDownInterval(m.cfg.Interval, m.cfg.Priority) {
		return
	}
	m.out.Late = late
	m.active.heldUp = late
	m.active.spoke = false
	m.active.doubtUntil = now.Add(ActiveDownInterval(m.cfg.Interval, m.cfg.Priority))
}

func (m *Machine) timer(now time.Time) {
	if now.Before(m.deadline) || m.deadline.IsZero() || m.waits() {
		return // served early, or there is none; the driver gets the same deadline again
	}
	switch m.state {
	case Initialize: // has no timer
	case Backup:
		m.activeDown(now)
	case Active:
		m.advertTimer(now)
	}
}

// activeDown serves the Active_Down_Timer.
func (m *Machine) activeDown(now time.Time) {
	b := &m.backup
	late := now.Sub(m.deadline)
	if late > b.interval/2 && !b.resigned && !b.again {
		// Starved, and perhaps the Active router too. Once only: one that is
		// alone and always late takes over all the same.
		b.again = true
		m.out.Late = late
		m.deadline = now.Add(b.interval + m.skewTime())
		return
	}
	c := Cause{Kind: CauseSilence, Peer: b.peer, Lasted: now.Sub(b.since), Own: m.cfg.Priority}
	switch {
	case b.resigned:
		c.Kind = CauseResigned
	case b.lower.Src.IsValid():
		c.Kind, c.Peer, c.Priority = CausePreempt, b.lower.Src, b.lower.Priority
	}
	m.toActive(now, c)
}

// advertTimer serves the Adver_Timer.
func (m *Machine) advertTimer(now time.Time) {
	if m.Yielding() && !now.Before(m.active.yield.until) {
		m.active.yield = yielding{} // nobody took over
	}
	m.advertise(now)
	if m.active.contested && !now.Before(m.active.again) {
		m.active.contested = false
		m.out.Announce = true
	}
	pace := m.cfg.Interval
	if m.active.slow > 0 {
		m.active.slow--
		pace = m.active.pace
	}
	// The pace holds although one advert was late.
	m.deadline = m.deadline.Add(pace)
	if !m.deadline.After(now) {
		m.deadline = now.Add(pace)
	}
}

func (m *Machine) heard(now time.Time, a AdvertReceived) {
	if m.given.covers(now, a) {
		return
	}
	switch m.state {
	case Initialize:
		m.dropLeftover(a)
	case Backup:
		m.heardInBackup(now, a)
	case Active:
		m.heardInActive(now, a)
	}
}

// dropLeftover releases what a former process may have left, now that a is
// known to be Active.
func (m *Machine) dropLeftover(a AdvertReceived) {
	if a.Priority > 0 {
		m.releaseLeftover()
	}
}

// releaseLeftover releases it once. Who is Active has made it its own.
func (m *Machine) releaseLeftover() {
	if m.leftover && m.started {
		m.leftover = false
		m.out.Release = true
	}
}

// heardInBackup is RFC 9568 section 6.4.2.
func (m *Machine) heardInBackup(now time.Time, a AdvertReceived) {
	losing := m.losing(now, a)
	switch {
	case a.Priority == 0 && losing:
	case a.Priority == 0:
		m.given.directed(now, a)
		if m.backup.resigned && m.backup.peer == a.Src {
			return // the skew time began at the first one
		}
		m.backup.peer, m.backup.resigned, m.backup.since = a.Src, true, now
		m.deadline = now.Add(m.skewTime())
	case m.preempts(now, a):
		m.dropLeftover(a)
		m.backup.lower = a
		if m.deadline.IsZero() { // nobody was waited for, see Silence
			m.deadline = now.Add(m.downInterval())
		}
	case losing:
		wait := ActiveDownInterval(a.Interval, m.cfg.Priority)
		if until := now.Add(wait); until.After(m.deadline) {
			m.deadline = until
		}
	default:
		m.dropLeftover(a)
		m.learn(now, a)
	}
}

// losing reports whether a is of a second Active router, which loses against
// the one that is known and alive. Its last adverts must not replace what is
// known: with a shorter interval, they would make this router take over from
// the winner.
func (m *Machine) losing(now time.Time, a AdvertReceived) bool {
	b := &m.backup
	alive := b.learned && !b.resigned && now.Sub(b.since) <= 3*b.interval
	loses := a.Priority < b.priority || a.Priority == b.priority && a.Src.Less(b.peer)
	return alive && loses && a.Src != b.peer
}

// heardInActive is RFC 9568 section 6.4.3.
func (m *Machine) heardInActive(now time.Time, a AdvertReceived) {
	c := Cause{Peer: a.Src, Priority: a.Priority, Own: m.cfg.Priority}
	switch {
	case m.active.yield.taken(a):
		c.Kind = CauseYielded
		if to := m.active.yield.to; to.IsValid() || !m.active.yield.any {
			// It may have been Active before, on the other side of a partition, and
			// is to announce the address once more, as the winner of two.
			m.out.Yield = cmp.Or(to, a.Src)
		}
		m.concede(now, a, c)
		m.yielded = a.Src
	case a.Priority == 0:
		m.given.directed(now, a)
		m.contest(now)
		m.advertise(now)
		m.deadline = now.Add(m.cfg.Interval)
	case now.Before(m.active.doubtUntil):
		c.Kind, c.Lasted = CauseHeldUp, m.active.heldUp
		m.sayDoubtful(a)
		m.concede(now, a, c)
	case a.Priority > m.cfg.Priority:
		c.Kind = CauseOutranked
		m.send(m.cfg.Priority)
		m.concede(now, a, c)
	case a.Priority == m.cfg.Priority && m.cfg.Source.Less(a.Src.WithZone("")):
		c.Kind = CauseTieBreak
		m.send(m.cfg.Priority)
		m.concede(now, a, c)
	case m.active.rival.deaf(now, a, m.cfg.Interval):
		c.Kind = CauseUnheard
		m.calm.lost(now)
		m.calm.until = now.Add(max(firstCalm, m.calm.until.Sub(now)))
		// The others are to follow the peer, and not this router any more.
		m.send(lowest)
		m.concede(now, a, c)
	default:
		m.patience.heard(now, a)
		m.assert(now)
	}
}

// lowest is the priority of the last advert of a router that concedes to one
// with a lower priority than its own.
const lowest = 1

// sayDoubtful sends the last advert of a router that was held up and concedes
// to the sender of a. It must not have the own priority, which may be the higher one.
func (m *Machine) sayDoubtful(a AdvertReceived) {
	switch {
	case m.active.spoke:
		// The peer may have conceded to what was said in doubt, and then it is
		// to take over again.
		m.send(0)
	case a.Priority > lowest:
		m.send(lowest)
	}
}

// assert answers the advert of a router that loses against this one.
func (m *Machine) assert(now time.Time) {
	const most = 10 * time.Millisecond
	m.contest(now)
	if now.Sub(m.active.sent) < min(m.cfg.Interval/8, most) {
		// Two routers that both think they have won would else answer each
		// other as fast as the network can.
		return
	}
	m.advertise(now)
	m.deadline = now.Add(m.cfg.Interval)
}

// contest announces the address, because another router has announced it as its
// own: now, and at the deadline, an interval after the other's last advert. A
// contest that does not end, because the other cannot hear this router, is
// announced a few times a second, not at every advert.
func (m *Machine) contest(now time.Time) {
	const gap = time.Second
	a := &m.active
	switch {
	case !now.Before(a.calm):
		m.out.Announce = true
		a.contested, a.again, a.calm = true, now, now.Add(gap)
	case !a.contested:
		a.contested, a.again = true, a.calm
	}
}
