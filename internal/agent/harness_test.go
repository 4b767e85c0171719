package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast/internal/journal"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

func mustParse(t *testing.T, text string) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("test.yaml", []byte(text))
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

// inNamespace is set in the environment of the process that runs the tests in
// a network namespace of its own: addresses and ports are all theirs.
const inNamespace = "HOLDFAST_TEST_NAMESPACE"

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" && os.Geteuid() == 0 {
		os.Exit(runInNamespace())
	}
	if os.Getenv(inNamespace) != "" {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// loopbackUp lets the tests of a new namespace talk to themselves.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

func runInNamespace() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const testSpec = `cloud: test
vips:
  - name: api
    addresses: [192.0.2.10/24]
    hostname: api.example.org
    interface: eno1
    vrrp: {router_id: 7, interval: 20ms, startup_delay: 0s}
controllers:
  - {name: ctl1, address: 192.0.2.1}
  - {name: ctl2, address: 192.0.2.2}
services:
  keystone: {}
`

// A host is the one machine of these tests: ctl1, with Keystone on it.
type host struct {
	t    testing.TB
	file string
	run  string
	opt  Options
	logs *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newHost(t testing.TB) *host {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root, for a network namespace")
	}
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("needs HAProxy: ", err)
	}
	interfaceUp(t)
	h := &host{t: t, logs: &syncBuffer{}}
	dir := t.TempDir()
	// The path of a unix socket is short, that of a test's directory is not.
	h.run = mustTempDir(t)
	h.file = filepath.Join(dir, "holdfast.yaml")
	h.write(testSpec)
	h.opt = Options{
		File: h.file, Controller: "ctl1", StateDir: filepath.Join(dir, "state"), RunDir: h.run,
		HAProxy: "haproxy", Version: "test", Log: slog.New(slog.NewTextHandler(h.logs, nil)),
		Reload: make(chan os.Signal),
	}
	t.Cleanup(func() {
		h.killHAProxy()
		if t.Failed() {
			t.Log(h.logs.String())
		}
	})
	return h
}

func mustTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// interfaceUp makes eno1, with a neighbour at its other end, anew.
func interfaceUp(t testing.TB) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if old, err := netlink.LinkByName("eno1"); err == nil {
		must(netlink.LinkDel(old))
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eno1"}, PeerName: "peer"}))
	for _, name := range []string{"eno1", "peer"} {
		link, err := netlink.LinkByName(name)
		must(err)
		must(netlink.LinkSetUp(link))
		if name == "eno1" {
			address, err := netlink.ParseAddr("192.0.2.1/24")
			must(err)
			must(netlink.AddrAdd(link, address))
		}
	}
}

func (h *host) write(spec string) {
	h.t.Helper()
	if err := os.WriteFile(h.file, []byte(spec), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// keystone starts a Keystone that answers everything with 200, and says where
// each connection came from only by being there.
func (h *host) keystone() *http.Server {
	h.t.Helper()
	return h.listen("192.0.2.1:5000", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "keystone\n") // the client says what it misses
	})
}

// listen answers HTTP at address.
func (h *host) listen(address string, answer http.HandlerFunc) *http.Server {
	h.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		h.t.Fatal(err)
	}
	server := &http.Server{Handler: answer}
	go server.Serve(listener) //nolint:errcheck // it ends with the test
	h.t.Cleanup(func() { _ = server.Close() })
	return server
}

// A running is an agent that runs.
type running struct {
	*Agent
	h     *host
	stop  context.CancelFunc
	ended chan error
}

func (h *host) start() *running {
	ctx, cancel := context.WithCancel(h.t.Context())
	d := &running{Agent: New(h.opt), h: h, stop: cancel, ended: make(chan error, 1)}
	go func() { d.ended <- d.Run(ctx) }()
	h.t.Cleanup(func() { _ = d.end() })
	return d
}

// end stops the agent, as SIGTERM does, and gives what Run returned.
func (d *running) end() error {
	d.stop()
	select {
	case err := <-d.ended:
		d.ended <- err
		return err
	case <-time.After(time.Minute):
		d.h.t.Fatal("the agent does not end")
		return nil
	}
}

// await waits until ok; a minute is for ever.
func (h *host) await(what string, ok func() bool) {
	h.t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			h.t.Fatalf("waited for ever until %s", what)
		}
	}
}

func (d *running) awaitActive() {
	d.h.t.Helper()
	d.h.await("the VIP is held", func() bool {
		s := d.Snapshot()
		return len(s.VIPs) == 1 && s.VIPs[0].State == status.Active && s.VIPs[0].Present
	})
}

// hasAddress reports whether the kernel has the VIP.
func (h *host) hasAddress() bool {
	h.t.Helper()
	link, err := netlink.LinkByName("eno1")
	if err != nil {
		h.t.Fatal(err)
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, a := range addresses {
		if a.IP.String() == "192.0.2.10" {
			return true
		}
	}
	return false
}

func get(url string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, body), errors.Join(err, response.Body.Close())
}

// awaitAnswer waits until url is answered with want.
func (h *host) awaitAnswer(url, want string) {
	h.t.Helper()
	h.await(url+" answers "+want, func() bool {
		got, err := get(url)
		return err == nil && strings.HasPrefix(got, want)
	})
}

// killHAProxy kills the HAProxy that the test leaves behind, as agents do.
func (h *host) killHAProxy() {
	pid, err := os.ReadFile(filepath.Join(h.run, "haproxy.pid"))
	if err != nil {
		return
	}
	var n int
	if _, err := fmt.Sscan(string(pid), &n); err == nil && n > 1 {
		_ = syscall.Kill(n, syscall.SIGTERM) // it may have ended
		h.await("HAProxy has ended", func() bool { return syscall.Kill(n, 0) != nil })
	}
}

// wrong gives what d finds wrong, but that it alone runs here of all controllers.
func (d *running) wrong() []status.Finding {
	return slices.DeleteFunc(d.Snapshot().Findings, func(f status.Finding) bool { return f.Code == status.CodeIsolated })
}

// otherHost has the other controller's Keystone answer, on this host's loopback.
func (h *host) otherHost(answer http.HandlerFunc) {
	h.t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		h.t.Fatal(err)
	}
	other, err := netlink.ParseAddr("192.0.2.2/32")
	if err != nil {
		h.t.Fatal(err)
	}
	if err := netlink.AddrAdd(lo, other); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = netlink.AddrDel(lo, other) }) // the namespace goes anyway
	h.listen("192.0.2.2:5000", answer)
}

func (h *host) awaitBothUp(d *running) {
	h.t.Helper()
	h.await("both hosts are up", func() bool {
		s := d.Snapshot().Services
		return len(s) == 1 && s[0].State == status.Up && s[0].Hosts[0].State == status.Up && s[0].Hosts[1].State == status.Up
	})
}

// threeControllers is an agent of ctl1 of three controllers, which does not run.
func threeControllers(t *testing.T) *Agent {
	t.Helper()
	dir := t.TempDir()
	a := New(Options{Controller: "ctl1", RunDir: dir, StateDir: dir, Log: slog.New(slog.DiscardHandler)})
	a.rollout.Use(mustParse(t, strings.Replace(testSpec, "services:", "  - {name: ctl3, address: 192.0.2.3}\nservices:", 1)))
	a.journal = journal.Open(journal.Options{Path: filepath.Join(dir, "events.jsonl"), Controller: "ctl1", Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(a.journal.Close)
	return a
}
