package web

import (
	"bytes"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"holdfast/internal/auth"
	"holdfast/internal/status"
)

const (
	oneKey   = "key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	otherKey = "key 1 hex:ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
)

func askerOf(t *testing.T, name, text string, mode auth.Mode) *Asker {
	t.Helper()
	voice, err := auth.NewVoice(name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var policy auth.Policy
	if text != "" {
		keys, err := auth.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		policy = auth.Policy{Keys: keys, Mode: mode}
	}
	return &Asker{Voice: voice, Policy: func() auth.Policy { return policy }}
}

// TestProofOfStatus has agents with every key ask each other, with somebody between them
// who changes what is answered.
func TestProofOfStatus(t *testing.T) {
	for name, test := range map[string]struct {
		asks, answers *Asker
		change        func(http.Header, []byte) []byte
		want          string // in the error; empty: it is believed
	}{
		"nobody has a key":                {nil, nil, nil, ""},
		"strict":                          {askerOf(t, "ctl1", oneKey, auth.Strict), askerOf(t, "ctl2", oneKey, auth.Strict), nil, ""},
		"a receiver answers signed":       {askerOf(t, "ctl1", oneKey, auth.Strict), askerOf(t, "ctl2", oneKey, auth.ReceiveOnly), nil, ""},
		"a receiver asks":                 {askerOf(t, "ctl1", oneKey, auth.ReceiveOnly), askerOf(t, "ctl2", oneKey, auth.Strict), nil, ""},
		"permissive asks one without key": {askerOf(t, "ctl1", oneKey, auth.Permissive), nil, nil, ""},
		"strict asks one without a key":   {askerOf(t, "ctl1", oneKey, auth.Strict), nil, nil, "answered without a signature"},
		"strict asks one with another":    {askerOf(t, "ctl1", oneKey, auth.Strict), askerOf(t, "ctl2", otherKey, auth.Strict), nil, "answered without a signature"},
		"another controller answers":      {askerOf(t, "ctl1", oneKey, auth.Strict), askerOf(t, "ctl3", oneKey, auth.Strict), nil, "answered without a signature"},
		"the answer is changed": {askerOf(t, "ctl1", oneKey, auth.Permissive), askerOf(t, "ctl2", oneKey, auth.Strict), func(_ http.Header, b []byte) []byte {
			return bytes.Replace(b, []byte(`"running"`), []byte(`"stopped"`), 1)
		}, "answered, and that is not believed: the signature is wrong"},
		"the clock is changed": {askerOf(t, "ctl1", oneKey, auth.Strict), askerOf(t, "ctl2", oneKey, auth.Strict), func(h http.Header, b []byte) []byte {
			h.Set(clockHeader, "2020-01-01T00:00:00Z")
			return b
		}, "answered, and that is not believed: the signature is wrong"},
		"the signature is taken away": {askerOf(t, "ctl1", oneKey, auth.Strict), askerOf(t, "ctl2", oneKey, auth.Strict), func(h http.Header, b []byte) []byte {
			h.Del(authHeader)
			return b
		}, "answered without a signature"},
		"the signature is none": {askerOf(t, "ctl1", oneKey, auth.Permissive), askerOf(t, "ctl2", oneKey, auth.Strict), func(h http.Header, b []byte) []byte {
			h.Set(authHeader, "yes")
			return b
		}, "answered with a signature that is none"},
	} {
		t.Run(name, func(t *testing.T) {
			self := "ctl2"
			if test.answers != nil {
				self = test.answers.Voice.Name()
			}
			s := New(Options{Self: self, Asker: test.answers, Log: slog.New(slog.DiscardHandler), Snapshot: func() status.Snapshot {
				return status.Snapshot{Schema: 1, Controller: self, HAProxy: status.HAProxy{State: status.HAProxyRunning}}
			}, Events: func(int) []status.Event { return []status.Event{{Kind: status.EventAgentStarted}} }, History: steps{}})
			var kept struct {
				header http.Header
				body   []byte
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				s.Handler().ServeHTTP(answer, r)
				body, header := answer.Body.Bytes(), answer.Header()
				if kept.header == nil {
					kept.header, kept.body = header.Clone(), bytes.Clone(body)
				}
				if test.change != nil {
					body = test.change(header, body)
				}
				for k, v := range header {
					w.Header()[k] = v
				}
				w.WriteHeader(answer.Code)
				_, _ = w.Write(body)
			}))
			defer server.Close()
			targets := []Target{{"ctl2", server.Listener.Addr().String()}}
			got := GatherFrom(t.Context(), netip.Addr{}, test.asks, targets)[0]
			if (got.Snapshot != nil) != (test.want == "") || !strings.Contains(got.Error, test.want) {
				t.Errorf("%v, %q; want %q", got.Snapshot, got.Error, test.want)
			}
			events := journalsFrom(t.Context(), netip.Addr{}, test.asks, targets, 10, nil)[0].Events
			if test.change == nil && (len(events) == 1) != (test.want == "") {
				t.Errorf("%d events", len(events))
			}
			o := &other{target: targets[0]}
			past, err := o.askPast(t.Context(), netip.Addr{}, test.asks, "hour")
			if test.change == nil && (past != nil) != (test.want == "") || err != nil && test.change == nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("what clients got: %v, %v; want %q", past, err, test.want)
			}
			// An answer that was recorded is none to another question.
			replay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range kept.header {
					w.Header()[k] = v
				}
				_, _ = w.Write(kept.body)
			}))
			defer replay.Close()
			again := GatherFrom(t.Context(), netip.Addr{}, test.asks, []Target{{"ctl2", replay.Listener.Addr().String()}})[0]
			if test.asks != nil && test.asks.policy().Demands() && again.Snapshot != nil {
				t.Error("an answer that was recorded is believed")
			}
			// People are answered as ever.
			resp, err := http.Get(server.URL + "/status")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get(authHeader) != "" && test.change == nil || !bytes.Contains(body, []byte("ctl")) {
				t.Errorf("%d, %v: %s", resp.StatusCode, err, body)
			}
			_ = resp.Body.Close()
		})
	}
}
