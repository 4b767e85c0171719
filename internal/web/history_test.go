package web

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
	"holdfast/internal/web/page"
)

// TestDecodePast proves that no answer of another controller harms.
func TestDecodePast(t *testing.T) {
	for _, bad := range []string{
		``, `[]`, `{}`, `{"step_ns":-1}`, `{"step_ns":1,"known":[true],"services":[{"requests":[]}]}`, `{"step_ns":1,"known":[true],"services":[{"requests":[1],"failed":[]}]}`,
		`{"step_ns":1,"known":[` + strings.Repeat("true,", 10000) + `true]}`, `{"step_ns":1,"services":[` + strings.Repeat("{},", maxObjects) + `{}]}`,
	} {
		if h, err := decodePast([]byte(bad)); err == nil {
			t.Errorf("%.40s is taken: %v", bad, h)
		}
	}
	h, err := decodePast([]byte(`{"step_ns":9223372036854775807,"from":"9999-12-31T23:59:59Z","known":[true],"services":[{"service":"<b>","requests":[18446744073709551615],"failed":[18446744073709551615]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	page.ModelOf(page.View{Cloud: cloud.Cloud{Time: demoNow}, Hours: []traffic.History{*h, *h}, Days: []traffic.History{*h}})
}

// TestPastsOfAll proves that pictures are of what all controllers tell.
func TestPastsOfAll(t *testing.T) {
	asked := make(chan string, 10)
	other := peer(t, demoName(1), func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/clients":
			asked <- r.URL.Query().Get("span")
			writeJSON(w, 200, Clients{Schema: 1, History: demoPasts().hour[0]})
		case "/status":
			writeJSON(w, 200, demoController(1, 3))
		default:
			writeJSON(w, 200, eventsAnswer(demoName(1), nil))
		}
	})
	s := demoServer(view{})
	s.opt.History = steps{}
	s.opt.Controllers = func() []Target { return []Target{other, {demoName(0), "127.0.0.1:9"}} }
	v := s.look(t.Context())
	if spans := []string{<-asked, <-asked}; !slices.Contains(spans, "hour") || !slices.Contains(spans, "day") {
		t.Errorf("asked for %v", spans)
	}
	if len(v.pasts.hour) != 2 || len(v.pasts.day) != 2 {
		t.Errorf("%d hours and %d days, want those of two controllers", len(v.pasts.hour), len(v.pasts.day))
	}
}

// TestPastOfOneThatIsLost: what clients got by a controller is shown on when it is lost, for that
// is when somebody wants to know it.
func TestPastOfOneThatIsLost(t *testing.T) {
	var lost atomic.Bool
	other := peer(t, demoName(1), func(w http.ResponseWriter, r *http.Request) {
		switch {
		case lost.Load():
			http.Error(w, "gone", http.StatusBadGateway)
		case r.URL.Path == "/clients":
			writeJSON(w, 200, Clients{Schema: 1, History: demoPasts().hour[0]})
		case r.URL.Path == "/status":
			writeJSON(w, 200, demoController(1, 3))
		default:
			writeJSON(w, 200, eventsAnswer(demoName(1), nil))
		}
	})
	s, now := demoServer(view{}), demoNow
	s.opt.Now = func() time.Time { return now }
	s.opt.Controllers = func() []Target { return []Target{{demoName(0), "127.0.0.1:9"}, other} }
	first := s.look(t.Context()).pasts
	lost.Store(true)
	now = now.Add(2 * dayAge)
	v := s.look(t.Context())
	if v.cloud.Controllers[1].Reachable || len(first.hour) != 1 || !cmp.Equal(first, v.pasts, cmp.AllowUnexported(pasts{})) {
		t.Errorf("%+v; %d hours and %d days are left of %d and %d", v.cloud.Controllers[1], len(v.pasts.hour), len(v.pasts.day), len(first.hour), len(first.day))
	}
}

// TestAgentOfAnotherCloud: one that answers at the address of a controller adds neither what it
// holds, nor its events, nor what its clients got.
func TestAgentOfAnotherCloud(t *testing.T) {
	stranger := peer(t, demoName(1), func(w http.ResponseWriter, r *http.Request) {
		snap := demoController(1, 3)
		snap.Cloud = "codfw1"
		for i := range snap.VIPs {
			snap.VIPs[i].State = status.Active
		}
		switch r.URL.Path {
		case "/clients":
			writeJSON(w, 200, Clients{Schema: 1, History: demoPasts().hour[0]})
		case "/status":
			writeJSON(w, 200, snap)
		default:
			answer := eventsAnswer(demoName(1), demoEvents())
			answer.Cloud = snap.Cloud
			writeJSON(w, 200, answer)
		}
	})
	s := demoServer(view{})
	s.opt.History = steps{}
	s.opt.Controllers = func() []Target { return []Target{{demoName(0), "127.0.0.1:9"}, stranger} }
	s.opt.Events = func(int) []status.Event { return nil }
	v := s.look(t.Context())
	if len(v.pasts.hour) != 1 || len(v.events) != 0 || len(v.incidents) != 0 {
		t.Errorf("%d hours, %d events, %d incidents", len(v.pasts.hour), len(v.events), len(v.incidents))
	}
	if c := v.cloud.Controllers[1]; c.Reachable || len(v.cloud.VIPs[0].Holders) != 1 || v.cloud.Cloud != "eqiad1" {
		t.Errorf("cloud %s, %+v, held by %v", v.cloud.Cloud, c, v.cloud.VIPs[0].Holders)
	}
	if j := s.Journals(t.Context(), 10)[1]; len(j.Events) != 0 || j.Error != `the agent there belongs to cloud "codfw1", not "eqiad1"` {
		t.Errorf("%d events, %q", len(j.Events), j.Error)
	}
}
