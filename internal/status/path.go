package status

import "time"

// PathWindow is how many handshakes, one a second, a Path is of.
const PathWindow = 20

// A Path is how the connections of one controller to one other host fare, by
// what its kernel says of handshakes: how long they take, and how many get no
// answer. No program on the host takes part in these, so that a service which is
// busy, late or hung is no worse by them.
type Path struct {
	Host    string `json:"host"`
	Address string `json:"address"` // an IP address
	// RTT is the median time of those that were answered, in nanoseconds; 0 for none.
	RTT time.Duration `json:"rtt_ns"`
	// Sent is how many there were of late, PathWindow at most, and Lost how many
	// of these got no answer within 900 ms.
	Sent int `json:"sent"`
	Lost int `json:"lost"`
	// Lasting is the share, 0 to 1, lost of the earlier or of the later half of
	// these, whichever is less.
	Lasting float64 `json:"lost_lasting"`
	// Silent is how many of the newest got none, in a row, and SilentSince when the first of
	// these ended.
	Silent      int       `json:"silent"`
	SilentSince time.Time `json:"silent_since,omitzero"`
	// RefusedSince is since when the host refuses, so that it is up and no agent listens; unset
	// where it does not, or of a host that is no controller.
	RefusedSince time.Time `json:"refused_since,omitzero"`
}
