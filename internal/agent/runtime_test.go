package agent

import "testing"

// TestGarbage: the heap grows by the same amount whatever is in use, within bounds.
func TestGarbage(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 32 << 20: 50, 1 << 30: leastGarbage} {
		if got := garbageOf(live); got != want {
			t.Errorf("with %d MiB in use it may grow by %d %%, want %d", live>>20, got, want)
		}
	}
}
