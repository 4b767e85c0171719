package dns

import (
	"context"
	"errors"
)

// ErrChanged says that the records are not any more as the plan found them.
var ErrChanged = errors.New("the records have changed since the plan was made; look at a new one: holdfast dns plan")

// An Editor changes the records of hostnames where the zone is edited: Updater
// and Designate.
type Editor interface {
	// By names the way for the journal: RFC2136 or ByAPI.
	By() string
	// Read gives what the hostname has there.
	Read(ctx context.Context, at Place) (Records, error)
	// Replace turns before into after. It changes nothing and gives ErrChanged if
	// before is not what is there. When it gives another error, the change may
	// have been made or not, or in part.
	Replace(ctx context.Context, at Place, before, after Records) error
}
