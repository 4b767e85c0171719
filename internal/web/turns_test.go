package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurns proves that of many who ask few are worked on at once, that all get their
// answer, who waits for too long is told so, and controllers wait for nobody.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demoServer(view{})
		s.opt.Controllers = func() []Target { return []Target{{demoName(1), "10.64.20.14:9470"}} }
		var now, most, served, refused atomic.Int32
		work := s.inTurn(func(w http.ResponseWriter, _ *http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(100 * time.Millisecond)
			now.Add(-1)
			w.Header().Set("X", "y")
			w.WriteHeader(http.StatusTeapot)
			w.Write([]byte("done"))
		})
		ask := func(from string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil)
			r.RemoteAddr = from
			w := httptest.NewRecorder()
			work(w, r)
			return w
		}
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				switch w := ask("192.0.2.1:4711"); {
				case w.Code == http.StatusTeapot && w.Body.String() == "done" && w.Header().Get("X") == "y":
					served.Add(1)
				case w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "5":
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		begun := time.Now()
		if w := ask("10.64.20.14:4711"); w.Code != http.StatusTeapot || time.Since(begun) != 100*time.Millisecond {
			t.Errorf("a controller gets %d after %v", w.Code, time.Since(begun))
		}
		all.Wait()
		// Those of five seconds get their turn, 100 ms each.
		if most.Load() > turns+1 || served.Load()+refused.Load() != 200 || served.Load() < turns*50 || served.Load() > turns*51 {
			t.Errorf("%d at once, %d served, %d refused", most.Load(), served.Load(), refused.Load())
		}
	})
}

// TestTurnOfOneWhoLeft proves that one who has left is not worked for.
func TestTurnOfOneWhoLeft(t *testing.T) {
	s := demoServer(view{})
	for range turns {
		s.turns <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.takeTurn(ctx, func() { t.Error("worked for nobody") }) {
		t.Error("it had a turn")
	}
}
