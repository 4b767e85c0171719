package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/cli/app"
	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

const diffSpec = `vips:
  - {name: api, addresses: [10.0.0.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51}}
controllers:
  - {name: ctl1, address: 10.0.0.1}
  - {name: ctl2, address: 10.0.0.2}
services:
  keystone: {}
`

// noControls is an agent that is asked for its spec only.
type noControls struct{}

func (noControls) Snapshot() status.Snapshot                   { return status.Snapshot{} }
func (noControls) Cloud(context.Context) cloud.Cloud           { return cloud.Cloud{} }
func (noControls) Events(int) []status.Event                   { return nil }
func (noControls) Journals(context.Context, int) []web.Journal { return nil }
func (noControls) Follow() (<-chan status.Event, func())       { return nil, func() {} }
func (noControls) Reload(context.Context) (web.ReloadResult, error) {
	return web.ReloadResult{}, nil
}

// agentWith answers on the control socket in the directory that it gives, with
// text in force.
func agentWith(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	listener, err := web.ListenControl(filepath.Join(dir, "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := web.NewControlServer(noControls{}, slog.New(slog.DiscardHandler))
	web.HandleGet(s, "/spec", func(context.Context) (web.InForce, error) {
		return web.InForce{Controller: "ctl1", Text: text}, nil
	})
	web.Handle(s, "/plan", func(_ context.Context, req web.PlanRequest) (web.PlanResult, error) {
		if !strings.Contains(req.Text, "glance") {
			return web.PlanResult{}, errors.New("no HAProxy")
		}
		return web.PlanResult{Action: "reloaded", Why: "service glance is new"}, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return dir
}

func runDiff(t *testing.T, runDir, text string) (out, said string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code = Main(t.Context(), []string{"diff", file, "--run-dir", runDir, "--state-dir", t.TempDir()}, Stdio{Out: &stdout, Err: &stderr})
	return stdout.String(), stderr.String(), code
}

func TestDiffAsksTheAgent(t *testing.T) {
	dir := agentWith(t, diffSpec)
	out, said, code := runDiff(t, dir, strings.Replace(diffSpec, "keystone: {}", "keystone: {}\n  glance: {}", 1))
	if code != app.ExitDiffer || said != "" {
		t.Errorf("exit code %d, %q on stderr", code, said)
	}
	for _, want := range []string{"beside the spec in force on ctl1 (", "\n+  service glance  port 9292, type image, ", "\nHAProxy: reloaded, without losing a connection: service glance is new\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("printed %q, want %q in it", out, want)
		}
	}
}

// Without a word from the agent, diff says what it can know itself.
func TestDiffWithoutAPlan(t *testing.T) {
	dir := agentWith(t, diffSpec)
	for text, want := range map[string]string{
		strings.Replace(diffSpec, "keystone: {}", "keystone: {port: 5001}", 1): "HAProxy: changed while it runs, or reloaded",
		strings.Replace(diffSpec, "keystone: {}", "keystone: {type: id}", 1):   "HAProxy: nothing changes",
	} {
		if out, said, code := runDiff(t, dir, text); code != app.ExitDiffer || !strings.Contains(out, want) || !strings.Contains(said, "no HAProxy") {
			t.Errorf("exit code %d, %q, and on stderr %q; want %q", code, out, said, want)
		}
	}
}

func TestDiffOfWhatCannotBeRead(t *testing.T) {
	dir := agentWith(t, "cloud: [")
	if _, said, code := runDiff(t, dir, diffSpec); code != app.ExitFailed || !strings.Contains(said, "cannot read the spec in force") {
		t.Errorf("exit code %d, %q on stderr", code, said)
	}
}
