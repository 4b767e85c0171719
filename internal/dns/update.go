package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// updateTimeout bounds an update: the server writes it to disk before it answers.
const updateTimeout = 10 * time.Second

// An Updater edits zones by dynamic update (RFC 2136), signed with the key of
// its Looker (RFC 8945).
type Updater struct {
	Looker Looker
}

// By gives RFC2136.
func (Updater) By() string { return RFC2136 }

// Read asks the primary.
func (u Updater) Read(ctx context.Context, at Place) (Records, error) {
	if !at.Server.IsValid() {
		return nil, errors.New("it is not known where updates go; name the zone's primary: --primary ADDRESS")
	}
	s := Server{Address: at.Server, Primary: true}
	u.Looker.askServer(ctx, &s, at.Zone, at.Hostname)
	if s.Condition() != Good {
		return nil, fmt.Errorf("primary %s %s", s, s.trouble())
	}
	return s.Records(), nil
}

// Replace sends one update, which the primary makes whole or not at all. It goes
// by TCP, so that it cannot arrive twice.
func (u Updater) Replace(ctx context.Context, at Place, before, after Records) error {
	m, err := updateMessage(at.Zone, at.Hostname, before, after)
	if err != nil {
		return err
	}
	r, err := asker{updateTimeout, u.Looker.Now}.once(ctx, "tcp", at.Server, u.Looker.Key, m)
	if err != nil {
		return u.unknown(ctx, at, after, err)
	}
	if err := u.refused(ctx, at, r); err != nil {
		return fmt.Errorf("update of %s at %s: %w", at.Hostname, shownAddr(at.Server), err)
	}
	return nil
}

// refused says what the reply r to an update means, nil for success.
func (u Updater) refused(ctx context.Context, at Place, r *dns.Msg) error {
	why := refused{code: r.Rcode, zone: at.Zone, signed: r.IsTsig() != nil}
	if r.Rcode != dns.RcodeSuccess {
		why.make = u.Looker.asker().makeOf(ctx, at.Server)
	}
	return why.err()
}

// unknown looks what became of an update without a reply.
func (u Updater) unknown(ctx context.Context, at Place, after Records, failed error) error {
	if !isFinal(failed) && ctx.Err() == nil {
		if now, err := u.Read(ctx, at); err == nil && now.same(after) {
			return nil
		}
	}
	return fmt.Errorf("update of %s at %s: %w", at.Hostname, shownAddr(at.Server), failed)
}
