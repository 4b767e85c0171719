package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/file"
	"holdfast/internal/peer"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/vip"
	"holdfast/internal/vip/move"
)

// giving is what this controller still does for a VIP that it has given away.
type giving struct {
	To string `json:"to"`
	span

	copy        *move.Copy
	closing     bool // clients are told to come anew
	connections int
	quiet       int // looks in a row that found no connection
	mending     mending
}

// taking is what this controller does for the one that it has taken a VIP from.
type taking struct {
	From   string       `json:"from"`
	Givers []netip.Addr `json:"givers"` // addresses of From
	span

	detour    *move.Detour
	forwarded uint64
	asked     time.Time // when From was last asked whether it goes on
	lost      int       // times in a row that its host did not answer
	unmended  int       // times in a row that the rules could not be put back
}

// A span is the time of a move. Since and Until have a reading of the monotonic
// clock while an agent runs; what is written down has the boot clock's for the
// next one. The wall clock's are for people, and for an older agent.
type span struct {
	Since     time.Time     `json:"since"`
	Until     time.Time     `json:"until"`
	BootSince time.Duration `json:"boot_since_ns,omitempty"`
	BootUntil time.Duration `json:"boot_until_ns,omitempty"`
}

// spanFrom gives the one from now on, for as long as limit.
func spanFrom(now time.Time, limit time.Duration) span {
	return span{Since: now, Until: now.Add(limit)}
}

// noted gives s as it is written down: now is boot by the boot clock.
func (s span) noted(now time.Time, boot time.Duration) span {
	s.BootSince, s.BootUntil = boot+s.Since.Sub(now), boot+s.Until.Sub(now)
	return s
}

// recalled gives s, which was written down, for an agent that reads it now, when
// the boot clock says boot. The wall clock may have been set in between. Of an
// agent that wrote no boot clock down, the wall clock counts.
func (s span) recalled(now time.Time, boot time.Duration) span {
	if s.BootUntil == 0 {
		return s
	}
	return span{Since: now.Add(s.BootSince - boot), Until: now.Add(s.BootUntil - boot)}
}

// bootClock is the time since the host was booted, which nobody sets.
func bootClock() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("read the boot clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

// A movingError is of a move that has to wait for that of vip.
type movingError struct{ vip string }

func (e movingError) Error() string {
	return fmt.Sprintf("a handover of vip %s is under way; try again when it is done", e.vip)
}

func (e movingError) Unwrap() error { return peer.ErrLater }

// begin reserves the right to move a VIP: one move at a time. The function it
// gives ends that.
func (m *Moves) begin(vip string) (func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy != "" {
		return nil, movingError{m.busy}
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
func (m *Moves) rid(vip string, g *giving, fromKernel func() error) (bool, error) {
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
func (m *Moves) isGiving(vip string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.giving[vip] != nil
}

// involves reports whether this controller finishes connections of the VIP, or
// is about to.
func (m *Moves) involves(vip string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.giving[vip] != nil || m.busy == vip
}

// takes gives the record of a VIP that was taken; nil for none.
func (m *Moves) takes(vip string) *taking {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taking[vip]
}

// GivenBy gives the controller that hands a VIP over to this one now, since somebody wants
// that; "" for none.
func (m *Moves) GivenBy(vip string) string {
	const lasts = 10 * time.Second // longer than the taker waits for it
	if came := m.arrival(vip); !came.Unasked && time.Since(came.At) < lasts {
		return came.From
	}
	return ""
}

// change changes the records and writes them down.
func (m *Moves) change(f func()) error {
	m.mu.Lock()
	f()
	idle := len(m.giving)+len(m.taking) == 0
	m.mu.Unlock()
	tick.Wake(m.nudge)
	var err error
	if idle {
		err = m.settings.Restore()
	}
	return errors.Join(err, m.write())
}

// write writes the records down, and what is to be put back in the kernel.
func (m *Moves) write() error {
	m.writing.Lock()
	defer m.writing.Unlock()
	boot, err := bootClock()
	if err != nil {
		return fmt.Errorf("keep the handovers: %w", err)
	}
	now := time.Now()
	kept := keptMoves{Giving: map[string]*giving{}, Taking: map[string]*taking{}, Settings: m.settings.Changed(), Devices: m.devices.Changed()}
	m.mu.Lock()
	for name, g := range m.giving {
		kept.Giving[name] = &giving{To: g.To, span: g.noted(now, boot)}
	}
	for name, t := range m.taking {
		kept.Taking[name] = &taking{From: t.From, Givers: t.Givers, span: t.noted(now, boot)}
	}
	m.mu.Unlock()
	data, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("keep the handovers: %w", err)
	}
	return file.Write(m.file, data, 0o640)
}

// keptMoves are what is in the file.
type keptMoves struct {
	Giving   map[string]*giving `json:"giving"`
	Taking   map[string]*taking `json:"taking"`
	Settings []vip.Setting      `json:"settings,omitempty"`
	Devices  []vip.Setting      `json:"devices,omitempty"`
}

// read gives what is in the file; nothing where there is none.
func (m *Moves) read() (keptMoves, error) {
	var kept keptMoves
	data, err := os.ReadFile(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		return kept, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	boot, bootErr := bootClock()
	if err = errors.Join(err, bootErr); err != nil {
		return keptMoves{}, err
	}
	now := time.Now()
	for _, g := range kept.Giving {
		if g != nil {
			g.span = g.recalled(now, boot)
		}
	}
	for _, t := range kept.Taking {
		if t != nil {
			t.span = t.recalled(now, boot)
		}
	}
	return kept, nil
}

// empty reports whether there is nothing left to do.
func (m *Moves) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.giving)+len(m.taking) == 0
}

// names gives the VIPs that are being given and taken, in a fixed order.
func (m *Moves) names() (given, taken []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.giving)), slices.Sorted(maps.Keys(m.taking))
}

// Status tells of the moves of a VIP for the Snapshot.
func (m *Moves) Status(name string) (g *status.Giving, t *status.Taking) {
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
