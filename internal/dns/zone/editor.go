package zone

import (
	"context"

	"holdfast/internal/dns"
)

// An Editor changes the records of hostnames where the zone is edited: Updater
// and Designate.
type Editor interface {
	// By names the way for the journal: RFC2136 or ByAPI.
	By() string
	// Read gives what the hostname has there.
	Read(ctx context.Context, at dns.Place) (dns.Records, error)
	// Replace turns before into after. It changes nothing and gives ErrChanged if
	// before is not what is there. When it gives another error, the change may
	// have been made or not, or in part.
	Replace(ctx context.Context, at dns.Place, before, after dns.Records) error
}
