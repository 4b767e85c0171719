package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/traffic"
)

const (
	// hourAge, dayAge and monthAge are how old what clients got in the last hour, day and
	// month may be.
	hourAge  = 10 * time.Second
	dayAge   = time.Minute
	monthAge = time.Minute
)

// pasts are what clients got, by the word of each controller that tells.
type pasts struct{ hour, day []traffic.History }

// A past is what clients got, as one controller told it last.
type past struct {
	history *traffic.History // nil: it never told
	err     error            // why it does not tell now
}

// A pastCache keeps what one controller tells of what clients got. The month is for who asks
// for it: it is in no picture.
type pastCache struct{ hour, day, month cache[past] }

// askPastFunc gives what is told of a span; neither a history nor an error where nothing is kept.
type askPastFunc func(ctx context.Context, span string) (*traffic.History, error)

func newPastCache(now func() time.Time, broke func(why any), ask askPastFunc) *pastCache {
	p := &pastCache{}
	for span, age := range map[string]time.Duration{"hour": hourAge, "day": dayAge, "month": monthAge} {
		// What one told stays when it tells nothing: it may be what clients got before it died.
		var last *traffic.History
		c := p.of(span)
		c.age, c.now, c.broke = age, now, broke
		c.load = func(ctx context.Context) past {
			h, err := ask(ctx, span)
			if h != nil {
				last = h
			}
			return past{last, err}
		}
	}
	return p
}

// of gives what keeps a span: hour, day or month; nil for any other.
func (p *pastCache) of(span string) *cache[past] {
	switch span {
	case "hour":
		return &p.hour
	case "day":
		return &p.day
	case "month":
		return &p.month
	}
	return nil
}

// addTo adds what is told within ctx to all.
func (p *pastCache) addTo(ctx context.Context, all *pasts) {
	if h := p.hour.get(ctx).history; h != nil {
		all.hour = append(all.hour, *h)
	}
	if d := p.day.get(ctx).history; d != nil {
		all.day = append(all.day, *d)
	}
}

// ownPast gives what this controller has kept.
func (s *Server) ownPast(_ context.Context, span string) (*traffic.History, error) {
	if s.opt.History == nil {
		return nil, nil
	}
	h, err := lookAt(s.opt.History, span)()
	if err != nil {
		s.opt.Log.Warn("what clients got cannot be shown", "error", err)
		return nil, err
	}
	return &h, nil
}

// askPast asks for what another controller has kept.
func (o *other) askPast(ctx context.Context, own netip.Addr, by *Asker, span string) (*traffic.History, error) {
	client := newAsker(own)
	defer client.CloseIdleConnections()
	body, _, err := ask(ctx, client, by, o.target, "/clients", map[string][]string{"span": {span}})
	if err != nil {
		return nil, err
	}
	return decodePast(body)
}

// decodePast reads what a controller answered, which may be anything.
func decodePast(body []byte) (*traffic.History, error) {
	if err := checkSize(body); err != nil {
		return nil, err
	}
	var c Clients
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, fmt.Errorf("answered what is no history: %w", jsonError(err))
	}
	n := len(c.Known)
	if c.Step <= 0 || n > 10000 || slices.ContainsFunc(c.Services, func(s traffic.ServiceHistory) bool { return len(s.Requests) != n || len(s.Failed) != n }) {
		return nil, fmt.Errorf("answered a history of which the lists do not fit")
	}
	return &c.History, nil
}
