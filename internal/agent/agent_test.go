package agent

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/rollout"
	"holdfast/internal/status"
	"holdfast/internal/vip"
)

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
	for _, e := range d.journal.Last(100) {
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

	_, err := d.rollout.Reload(t.Context(), "test")
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
	if r, err := again.rollout.Reload(t.Context(), "test"); err != nil || r.Changed {
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
	done, err := d.rollout.Reload(t.Context(), "test")
	if err != nil || !done.Changed {
		t.Fatalf("reload: %+v, %v", done, err)
	}
	h.awaitAnswer("http://192.0.2.10:9292/", "503") // HAProxy listens; no Glance does
	s := d.Snapshot()
	if s.VIPs[0].Transitions != transitions || !s.VIPs[0].Present {
		t.Errorf("the reload moved the VIP: %+v", s.VIPs[0])
	}
	h.write(strings.Replace(testSpec, "router_id: 7", "router_id: 8", 1))
	if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	d.awaitActive()
	h.write(strings.Replace(testSpec, "name: ctl1", "name: ctl9", 1))
	if _, err := d.rollout.Reload(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), "ctl9, ctl2") {
		t.Errorf("a file without this controller: %v, want the ones that there are", err)
	}
}

func TestBadFileFromTheStartIsRefused(t *testing.T) {
	h := newHost(t)
	h.write("cloud: [")
	err := New(h.opt).Run(t.Context())
	if _, ok := errors.AsType[interface {
		error
		Findings() []status.Finding
	}](err); !ok {
		t.Errorf("got %v, want the file's findings", err)
	}
	h.opt.File = filepath.Join(h.run, "missing.yaml")
	err = New(h.opt).Run(t.Context())
	if _, ok := errors.AsType[*rollout.UsageError](err); !ok || !strings.Contains(err.Error(), "there is no spec "+h.opt.File) {
		t.Errorf("got %v, want the missing file named, as wrong use", err)
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
	h.await("the finding is gone", func() bool { return len(d.wrong()) == 0 })
}

func TestRestartedAgentFindsItsLeaseAndKeepsIt(t *testing.T) {
	h := newHost(t)
	first := h.start()
	first.awaitActive()
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	// A crash leaves the address to its lease: put it there as one would.
	v := first.currentSpec().VIPs[0]
	a, err := vip.New(vip.Options{Name: v.Name, Addresses: v.Addresses, Interface: v.Interface, Device: vip.Device(v.Device), RouterID: v.VRRP.RouterID, Log: first.log})
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
	h.otherHost(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthcheck" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {affinity: none}", 1))
	d := h.start()
	d.awaitActive()
	h.awaitBothUp(d)
	h.await("the failing host is taken out", func() bool {
		if got, err := get("http://192.0.2.10:5000/v3"); err != nil || !strings.HasPrefix(got, "200") {
			t.Errorf("a client got %q, %v", got, err)
		}
		return hasEvent(d, "host-taken-out")
	})
}
