package handover

import (
	"testing"

	"holdfast/internal/vip/conntrack"
)

// TestNoRoomToTrack has a detour switch conntrack on, where its table is of a size.
func TestNoRoomToTrack(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, count int
		max           int
		narrow        bool
		conns, rate   int
		want          bool
	}{
		{"the usual size", 0, 10, 262144, false, 500, 300, false},
		{"too many new ones", 0, 10, 65536, false, 500, 300, true},
		{"too many open ones", 0, 10, 65536, false, 30000, 0, true},
		{"it was on already", 5, 10, 65536, false, 500, 300, false},
		{"the VIP's alone", 0, 10, 65536, true, 500, 300, false},
		{"the VIP's alone, and an earlier move's", 5, 10, 65536, true, 500, 300, false},
		{"too many of the VIP's", 5, 10, 65536, true, 500, 450, true},
		{"nothing known of the table", 0, 0, 0, false, 500, 300, false},
		{"nothing known of the giver", 0, 10, 65536, false, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			why := noRoomFor(conntrack.Use{Count: tt.before, Max: tt.max}, conntrack.Use{Count: tt.count, Max: tt.max}, tt.narrow, tt.conns, tt.rate)
			if (why != "") != tt.want {
				t.Errorf("got %q", why)
			}
		})
	}
}
