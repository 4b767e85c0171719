package peer

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files")

const cloud = `cloud: test
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: openstack.example.org
    interface: lo
    vrrp: {router_id: 51, interval: 20ms}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services:
  keystone: {}
  nova: {}
`

func parse(t *testing.T, yaml string) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("test.yaml", []byte(yaml))
	if s == nil {
		t.Fatalf("spec: %v", findings)
	}
	return s
}

// TestConfigs compares what each kind writes with its golden file, and has
// HAProxy read its own without a word.
func TestConfigs(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			s := parse(t, cloud)
			config, err := haproxyConfig(kind, s, "/run/haproxy.sock")
			if err != nil {
				t.Fatal(err)
			}
			script, _ := kind.check()
			keepalived := keepalivedConfig(kind, s, s.Controllers[1], "/run/check_alive.sh")
			got := fmt.Sprintf("-- haproxy.cfg --\n%s-- keepalived.conf --\n%s-- check_alive.sh --\n%s", config, keepalived, script)
			path := filepath.Join("testdata", string(kind)+".txtar")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
			haproxyAccepts(t, config)
		})
	}
}

// TestTLS binds the VIP with its certificate.
func TestTLS(t *testing.T) {
	for _, kind := range Kinds() {
		s := parse(t, strings.Replace(cloud, "    interface: lo\n", "    interface: lo\n    tls: {certificate: /etc/ssl/x.pem}\n", 1))
		config, err := haproxyConfig(kind, s, "/run/haproxy.sock")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"    bind 10.64.20.10:8774 ssl crt /etc/ssl/x.pem alpn h2,http/1.1\n", "    ssl-default-bind-options "} {
			if !strings.Contains(config, want) {
				t.Errorf("%s: no %q in\n%s", kind, want, config)
			}
		}
	}
}

// haproxyAccepts wants neither an error nor a warning of HAProxy.
func haproxyAccepts(t *testing.T, config string) {
	t.Helper()
	path, err := exec.LookPath("/usr/sbin/haproxy")
	if err != nil {
		t.Log("haproxy is not installed (make test installs it): not asked")
		return
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "-c", "-q", "-f", file).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("haproxy: %v\n%s", err, out)
	}
}

func TestRefuses(t *testing.T) {
	for _, yaml := range []string{
		strings.Replace(cloud, "  nova: {}\n", "  db: {type: db, port: 3306, mode: tcp}\n", 1),
	} {
		if got, err := haproxyConfig(Kolla, parse(t, yaml), "/run/haproxy.sock"); err == nil {
			t.Errorf("made a configuration of what a peer cannot do:\n%s", got)
		}
	}
	if _, err := ParseKind("pacemaker"); err == nil {
		t.Error("no error for an unknown kind")
	}
}

// TestChecks tells a HAProxy that answers from one that hangs, as far as each
// kind's script can, and both from none.
func TestChecks(t *testing.T) {
	tests := []struct {
		name   string
		answer string // of the listener; empty: it takes connections and is silent
		script string
		passes bool
	}{
		{"kolla, answered", "Name: HAProxy\n", kollaCheck, true},
		{"kolla, hung", "", kollaCheck, true}, // as socat does
		{"tuned, answered", "HTTP/1.0 200 OK\r\n\r\n", tunedCheck, true},
		{"tuned, unhealthy", "HTTP/1.0 503 Service Unavailable\r\n\r\n", tunedCheck, false},
		{"tuned, hung", "", tunedCheck, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			port := l.Addr().(*net.TCPAddr).Port
			go answerAll(l, tt.answer)
			if got := runScript(t, tt.script, port); got != tt.passes {
				t.Errorf("passes: %v, want %v", got, tt.passes)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if runScript(t, tt.script, port) {
				t.Error("passes with nobody there")
			}
		})
	}
}

func answerAll(l net.Listener, answer string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = conn.Read(make([]byte, 100))
			if answer != "" {
				_, _ = conn.Write([]byte(answer))
			}
		}()
	}
}

func runScript(t *testing.T, format string, port int) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check.sh")
	if err := os.WriteFile(path, fmt.Appendf(nil, format, port), 0o755); err != nil {
		t.Fatal(err)
	}
	err := exec.CommandContext(t.Context(), "bash", path).Run()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Skipf("bash: %v", err)
	}
	return err == nil
}

func TestRestart(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		kind Kind
		ran  []time.Duration
		want []time.Duration
	}{
		{Tuned, []time.Duration{ms, ms, ms}, []time.Duration{100 * ms, 100 * ms, 100 * ms}},
		{Kolla, []time.Duration{ms, ms, ms, time.Minute, ms}, []time.Duration{100 * ms, 200 * ms, 400 * ms, 100 * ms, 200 * ms}},
	}
	for _, tt := range tests {
		last := time.Duration(0)
		for i, ran := range tt.ran {
			if last = tt.kind.restart().next(last, ran); last != tt.want[i] {
				t.Errorf("%s, end %d: pause %v, want %v", tt.kind, i+1, last, tt.want[i])
			}
		}
	}
	if last := Kolla.restart().next(50*time.Second, 0); last != time.Minute {
		t.Errorf("pause %v, want a minute at most", last)
	}
}

func TestStates(t *testing.T) {
	for line, want := range map[string]string{
		"Tue Nov 22 10:00:00 2026: (api) Entering BACKUP STATE (init)": "BACKUP",
		"Tue Nov 22 10:00:00 2026: (api) Entering MASTER STATE":        "MASTER",
		"Tue Nov 22 10:00:00 2026: VRRP_Script(check_alive) succeeded": "",
	} {
		if got, ok := keepalivedState(line); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
	stat := "# pxname,svname,status\nnova_back,ctl1,UP\nnova_back,ctl2,UP 1/2\nnova_back,ctl3,DOWN\nnova_back,ctl4,no check\n\n"
	got, err := countServers([]byte(stat))
	if want := (counts{up: 2, all: 4}); err != nil || got != want {
		t.Errorf("servers %+v, %v, want %+v", got, err, want)
	}
}
