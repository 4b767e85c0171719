package handover

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// closing gives the addresses of every VIP whose clients are to come anew: it was given
// away, and its neighbours know where it is.
func (m *Moves) closing() []netip.Addr {
	vips := m.opt.Spec().VIPs
	m.mu.Lock()
	defer m.mu.Unlock()
	var closing []netip.Addr
	if m.opt.Closing != nil {
		closing = m.opt.Closing()
	}
	for _, v := range vips {
		if g := m.giving[v.Name]; g == nil || !g.closing {
			continue
		}
		closing = append(closing, v.Addrs()...)
	}
	return closing
}

// Pauses between two attempts to have HAProxy close connections, after one that failed.
const (
	closingFirst = time.Second
	closingMost  = 30 * time.Second
)

// A closer has HAProxy tell the clients of every VIP that is being given away to
// come anew, and so to another controller, with its next answer; and no others: an
// agent that stood still, or was away, for longer than a handover lasts finds the
// list as it was. One goroutine uses it.
type closer struct {
	of    []netip.Addr // what was tried last
	next  time.Time    // when the same may be tried again
	pause time.Duration
	told  string // what went wrong
}

// closePolitely sees to it that HAProxy's list is what is under way.
func (m *Moves) closePolitely(ctx context.Context) {
	c, closing := &m.closer, m.closing()
	if m.opt.HAProxy.ClosingIs(closing) {
		*c = closer{}
		return
	}
	if slices.Equal(c.of, closing) && time.Now().Before(c.next) {
		return
	}
	err := m.opt.HAProxy.SetClosing(ctx, closing)
	if err == nil || ctx.Err() != nil {
		*c = closer{}
		return
	}
	if err.Error() != c.told {
		m.opt.Log.Warn("HAProxy was not told whose clients are to come anew; it is tried again", "closing", closing, "error", err)
	}
	c.of, c.told = closing, err.Error()
	c.pause = min(max(2*c.pause, closingFirst), closingMost)
	c.next = time.Now().Add(c.pause)
}
