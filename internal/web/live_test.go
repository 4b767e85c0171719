package web

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/status"
	"holdfast/internal/web/page"
)

// A sink takes an answer in memory.
type sink struct {
	mu   sync.Mutex
	body bytes.Buffer
}

func (s *sink) Header() http.Header              { return http.Header{} }
func (s *sink) WriteHeader(int)                  {}
func (s *sink) Flush()                           {}
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body.String()
}

// TestStreamIsNeverSilent proves that a page hears every second that its controller is
// there, also when others keep it waiting for what they say.
func TestStreamIsNeverSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demoServer(view{})
		s.live.look = func(ctx context.Context) view { <-ctx.Done(); return view{} }
		_, leave, ok := s.join()
		if !ok {
			t.Fatal("no slot")
		}
		defer leave()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out sink
		go s.keepSending(ctx, crowdStream{stream: stream{&out, http.NewResponseController(&out), streamTimeout}, turns: make(chan struct{}, 1)}, 0)
		time.Sleep(5*time.Second + time.Millisecond)
		if n := strings.Count(out.String(), "event: beat\n"); n != 5 {
			t.Errorf("%d beats in five seconds:\n%s", n, &out)
		}
	})
}

// TestOneLookForAllStreams proves that the cloud is looked at as often for many pages as
// for one, and no more once the last is closed.
func TestOneLookForAllStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, looks := demoServer(view{}), 0
		s.live.look = func(context.Context) view { looks++; return demoDegraded() }
		var leaves []func()
		for range maxStreams {
			_, leave, ok := s.join()
			if !ok {
				t.Fatal("no slot")
			}
			leaves = append(leaves, leave)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := int(10*time.Second/liveInterval) + 1; looks != want {
			t.Errorf("%d looks in ten seconds, want %d", looks, want)
		}
		for _, leave := range leaves {
			leave()
		}
		time.Sleep(liveInterval)
		looks = 0
		time.Sleep(10 * time.Second)
		if looks > 0 {
			t.Errorf("%d looks while nobody looks", looks)
		}
		_, again, ok := s.join()
		if !ok {
			t.Fatal("a slot was not given back")
		}
		synctest.Wait()
		if all, _ := s.live.now(0); len(all) != len(page.Parts()) {
			t.Errorf("%d parts for who comes later", len(all))
		}
		again()
		synctest.Wait()
	})
}

// TestSameFragments proves that what is as it was is not sent again.
func TestSameFragments(t *testing.T) {
	s := demoServer(view{})
	ctx := t.Context()
	sent := map[string]*fragment{}
	for i, want := range []int{len(page.Parts()), 0} {
		all, err := s.fragmentsOf(demoDegraded())
		if err != nil {
			t.Fatal(err)
		}
		s.live.publish(ctx, all)
		now, _ := s.live.now(0)
		if n := bytes.Count(newOf(now, sent), []byte("event: part")); n != want {
			t.Errorf("%d parts are sent the %dth time, want %d", n, i+1, want)
		}
	}
}

// TestCrowdOfPages opens 500 pages, of which some never read: all others get all that
// changes, and these are cut.
func TestCrowdOfPages(t *testing.T) {
	const pages, slow = 500, 25
	s := demoServer(view{})
	s.opt.Now = time.Now
	ticks, mu := 0, sync.Mutex{}
	s.live.look = func(context.Context) view {
		mu.Lock()
		defer mu.Unlock()
		ticks++
		v := demoDegraded()
		v.cloud.Time = demoNow.Add(time.Duration(ticks) * time.Second)
		v.cloud.Cloud = fmt.Sprint("eqiad", ticks)
		return v
	}
	address := strings.TrimPrefix(start(t, s), "http://")
	var all sync.WaitGroup
	for i := range pages {
		conn := connect(t, fmt.Sprintf("127.0.76.%d", i/10+1), address)
		if _, err := fmt.Fprint(conn, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if i%(pages/slow) != 0 {
			all.Go(func() { readUntil(t, conn, "eqiad3") })
		}
	}
	all.Wait()
	s.live.mu.Lock()
	if s.live.open < pages-slow || s.live.open > pages {
		t.Errorf("%d pages are open, want %d, or those that read", s.live.open, pages)
	}
	s.live.mu.Unlock()
}

// readUntil reads what comes until it has want.
func readUntil(t *testing.T, conn net.Conn, want string) {
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Errorf("the stream ended before %s: %v", want, err)
			return
		}
		if strings.Contains(line, want) {
			go io.Copy(io.Discard, r) // who reads no more is cut; this ends with the test
			return
		}
	}
}

// TestSlowReaderIsCut proves that one who reads nothing keeps his slot for some seconds only.
func TestSlowReaderIsCut(t *testing.T) {
	s := demoServer(view{})
	big, n := viewOf(bigCloud(), nil), 0
	s.live.look = func(context.Context) view {
		n++
		v := big
		v.cloud.Services[0].Hosts[0].Check = strings.Repeat("x", 64<<10) + fmt.Sprint(n)
		return v
	}
	conn := connect(t, "127.0.0.1", strings.TrimPrefix(start(t, s), "http://"))
	if _, err := fmt.Fprint(conn, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	opened := false
	for {
		s.live.mu.Lock()
		open := s.live.open
		s.live.mu.Unlock()
		opened = opened || open == 1
		if opened && open == 0 {
			return // the test's own time limit is what bounds this
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestOthersAreAskedOnce proves that what one controller told is known for all who want to
// know, and that of its journal only what is new is asked for.
func TestOthersAreAskedOnce(t *testing.T) {
	now := demoNow
	events := journalsOf(demoEvents())[0].Events
	var asked []string
	var mu sync.Mutex
	known := len(events) - 1
	other := peer(t, demoName(1), func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/clients" {
			http.NotFound(w, r) // as one of an earlier release
			return
		}
		asked = append(asked, r.URL.RequestURI())
		if r.URL.Path == "/status" {
			writeJSON(w, 200, demoController(1, 3))
			return
		}
		_, after, err := whichEvents(r)
		if err != nil {
			t.Error(err)
		}
		writeJSON(w, 200, eventsAnswer(demoName(1), Newer(events[:known], after)))
	})
	s := demoServer(view{})
	s.opt.Now = func() time.Time { return now }
	s.opt.Controllers = func() []Target { return []Target{other, {demoName(0), "127.0.0.1:9"}} }
	look := func(wantEvents int) {
		t.Helper()
		s.look(t.Context())
		kept := s.others[0].cache.get(t.Context()).journal
		if diff := cmp.Diff(events[:wantEvents], kept.Events); kept.Error != "" || diff != "" {
			t.Errorf("the journal: %q (-want +got):\n%s", kept.Error, diff)
		}
	}
	look(known)
	look(known)
	if len(asked) != 2 {
		t.Errorf("asked %v, want status and events once", asked)
	}
	now = now.Add(otherAge)
	known++
	look(known)
	if want := fmt.Sprintf("/events?after=%d&n=%d", known-1, IncidentEvents); len(asked) != 4 || asked[2] != want && asked[3] != want {
		t.Errorf("asked %v, want %s at last", asked, want)
	}
	events[0].Seq, known = 1, 1 // it has lost its disk
	now = now.Add(otherAge)
	look(1)
}

// TestSilentOther proves that a controller that falls silent holds up nobody's page, and is
// not shown as a holder beside the one that took over.
func TestSilentOther(t *testing.T) {
	now := demoNow
	var silent atomic.Bool
	other := peer(t, demoName(0), func(w http.ResponseWriter, r *http.Request) {
		switch {
		case silent.Load():
			<-r.Context().Done()
		case r.URL.Path == "/status":
			writeJSON(w, 200, demoController(0, 3))
		default:
			writeJSON(w, 200, eventsAnswer(demoName(0), nil))
		}
	})
	s := demoServer(view{})
	own := demoController(1, 3)
	s.opt.Self, s.opt.Snapshot, s.opt.Now = own.Controller, func() status.Snapshot { return own }, func() time.Time { return now }
	s.opt.Controllers = func() []Target { return []Target{other, {own.Controller, "127.0.0.1:9"}} }
	check := func(holder string, reachable bool) {
		t.Helper()
		v := s.lookFor(t.Context(), 100*time.Millisecond)
		if vip := v.cloud.VIPs[0]; vip.Holder != holder || len(vip.Holders) != 1 || v.cloud.Controllers[0].Reachable != reachable {
			t.Errorf("holder %s of %v, and the other reachable: %t", vip.Holder, vip.Holders, v.cloud.Controllers[0].Reachable)
		}
	}
	s.look(t.Context())
	check(demoName(0), true)
	silent.Store(true)
	now = now.Add(otherAge)
	check(demoName(0), true)
	own.VIPs[0].State, own.VIPs[0].Holder = status.Active, own.Controller
	check(demoName(1), false)
}
