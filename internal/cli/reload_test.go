package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/web"
)

// reloads is an agent whose reload ends as it says.
type reloads struct {
	noControls
	done web.ReloadResult
	err  error
}

func (r reloads) Reload(context.Context) (web.ReloadResult, error) { return r.done, r.err }

// A wrongFile is what the agent says of one.
type wrongFile struct{ error }

func (wrongFile) Findings() []status.Finding {
	return []status.Finding{{Severity: status.Error, Where: status.Position{File: "/etc/holdfast/holdfast.yaml", Line: 3, Column: 1}, Text: `unknown key "vip"`, Remedy: "vips"}}
}

func TestReload(t *testing.T) {
	for name, tt := range map[string]struct {
		agent     reloads
		code      int
		out, said string // parts of what is printed, and of what stands on stderr
	}{
		"changed": {
			reloads{done: web.ReloadResult{Changed: true, Digest: "0123abcd", Took: 120 * time.Millisecond, HAProxy: "HAProxy was reloaded: service glance is new", Trial: 10 * time.Second}},
			0, "spec 0123abcd is in force, after 120ms; HAProxy was reloaded: service glance is new\nit is taken back if it takes a service down within 10s\n", "",
		},
		"the same": {
			reloads{done: web.ReloadResult{Digest: "0123abcd", HAProxy: "HAProxy was not touched"}},
			0, "the file is spec 0123abcd, which is in force already; HAProxy was not touched\n", "",
		},
		"a wrong file": {
			reloads{err: wrongFile{errors.New("1 error in /etc/holdfast/holdfast.yaml")}},
			2, `/etc/holdfast/holdfast.yaml:3:1: unknown key "vip"`, "the spec stays as it was: 1 error in the file\n",
		},
		"a port that another process has": {
			reloads{err: errors.New("apply the configuration of HAProxy: 10.0.0.10:5000 is taken by nginx (pid 7)")},
			1, "", "is taken by nginx (pid 7)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			socket, err := web.ListenControl(filepath.Join(dir, "agent.sock"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- web.NewControlServer(tt.agent, slog.New(slog.DiscardHandler)).Serve(ctx, socket) }()
			var out, said bytes.Buffer
			code := Main(t.Context(), []string{"reload", "--run-dir", dir}, Stdio{Out: &out, Err: &said})
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(said.String(), tt.said) || tt.said == "" && said.Len() > 0 {
				t.Errorf("exit code %d, printed %q, and on stderr %q; want %d, %q, %q", code, out.String(), said.String(), tt.code, tt.out, tt.said)
			}
		})
	}
}

// TestReloadWithoutAnAgent says that none runs.
func TestReloadWithoutAnAgent(t *testing.T) {
	var out, said bytes.Buffer
	if code := Main(t.Context(), []string{"reload", "--run-dir", t.TempDir()}, Stdio{Out: &out, Err: &said}); code != 1 || !strings.Contains(said.String(), "agent") {
		t.Errorf("exit code %d, %q", code, said.String())
	}
}
