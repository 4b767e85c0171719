package zone

import (
	"context"
	"errors"
	"fmt"
	"time"

	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
	"holdfast/internal/dns/wire"
)

// updateTimeout bounds an update: the server writes it to disk before it answers.
const updateTimeout = 10 * time.Second

// An Updater edits zones by dynamic update (RFC 2136), signed with the key of
// its Looker (RFC 8945).
type Updater struct {
	Looker Looker
}

// By gives RFC2136.
func (Updater) By() string { return dns.RFC2136 }

// Read asks the primary.
func (u Updater) Read(ctx context.Context, at dns.Place) (dns.Records, error) {
	if !at.Server.IsValid() {
		return nil, errors.New("it is not known where updates go; name the zone's primary: --primary ADDRESS")
	}
	s := dns.Server{Address: at.Server, Primary: true}
	u.Looker.askServer(ctx, &s, at.Zone, at.Hostname)
	if s.Condition() != dns.Good {
		return nil, fmt.Errorf("primary %s %s", s, s.Trouble())
	}
	return s.Records(), nil
}

// Replace sends one update, which the primary makes whole or not at all. It goes
// by TCP, so that it cannot arrive twice.
func (u Updater) Replace(ctx context.Context, at dns.Place, before, after dns.Records) error {
	m, err := wire.UpdateMessage(at.Zone, at.Hostname, before, after)
	if err != nil {
		return err
	}
	r, err := asker{updateTimeout, u.Looker.Now}.once(ctx, "tcp", at.Server, u.Looker.Key, m)
	if err != nil {
		return u.unknown(ctx, at, after, err)
	}
	if err := u.refused(ctx, at, r); err != nil {
		return fmt.Errorf("update of %s at %s: %w", at.Hostname, dns.ShownAddr(at.Server), err)
	}
	return nil
}

// refused says what the reply r to an update means, nil for success.
func (u Updater) refused(ctx context.Context, at dns.Place, r *mdns.Msg) error {
	why := wire.Refused{Code: r.Rcode, Zone: at.Zone, Signed: r.IsTsig() != nil}
	if r.Rcode != mdns.RcodeSuccess {
		why.Make = u.Looker.asker().makeOf(ctx, at.Server)
	}
	return why.Err()
}

// errNoPrerequisites is of a server by which a change of somebody else's would be
// overwritten.
var errNoPrerequisites = errors.New("it takes updates whose prerequisites do not hold (RFC 2136 section 3.2), and would overwrite what somebody else has changed")

// Try asks the primary of each change of plan whether it would make that change,
// by an update which changes nothing. It gives the plan without what would be
// refused, each with a finding.
func (u Updater) Try(ctx context.Context, plan dns.Plan) dns.Plan {
	for i := range plan.Names {
		n := &plan.Names[i]
		if !n.Change || !n.Primary.IsValid() {
			continue
		}
		if err := u.try(ctx, n.Place(), n.Before, n.After); err != nil {
			plan.Refuse(n, n.Primary, err)
		}
	}
	return plan
}

// try gives the reason why an update would be refused.
func (u Updater) try(ctx context.Context, at dns.Place, before, after dns.Records) error {
	m, err := wire.TryMessage(at.Zone, at.Hostname, before, after)
	if err != nil {
		return err
	}
	r, err := u.Looker.asker().once(ctx, "tcp", at.Server, u.Looker.Key, m)
	if err != nil {
		return err
	}
	switch err := u.refused(ctx, at, r); {
	case err == nil:
		return errNoPrerequisites
	case errors.Is(err, dns.ErrChanged): // the prerequisites: the last thing before the change
		return nil
	default:
		return err
	}
}

// unknown looks what became of an update without a reply.
func (u Updater) unknown(ctx context.Context, at dns.Place, after dns.Records, failed error) error {
	if !isFinal(failed) && ctx.Err() == nil {
		if now, err := u.Read(ctx, at); err == nil && now.Same(after) {
			return nil
		}
	}
	return fmt.Errorf("update of %s at %s: %w", at.Hostname, dns.ShownAddr(at.Server), failed)
}
