package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip"
	"holdfast/internal/vip/move"
)

// Resume goes on with what an earlier agent of this controller began with the VIPs of
// s, and removes what it left and nobody needs.
func (m *Moves) Resume(ctx context.Context, s *spec.Spec) {
	kept, err := m.read()
	if err != nil {
		m.opt.Log.Warn("the handovers before this start are not known", "error", err)
	}
	m.settings, m.devices = vip.NewSettings(kept.Settings, m.write), vip.NewSettings(kept.Devices, nil)
	installed, err := move.Detours(ctx)
	if err != nil {
		m.opt.Log.Warn("the rules of earlier handovers are not known", "error", err)
	}
	for _, v := range s.VIPs {
		if v.Announce == spec.AnnounceBGP {
			continue // it is not handed over, and what is on lo is the address itself
		}
		m.resumeGiving(ctx, s, v, kept.Giving[v.Name])
		if slices.Contains(installed, v.Name) {
			m.resumeTaking(s, v, kept.Taking[v.Name])
		}
	}
	_, taken := m.names()
	if err := move.Cleanup(ctx, m.opt.Log, taken...); err != nil {
		m.opt.Log.Warn("the rules of earlier handovers are not removed", "error", err)
	}
	m.logged(m.change(func() {}))
}

// resumeGiving goes on with g, nil for nothing.
func (m *Moves) resumeGiving(ctx context.Context, s *spec.Spec, v spec.VIP, g *giving) {
	c, err := m.copyOf(s, v)
	if err != nil {
		m.opt.Log.Warn("what is left of a handover is not known", "vip", v.Name, "error", err)
		return
	}
	present, err := c.Present()
	switch {
	case err != nil:
		m.opt.Log.Warn("what is left of a handover is not known", "vip", v.Name, "error", err)
	case present && g != nil:
		g.copy = c
		m.giving[v.Name] = g
		m.opt.Log.Info("going on with the connections of a vip that was handed over", "vip", v.Name, "to", g.To)
	case present:
		m.logged(c.Drop(ctx))
	}
}

// resumeTaking goes on with t, nil for nothing.
func (m *Moves) resumeTaking(s *spec.Spec, v spec.VIP, t *taking) {
	if t == nil {
		return
	}
	d, err := m.detourTo(s, v, t.Givers)
	if err != nil {
		m.opt.Log.Warn("the rule of a handover is not known", "vip", v.Name, "error", err)
		return
	}
	t.detour = d
	m.taking[v.Name] = t
}

// Note writes down what the VIPs with these addresses may change in the kernel for
// longer than they are held, and puts back what none of them needs.
func (m *Moves) Note(addresses ...*vip.Address) error {
	changed, err := m.devices.Note(addresses...)
	if changed {
		err = errors.Join(err, m.write())
	}
	return err
}

// KeepAgain has what is under way written down again, as its file may be gone.
func (m *Moves) KeepAgain() {
	if !m.empty() {
		m.logged(m.change(func() {}))
	}
}

// CleanUp ends all that an agent before this one had under way with the VIPs of s, at
// once, and puts back what it has changed in the kernel. It gives what that was, in
// words.
func (m *Moves) CleanUp(ctx context.Context, s *spec.Spec) (done []string, err error) {
	kept, err := m.read()
	if err != nil {
		return nil, err
	}
	differ := slices.DeleteFunc(slices.Concat(kept.Settings, kept.Devices), func(c vip.Setting) bool { return !c.Differs() })
	m.Resume(ctx, s)
	done, err = m.endAll(ctx)
	err = errors.Join(err, vip.Cleanup(ctx, m.opt.Log.With("component", "vip")))
	_, noteErr := m.devices.Note()
	err = errors.Join(err, noteErr, m.write())
	for _, c := range differ {
		if c.Differs() {
			err = errors.Join(err, fmt.Errorf("put a setting back: it is not so that %s, as it was; write it there", c))
			continue
		}
		done = append(done, c.String()+" again")
	}
	return done, err
}

// endAll ends what is under way, and gives what that was in words.
func (m *Moves) endAll(ctx context.Context) (done []string, err error) {
	given, taken := m.names()
	for _, name := range given {
		m.mu.Lock()
		g := m.giving[name]
		m.mu.Unlock()
		cut := 0
		_, one := m.rid(name, g, func() (err error) {
			cut, err = g.copy.End(ctx)
			return err
		})
		done = append(done, fmt.Sprintf("vip %s, which %s took: %s cut", name, g.To, status.Count(cut, "connection")))
		err = errors.Join(err, one)
	}
	for _, name := range taken {
		t := m.takes(name)
		m.kernel.Lock()
		err = errors.Join(err, t.detour.Remove(ctx), m.change(func() { delete(m.taking, name) }))
		m.kernel.Unlock()
		done = append(done, fmt.Sprintf("vip %s: nothing is sent on to %s any more", name, t.From))
	}
	return done, err
}
