package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// insideVariable says to the test binary that it runs in the client's node; its
// value is the spec's file.
const insideVariable = "HOLDFAST_OPENSTACK_INSIDE"

// killedAtEveryStep runs TestInsideKilled in the client's node.
func killedAtEveryStep(t *testing.T, c *cloud) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := c.command(t.Context(), "env", insideVariable+"="+c.file("kill.yaml", killText), binaryVariable+"="+c.bin, self, "-test.run=^TestInsideKilled$", "-test.v", "-test.count=1")
	out, err := cmd.CombinedOutput()
	t.Logf("in the client's node:\n%s", out)
	if err != nil {
		t.Errorf("%v", err)
	}
	if !bytes.Contains(out, []byte("--- PASS: TestInsideKilled")) {
		t.Error("it did not run")
	}
}

// inside is the machine room of TestInsideKilled: a proxy before Keystone
// through which holdfast talks, and which kills it at a request.
type inside struct {
	t       *testing.T
	bin     string
	spec    string
	state   string // --state-dir
	authURL string
	judge   *judge

	mu       sync.Mutex // guards following
	requests int        // since the last begin
	writes   map[int]bool
	killAt   int  // the number of the request; 0 for none
	after    bool // it is killed when Keystone has done what it asked for
	victim   *os.Process
}

// ServeHTTP is the proxy.
func (s *inside) handler(keystone *url.URL) http.Handler {
	forward := httputil.NewSingleHostReverseProxy(keystone)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kill, after := s.count(r)
		if !kill {
			forward.ServeHTTP(w, r)
			return
		}
		if after {
			forward.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
		}
		s.kill()
		panic(http.ErrAbortHandler) // no answer
	})
}

func (s *inside) count(r *http.Request) (kill, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.writes[s.requests] = r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/auth/tokens")
	return s.requests == s.killAt, s.after
}

func (s *inside) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.victim.Signal(syscall.SIGKILL); err != nil {
		s.t.Errorf("kill: %v", err)
	}
}

// run runs holdfast with Keystone behind the proxy; at is the request at which
// it is killed, 0 for none. It gives the number of requests.
func (s *inside) run(at int, after bool, args ...string) (requests int, out string, err error) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.bin, args...)
	cmd.Env = append(cleanEnv(), "OS_AUTH_URL="+s.authURL, "OS_USERNAME=admin", "OS_PASSWORD=holdfast-lab", "OS_PROJECT_NAME=admin")
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	s.mu.Lock()
	s.requests, s.killAt, s.after, s.writes = 0, at, after, map[int]bool{}
	err = cmd.Start()
	s.victim = cmd.Process
	s.mu.Unlock()
	if err != nil {
		s.t.Fatal(err)
	}
	err = cmd.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, text.String(), err
}

// cleanEnv gives the environment without what names a cloud.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OS_") {
			env = append(env, v)
		}
	}
	return env
}

func (s *inside) apply(at int, after bool) (int, string, error) {
	return s.run(at, after, "endpoints", "apply", "--create", "--prune", "--yes", "-f", s.spec, "--state-dir", s.state)
}

func (s *inside) rollback(at int, after bool) (int, string, error) {
	return s.run(at, after, "endpoints", "rollback", "--yes", "--state-dir", s.state)
}

// rollBack rolls back, and compares what the openstack client lists with want.
func (s *inside) rollBack(want []endpoint, when string) {
	s.t.Helper()
	if _, out, err := s.rollback(0, false); err != nil {
		s.t.Fatalf("%s: rollback: %v\n%s", when, err, out)
	}
	if diff := cmp.Diff(want, s.judge.endpoints()); diff != "" {
		s.t.Fatalf("%s: openstack endpoint list, -first +after rollback:\n%s", when, diff)
	}
	if err := os.RemoveAll(s.state); err != nil {
		s.t.Fatal(err)
	}
}

func newInside(t *testing.T) *inside {
	t.Helper()
	s := &inside{t: t, bin: os.Getenv(binaryVariable), spec: os.Getenv(insideVariable), state: filepath.Join(t.TempDir(), "state")}
	if s.spec == "" {
		t.Skip("this runs in a node of a lab: test/openstack/run.sh")
	}
	keystone, err := url.Parse("http://" + first + ":5000")
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.handler(keystone), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	s.authURL = "http://" + l.Addr().String() + "/v3"
	s.judge = newJudge(t, exec.Command("openstack"))
	return s
}

// TestInsideKilled kills an apply, by SIGKILL, at every request to Keystone:
// before it gets there, and where it changes something also after Keystone has
// done it but before the answer. Between two requests there are only lines of
// the journal, which the tests of package keystone break one by one.
func TestInsideKilled(t *testing.T) {
	s := newInside(t)
	s.judge.makeItInteresting()
	want := s.judge.endpoints()
	if len(want) != 7 {
		t.Fatalf("the openstack client did not make what it was to: %+v", want)
	}
	steps, out, err := s.apply(0, false)
	if err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	writes := maps.Clone(s.writes)
	for _, op := range []string{" disabled: ", " created: ", " -> "} {
		if !strings.Contains(out, op) {
			t.Errorf("there is no change like %q in it:\n%s", op, out)
		}
	}
	if cmp.Equal(want, s.judge.endpoints()) {
		t.Fatal("apply changed nothing")
	}
	s.rollBack(want, "not killed")
	begin, kills, changed := time.Now(), 0, 0
	for at := 1; at <= steps; at++ {
		for _, after := range []bool{false, true} {
			if after && !writes[at] {
				continue // the same as before the next one
			}
			out := s.killOnce(want, at, after, steps)
			kills++
			if strings.Contains(out, "1/") {
				changed++
			}
		}
	}
	t.Logf("%d requests, killed %d times, %d of them amid the changes, in %.0f s: the catalog was the first one after each rollback", steps, kills, changed, time.Since(begin).Seconds())
	killRollback(t, s, want)
}

// killOnce kills an apply at a request, and rolls back. An apply on a busy
// machine may give up before it is killed: what it did is rolled back, and it is
// tried again.
func (s *inside) killOnce(want []endpoint, at int, after bool, of int) string {
	s.t.Helper()
	when := fmt.Sprintf("killed at request %d of %d, Keystone had done it: %v", at, of, after)
	for range 5 {
		_, out, err := s.apply(at, after)
		s.rollBack(want, when)
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return out
		}
		s.t.Logf("%s: it gave up before, %v:\n%s", when, err, out)
	}
	s.t.Fatalf("%s: it never came so far", when)
	return ""
}

// killRollback kills a rollback at every seventh request, too.
func killRollback(t *testing.T, s *inside, want []endpoint) {
	kills := 0
	for at := 2; ; at += 7 {
		if _, out, err := s.apply(0, false); err != nil {
			t.Fatalf("apply: %v\n%s", err, out)
		}
		_, _, err := s.rollback(at, true)
		s.rollBack(want, fmt.Sprintf("rollback killed at request %d", at))
		if err == nil {
			break // it has less requests than that
		}
		kills++
	}
	t.Logf("a rollback killed %d times: the next one finished it", kills)
}

// makeItInteresting gives the plan something of every kind to do: a second
// definition and a missing one.
func (j *judge) makeItInteresting() {
	j.t.Helper()
	for _, command := range []string{
		"endpoint create --region " + region + " image public http://cloudcontrol1004:9292 -f json",
		"service delete network",
		"region create other -f json",
		"endpoint create --region other image public http://" + first + ":9292 -f json",
	} {
		if _, err := io.WriteString(j.in, command+"\n"); err != nil {
			j.t.Fatalf("%s: %v", command, err)
		}
	}
}
