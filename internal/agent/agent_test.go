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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast/internal/status"
	"holdfast/internal/vip"
)

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
    vrrp: {router_id: 7, interval: 20ms}
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
	lo, err := netlink.LinkByName("lo")
	must(err)
	must(netlink.LinkSetUp(lo))
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
func (h *host) keystone() {
	h.t.Helper()
	h.listen("192.0.2.1:5000", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "keystone\n") // the client says what it misses
	})
}

// listen answers HTTP at address.
func (h *host) listen(address string, answer http.HandlerFunc) {
	h.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		h.t.Fatal(err)
	}
	server := &http.Server{Handler: answer}
	go server.Serve(listener) //nolint:errcheck // it ends with the test
	h.t.Cleanup(func() { _ = server.Close() })
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

func TestAgentHoldsTheVIPWhileHAProxyRuns(t *testing.T) {
	h := newHost(t)
	h.keystone()
	d := h.start()
	d.awaitActive()
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")

	before := d.Snapshot().HAProxy.PID
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.await("the death is in the journal", func() bool { return hasEvent(d, "vip-initialize") })
	d.awaitActive()
	if after := d.Snapshot().HAProxy.PID; after == before || after == 0 {
		t.Errorf("HAProxy has pid %d, had %d: it was not started again", after, before)
	}
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")

	if err := d.end(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	// Nobody takes it from the only controller: it stays for the next agent,
	// which is there within 100 ms when it is restarted, and no longer than its lease.
	if !h.hasAddress() {
		t.Error("the agent ended and took the VIP off the interface, though nobody else took it")
	}
	h.await("the lease has ended", func() bool { return !h.hasAddress() })
}

func hasEvent(d *running, kind string) bool {
	for _, e := range d.journal.last(100) {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

func TestHAProxyOutlivesTheAgentAndIsAdopted(t *testing.T) {
	h := newHost(t)
	first := h.start()
	first.awaitActive()
	pid := first.Snapshot().HAProxy.PID
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("HAProxy, pid %d, after the agent has ended: %v", pid, err)
	}
	second := h.start()
	second.awaitActive()
	if s := second.Snapshot().HAProxy; s.PID != pid || !s.Adopted || s.Reloads != 0 {
		t.Errorf("the next agent has %+v, want HAProxy %d adopted and not reloaded", s, pid)
	}
}

func TestBadFileChangesNothing(t *testing.T) {
	h := newHost(t)
	h.keystone()
	d := h.start()
	d.awaitActive()
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200")
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {prot: 1}\n  glance: {}", 1))

	_, err := d.Reload(t.Context(), "test")
	if err == nil || !strings.Contains(err.Error(), "prot") {
		t.Fatalf("reload of a bad file: %v, want the bad key named", err)
	}
	s := d.Snapshot()
	if len(s.Config.Rejected) == 0 || s.Config.Rejected[0].Where.Line == 0 {
		t.Errorf("the snapshot has %+v, want the finding with its line", s.Config.Rejected)
	}
	if len(s.Services) != 1 || s.VIPs[0].State != status.Active || s.HAProxy.Reloads != 0 {
		t.Errorf("after a bad file: %d services, vip %s, %d reloads; want all as it was", len(s.Services), s.VIPs[0].State, s.HAProxy.Reloads)
	}
	if got, err := get("http://192.0.2.10:5000/v3"); err != nil || !strings.HasPrefix(got, "200") {
		t.Errorf("after a bad file: %q, %v", got, err)
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}

	// A restart with the bad file in place runs with the last good one.
	again := h.start()
	again.awaitActive()
	if s := again.Snapshot(); len(s.Config.Rejected) == 0 {
		t.Error("a start with the last good spec does not say that the file is bad")
	}
	h.write(testSpec)
	if r, err := again.Reload(t.Context(), "test"); err != nil || r.Changed {
		t.Errorf("the good file again: %+v, %v; want it taken as unchanged", r, err)
	}
	if s := again.Snapshot(); len(s.Config.Rejected) != 0 {
		t.Errorf("the file is good again and the snapshot has %+v", s.Config.Rejected)
	}
}

func TestReloadTakesTheNewFileWithoutLosingTheVIP(t *testing.T) {
	h := newHost(t)
	h.keystone()
	d := h.start()
	d.awaitActive()
	transitions := d.Snapshot().VIPs[0].Transitions
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {}\n  glance: {}", 1))
	done, err := d.Reload(t.Context(), "test")
	if err != nil || !done.Changed {
		t.Fatalf("reload: %+v, %v", done, err)
	}
	h.awaitAnswer("http://192.0.2.10:9292/", "503") // HAProxy listens; no Glance does
	s := d.Snapshot()
	if s.VIPs[0].Transitions != transitions || !s.VIPs[0].Present {
		t.Errorf("the reload moved the VIP: %+v", s.VIPs[0])
	}
	h.write(strings.Replace(testSpec, "router_id: 7", "router_id: 8", 1))
	if _, err := d.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	d.awaitActive()
	h.write(strings.Replace(testSpec, "name: ctl1", "name: ctl9", 1))
	if _, err := d.Reload(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), "ctl9, ctl2") {
		t.Errorf("a file without this controller: %v, want the ones that there are", err)
	}
}

func TestBadFileFromTheStartIsRefused(t *testing.T) {
	h := newHost(t)
	h.write("cloud: [")
	err := New(h.opt).Run(t.Context())
	if _, ok := errors.AsType[*rejectedError](err); !ok {
		t.Errorf("got %v, want the file's findings", err)
	}
	h.opt.File = filepath.Join(h.run, "missing.yaml")
	if err := New(h.opt).Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the missing file named", err)
	}
}

func TestTakenPortKeepsTheVIPAwayAndNamesTheProcess(t *testing.T) {
	h := newHost(t)
	wildcard, err := net.Listen("tcp4", "0.0.0.0:5000")
	if err != nil {
		t.Fatal(err)
	}
	d := h.start()
	want := fmt.Sprintf("pid %d", os.Getpid())
	h.await("the process is named", func() bool {
		for _, f := range d.Snapshot().Findings {
			if strings.Contains(f.Text, want) && strings.Contains(f.Text, "5000") {
				return true
			}
		}
		return false
	})
	if s := d.Snapshot().VIPs[0]; s.State != status.Initialize || h.hasAddress() {
		t.Errorf("vip is %s, address there: %v; want it left alone", s.State, h.hasAddress())
	}
	if err := wildcard.Close(); err != nil {
		t.Fatal(err)
	}
	d.awaitActive()
	h.await("the finding is gone", func() bool { return len(d.Snapshot().Findings) == 0 })
}

func TestRestartedAgentFindsItsLeaseAndKeepsIt(t *testing.T) {
	h := newHost(t)
	first := h.start()
	first.awaitActive()
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	// A crash leaves the address to its lease: put it there as one would.
	a, err := vip.New(first.owners()[0].lease)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := h.start()
	second.awaitActive()
	if !h.hasAddress() {
		t.Error("the address is gone")
	}
}

func TestHostThatPassesItsCheckAndFailsItsClientsIsTakenOut(t *testing.T) {
	h := newHost(t)
	h.keystone()
	// The other controller's Keystone, on this host's loopback.
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	other, err := netlink.ParseAddr("192.0.2.2/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(lo, other); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.AddrDel(lo, other) }) // the namespace goes anyway
	h.listen("192.0.2.2:5000", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthcheck" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {affinity: none}", 1))
	d := h.start()
	d.awaitActive()
	h.await("both hosts are up", func() bool {
		s := d.Snapshot().Services
		return len(s) == 1 && s[0].State == status.Up && s[0].Hosts[0].State == status.Up && s[0].Hosts[1].State == status.Up
	})
	h.await("the failing host is taken out", func() bool {
		if got, err := get("http://192.0.2.10:5000/v3"); err != nil || !strings.HasPrefix(got, "200") {
			t.Errorf("a client got %q, %v", got, err)
		}
		return hasEvent(d, "host-taken-out")
	})
}
