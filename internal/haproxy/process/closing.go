package process

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"holdfast/internal/haproxy"
)

// closing is what a Manager knows of the VIPs whose clients are to come anew.
type closing struct {
	mu   sync.Mutex   // held while the list is written and told
	left []netip.Addr // those whose HTTP/2 clients were told, guarded by mu
	list []netip.Addr // what the file has, for one that is made anew, guarded by mu
	done bool         // the file has list, and HAProxy was told, as far as known, guarded by mu
}

// ClosingIs reports whether the list is vips, whatever their order, and HAProxy was
// told. An agent before this one may have left another, and a list that could not
// be told is to be set again.
func (m *Manager) ClosingIs(vips []netip.Addr) bool {
	m.closing.mu.Lock()
	defer m.closing.mu.Unlock()
	has := func(list []netip.Addr, of []netip.Addr) bool {
		return !slices.ContainsFunc(of, func(a netip.Addr) bool { return !slices.Contains(list, a.Unmap()) })
	}
	return m.closing.done && len(vips) == len(m.closing.list) && has(m.closing.list, vips)
}

// SetClosing has HAProxy end the connections to vips politely, and to no other
// VIP: each closes with its next answer, and its client comes anew, to whoever
// has the address by then. It is the whole list: with none HAProxy closes none.
//
// An HTTP/2 connection has no such answer. Where HAProxy speaks HTTP/2 on an
// address that is new among vips it is reloaded, with the configuration in
// force: the old worker sends each client a GOAWAY and finishes what it has.
//
// The list outlives the agent, reloads and restarts of HAProxy. While none
// runs, it is for the next one. When it returns an error it can be called again.
func (m *Manager) SetClosing(ctx context.Context, vips []netip.Addr) error {
	vips = slices.Clone(vips)
	for i := range vips {
		vips[i] = vips[i].Unmap()
	}
	reload, err := m.listClosing(ctx, vips)
	if err != nil {
		return err
	}
	if reload {
		if _, err := m.Reload(ctx); err != nil {
			return fmt.Errorf("send the clients of HTTP/2 on %v away: %w", vips, err)
		}
	}
	m.closing.mu.Lock()
	defer m.closing.mu.Unlock()
	if reload {
		m.closing.left = vips
	}
	m.closing.done = true
	return nil
}

// listClosing lists vips, tells HAProxy, and reports whether it takes a reload
// for those of them that were not told to leave before.
func (m *Manager) listClosing(ctx context.Context, vips []netip.Addr) (reload bool, err error) {
	m.closing.mu.Lock()
	defer m.closing.mu.Unlock()
	m.closing.done = false
	m.closing.left = slices.DeleteFunc(m.closing.left, func(a netip.Addr) bool { return !slices.Contains(vips, a) })
	if err := m.writeClosing(vips); err != nil {
		return false, err
	}
	if m.current() == nil {
		return false, nil
	}
	if err := m.tellClosing(ctx, vips); err != nil {
		return false, err
	}
	h2 := m.config().H2Addresses()
	return slices.ContainsFunc(vips, func(a netip.Addr) bool { return h2[a] && !slices.Contains(m.closing.left, a) }), nil
}

// tellClosing gives the current worker the list.
func (m *Manager) tellClosing(ctx context.Context, vips []netip.Addr) error {
	if cfg := m.config(); cfg.Known() && !cfg.HasClosingList() {
		return nil // it has no http frontend
	}
	file := haproxy.CLIWord(m.closingList())
	commands := []string{"clear acl " + file}
	for _, a := range vips {
		commands = append(commands, "add acl "+file+" "+a.String())
	}
	if _, err := m.Runtime(ctx, strings.Join(commands, ";")); err != nil {
		return fmt.Errorf("list the VIPs to close: %w", err)
	}
	return nil
}

// closingAgain gives a worker that has just begun to serve the list as it is
// now: it read the file some time ago.
func (s *supervisor) closingAgain(ctx context.Context) {
	s.closing.mu.Lock()
	defer s.closing.mu.Unlock()
	vips, err := s.readClosing()
	if err == nil {
		s.closing.list = vips
		err = s.tellClosing(ctx, vips)
	}
	if err != nil {
		s.closing.done = false
	}
	if err != nil && s.ctx.Err() == nil {
		s.log.Warn("HAProxy may close the connections of a VIP that is here, or keep some of one that moved", "error", err)
	}
}

// readClosing reads the list. What is no address is passed over.
func (m *Manager) readClosing() ([]netip.Addr, error) {
	text, err := readIfThere(m.closingList())
	if err != nil {
		return nil, fmt.Errorf("read the VIPs to close: %w", err)
	}
	var vips []netip.Addr
	for word := range strings.FieldsSeq(string(text)) {
		if a, err := netip.ParseAddr(word); err == nil {
			vips = append(vips, a)
		}
	}
	return vips, nil
}

// keepClosing sees to it that there is a list: HAProxy does not start, nor
// check a configuration, without the file. One that was taken away is as before.
func (m *Manager) keepClosing() error {
	m.closing.mu.Lock()
	defer m.closing.mu.Unlock()
	if _, err := os.Stat(m.closingList()); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return m.writeClosing(m.closing.list)
}

// writeClosing makes vips the list. The caller has closing.mu.
func (m *Manager) writeClosing(vips []netip.Addr) error {
	var list strings.Builder
	for _, a := range vips {
		list.WriteString(a.String() + "\n")
	}
	if err := replace(m.closingList(), []byte(list.String())); err != nil {
		return fmt.Errorf("make the list of the VIPs to close: %w", err)
	}
	m.closing.list = vips
	return nil
}

func (m *Manager) closingList() string { return filepath.Join(m.opt.RunDir, haproxy.ClosingList) }
