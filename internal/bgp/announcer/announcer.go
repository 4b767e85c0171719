// Package announcer has this controller's part in the VIPs that are announced by BGP: for each
// the leased address, and the machine of package bgp that says what is announced; and one
// speaker for all, which runs only while there is such a VIP. It decides nothing that
// package bgp can.
package announcer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/bgp"
	"holdfast/internal/bgp/speaker"
	"holdfast/internal/file"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/rtnl"
	"holdfast/internal/sockdiag"
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

// An owner is this controller's part in one VIP.
type owner struct {
	vip     spec.VIP
	lease   vip.Options
	address *vip.Address
	machine *bgp.Machine
	claimed bool   // the kernel has been given the address
	trouble string // why it could not, or cannot now, as was logged
	open    int    // connections, as counted last
	counted time.Time
	status  bgp.Decision
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

// unreadFinding says which passwords could not be read; nil for none.
func unreadFinding(unread error) *status.Finding {
	if unread == nil {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "bgp",
		Text:   "what is known from before is in force: " + strings.ReplaceAll(unread.Error(), "\n", "; "),
		Remedy: "mend the file, and holdfast reload", Brief: "a BGP password cannot be read",
	}
}

// speakerOptions gives who speaks with whom, by s. A password that cannot be read any more,
// unread, keeps neither an agent from starting nor a spec from coming into force: its peer has
// the one of before or, where an agent has just started, is left out.
func (a *Announcer) speakerOptions(s *spec.Spec) (o speaker.Options, unread, err error) {
	a.mu.Lock()
	was, before := a.spec, a.next.Peers
	a.mu.Unlock()
	b := s.BGP
	o = speaker.Options{
		ASN: b.ASN, RouterID: b.RouterIDs[a.opt.Controller], BFD: b.BFD, GracefulRestart: b.GracefulRestart, HoldTime: b.HoldTime, Listen: b.Listen,
		Log: a.opt.Log.With("component", "bgp"),
	}
	for _, p := range b.Peers {
		if !p.Of(a.opt.Controller) {
			continue
		}
		one := speaker.Peer{BGPPeer: p}
		one.Controllers = nil // so that a change of another's is none here
		if p.PasswordFile != "" {
			if one.Password, err = readPassword(p.PasswordFile); err != nil {
				err = fmt.Errorf("the password of the BGP peer %s: %w", p.Address, err)
				if !hadPeer(was, p) {
					return o, nil, err
				}
				unread = errors.Join(unread, err)
				i := slices.IndexFunc(before, func(x speaker.Peer) bool { return x.Address == p.Address && x.PasswordFile == p.PasswordFile })
				if i < 0 {
					continue
				}
				one.Password = before[i].Password
			}
		}
		o.Peers = append(o.Peers, one)
	}
	return o, unread, nil
}

// hadPeer reports whether was, the spec in force, has p with that file; nil: nobody knows, as the
// agent has just started.
func hadPeer(was *spec.Spec, p spec.BGPPeer) bool {
	return was == nil || was.BGP != nil && slices.ContainsFunc(was.BGP.Peers, func(x spec.BGPPeer) bool {
		return x.Address == p.Address && x.PasswordFile == p.PasswordFile
	})
}

// readPassword reads the one line of a file that only its owner may read.
func readPassword(path string) (string, error) {
	data, info, err := file.Read(path, maxPassword+1)
	switch {
	case errors.Is(err, file.ErrNotRegular):
		return "", fmt.Errorf("%s is no file", path)
	case err != nil:
		return "", fmt.Errorf("read it: %w", err)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s can be read by others: chmod 600 %s", path, path)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if password == "" || len(password) > maxPassword || strings.ContainsAny(password, "\n\x00") {
		return "", fmt.Errorf("%s has not one line of 1 to %d characters", path, maxPassword)
	}
	return password, nil
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

// limitOf gives how long a drain may last. Another daemon cannot be told that routers are to
// prefer others: there is nothing to wait for.
func limitOf(s *spec.Spec) time.Duration {
	if s.BGP.Engine == spec.EngineExternal {
		return bgp.SettleFor
	}
	return s.Agent.HandoverLimit
}

// follows reports whether o is what becomes of b: it has its name, or one of its addresses.
func (o *owner) follows(b *owner) bool {
	return o.vip.Name == b.vip.Name || slices.ContainsFunc(o.vip.Addrs(), func(at netip.Addr) bool { return slices.Contains(b.vip.Addrs(), at) })
}

// giveUp releases what o has, but what the owners of next have claimed: of that not one
// connection is to end.
func (o *owner) giveUp(next []*owner) error {
	if !o.claimed {
		return nil
	}
	o.claimed = false
	var over, moved []netip.Prefix
	for _, p := range o.lease.Addresses {
		i := slices.IndexFunc(next, func(n *owner) bool { return n.claimed && slices.Contains(n.lease.Addresses, p) })
		switch {
		case i < 0:
			over = append(over, p)
		case next[i].lease.Interface != o.lease.Interface:
			moved = append(moved, p)
		}
	}
	var errs []error
	for _, part := range []struct {
		of  []netip.Prefix
		end func(*vip.Address, context.Context) error
	}{{over, (*vip.Address).Release}, {moved, (*vip.Address).Withdraw}} {
		if len(part.of) == 0 {
			continue
		}
		lease := o.lease
		lease.Addresses = part.of
		at, err := vip.New(lease)
		if err == nil {
			err = errors.Join(part.end(at, context.Background()), at.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func sameLease(a, b vip.Options) bool {
	a.Log, b.Log = nil, nil
	return reflect.DeepEqual(a, b)
}

// begin has o begin; with an agent that has just started it looks whether the one before
// left the address.
func (o *owner) begin(now time.Time, s *spec.Spec, first bool) {
	restart := time.Duration(0)
	if first {
		if present, err := o.address.Present(); err == nil && present {
			restart = s.BGP.GracefulRestart
		}
	}
	o.machine = bgp.NewMachine(now, limitOf(s), restart)
	o.status = o.machine.Decision()
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
		o.status = o.machine.Step(now, a.facts(ctx, o, now))
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

// facts gives what is known for o.
func (a *Announcer) facts(ctx context.Context, o *owner, now time.Time) bgp.Facts {
	f := bgp.Facts{Drained: a.opt.Drained(), Connections: -1}
	h := a.opt.HAProxy()
	if h.State != status.HAProxyRunning {
		f.Unfit = "HAProxy is " + string(h.State)
		if h.Reason == process.NotStarted {
			f.Unfit = "HAProxy is being looked for"
		} else if h.Reason != "" {
			f.Unfit += ": " + h.Reason
		}
	}
	f.Checked, f.Serves = bgp.Services(a.spec, o.vip, a.opt.Services())
	if o.status.State == bgp.Draining {
		if now.Sub(o.counted) >= lookInterval {
			o.counted = now
			o.open = a.count(ctx, o)
		}
		f.Connections = o.open
	} else {
		o.counted, o.open = time.Time{}, -1
	}
	return f
}

// count gives how many connections of other hosts are open to o; -1 when nobody knows.
func (a *Announcer) count(_ context.Context, o *owner) int {
	var k rtnl.Conn
	own, err := k.OwnAddresses()
	var c sockdiag.Conn
	n := 0
	for _, at := range o.vip.Addrs() {
		if err != nil {
			break
		}
		var found []sockdiag.Socket
		found, err = c.Sockets(sockdiag.Match{Local: netip.AddrPortFrom(at, 0)})
		for _, s := range found {
			if !s.TimesOut() && !s.Connecting() && !own[s.Remote.Addr()] {
				n++
			}
		}
	}
	if err := errors.Join(err, k.Close(), c.Close()); err != nil {
		a.opt.Log.Warn("the connections of a vip cannot be counted: its drain lasts as long as it may", "vip", o.vip.Name, "error", err)
		return -1
	}
	return n
}

// hold has the kernel have the address of o, and reports whether it does.
func (a *Announcer) hold(ctx context.Context, o *owner) bool {
	do := o.address.Hold
	if !o.claimed {
		do = o.address.Claim
	}
	err := do(ctx)
	if err == nil {
		o.claimed = true
		if o.trouble != "" {
			o.trouble = ""
			a.opt.Report(status.CodeBGPSessionDown, "absent vip "+o.vip.Name, nil)
		}
		return true
	}
	if ctx.Err() == nil && err.Error() != o.trouble {
		o.trouble = err.Error()
		a.opt.Log.Error("the address of a vip cannot be had, so it is not announced", "vip", o.vip.Name, "error", err)
		a.opt.Report(status.CodeBGPSessionDown, "absent vip "+o.vip.Name, &status.Finding{
			Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "vip " + o.vip.Name,
			Text:   a.opt.Controller + " cannot have its address, so no router is told of it: " + o.trouble,
			Remedy: "is there an interface " + o.vip.Interface + " on " + a.opt.Controller + ", and up? see journalctl -u holdfast there",
			Brief:  "VIP " + o.vip.Name + " not on " + a.opt.Controller,
		})
	}
	return false
}

func (o *owner) release(ctx context.Context) {
	if !o.claimed {
		return
	}
	o.claimed = false
	if err := o.address.Release(context.WithoutCancel(ctx)); err != nil {
		o.trouble = err.Error()
	}
}

// speak has routers know routes, by a speaker that is as it should be. While it is not known
// whether this controller is well, routers go on with what the agent before this one told.
func (a *Announcer) speak(ctx context.Context, routes []bgp.Route, resuming bool) {
	if a.speaker != nil && (!a.wanted || !a.with.Like(a.next)) {
		a.logged(a.speaker.Stop(context.WithoutCancel(ctx), a.wanted), "end the sessions of BGP")
		a.speaker, a.had = nil, a.wanted
	}
	if !a.wanted || resuming && a.speaker == nil {
		return
	}
	if a.speaker == nil {
		if a.failed != "" && time.Since(a.tried) < lookInterval {
			return
		}
		a.tried = time.Now()
		opt := a.next
		opt.Restarting = a.had
		started, err := speaker.Start(ctx, opt, routes)
		if err != nil {
			if err.Error() != a.failed {
				a.failed = err.Error()
				a.opt.Log.Error("nothing is announced by BGP", "error", err)
			}
			return
		}
		a.speaker, a.with, a.spoke, a.failed, a.had = started, a.next, time.Now(), "", false
		a.sessions = nil // they were those of the one before
		return
	}
	a.logged(a.speaker.Announce(routes), "announce by BGP")
}

func (a *Announcer) logged(err error, what string) {
	if err != nil {
		a.opt.Log.Error("it failed to "+what, "error", err)
	}
}

// look finds out how the sessions fare, and tells what has become of them.
func (a *Announcer) look(ctx context.Context) {
	var is []speaker.Session
	if a.speaker != nil {
		var err error
		if is, err = a.speaker.Sessions(ctx); err != nil {
			a.logged(err, "look at the sessions of BGP")
			return
		}
	}
	a.reportMute()
	was := a.sessions
	a.sessions = is
	for _, s := range is {
		before := speaker.Session{}
		if i := slices.IndexFunc(was, func(w speaker.Session) bool { return w.Peer == s.Peer }); i >= 0 {
			before = was[i]
		}
		a.tellSession(s, before)
	}
	for _, w := range was {
		if !slices.ContainsFunc(is, func(s speaker.Session) bool { return s.Peer == w.Peer }) {
			a.opt.Report(status.CodeBGPSessionDown, keyOf(w), nil)
		}
	}
}

// reportMute tells whether BGP cannot be spoken at all.
func (a *Announcer) reportMute() {
	var f *status.Finding
	if a.wanted && a.speaker == nil && a.failed != "" {
		f = &status.Finding{
			Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "bgp",
			Text: "nothing is announced by BGP from here: " + a.failed, Remedy: "see whether another daemon has the port: ss -Hlntup 'sport = 179'",
			Brief: "BGP not spoken by " + a.opt.Controller,
		}
	}
	a.opt.Report(status.CodeBGPSessionDown, "bgp", f)
}

// untold gives why no router is told of o, which is to be announced; empty: one is, as far as
// is known. A speaker that was started just now has its time.
func (a *Announcer) untold(o *owner) string {
	switch {
	case o.trouble != "":
		return o.trouble
	case !a.wanted:
		return ""
	case a.speaker == nil:
		return a.failed
	case time.Since(a.spoke) < patience || slices.ContainsFunc(a.sessions, func(s speaker.Session) bool { return s.Established }):
		return ""
	}
	return "no router has a session with this controller"
}

func keyOf(s speaker.Session) string { return "bgp " + s.Peer.String() }

// patience is how long a session may take to come up before that is a finding.
const patience = 10 * time.Second

func (a *Announcer) tellSession(s, before speaker.Session) {
	name := s.Peer.String()
	if s.Established != before.Established {
		kind, word := status.EventBGPSessionUp, "is up"
		if !s.Established {
			kind, word = status.EventBGPSessionLost, "is down"
		}
		a.opt.Event(status.Event{Kind: kind, Subject: "bgp " + name, Text: "the BGP session with " + name + " " + word, Cause: s.Reason})
	}
	var f *status.Finding
	switch {
	case !s.Established && time.Since(a.spoke) > patience:
		f = &status.Finding{
			Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "bgp " + name,
			Text:   "the BGP session with router " + name + " is down (" + s.State + ")" + because(s.Reason) + ": it sends nothing here",
			Remedy: "see whether the router is reached, and has this controller as a peer with the same numbers and password",
			Brief:  "BGP session with " + name + " down",
		}
	case s.Established && s.BFD && !s.BFDUp && !s.Since.IsZero() && time.Since(s.Since) > patience:
		f = &status.Finding{
			Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "bgp " + name,
			Text:   "the BGP session with router " + name + " is up, and BFD with it is not: a lost controller is noticed by the hold time only",
			Remedy: "have the router run BFD with this controller, and let UDP port 3784 pass",
			Brief:  "BFD with " + name + " down",
		}
	}
	a.opt.Report(status.CodeBGPSessionDown, keyOf(s), f)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", " + reason
}

// tell writes into the journal what has become of o.
func (a *Announcer) tell(o *owner, was bgp.Decision) {
	is := o.status
	if is.State == was.State {
		return
	}
	e := status.Event{Subject: "vip " + o.vip.Name, Cause: is.Reason}
	switch is.State {
	case bgp.Announced:
		e.Kind, e.Text = status.EventBGPAnnounced, "vip "+o.vip.Name+" is announced from here"
	case bgp.Draining:
		e.Kind, e.Text = status.EventBGPDraining, "routers are told to prefer other controllers for vip "+o.vip.Name
		if a.spec.BGP.Engine == spec.EngineExternal {
			e.Text = "the address of vip " + o.vip.Name + " is about to be taken away, and HAProxy asks its clients to come anew"
		}
	case bgp.Lingering, bgp.Withdrawn:
		if was.State == bgp.Lingering {
			return // that was told
		}
		e.Kind, e.Text = status.EventBGPWithdrawn, "vip "+o.vip.Name+" is not announced from here any more"
	default:
		return
	}
	a.opt.Event(e)
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

// Sessions tells of the sessions with routers for the Snapshot.
func (a *Announcer) Sessions() []status.BGPSession {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []status.BGPSession
	for _, s := range a.sessions {
		one := status.BGPSession{Peer: s.Peer.String(), State: s.State, Established: s.Established, Since: s.Since, Routes: s.Told, Reason: s.Reason}
		if i := slices.IndexFunc(a.with.Peers, func(p speaker.Peer) bool { return p.Address == s.Peer }); i >= 0 {
			one.ASN = a.with.Peers[i].ASN
		}
		if s.BFD {
			one.BFD = "down"
			if s.BFDUp {
				one.BFD = "up"
			}
		}
		all = append(all, one)
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
