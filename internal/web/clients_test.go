package web

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/traffic"
)

// steps is a History that tells its spans apart by their steps.
type steps struct{}

func (steps) Hour() (traffic.History, error) {
	return traffic.HistoryOf([]traffic.Frame{{Number: 7, Points: []traffic.Point{{Service: "nova", Requests: 12}}}}, 6, 2, 1, 10*time.Second), nil
}
func (steps) Day() (traffic.History, error)   { return traffic.History{Step: 5 * time.Minute}, nil }
func (steps) Month() (traffic.History, error) { return traffic.History{Step: time.Hour}, nil }

func TestClientsAnswer(t *testing.T) {
	s := demoServer(view{})
	s.opt.History = steps{}
	url := start(t, s)
	for span, step := range map[string]time.Duration{"": 10 * time.Second, "?span=hour": 10 * time.Second, "?span=day": 5 * time.Minute, "?span=month": time.Hour} {
		resp, body := get(t, "GET", url+"/clients"+span)
		var answer Clients
		if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != 200 || answer.Step != step || answer.Controller == "" {
			t.Errorf("%q: %d, %v\n%s", span, resp.StatusCode, err, body)
		}
		if step == 10*time.Second && (answer.Known[0] || !answer.Known[1] || answer.Services[0].Requests[1] != 12) {
			t.Errorf("%q: %s", span, body)
		}
	}
	if resp, body := get(t, "GET", url+"/clients?span=year"); resp.StatusCode != 400 || !strings.Contains(body, "want hour, day or month") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// still is a History of a disk that stands still until it is closed.
type still struct {
	disk  chan struct{}
	reads *atomic.Int32
	err   error
}

func (s still) Hour() (traffic.History, error) { return steps{}.Hour() }
func (s still) Day() (traffic.History, error)  { return s.Month() }
func (s still) Month() (traffic.History, error) {
	s.reads.Add(1)
	<-s.disk
	return traffic.History{Step: time.Hour}, s.err
}

// TestClientsOfADiskThatStandsStill proves that who asks for what such a disk keeps holds up
// nobody else, and reads it once however many ask.
func TestClientsOfADiskThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Self: demoName(0), Log: demoServer(view{}).opt.Log, Snapshot: demoServer(view{}).opt.Snapshot, Events: demoServer(view{}).opt.Events})
		disk := still{make(chan struct{}), &atomic.Int32{}, nil}
		s.opt.History = disk
		ask := func(path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
			r.RemoteAddr = "192.0.2.1:4711"
			s.Handler().ServeHTTP(w, r)
			return w
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if w := ask("/clients?span=month"); w.Code != 500 || !strings.Contains(w.Body.String(), "stands still") {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		for _, path := range []string{"/metrics", "/status", "/clients", "/clients?span=hour"} {
			if begun, w := time.Now(), ask(path); w.Code != 200 || time.Since(begun) > 0 {
				t.Errorf("%s: %d after %v", path, w.Code, time.Since(begun))
			}
		}
		all.Wait()
		time.Sleep(time.Millisecond)
		// Who comes later waits for nothing.
		if begun, w := time.Now(), ask("/clients?span=month"); w.Code != 500 || time.Since(begun) > 0 {
			t.Errorf("%d after %v", w.Code, time.Since(begun))
		}
		begun := time.Now()
		if v := s.look(t.Context()); len(v.pasts.hour) != 1 || time.Since(begun) > lookTimeout {
			t.Errorf("a look at the cloud takes %v, and has %d hours", time.Since(begun), len(v.pasts.hour))
		}
		if disk.reads.Load() != 2 { // of the month, and of the day for the look
			t.Errorf("%d reads", disk.reads.Load())
		}
		close(disk.disk)
		synctest.Wait()
		if w := ask("/clients?span=month"); w.Code != 200 || !strings.Contains(w.Body.String(), `"step_ns":3600000000000`) {
			t.Errorf("the disk is back, and: %d %s", w.Code, w.Body)
		}
	})
}

// TestClientsOfAFileThatCannotBeRead says why.
func TestClientsOfAFileThatCannotBeRead(t *testing.T) {
	s := demoServer(view{})
	disk := still{make(chan struct{}), &atomic.Int32{}, errors.New("read what clients got: input/output error")}
	close(disk.disk)
	s.opt.History = disk
	if resp, body := get(t, "GET", start(t, s)+"/clients?span=day"); resp.StatusCode != 500 || !strings.Contains(body, "input/output error") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}
