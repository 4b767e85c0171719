package load

import (
	"context"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// only gives those of records that are of kind.
func only(records []Record, kind Kind) []Record {
	var some []Record
	for _, r := range records {
		if r.Kind == kind {
			some = append(some, r)
		}
	}
	return some
}

// TestDownloads asks for each body once, and finds out when it is not whole,
// or not what was sent.
func TestDownloads(t *testing.T) {
	const body = "0123456789"
	tests := []struct {
		name  string
		serve func(http.ResponseWriter)
		want  Failure
	}{
		{"whole", func(w http.ResponseWriter) { fmt.Fprint(w, body) }, ""},
		{"cut", func(w http.ResponseWriter) { fmt.Fprint(w, body[:5]) }, Closed},
		{"of another kind", func(w http.ResponseWriter) { fmt.Fprint(w, "0123456780") }, Corrupt},
		{"refused", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable); fmt.Fprint(w, body) }, ServerError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/stream/") {
					return
				}
				if r.URL.Path != "/stream/10" || r.URL.RawQuery != "s=0.05" {
					t.Errorf("asked for %s", r.URL)
				}
				w.Header().Set("X-Body-Crc32", fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))))
				w.Header().Set("Content-Length", "10")
				tt.serve(w)
			}))
			defer server.Close()
			c := config(server.URL + "/a")
			c.Downloads = Transfers{Count: 3, Time: 50 * time.Millisecond, Bytes: 10, Spread: 30 * time.Millisecond}
			records := run(t.Context(), t, c)
			downloads := only(records, Download)
			if len(downloads) != 3 || len(only(records, Request)) != 20 {
				t.Fatalf("%d downloads of %d records", len(downloads), len(records))
			}
			for i, r := range downloads {
				if r.Failure != tt.want || r.Failure == "" && r.Bytes != 10 || r.Last <= 0 || r.Last > r.Took {
					t.Errorf("%+v, want failure %q", r, tt.want)
				}
				if after := r.Due.Sub(downloads[0].Due); after != time.Duration(i)*10*time.Millisecond {
					t.Errorf("download %d begins %v after the first", i, after)
				}
			}
		})
	}
}

// TestNewBeside sends requests on new connections at a rate of their own.
func TestNewBeside(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	c := config(server.URL)
	c.Connections, c.NewRate, c.Duration = KeepAlive, 50, 200*time.Millisecond
	keys := map[string]bool{}
	fresh := 0
	for _, r := range run(t.Context(), t, c) {
		keys[r.Key] = true
		if strings.Contains(r.Key, "-n") {
			fresh++
			if r.Reused || r.Failure != "" {
				t.Errorf("%+v", r)
			}
		}
	}
	if len(keys) != 50 || fresh != 10 {
		t.Errorf("%d requests, %d of them on connections of their own; want 50 and 10", len(keys), fresh)
	}
}

// TestConnects makes connections where there is somebody, and says why not
// where there is nobody.
func TestConnects(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, tt := range []struct {
		to   string
		want Failure
	}{{server.Listener.Addr().String(), ""}, {unheard(t), Refused}} {
		var mu sync.Mutex
		var all []Record
		c := Connects{
			To: netip.MustParseAddrPort(tt.to), Every: time.Millisecond, Duration: 50 * time.Millisecond, Patience: time.Second,
			Clients: []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")},
			Record:  func(r Record) { mu.Lock(); defer mu.Unlock(); all = append(all, r) },
		}
		if err := c.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 || len(all) > 50 {
			t.Errorf("%d attempts", len(all))
		}
		for _, r := range all {
			if r.Kind != Connect || r.Failure != tt.want || !strings.HasPrefix(r.Client, "127.0.0.") {
				t.Errorf("to %s: %+v, want failure %q", tt.to, r, tt.want)
			}
		}
	}
	for _, bad := range []Connects{{}, {To: netip.MustParseAddrPort("127.0.0.1:1")}} {
		if err := bad.Run(context.Background()); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

// TestLongestWait counts the time in which there were attempts in vain, and
// neither that in which nobody tried nor what is outside.
func TestLongestWait(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const us = time.Microsecond
	good := func(sent time.Duration) Record {
		return Record{Kind: Connect, Due: start.Add(sent - 20*us), Late: 20 * us, Took: 120 * us}
	}
	bad := func(sent, took time.Duration) Record {
		return Record{Kind: Connect, Due: start.Add(sent), Took: took, Failure: Refused}
	}
	tests := []struct {
		name    string
		records []Record
		want    time.Duration
	}{
		{"nobody tried", nil, 0},
		{"all is well", []Record{good(1000 * us), good(2000 * us), good(3000 * us)}, 100 * us},
		{"nobody tried for a while", []Record{good(1000 * us), good(9000 * us)}, 100 * us},
		{"refused for a while", []Record{good(1000 * us), bad(2000*us, 10*us), bad(3000*us, 10*us), good(4000 * us)}, 2100 * us},
		{"no answer for a while", []Record{good(1000 * us), bad(2000*us, 50000*us), bad(3000*us, 50000*us), good(4000 * us)}, 2100 * us},
		{"one slow one among good ones", []Record{good(1000 * us), bad(1500*us, 50000*us), good(2000 * us), good(3000 * us)}, 600 * us},
		{"to the end", []Record{good(1000 * us), bad(4000*us, 50000*us)}, 6000 * us},
		{"before and after", []Record{bad(-9000*us, 10*us), good(-1000 * us), good(1000 * us), bad(11000*us, 10*us)}, 100 * us},
		{"requests do not count", []Record{{Due: start, Took: time.Millisecond, Failure: Refused}}, 0},
	}
	for _, tt := range tests {
		if got := LongestWait(tt.records, start, start.Add(10*time.Millisecond)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
