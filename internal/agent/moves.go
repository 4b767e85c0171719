package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip"
)

// moves are the planned moves of VIPs that this controller has a part in, as
// the one who gives or the one who takes. They are kept in the run directory:
// what they have put into the kernel lasts as long as that does.
type moves struct {
	file  string
	nudge chan struct{} // has room for one
	// kernel is held while the kernel is given, or rid of, what belongs to a
	// record, and the record with it: what is left of one move must not take
	// away what the next one of the same VIP has just put there.
	kernel sync.Mutex

	mu     sync.Mutex // guards following
	busy   string     // the VIP that is being given at this moment; empty for none
	giving map[string]*giving
	taking map[string]*taking
}

// giving is what this controller still does for a VIP that it has given away.
type giving struct {
	To    string    `json:"to"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`

	copy        *vip.Copy
	closing     bool // clients were told to come anew
	connections int
	quiet       int // looks in a row that found no connection
}

// taking is what this controller does for the one that it has taken a VIP from.
type taking struct {
	From   string       `json:"from"`
	Givers []netip.Addr `json:"givers"` // addresses of From
	Since  time.Time    `json:"since"`
	Until  time.Time    `json:"until"`

	detour    *vip.Detour
	forwarded uint64
	asked     time.Time // when From was last asked whether it goes on
	lost      int       // times in a row that its host did not answer
}

func newMoves(runDir string) *moves {
	return &moves{
		file:  filepath.Join(runDir, "moves.json"),
		nudge: make(chan struct{}, 1), giving: map[string]*giving{}, taking: map[string]*taking{},
	}
}

// errMoving begins what is said of a move that has to wait for another one.
var errMoving = errors.New("a handover")

// begin reserves the right to move a VIP: one move at a time. The function it
// gives ends that.
func (m *moves) begin(vip string) (func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy != "" {
		return nil, fmt.Errorf("%w of vip %s is under way; try again when it is done", errMoving, m.busy)
	}
	m.busy = vip
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.busy = ""
	}, nil
}

// rid takes the record g of a VIP that was given away, and what the kernel has
// for it, away; and reports whether that was still the newest one.
func (m *moves) rid(vip string, g *giving, fromKernel func() error) (bool, error) {
	m.kernel.Lock()
	defer m.kernel.Unlock()
	m.mu.Lock()
	newest := m.giving[vip] == g
	m.mu.Unlock()
	if !newest {
		return false, nil
	}
	err := fromKernel()
	return true, errors.Join(err, m.change(func() { delete(m.giving, vip) }))
}

// isGiving reports whether this controller finishes connections of the VIP.
func (m *moves) isGiving(vip string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.giving[vip] != nil
}

// involves reports whether this controller finishes connections of the VIP, or
// is about to.
func (m *moves) involves(vip string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.giving[vip] != nil || m.busy == vip
}

// takes gives the record of a VIP that was taken; nil for none.
func (m *moves) takes(vip string) *taking {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taking[vip]
}

// change changes the records and writes them down.
func (m *moves) change(f func()) error {
	m.mu.Lock()
	f()
	data, err := json.Marshal(map[string]any{"giving": m.giving, "taking": m.taking})
	m.mu.Unlock()
	select {
	case m.nudge <- struct{}{}:
	default:
	}
	if err != nil {
		return fmt.Errorf("keep the handovers: %w", err)
	}
	return writeAtomically(m.file, data)
}

// empty reports whether there is nothing left to do.
func (m *moves) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.giving)+len(m.taking) == 0
}

// names gives the VIPs that are being given and taken, in a fixed order.
func (m *moves) names() (given, taken []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.giving)), slices.Sorted(maps.Keys(m.taking))
}

// status tells of the moves of a VIP for the Snapshot.
func (m *moves) status(name string) (g *status.Giving, t *status.Taking) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x := m.giving[name]; x != nil {
		g = &status.Giving{To: x.To, Since: x.Since, Until: x.Until, Connections: x.connections}
	}
	if x := m.taking[name]; x != nil {
		t = &status.Taking{From: x.From, Since: x.Since, Until: x.Until, Forwarded: x.forwarded}
	}
	return g, t
}

// resumeMoves goes on with what an earlier agent of this controller began, and
// removes what it left and nobody needs.
func (a *Agent) resumeMoves(ctx context.Context, s *spec.Spec) {
	var kept struct {
		Giving map[string]*giving
		Taking map[string]*taking
	}
	data, err := os.ReadFile(a.moves.file)
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("the handovers before this start are not known", "error", err)
	}
	installed, err := vip.Detours(ctx)
	if err != nil {
		a.log.Warn("the rules of earlier handovers are not known", "error", err)
	}
	for _, v := range s.VIPs {
		a.resumeGiving(ctx, s, v, kept.Giving[v.Name])
		if slices.Contains(installed, v.Name) {
			a.resumeTaking(s, v, kept.Taking[v.Name])
		}
	}
	_, taken := a.moves.names()
	if err := vip.CleanupDetours(ctx, a.log, taken...); err != nil {
		a.log.Warn("the rules of earlier handovers are not removed", "error", err)
	}
	a.logged(a.moves.change(func() {}))
}

// resumeGiving goes on with g, nil for nothing.
func (a *Agent) resumeGiving(ctx context.Context, s *spec.Spec, v spec.VIP, g *giving) {
	c, err := a.copyOf(s, v)
	if err != nil {
		a.log.Warn("what is left of a handover is not known", "vip", v.Name, "error", err)
		return
	}
	present, err := c.Present()
	switch {
	case err != nil:
		a.log.Warn("what is left of a handover is not known", "vip", v.Name, "error", err)
	case present && g != nil:
		g.copy = c
		a.moves.giving[v.Name] = g
		a.log.Info("going on with the connections of a vip that was handed over", "vip", v.Name, "to", g.To)
	case present:
		a.logged(c.Drop(ctx))
	}
}

// resumeTaking goes on with t, nil for nothing.
func (a *Agent) resumeTaking(s *spec.Spec, v spec.VIP, t *taking) {
	if t == nil {
		return
	}
	d, err := a.detourTo(s, v, t.Givers)
	if err != nil {
		a.log.Warn("the rule of a handover is not known", "vip", v.Name, "error", err)
		return
	}
	t.detour = d
	a.moves.taking[v.Name] = t
}

// logged logs an error that stops nothing.
func (a *Agent) logged(err error) {
	if err != nil {
		a.log.Warn("a handover left something behind, or is not written down", "error", err)
	}
}

// Intervals of watchMoves.
const (
	// moveInterval is how often connections are counted after a handover.
	moveInterval = 200 * time.Millisecond
	idleInterval = time.Minute
)

// watchMoves ends, one after the other, what handovers have left.
func (a *Agent) watchMoves(ctx context.Context) {
	for {
		wait := idleInterval
		if !a.moves.empty() {
			wait = moveInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-a.moves.nudge:
		case <-time.After(wait):
		}
		given, taken := a.moves.names()
		for _, name := range given {
			a.watchGiving(ctx, name)
		}
		for _, name := range taken {
			a.watchTaking(ctx, name)
		}
	}
}
