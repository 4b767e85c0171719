package web

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/incident"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

// TestPictures draws what two controllers tell of an hour in which the VIP moved between them.
func TestPictures(t *testing.T) {
	history := func(service string, first, n int, requests, failed uint64) traffic.History {
		h := traffic.History{Step: 10 * time.Second, From: demoNow.Add(-time.Hour), Known: make([]bool, 360)}
		s := traffic.ServiceHistory{Service: service, Requests: make([]uint64, 360), Failed: make([]uint64, 360)}
		for i := first; i < first+n; i++ {
			h.Known[i], s.Requests[i], s.Failed[i] = true, requests, failed
		}
		h.Services = []traffic.ServiceHistory{s}
		return h
	}
	p := pasts{hour: []traffic.History{history("nova", 0, 180, 100, 0), history("nova", 180, 170, 200, 50), history("idle", 0, 360, 0, 0)}}
	p.hour[2].Known = make([]bool, 360)
	incidents := []incident.Incident{
		{State: incident.Over, Begin: demoNow.Add(-30 * time.Minute), End: demoNow.Add(-29 * time.Minute), Text: "ctl1 is lost"},
		{State: incident.Open, Begin: demoNow.Add(-2 * time.Hour), Planned: true, Text: "drained"},
		{State: incident.Over, Begin: demoNow.Add(-3 * time.Hour), End: demoNow.Add(-2 * time.Hour), Text: "long ago"},
	}
	rows := picturesOf(demoNow, p, incidents)
	if len(rows) != 1 || rows[0].Service != "nova" || rows[0].Day.Words != "no request" {
		t.Fatalf("%+v", rows)
	}
	got := rows[0].Hour
	if got.Words != "up to 20/s, 8500 of 52000 failed" {
		t.Errorf("words %q", got.Words)
	}
	// Half of the height for the first 36 columns, the whole for 34, and nothing.
	if path := got.Area; !strings.HasPrefix(path, "M0 30L0 16H1L1 16H2") || !strings.Contains(path, "L35 16H36L36 2H37") || !strings.HasSuffix(path, "L69 2H70L70 30H71L71 30H72L72 30Z") {
		t.Errorf("path %s", path)
	}
	if want := (bar{36, 23, 1, 7}); len(got.Fails) != 34 || got.Fails[0] != want {
		t.Errorf("failures %v", got.Fails)
	}
	if !slices.Equal(got.Gaps, []bar{{70, 0, 2, 30}}) {
		t.Errorf("gaps %v", got.Gaps)
	}
	if want := []mark{{bar{36, 0, 1, 30}, toneBad, "ctl1 is lost"}, {bar{0, 0, 72, 30}, toneInfo, "drained"}}; !slices.Equal(got.Marks, want) {
		t.Errorf("marks %v, want %v", got.Marks, want)
	}
}

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
	picturesOf(demoNow, pasts{[]traffic.History{*h, *h}, []traffic.History{*h}}, nil)
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
