package load

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestUploads sends each body once, piece by piece, and tells when it is cut,
// or refused half-way.
func TestUploads(t *testing.T) {
	tests := []struct {
		name  string
		serve func(http.ResponseWriter, *http.Request)
		want  Failure
	}{
		{"whole", func(w http.ResponseWriter, r *http.Request) {
			if n, err := io.Copy(io.Discard, r.Body); n != 5000 || err != nil {
				t.Errorf("a body of %d bytes, %v", n, err)
			}
			w.WriteHeader(http.StatusCreated)
		}, ""},
		{"cut", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 1000))
			panic(http.ErrAbortHandler)
		}, Closed},
		{"refused", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, ServerError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPut {
					return
				}
				w.Header().Set("X-Served-By", "ctl1")
				tt.serve(w, r)
			}))
			defer server.Close()
			c := config(server.URL + "/a")
			c.Uploads = Transfers{Count: 3, Time: 60 * time.Millisecond, Bytes: 5000, Spread: 30 * time.Millisecond}
			records := run(t.Context(), t, c)
			uploads := only(records, Upload)
			if len(uploads) != 3 || len(only(records, Request)) != 20 {
				t.Fatalf("%d uploads of %d records", len(uploads), len(records))
			}
			for _, r := range uploads {
				reset := tt.want == Closed && r.Failure == Reset // as the kernel tells it, at times
				if r.Failure != tt.want && !reset || r.Method != "PUT" || tt.want == "" && (r.Host != "ctl1" || r.Took < 60*time.Millisecond) {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// TestUploadToNobody ends with its time although the other side reads nothing.
func TestUploadToNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing came of it
	c := config("http://" + l.Addr().String())
	c.Rate, c.Timeout = 10, 50*time.Millisecond
	c.Uploads = Transfers{Count: 1, Time: 10 * time.Millisecond, Bytes: 64 << 20}
	for _, r := range run(t.Context(), t, c) {
		if r.Failure != Timeout {
			t.Errorf("%+v", r)
		}
	}
}

// TestPhases sends as many requests as each rate says, one rate after the other.
func TestPhases(t *testing.T) {
	s := stream{phases: []Phase{{100, 20 * time.Millisecond}, {1000, 3 * time.Millisecond}, {50, 20 * time.Millisecond}}}
	var got []time.Duration
	for i, due := range s.dues() {
		if i != len(got) {
			t.Errorf("request %d comes after %d", i, len(got))
		}
		got = append(got, due)
	}
	const ms = time.Millisecond
	if diff := cmp.Diff([]time.Duration{0, 10 * ms, 20 * ms, 21 * ms, 22 * ms, 23 * ms}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for text, n := range map[string]int{"216x8s": 1728, "312x6s": 1872, "0.5x4s": 2} {
		if p, err := ParsePhase(text); err != nil || p.Requests() != n {
			t.Errorf("%s: %d requests, %v", text, p.Requests(), err)
		}
	}
	for _, bad := range []string{"", "216", "x8s", "216x", "0x8s", "216x0s", "NaNx8s", "30000x1s"} {
		if p, err := ParsePhase(bad); err == nil {
			t.Errorf("%q gave %+v", bad, p)
		}
	}
}
