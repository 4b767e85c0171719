package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// fakeControls is an agent to be asked.
type fakeControls struct {
	events    []status.Event
	follow    chan status.Event
	following chan struct{} // gets one element for each follower
	reload    func(context.Context) (ReloadResult, error)
}

func (f *fakeControls) Snapshot() status.Snapshot         { return demoController(0, 3) }
func (f *fakeControls) Cloud(context.Context) cloud.Cloud { return demoDegraded().cloud }
func (f *fakeControls) Events(n int) []status.Event       { return f.events[max(0, len(f.events)-n):] }

func (f *fakeControls) Journals(_ context.Context, n int) []Journal {
	return []Journal{{Controller: "ctl1", Events: f.Events(n)}, {Controller: "ctl2", Events: []status.Event{}, Error: "no answer"}}
}

func (f *fakeControls) Follow() (<-chan status.Event, func()) {
	if f.following != nil {
		f.following <- struct{}{}
	}
	return f.follow, func() {}
}
func (f *fakeControls) Reload(ctx context.Context) (ReloadResult, error) { return f.reload(ctx) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// startControl serves s on a socket until the test ends.
func startControl(t *testing.T, s *ControlServer) *Control {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return NewControl(path)
}

func TestControlAnswers(t *testing.T) {
	fake := &fakeControls{events: demoEvents()}
	c := startControl(t, NewControlServer(fake, discard()))
	snap, err := c.Snapshot(t.Context())
	if diff := cmp.Diff(demoController(0, 3), snap); err != nil || diff != "" {
		t.Errorf("Snapshot: %v (-want +got):\n%s", err, diff)
	}
	all, err := c.Cloud(t.Context())
	if err != nil || all.Healthy || len(all.Findings) != len(demoDegraded().cloud.Findings) {
		t.Errorf("Cloud: %v, %+v", err, all)
	}
	events, err := c.Events(t.Context(), 2)
	if diff := cmp.Diff(eventsAnswer(demoName(0), demoEvents()[len(demoEvents())-2:]), events); err != nil || diff != "" {
		t.Errorf("Events: %v (-want +got):\n%s", err, diff)
	}
}

func TestControlTellsTheSpecInForce(t *testing.T) {
	s := NewControlServer(&fakeControls{}, discard())
	want := InForce{Controller: "ctl1", Digest: "0123456789ab", Loaded: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC), Text: "cloud: <b>\n"}
	var failure error
	HandleGet(s, "/spec", func(context.Context) (InForce, error) { return want, failure })
	c := startControl(t, s)
	if got, err := c.InForce(t.Context()); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	failure = errors.New("no")
	if _, err := c.InForce(t.Context()); err == nil || err.Error() != "no" {
		t.Errorf("got %v, want what the agent says", err)
	}
}

// brokenFile is an error that knows what is wrong with a file.
type brokenFile struct{ findings []status.Finding }

func (b brokenFile) Error() string              { return "h.yaml:1:1: bad" }
func (b brokenFile) Findings() []status.Finding { return b.findings }

func TestReload(t *testing.T) {
	fake := &fakeControls{}
	c := startControl(t, NewControlServer(fake, discard()))
	want := ReloadResult{Changed: true, Digest: "3f2a91bc04de", Took: time.Second}
	fake.reload = func(context.Context) (ReloadResult, error) { return want, nil }
	if got, err := c.Reload(t.Context()); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("Reload: %v, %+v", err, got)
	}
	findings := []status.Finding{{Severity: status.Error, Code: "x", Text: "bad"}}
	for _, tt := range []struct {
		err  error
		want ControlError
	}{
		{fmt.Errorf("reload: %w", brokenFile{findings}), ControlError{422, "reload: h.yaml:1:1: bad", findings}},
		{errors.New("no disk"), ControlError{500, "no disk", nil}},
		{&ControlError{Status: 409, Message: "busy"}, ControlError{409, "busy", nil}},
		{&ControlError{Message: "no status"}, ControlError{500, "no status", nil}},
	} {
		fake.reload = func(context.Context) (ReloadResult, error) { return ReloadResult{}, tt.err }
		_, err := c.Reload(t.Context())
		got, ok := errors.AsType[*ControlError](err)
		if !ok {
			t.Errorf("Reload: %v, want a ControlError", err)
			continue
		}
		if diff := cmp.Diff(tt.want, *got); diff != "" {
			t.Errorf("Reload (-want +got):\n%s", diff)
		}
	}
}

// drain is a command as the agent adds them.
type drain struct {
	Controller string `json:"controller"`
}

func TestControlRefuses(t *testing.T) {
	s := NewControlServer(&fakeControls{reload: func(context.Context) (ReloadResult, error) { return ReloadResult{}, nil }}, discard())
	Handle(s, "/drain", func(_ context.Context, d drain) (drain, error) { return d, nil })
	tests := []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/drain", `{"controller":"a"}`, 200, ""},
		{"POST", "/drain", ``, 200, ""},
		{"POST", "/reload", `{}`, 200, ""},
		{"POST", "/drain", `{"controler":"a"}`, 400, `the request's body cannot be used: json: unknown field "controler"`},
		{"POST", "/drain", `{"controller":7}`, 400, "the request's body cannot be used: controller is of type number"},
		{"POST", "/drain", `{"controller":`, 400, "the request's body cannot be used: it ends too early"},
		{"POST", "/drain", `[]`, 400, "the request's body cannot be used: it is of type array"},
		{"POST", "/drain", `{} {}`, 400, "the request's body goes on after its end"},
		{"POST", "/drain", `{"controller":"` + strings.Repeat("a", maxRequest) + `"}`, 413, "the request's body has more than 1048576 bytes"},
		{"GET", "/nothing", "", 404, "the control socket has no /nothing"},
		{"GET", "/reload", "", 405, "/reload takes POST, not GET"},
		{"DELETE", "/status", "", 405, "/status takes GET, HEAD, not DELETE"},
		{"GET", "/events?n=many", "", 400, `n is "many", want a number from 0 to 4000`},
		{"GET", "/events?follow=yes", "", 400, `follow is "yes", want 1`},
	}
	for _, tt := range tests {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
			if w.Code != tt.code {
				t.Errorf("code %d, want %d", w.Code, tt.code)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			var got struct {
				Error string `json:"error"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Error != tt.want {
				t.Errorf("%v\ngot  %s\nwant %s", err, got.Error, tt.want)
			}
		})
	}
}

// TestFollow proves that each event comes once, the past ones first, even one
// that happens between the two.
func TestFollow(t *testing.T) {
	all := demoEvents()
	fake := &fakeControls{events: all[:3], follow: make(chan status.Event, 2), following: make(chan struct{}, 1)}
	c := startControl(t, NewControlServer(fake, discard()))
	fake.follow <- all[2] // known already: it happened after the subscription
	fake.follow <- all[3]
	var got []status.Event
	for e, err := range c.Follow(t.Context(), 2) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e); len(got) == 3 {
			break
		}
	}
	if diff := cmp.Diff(all[1:4], got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestFollowEnds(t *testing.T) {
	fake := &fakeControls{follow: make(chan status.Event), following: make(chan struct{}, 1)}
	c := startControl(t, NewControlServer(fake, discard()))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-fake.following; cancel() }()
	for e, err := range c.Follow(ctx, 1) {
		t.Errorf("with its context's end: %v %v", e, err)
	}
	go func() { <-fake.following; close(fake.follow) }()
	ended := false
	for _, err := range c.Follow(t.Context(), 1) {
		ended = err != nil && strings.HasSuffix(err.Error(), "ended while it was asked")
	}
	if !ended {
		t.Error("the agent's end is not told")
	}
}

func TestListenControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	first, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if _, err := ListenControl(path); err == nil || !strings.Contains(err.Error(), "another agent answers there already") {
		t.Errorf("a second one: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

// TestListenControlReplacesStale proves that a crash of the agent leaves
// nothing that keeps the next one from starting.
func TestListenControlReplacesStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	stale, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	second, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	// One that closes late must not take the socket of its successor away.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	third, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket: %v", err)
	}
}

func TestListenControlRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                                  "there is something that is not a socket",
		filepath.Join(dir, "no", "such", "a"): "no such file or directory",
		"/" + strings.Repeat("d", 107):        "the path has 108 bytes, and a unix socket's may have 107",
	} {
		if _, err := ListenControl(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}

// TestControlErrors proves that a person reads what to do.
func TestControlErrors(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	none := filepath.Join(dir, "none")
	for path, want := range map[string]string{
		none:  "no agent answers at " + none + "; is it running? start it with systemctl start holdfast, or name its --run-dir",
		stale: "no agent answers at " + stale + ", where one has been; start it again with systemctl start holdfast",
	} {
		if _, err := NewControl(path).Snapshot(t.Context()); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	c := NewControl(none)
	for err, want := range map[error]string{
		fmt.Errorf("dial: %w", os.ErrPermission): "the agent at " + none + " answers to its owner only; run this as root",
		context.DeadlineExceeded:                 "the agent at " + none + " takes the connection but does not answer; see journalctl -u holdfast",
		io.ErrUnexpectedEOF:                      "the agent at " + none + " ended while it was asked",
	} {
		if got := c.inWords(err).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	odd := &fakeAgent{t}
	for body, want := range map[string]string{
		"<html>": "is no holdfast agent: bad JSON at byte 1",
		"[]":     "is no holdfast agent: it is of type array",
	} {
		if _, err := odd.serve(body).Snapshot(t.Context()); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("answered %q: %v, want %q", body, err, want)
		}
	}
}

// fakeAgent answers on a socket as no agent does.
type fakeAgent struct{ t *testing.T }

func (f *fakeAgent) serve(body string) *Control {
	path := filepath.Join(f.t.TempDir(), "s")
	listener, err := ListenControl(path)
	if err != nil {
		f.t.Fatal(err)
	}
	server := &http.Server{Handler: say(body)}
	go server.Serve(listener)
	f.t.Cleanup(func() { server.Close() })
	return NewControl(path)
}

// FuzzControlRequest proves that no request ends the agent, and that each is
// answered in JSON.
func FuzzControlRequest(f *testing.F) {
	f.Add("POST", "/reload", []byte(`{}`))
	f.Add("POST", "/drain", []byte(`{"controller":"a"}`))
	f.Add("POST", "/drain", []byte(`{"controller":null}{`))
	f.Add("GET", "/events?n=99999999999999999999", []byte{})
	f.Add("GET", "/events?follow=1", []byte{})
	f.Add("PATCH", "//..//status", []byte("["))
	closed := make(chan status.Event)
	close(closed)
	s := NewControlServer(&fakeControls{events: demoEvents(), follow: closed, reload: func(context.Context) (ReloadResult, error) { return ReloadResult{}, nil }}, discard())
	Handle(s, "/drain", func(_ context.Context, d drain) (drain, error) { return d, nil })
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://agent/"+strings.TrimPrefix(path, "/"), strings.NewReader(string(body)))
		if err != nil {
			t.Skip("no HTTP request")
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		if w.Code >= 400 && w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d as %s", method, path, w.Code, w.Header().Get("Content-Type"))
		}
	})
}
