package handover

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLastOfAllGivesWayToAnyVersion proves that who keeps a VIP that no agent takes ends
// at once when a router of any version of VRRP says that it holds it, and not before: what
// was said earlier is of the set-up of before.
func TestLastOfAllGivesWayToAnyVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newController(t, "ctl1")
		c.rival = time.Now()
		ended := make(chan struct{})
		told := 0
		go func() {
			defer close(ended)
			c.Leave(t.Context(), time.Hour, func(state string) {
				told++
				if !strings.Contains(state, "EXTEND_TIMEOUT_USEC=") {
					t.Errorf("the service manager was told %q", state)
				}
			})
		}()
		time.Sleep(10 * time.Minute)
		select {
		case <-ended:
			t.Fatal("it ended with nobody to take the VIP")
		default:
		}
		if told < 300 || told > 700 {
			t.Errorf("the service manager was told %d times in ten minutes, want some 600", told)
		}
		c.mu.Lock()
		c.rival = time.Now()
		c.mu.Unlock()
		begun := time.Now()
		<-ended
		if took := time.Since(begun); took > keepInterval+finishTime {
			t.Errorf("it went on for %v beside another holder", took)
		}
	})
}
