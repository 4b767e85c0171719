package agent

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A service that did not answer before is not asked whether it does after.
func TestServiceThatDidNotAnswerIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone", "glance")
		defer b.ended()
		b.c.answers = func(_ context.Context, _ *spec.Spec, names []string) []string {
			if !slices.Equal(names, []string{"keystone"}) {
				t.Errorf("asked before: %v, want the one that changes", names)
			}
			return nil
		}
		b.c.asks = func(_ context.Context, _ *spec.Spec, names []string, _ chan<- broken) {
			if len(names) > 0 {
				t.Errorf("asked after: %v, want none", names)
			}
		}
		if err := b.change(with("/v3")); err != nil {
			t.Fatal(err)
		}
	})
}

// A service whose hosts pass their checks, and that no request reaches through
// HAProxy any more, has the spec taken back.
func TestSpecThatRequestsDoNotPassIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone", "glance")
		defer b.ended()
		var asked [][]string
		var found chan<- broken
		b.c.answers = func(_ context.Context, s *spec.Spec, names []string) []string {
			if s.Digest != digestOf(t, twoServices) {
				t.Errorf("asked before the reload with spec %s in force", s.Digest)
			}
			return names
		}
		b.c.asks = func(_ context.Context, _ *spec.Spec, names []string, f chan<- broken) {
			asked, found = append(asked, names), f
		}
		good := digestOf(t, twoServices)
		if err := b.change(with("/v3")); err != nil {
			t.Fatal(err)
		}
		b.saw(well)
		if want := [][]string{{"keystone"}}; len(asked) != 1 || !slices.Equal(asked[0], want[0]) {
			t.Fatalf("asked %v, want %v", asked, want)
		}
		found <- broken{"keystone", "a request through 192.0.2.10:5000: answered 502 Bad Gateway"}
		synctest.Wait()
		got := b.config()
		if got.Digest != good || len(got.Rejected) != 1 || !strings.Contains(got.Rejected[0].Text, "service keystone answered through HAProxy before") || !strings.Contains(got.Rejected[0].Text, "502") {
			t.Errorf("config %+v, want %s again, and why", got, good)
		}
		b.saw(well)
		time.Sleep(time.Minute)
		if want := []string{"reload", "reload-rolled-back"}; !slices.Equal(b.kinds(), want) {
			t.Errorf("events %v, want %v", b.kinds(), want)
		}
	})
}

// With a real HAProxy: the host answers its own check on the new path, and what comes
// through HAProxy with no HTTP. Every check is green.
func TestRequestsThatDoNotPassAreFound(t *testing.T) {
	h := newHost(t)
	h.listen("192.0.2.1:5000", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/new" || r.Header.Get("X-Forwarded-For") == "" {
			_, _ = io.WriteString(w, "keystone\n") // the client says what it misses
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "\x15\x03\x01 this is no HTTP") // as from a host that speaks TLS
		_ = conn.Close()
	})
	d := h.start()
	d.awaitActive()
	d.awaitKeystone(status.Degraded)
	good := d.Snapshot().Config.Digest
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {check: {path: /new}}", 1))
	if _, err := d.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	h.await("the agent has gone back", func() bool { return hasEvent(d, "reload-rolled-back") })
	s := d.Snapshot()
	if s.Config.Digest != good || len(s.Config.Rejected) != 1 || !strings.Contains(s.Config.Rejected[0].Text, "answered 502") {
		t.Errorf("config is %+v, want %s and why", s.Config, good)
	}
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
}

func TestStaysOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(net.Conn)
		want string
	}{
		{"speaks first", func(c net.Conn) { _, _ = io.WriteString(c, "hello") }, ""},
		{"waits", func(net.Conn) {}, ""},
		{"closes", func(c net.Conn) { _ = c.Close() }, "closed at once"},
	} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			defer there.Close()
			go c.do(there)
			if err := staysOpen(here); (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		})
	}
}
