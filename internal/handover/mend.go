package handover

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/vip/move"
)

// What a planned move has put into the kernel of its two hosts others may remove,
// and what the taker sends on the network between them may drop. Both are looked
// for while a move lasts: connections go on, or are reset, but do not stand still.

const (
	// mendInterval is how often a giver looks whether all is there.
	mendInterval = 500 * time.Millisecond
	// proofInterval is how often a giver proves that what is sent on arrives.
	proofInterval = time.Second
	// proofTime bounds one proof, from its beginning to the last probe's arrival.
	proofTime = 3 * time.Second
	// lateProbe is how long a probe may take that was sent.
	lateProbe = 100 * time.Millisecond
	// maxUnmended is how many looks in a row may find that something is missing and
	// cannot be put back.
	maxUnmended = 3
	// failedProofs in a row say that nothing arrives.
	failedProofs = 2
	// blockedInterval is how often it is looked whether what was blocked gets through.
	blockedInterval = 2 * time.Second
)

// mending is what a giver knows of what it needs. It is guarded by Moves.mu.
type mending struct {
	looked   time.Time
	unmended int // looks in a row that could not put back what was missing
	proving  bool
	proved   time.Time // begun
	failed   int       // proofs in a row
	why      string    // nothing arrives
}

// lostWay looks after what the connections of a VIP that was given away need, and
// says why they cannot go on; empty if they can, as far as is known.
func (m *Moves) lostWay(ctx context.Context, name string, g *giving) string {
	now := time.Now()
	m.mu.Lock()
	look := &g.mending
	why, due := look.why, now.Sub(look.looked) >= mendInterval
	prove := !look.proving && (now.Sub(look.proved) >= proofInterval || look.failed > 0) && now.Sub(g.Since) >= settleTime
	if due {
		look.looked = now
	}
	if prove {
		look.proving, look.proved = true, now
		m.proofs.Go(func() { m.proveGiving(ctx, name, g) })
	}
	m.mu.Unlock()
	if why == "" && due {
		why = m.mendCopy(ctx, name, g)
	}
	return why
}

// mendCopy puts back what somebody has removed from this host. It says why that
// cannot be; empty as long as there is hope.
func (m *Moves) mendCopy(ctx context.Context, name string, g *giving) string {
	left := time.Until(g.Until)
	if left < time.Second {
		return ""
	}
	m.kernel.Lock()
	m.mu.Lock()
	newest := m.giving[name] == g
	m.mu.Unlock()
	missing, err := "", error(nil)
	if newest {
		missing, err = g.copy.Mend(ctx, left)
	}
	m.kernel.Unlock()
	if missing != "" && err == nil {
		m.putBack(name, missing)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		g.mending.unmended = 0
		return ""
	}
	m.opt.Log.Warn("what the connections of a vip that was handed over need is not put back", "vip", name, "error", err)
	if g.mending.unmended++; g.mending.unmended < maxUnmended {
		return ""
	}
	return fmt.Sprintf("somebody has removed what they need, and it cannot be put back: %v", err)
}

// putBack tells that something of a move was missing.
func (m *Moves) putBack(name, missing string) {
	m.opt.Log.Warn("somebody has removed what connections need since a handover; put it back", "vip", name, "removed", missing)
	m.opt.Event(status.Event{
		Kind: status.EventHandoverMended, Subject: "vip " + name,
		Text: fmt.Sprintf("somebody has removed what connections of vip %s need since its handover, and it was put back: %s", name, missing),
	})
}

// watchRules has the rules of detours looked at whenever somebody changes
// nftables: until they are back, what they would send on is reset.
func (m *Moves) watchRules(ctx context.Context) {
	for ctx.Err() == nil {
		err := move.WatchRules(ctx, func() { tick.Wake(m.flushed) })
		if err != nil {
			m.opt.Log.Debug("changes of nftables are not seen at once", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// mendDetours looks at the rules of all detours.
func (m *Moves) mendDetours(ctx context.Context) {
	_, taken := m.names()
	for _, name := range taken {
		if t := m.takes(name); t != nil {
			m.mendDetour(ctx, name, t, false)
		}
	}
}

// mendDetour puts the rules of t back where somebody has flushed them, as a
// restart of a firewall does, unless the VIP was taken anew meanwhile. Without
// them the kernel resets what belongs to the giver: nothing stands still. Where they
// are, it has the VIP's connections alone tracked, for as long again if renew is set.
func (m *Moves) mendDetour(ctx context.Context, name string, t *taking, renew bool) {
	m.kernel.Lock()
	defer m.kernel.Unlock()
	if m.takes(name) != t {
		return
	}
	err := t.detour.Whole(ctx)
	if err == nil {
		m.trackLess(ctx, name, t, renew)
	}
	if !errors.Is(err, move.ErrNoDetour) {
		return
	}
	if err = t.detour.Install(ctx); err == nil {
		t.unmended = 0
		m.putBack(name, "the nftables that send them on to "+t.From)
		return
	}
	if t.unmended++; t.unmended == 1 {
		m.opt.Log.Warn("somebody has removed the rules that send connections on to the giver, and they cannot be put back; they are reset", "vip", name, "from", t.From, "error", err)
	}
}

// trackLess has the VIP's connections alone tracked while nobody else needs others.
func (m *Moves) trackLess(ctx context.Context, name string, t *taking, renew bool) {
	by, err := t.detour.KeepNarrow(ctx, renew)
	switch {
	case err != nil:
		m.opt.Log.Warn("every connection of this host is tracked from now on, not only the vip's", "vip", name, "error", err)
	case by != "":
		m.opt.Log.Info("every connection of this host is tracked from now on, not only the vip's: others need it", "vip", name, "by", by)
	}
}

// A proveRequest asks for probes, as if from each of Clients, to the giver of a VIP.
type proveRequest struct {
	VIP     string       `json:"vip"`
	Givers  []netip.Addr `json:"givers"`
	Nonce   uint64       `json:"nonce"`
	Clients []netip.Addr `json:"clients"`
}

// prove is the command of a giver. It is done when the probes are sent.
func (m *Moves) prove(ctx context.Context, _ string, req proveRequest) (any, error) {
	v, there := m.vip(req.VIP)
	if !there {
		return nil, fmt.Errorf("there is no vip %s here; are the specs of both the same?", req.VIP)
	}
	d, err := m.detourTo(m.opt.Spec(), v.VIP, req.Givers)
	if err == nil {
		err = d.Probe(ctx, req.Nonce, req.Clients)
	}
	return struct{}{}, err
}

// proof has the controller send probes for clients of v, and gives those whose
// probes do not arrive. The error says why that is not known.
func (m *Moves) proof(ctx context.Context, v spec.VIP, to string, clients []netip.Addr) (missing []netip.Addr, err error) {
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	s := m.opt.Spec()
	self, _ := s.Controller(m.opt.Controller)
	req := proveRequest{VIP: v.Name, Nonce: nonce(), Clients: clients}
	if req.Givers, err = move.GiverAddresses(s.Interface(v, self), self.Address, v.Addresses); err != nil {
		return nil, err
	}
	w, err := move.NewWitness(req.Nonce, v.Addrs())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	// All that arrive may do so before the taker says that all are sent.
	sent, over := context.WithCancel(ctx)
	defer over()
	asked := make(chan error, 1)
	go func() {
		err := m.opt.Ask(ctx, to, "prove", req, nil)
		asked <- err
		if err == nil {
			select {
			case <-ctx.Done():
			case <-time.After(lateProbe):
			}
		}
		over()
	}()
	missing, err = w.Missing(sent, clients)
	if unsent := <-asked; len(missing) > 0 {
		err = errors.Join(err, unsent)
	}
	return missing, err
}

func nonce() uint64 {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails
	return binary.NativeEndian.Uint64(b[:])
}

// blockedDetour proves, before a move of v, that what the taker will send on for
// the clients that v has now arrives here. It says why not; empty also when that
// cannot be found out.
func (m *Moves) blockedDetour(ctx context.Context, v spec.VIP, to string) string {
	c, err := m.copyOf(m.opt.Spec(), v)
	var clients []netip.Addr
	if err == nil {
		clients, err = c.Clients(ctx)
	}
	if err != nil || len(clients) == 0 {
		m.logged(err)
		return ""
	}
	all := clients
	for range failedProofs {
		missing, err := m.proof(ctx, v, to, clients)
		if err != nil {
			m.opt.Log.Debug("whether the taker's segments arrive is not known", "vip", v.Name, "to", to, "error", err)
			return ""
		}
		if len(missing) == 0 {
			m.passes(to)
			return ""
		}
		clients = missing
	}
	// Of some, others keep theirs; proveGiving resets those of the clients that it finds cut off.
	return verdict(all, clients, func() string { return m.blocks(v.Name, to, clients) })
}

// verdict gives why connections cannot go on by a detour of which it was proved that nothing
// arrives from the missing ones of all clients: what blocks says, which it calls if there are any.
// Empty where segments of others do arrive.
func verdict(all, missing []netip.Addr, blocks func() string) string {
	if len(missing) == 0 {
		return ""
	}
	if why := blocks(); len(missing) == len(all) {
		return why
	}
	return ""
}

// proveGiving proves it while a move lasts.
func (m *Moves) proveGiving(ctx context.Context, name string, g *giving) {
	failed, why := 0, ""
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		g.mending.proving, g.mending.failed, g.mending.why = false, failed, why
	}()
	clients, err := g.copy.Clients(ctx)
	v, there := m.vip(name)
	if err != nil || len(clients) == 0 || !there {
		return
	}
	all := clients
	for failed < failedProofs {
		missing, err := m.proof(ctx, v.VIP, g.To, clients)
		switch {
		case err != nil: // the kernel of the taker goes on without its agent
			m.opt.Log.Debug("whether the taker's segments arrive is not known", "vip", name, "to", g.To, "error", err)
			return
		case len(missing) == 0:
			m.passes(g.To)
			return
		}
		clients = missing
		failed++
	}
	if why = verdict(all, clients, func() string { return m.blocks(name, g.To, clients) }); why == "" {
		failed = 0
		m.cutOff(ctx, name, g, clients)
	}
}

// cutOff resets the connections of clients from which nothing arrives any more since a VIP was
// given away, while those of others go on: one who waits for no answer to what does not arrive
// would stand still until its own timeout.
func (m *Moves) cutOff(ctx context.Context, name string, g *giving, clients []netip.Addr) {
	cut, err := g.copy.Cut(ctx, clients)
	m.logged(err)
	if cut > 0 {
		m.opt.Event(status.Event{
			Kind: status.EventHandoverCut, Subject: "vip " + name,
			Text: fmt.Sprintf("%d connections of vip %s reset after its handover to %s: nothing from %s arrives by it; those of other clients go on", cut, name, g.To, someAddresses(clients)),
		})
	}
}

// blocked is of a controller whose detour did not get through, and for which
// clients, to find out when it does.
type blocked struct {
	vip     string
	clients []netip.Addr
}

// blocks notes that a controller's detour does not get through. It reports the
// finding, and gives it in words.
func (m *Moves) blocks(vip, to string, clients []netip.Addr) string {
	m.mu.Lock()
	m.blocked[to] = blocked{vip, clients}
	m.mu.Unlock()
	why := fmt.Sprintf("what %s sends on for clients does not arrive at %s, as from %s", to, m.opt.Controller, someAddresses(clients))
	m.opt.Report(status.CodeDetourBlocked, status.CodeDetourBlocked+" "+to, &status.Finding{
		Severity: status.Warning, Code: status.CodeDetourBlocked, Subject: "vip " + vip,
		Text:   "planned moves to " + to + " reset open connections of such clients: " + why,
		Remedy: "let frames of " + to + " pass that have clients' addresses as their source: source guard of switches, forged transmits and MAC spoofing filters of hypervisors, port security of a cloud below",
	})
	return why
}

// passes notes that it does.
func (m *Moves) passes(to string) {
	m.mu.Lock()
	delete(m.blocked, to)
	m.mu.Unlock()
	m.opt.Report(status.CodeDetourBlocked, status.CodeDetourBlocked+" "+to, nil)
}

// watchBlocked looks, again and again, whether what was blocked gets through by now.
func (m *Moves) watchBlocked(ctx context.Context) {
	ticker := time.NewTicker(blockedInterval)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		m.mu.Lock()
		all := maps.Clone(m.blocked)
		m.mu.Unlock()
		for to, was := range all {
			v, there := m.vip(was.vip)
			if _, known := m.opt.Spec().Controller(to); !known || !there {
				m.passes(to)
				continue
			}
			missing, err := m.proof(ctx, v.VIP, to, was.clients)
			if err == nil && len(missing) == 0 {
				m.passes(to)
			}
		}
	}
}

// someAddresses names the first three, in order.
func someAddresses(all []netip.Addr) string {
	var words []string
	for _, a := range slices.SortedFunc(slices.Values(all), netip.Addr.Compare) {
		words = append(words, a.String())
	}
	return status.Few(words)
}
