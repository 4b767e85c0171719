package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/cli/app"
	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// liveAgent is an agent to be asked, of the i-th of three controllers.
type liveAgent struct {
	snapshot status.Snapshot
	mu       sync.Mutex // guards journal
	journal  []status.Event
	follow   chan status.Event
	web      *web.Server
}

func (l *liveAgent) Snapshot() status.Snapshot {
	s := l.snapshot
	s.Time = time.Now()
	return s
}
func (l *liveAgent) Cloud(ctx context.Context) cloud.Cloud { return l.web.Cloud(ctx) }
func (l *liveAgent) Events(n int) []status.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.journal[max(0, len(l.journal)-n):]
}

func (l *liveAgent) add(e status.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal = append(l.journal, e)
}
func (l *liveAgent) Journals(ctx context.Context, n int) []web.Journal { return l.web.Journals(ctx, n) }
func (l *liveAgent) Follow() (<-chan status.Event, func())             { return l.follow, func() {} }
func (l *liveAgent) Reload(context.Context) (web.ReloadResult, error) {
	return web.ReloadResult{}, nil
}

// serveAgent starts an agent on listener, and on a control socket in runDir.
func serveAgent(t *testing.T, l *liveAgent, listener net.Listener, targets []web.Target, runDir string) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	l.web = web.New(web.Options{
		Self: l.snapshot.Controller, Snapshot: l.Snapshot, Events: l.Events, Log: quiet,
		Controllers: func() []web.Target { return targets },
	})
	socket, err := web.ListenControl(filepath.Join(runDir, "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- l.web.Serve(ctx, listener) }()
	go func() { ended <- web.NewControlServer(l, quiet).Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// fresh gives s with a VIP that is held in the present.
func fresh(s *status.Snapshot) status.Snapshot {
	out := *s
	out.VIPs[0].Since = time.Now().Add(-time.Hour)
	return out
}

// liveCloud starts two of three agents on loopback, and gives a spec that names
// all three and the run directory of the first.
func liveCloud(t *testing.T) (file, runDir string, first *liveAgent) {
	t.Helper()
	answers := cloudAnswers(3)
	var config net.ListenConfig
	var listeners []net.Listener
	port := "0"
	for i := range 2 {
		l, err := config.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.66.%d:%s", i+1, port))
		if err != nil {
			t.Skipf("cannot listen on loopback: %v", err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		listeners = append(listeners, l)
	}
	var targets []web.Target
	var names []string
	for i, a := range answers {
		address := fmt.Sprintf("127.0.66.%d", i+1)
		targets = append(targets, web.Target{Name: a.Name, Addr: net.JoinHostPort(address, port)})
		names = append(names, fmt.Sprintf("{name: %s, address: %s}", a.Name, address))
	}
	runDir = t.TempDir()
	for i, l := range listeners {
		agent := &liveAgent{snapshot: fresh(answers[i].Snapshot), follow: make(chan status.Event, 1)}
		dir := runDir
		if i == 0 {
			first = agent
		} else {
			dir = t.TempDir()
		}
		serveAgent(t, agent, l, targets, dir)
	}
	file = filepath.Join(t.TempDir(), "holdfast.yaml")
	text := "cloud: eqiad1\nagent: {port: " + port + "}\n" +
		"vips: [{name: api, addresses: [127.0.65.10/24], hostname: api.example.org, interface: lo, vrrp: {router_id: 51}}]\n" +
		"controllers: [" + strings.Join(names, ", ") + "]\nservices: {keystone: {}}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, runDir, first
}

// run runs holdfast and gives its exit code and what it printed.
func run(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(ctx, args, Stdio{In: strings.NewReader(""), Out: &out, Err: &errs})
	return code, out.String(), errs.String()
}

// TestStatusAsksEveryController proves the command against real listeners, with
// one controller that is not there.
func TestStatusAsksEveryController(t *testing.T) {
	file, _, _ := liveCloud(t)
	code, stdout, stderr := run(t.Context(), "status", "-f", file)
	if code != app.ExitFailed || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	for _, want := range []string{
		"eqiad1  DEGRADED", "cloudcontrol1003  127.0.66.1  up ", "active", "cloudcontrol1005  127.0.66.3  NO ANSWER: connection refused",
		"keystone   5000   up", "\nwarning  controller cloudcontrol1005: its agent does not answer: connection\n         refused",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

// TestStatusFallsBackToTheAgent proves that an operator who broke the file, or
// is where there is none, still sees the cloud; but not another than was named.
func TestStatusFallsBackToTheAgent(t *testing.T) {
	_, runDir, _ := liveCloud(t)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("clout: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bad, filepath.Join(t.TempDir(), "none.yaml")} {
		t.Setenv(app.EnvFile, file)
		code, stdout, stderr := run(t.Context(), "status", "--run-dir", runDir)
		if code != app.ExitFailed || !strings.Contains(stdout, "cloudcontrol1004  127.0.66.2  up ") {
			t.Errorf("exit code %d\n%s", code, stdout)
		}
		if want := file + " cannot be used; this is what the local agent knows\n"; !strings.HasSuffix(stderr, want) || strings.Count(stderr, "holdfast: ") < 2 && file == bad {
			t.Errorf("stderr %q, want it to end in %q", stderr, want)
		}
		if code, _, _ := run(t.Context(), "status", "--run-dir", runDir, "-f", file); code != app.ExitUsage {
			t.Errorf("with -f: exit code %d, want %d", code, app.ExitUsage)
		}
	}
}

func TestEvents(t *testing.T) {
	file, runDir, agent := liveCloud(t)
	agent.journal = []status.Event{
		{Time: past(time.Hour), Controller: "cloudcontrol1003", Seq: 1, Kind: "reload", Subject: "spec", Text: "reloaded", Took: 94 * time.Millisecond},
		{Time: past(time.Minute), Controller: "cloudcontrol1003", Seq: 2, Kind: "vip-active", Subject: "vip api", Text: "backup -> active", Cause: "no adverts", Took: 61 * time.Millisecond},
	}
	const first, second = "2026-11-22 09:42:07.000  cloudcontrol1003  reloaded, took 94ms\n",
		"2026-11-22 10:41:07.000  cloudcontrol1003  backup -> active, took 61ms; cause: no adverts\n"
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, first + second},
		{[]string{"-n", "1"}, second},
		{[]string{"--kind", "vip-*"}, second},
		{[]string{"--kind", "reload,drain-begun", "--controller", "cloudcontrol1003"}, first},
		{[]string{"--controller", "cloudcontrol1004"}, ""},
		{[]string{"--since", "2026-11-22 10:00"}, second},
		{[]string{"--since", "2026-11-22T09:42:07Z"}, first + second},
		{[]string{"--incidents", "--kind", "spec"}, "2026-11-22 09:42:07  planned  reloaded, on cloudcontrol1003\n    09:42:07.000  cloudcontrol1003  reloaded, took 94ms\n"},
		{[]string{"--incidents", "--since", "2026-11-23"}, "no incident\n"},
	} {
		code, stdout, stderr := run(t.Context(), append([]string{"events", "--file", file}, test.args...)...)
		if code != app.ExitDone || stdout != test.want || !strings.HasPrefix(stderr, "holdfast: cloudcontrol1005: connection refused") {
			t.Errorf("%q: %d\n%s\n%s\nwant\n%s", test.args, code, stdout, stderr, test.want)
		}
	}
	code, stdout, _ := run(t.Context(), "events", "-n", "0", "-o", "json", "--file", file)
	if code != app.ExitDone || !strings.Contains(stdout, `"events": []`) || !strings.Contains(stdout, `"error": "connection refused: nothing listens at 127.0.66.3:`) {
		t.Errorf("%d %q", code, stdout)
	}
	if code, _, stderr := run(t.Context(), "events", "--file", file, "--controller", "cloudcontrol1009"); code != app.ExitUsage || !strings.Contains(stderr, "did you mean") {
		t.Errorf("%d %q", code, stderr)
	}
	t.Setenv(app.EnvFile, filepath.Join(t.TempDir(), "none.yaml"))
	if code, stdout, stderr := run(t.Context(), "events", "--run-dir", runDir); code != app.ExitDone || stdout != first+second {
		t.Errorf("by the local agent alone: %d %q %q", code, stdout, stderr)
	}
}

// TestEventsOfTheLocalAgent asks at its socket where its address does not answer.
func TestEventsOfTheLocalAgent(t *testing.T) {
	file, runDir, agent := liveCloud(t)
	agent.add(status.Event{Time: past(time.Minute), Controller: "cloudcontrol1003", Seq: 1, Kind: "reload", Text: "reloaded"})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := strings.Replace(string(text), "127.0.66.1", "127.0.66.9", 1)
	if err := os.WriteFile(file, []byte(elsewhere), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := run(t.Context(), "events", "--file", file, "--run-dir", runDir)
	if code != app.ExitDone || !strings.HasSuffix(stdout, "  reloaded\n") || strings.Contains(stderr, "1003") {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
}

// TestEventsFollow prints what is there, and then what comes, once.
func TestEventsFollow(t *testing.T) {
	file, _, agent := liveCloud(t)
	agent.add(status.Event{Time: past(time.Minute), Controller: "cloudcontrol1003", Seq: 1, Kind: "reload", Text: "reloaded"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, writer := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- Main(ctx, []string{"events", "-f", "--file", file}, Stdio{Out: writer, Err: io.Discard})
	}()
	for i, want := range []string{"2026-11-22 10:41:07.000  cloudcontrol1003  reloaded\n", "2026-11-22 10:42:07.000  cloudcontrol1003  active -> backup\n"} {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
		if i == 0 {
			agent.add(status.Event{Time: past(0), Controller: "cloudcontrol1003", Seq: 2, Kind: "vip-backup", Subject: "vip api", Text: "active -> backup"})
		}
	}
	cancel()
	if code := <-done; code != app.ExitDone {
		t.Errorf("exit code %d after its end", code)
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 12, 1, 2, 30, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"90m": "2026-12-01T01:00:00Z", "7d": "2026-11-24T02:30:00Z", "2026-11-30": "2026-11-30T00:00:00Z", "2026-12-01 02:10": "2026-12-01T02:10:00Z",
		"02:10": "2026-12-01T02:10:00Z", "03:10": "2026-11-30T03:10:00Z", "2026-12-01T03:00:00+01:00": "2026-12-01T02:00:00Z",
		"yesterday": "", "-5m": "", "d": "", "": "", "1.5d": "",
	} {
		got, err := parseSince(text, now)
		if (err == nil) != (want != "") || err == nil && got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q is %v, %v, want %q", text, got, err, want)
		}
	}
}
