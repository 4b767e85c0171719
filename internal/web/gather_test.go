package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/cloud"
)

// peer starts a server that answers /status with handler, and gives a target.
func peer(t testing.TB, name string, handler http.HandlerFunc) Target {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return Target{name, strings.TrimPrefix(server.URL, "http://")}
}

func say(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func TestGatherSaysWhyInWords(t *testing.T) {
	closed := listen(t)
	elsewhere := peer(t, "", func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	targets := map[string]Target{
		"connection refused: nothing listens at " + closed.Addr().String(): {"refused", closed.Addr().String()},
		"no answer within 1s":                        peer(t, "hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		"answered 503 Service Unavailable, want 200": peer(t, "busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }),
		"answered 302 Found, want 200":               peer(t, "redirects", http.RedirectHandler("http://"+elsewhere.Addr, http.StatusFound).ServeHTTP),
		"the connection was closed before the answer was complete": peer(t, "cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "{")
		}),
		"answered more than 8 MiB, which is no holdfast agent's way": peer(t, "huge", func(w http.ResponseWriter, _ *http.Request) {
			for range maxAnswer/1024 + 1 {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		}),
		"answered what is not a snapshot: bad JSON at byte 1":               peer(t, "html", say("<html>")),
		"answered JSON that is not a snapshot: it has no schema":            peer(t, "other", say(`{"status":"up"}`)),
		"answered in schema 2, and this holdfast reads 1; upgrade this one": peer(t, "newer", say(`{"schema":2,"vips":"all"}`)),
		"answered what is not a snapshot: vips is of type string":           peer(t, "types", say(`{"schema":1,"vips":"all"}`)),
		"answered what is not a snapshot: bad JSON at byte ":                peer(t, "number", say(`{"schema":1,"services":[{"hosts":[{"sessions":1e}]}]}`)),
		"answered 65539 objects, more than the 65536 that are read":         peer(t, "many", say(`{"schema":1,"services":[`+strings.Repeat("{},", 65537)+`{}]}`)),
		"cannot be asked at 10.0.0.1 :x: ":                                  {"bad", "10.0.0.1 :x"},
	}
	closed.Close() // now: one of the others would have got its port
	for want, target := range targets {
		t.Run(target.Name, func(t *testing.T) {
			t.Parallel()
			answer := Gather(t.Context(), []Target{target})[0]
			if answer.Snapshot != nil || answer.Name != target.Name || answer.Address != target.Addr {
				t.Errorf("answer is %+v", answer)
			}
			if !strings.HasPrefix(answer.Error, want) {
				t.Errorf("got  %s\nwant %s", answer.Error, want)
			}
		})
	}
}

func TestGatherKeepsOrder(t *testing.T) {
	var targets []Target
	for i := range 10 {
		targets = append(targets, peer(t, demoName(i), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(clockHeader, demoNow.Format(time.RFC3339Nano))
			if err := json.NewEncoder(w).Encode(demoController(i, 10)); err != nil {
				t.Error(err)
			}
		}))
	}
	for i, a := range Gather(t.Context(), targets) {
		if a.Error != "" || a.Snapshot.Controller != demoName(i) || !a.Clock.Equal(demoNow) || a.Took <= 0 {
			t.Errorf("answer %d is %+v", i, a)
		}
	}
}

func TestGatherEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hangs := peer(t, "hangs", func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if got := Gather(ctx, []Target{hangs})[0].Error; got != "was not waited for" {
		t.Errorf("error is %q", got)
	}
}

func TestGatherEvents(t *testing.T) {
	events := demoEvents()
	good := peer(t, "good", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" || r.URL.Query().Get("n") != "3" {
			t.Errorf("asked for %s", r.URL)
		}
		writeJSON(w, 200, eventsAnswer("good", events)) // more than were asked for
	})
	bad := peer(t, "bad", say("[]"))
	journals := Journals(t.Context(), []Target{bad, good}, 3, nil)
	if len(journals) != 2 || journals[0].Error == "" || journals[1].Error != "" {
		t.Fatalf("got %+v, want a reason of the first and none of the second", journals)
	}
	if diff := cmp.Diff(events[len(events)-3:], journals[1].Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// FuzzDecodeSnapshot proves that whatever a peer answers can be merged, shown
// and passed on, or is refused.
func FuzzDecodeSnapshot(f *testing.F) {
	seed, err := json.Marshal(demoController(0, 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"schema":1}`))
	f.Add([]byte(`{"schema":1,"vips":[{"name":"a","state":"active","since":"9999-12-31T23:59:59-23:59"},null],"services":[{"hosts":[null,{"state":"x"}]}]}`))
	f.Add([]byte(`{"schema":1,"config":{"rejected":[{}]},"findings":[{"severity":"\u001b[2J","text":"\n<script>"}]}`))
	f.Add([]byte(strings.Repeat(`{"schema":`, 20000)))
	f.Add([]byte(`{"schema":1,"services":` + strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, body []byte) {
		snap, err := decodeSnapshot(body)
		if err != nil {
			return
		}
		other := demoController(1, 2)
		merged := cloud.Merge(demoNow, "", []cloud.Answer{
			{Name: "a", Snapshot: snap, Received: demoNow, Clock: demoNow}, {Name: "b", Snapshot: &other, Received: demoNow, Clock: demoNow},
		})
		if _, err := json.Marshal(merged); err != nil {
			t.Errorf("what was accepted cannot be passed on: %v", err)
		}
		s := demoServer(view{})
		html, err := s.page.Render("page.html", s.model(view{cloud: merged}))
		if err != nil {
			t.Errorf("what was accepted cannot be shown: %v", err)
		}
		if strings.Contains(strings.ReplaceAll(string(html), `<script src="assets/live.js`, ""), "<script") {
			t.Error("the page has a script of the peer's")
		}
	})
}

// FuzzDecodeEvents proves that no answer of a peer harms.
func FuzzDecodeEvents(f *testing.F) {
	seed, err := json.Marshal(eventsAnswer("a", demoEvents()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"events":[{"took_ns":-9223372036854775808,"time":"0001-01-01T00:00:00Z"},null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := decodeEvents(body)
		if err != nil {
			return
		}
		incidents := Group([]Journal{{Events: answer.Events}, {Controller: "other", Events: answer.Events}}, time.Now())
		s := demoServer(view{})
		m := s.model(view{events: newestFirst([]Journal{{Events: answer.Events}}, pageEvents), incidents: incidents})
		for _, part := range []string{"events", "incidents"} {
			if _, err := s.page.Render(part, m); err != nil {
				t.Error(err)
			}
		}
	})
}
