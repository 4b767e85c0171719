package tokens

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// keystone answers as Keystone does, and writes down what it was asked.
type keystone struct {
	mu    sync.Mutex // guards following
	asked []string
}

func (k *keystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := r.Method + " " + r.URL.Path
	k.mu.Lock()
	k.asked = append(k.asked, what)
	k.mu.Unlock()
	w.Header().Set(requestID, "req-1")
	switch what {
	case "GET /v3":
	case "POST /v3/auth/tokens":
		var body struct {
			Auth struct {
				Identity struct {
					Password struct {
						User struct{ Name, Password string }
					}
				}
				Scope struct {
					Project struct {
						Name   string
						Domain struct{ ID string }
					}
				}
			}
		}
		err := json.NewDecoder(r.Body).Decode(&body)
		user, project := body.Auth.Identity.Password.User, body.Auth.Scope.Project
		if err != nil || user.Name != "admin" || user.Password == "" || project.Name != "admin" || project.Domain.ID != "default" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Subject-Token", "secret")
		w.WriteHeader(http.StatusCreated)
	case "GET /v3/auth/tokens":
		if r.Header.Get("X-Auth-Token") != "secret" || r.Header.Get("X-Subject-Token") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// drive runs l against url and gives its sessions in the order in which they were due.
func drive(t *testing.T, l Load, url string) []Session {
	t.Helper()
	var mu sync.Mutex
	var all []Session
	l.URLs = []string{url}
	l.Record = func(s Session) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
	}
	if l.Duration == 0 {
		l.Duration = 100 * time.Millisecond
	}
	if l.Patience == 0 {
		l.Patience = 5 * time.Second
	}
	if len(l.Clients) == 0 {
		l.Clients = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b Session) int { return a.Due.Compare(b.Due) })
	return all
}

// TestSessions has tokens issued at a rate, from several addresses by turns;
// every fourth is looked at.
func TestSessions(t *testing.T) {
	k := &keystone{}
	server := httptest.NewServer(k)
	defer server.Close()
	clients := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	all := drive(t, Load{Rate: 120, Clients: clients}, server.URL)
	if len(all) != 12 {
		t.Fatalf("%d sessions, want 12", len(all))
	}
	sent := 0
	for i, s := range all {
		sent += s.Sent
		if s.Failure != "" || s.Took <= 0 || s.Client != clients[i%2].String() {
			t.Errorf("session %d: %+v", i, s)
		}
		if due := all[0].Due.Add(time.Duration(float64(i) / 120 * float64(time.Second))); !s.Due.Equal(due) {
			t.Errorf("session %d was due at %v, want %v", i, s.Due, due)
		}
	}
	slices.Sort(k.asked)
	want := slices.Concat(slices.Repeat([]string{"GET /v3"}, 12), slices.Repeat([]string{"GET /v3/auth/tokens"}, 3),
		slices.Repeat([]string{"POST /v3/auth/tokens"}, 12))
	if diff := cmp.Diff(want, k.asked); diff != "" || sent != len(want) {
		t.Errorf("%d requests sent; asked for (-want +got):\n%s", sent, diff)
	}
}

// TestLoops has each client begin anew as soon as it has its answer, and not sooner.
func TestLoops(t *testing.T) {
	var mu sync.Mutex
	at := map[string]int{} // sessions under way, by address
	k := &keystone{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.RemoteAddr, ":")
		mu.Lock()
		at[host]++
		if at[host] > 1 {
			t.Errorf("%s asks again before it has its answer", host)
		}
		mu.Unlock()
		k.ServeHTTP(w, r)
		mu.Lock()
		at[host]--
		mu.Unlock()
	}))
	defer server.Close()
	clients := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	all := drive(t, Load{Loops: 3, Clients: clients}, server.URL)
	if len(at) != 3 || len(all) < 4 {
		t.Errorf("%d sessions from %d addresses", len(all), len(at))
	}
}

// TestFailures tells what a proxy says from what Keystone does, and an answer
// from none.
func TestFailures(t *testing.T) {
	status := func(code int, header string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set(header, "req-1")
			}
			w.WriteHeader(code)
		}
	}
	cut := func(half string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, err = io.WriteString(conn, half)
			}
			if err != nil {
				t.Error(err)
			}
			_ = conn.Close()
		}
	}
	wait := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    Failure
	}{
		{"no host", status(503, ""), NoHost},
		{"Keystone has no database", status(503, requestID), Host},
		{"the host was cut off", status(502, ""), Bad},
		{"the host is too slow", status(504, ""), Slow},
		{"Keystone fails", status(500, requestID), Host},
		{"wrong password", status(401, requestID), Strange},
		{"no answer", cut(""), Cut},
		{"half an answer", cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), Cut},
		{"an answer that never comes", wait, Timeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.handler)
			defer server.Close()
			for _, s := range drive(t, Load{Rate: 20, Patience: 300 * time.Millisecond}, server.URL) {
				if s.Failure != tt.want || s.Error == "" || s.At != "GET /v3" || s.Sent != 1 {
					t.Errorf("%+v, want %q", s, tt.want)
				}
			}
		})
	}
	server := httptest.NewServer(nil)
	server.Close()
	for _, s := range drive(t, Load{Rate: 20}, server.URL) {
		if s.Failure != Refused || s.Sent != 0 {
			t.Errorf("%+v, want %q", s, Refused)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	good := Load{URLs: []string{"http://localhost:1"}, Rate: 1, Duration: 1, Patience: 1, Clients: []netip.Addr{netip.IPv4Unspecified()}}
	for want, change := range map[string]func(*Load){
		"no URL":              func(l *Load) { l.URLs = nil },
		"not an http URL":     func(l *Load) { l.URLs[0] = "https://localhost:1" },
		"either a rate":       func(l *Load) { l.Loops = 1 },
		"rate of 1e+06":       func(l *Load) { l.Rate = 1e6 },
		"501 loops":           func(l *Load) { l.Rate, l.Loops = 0, 501 },
		"must be positive":    func(l *Load) { l.Patience = 0 },
		"no client's address": func(l *Load) { l.Clients = nil },
	} {
		l := good
		l.URLs = slices.Clone(l.URLs)
		change(&l)
		if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
