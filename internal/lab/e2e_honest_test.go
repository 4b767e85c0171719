package lab_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/lab/load"
	"holdfast/internal/status"
)

// stand is what must stay as it is, of every controller: who has the VIPs and
// how often that changed, which HAProxy runs.
type stand map[string]string

func (c *cloud) stand() stand {
	c.Helper()
	all := stand{}
	for _, name := range c.others("") {
		c.await("the status of "+name, func() error {
			s := c.snapshot(name)
			if s.HAProxy.State != status.HAProxyRunning || len(s.VIPs) == 0 {
				return fmt.Errorf("HAProxy is %+v", s.HAProxy)
			}
			all[name] = fmt.Sprintf("HAProxy %d, %d restarts", s.HAProxy.PID, s.HAProxy.Restarts)
			for _, v := range s.VIPs {
				all[name] += fmt.Sprintf("; %s %s, %d transitions", v.Name, v.State, v.Transitions)
			}
			return nil
		})
	}
	return all
}

// differs says what is not as in before, and which HAProxy was taken for hung.
func (c *cloud) differs(before stand) []string {
	c.Helper()
	var wrong []string
	for name, is := range c.stand() {
		if is != before[name] {
			wrong = append(wrong, fmt.Sprintf("%s has %s; it had %s", name, is, before[name]))
		}
		if out, _ := c.run(name, "holdfast", "events", "-n", "1000", "--controller", name); strings.Contains(out, "HAProxy is hung") {
			wrong = append(wrong, fmt.Sprintf("HAProxy of %s was taken for hung:\n%s", name, out))
		}
	}
	return wrong
}

// movesNothing does work under load, after which all must be as it was before, and
// no request have failed.
func (c *cloud) movesNothing(args []string, work func()) {
	c.Helper()
	before := c.stand()
	done := make(chan []load.Record, 1)
	go func() {
		records, err := c.tryLoad(args...)
		if err != nil {
			c.Error(err)
		}
		done <- records
	}()
	time.Sleep(time.Second) // of load before the work
	work()
	wrong, records := c.differs(before), <-done
	late := time.Duration(0)
	for _, r := range records {
		late = max(late, r.Late)
	}
	switch {
	case len(wrong) > 0 && late >= 5*stoodStill:
		c.Skipf("this machine kept the load generator itself waiting for %v: %s", late, strings.Join(wrong, "; "))
	case len(wrong) > 0:
		c.Error(strings.Join(wrong, "\n"))
	}
	c.noneFailed(records)
}

// reloaded says which controller's HAProxy was reloaded less than n times, or
// has a socket that is lost.
func (c *cloud) reloaded(n int) error {
	var wrong []string
	for _, name := range c.others("") {
		s := c.snapshot(name)
		lost := slices.ContainsFunc(s.Findings, func(f status.Finding) bool { return f.Code == "haproxy-socket-lost" })
		if s.HAProxy.Reloads < n || lost {
			wrong = append(wrong, fmt.Sprintf("%s: %d reloads, %+v", name, s.HAProxy.Reloads, s.Findings))
		}
	}
	return errors.Join(asErrors(wrong)...)
}

func asErrors(texts []string) []error {
	var all []error
	for _, t := range texts {
		all = append(all, errors.New(t))
	}
	return all
}

// TestLostSocketsMoveNothing has somebody clear the run directory of every
// controller at once, under load: first of one socket, then of both, then of all.
func TestLostSocketsMoveNothing(t *testing.T) {
	c := newCloud(t, "lost", upgradable)
	c.await("a whole lab", c.whole)
	steps := []struct {
		name string
		gone []string // of the run directory; none: all of it
	}{
		{"the runtime socket", []string{haproxy.RuntimeSocket}},
		{"both sockets", []string{haproxy.RuntimeSocket, haproxy.MasterSocket}},
		{"the run directory", nil},
	}
	c.movesNothing(plannedLoad(20*time.Second), func() {
		for i, step := range steps {
			for _, name := range c.others("") {
				run := filepath.Join(string(c.dir), "nodes", name, "run")
				if step.gone == nil {
					if err := os.RemoveAll(run); err != nil {
						t.Fatal(err)
					}
				}
				for _, file := range step.gone {
					if err := os.Remove(filepath.Join(run, file)); err != nil {
						t.Fatal(err)
					}
				}
			}
			lost := time.Now()
			c.await(step.name+" to be there again", func() error { return c.reloaded(i + 1) })
			t.Logf("%s: there again after %v", step.name, time.Since(lost))
		}
	})
	c.await("holdfast to call the lab well", c.well)
	for _, name := range c.others("") {
		if out, _ := c.run(name, "holdfast", "events", "-n", "1000", "--controller", name); !strings.Contains(out, "leads nowhere") {
			t.Errorf("the events of %s say nothing of it:\n%s", name, out)
		}
	}
}

// twoVIPs is a spec of two VIPs, of which one is to have TLS or not.
const twoVIPs = `
cloud: two
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: api.example.org
    interface: eno1
    endpoints: [public]
    tls: {certificate: /etc/holdfast/tls/not-on-this-machine.pem}
    vrrp: {router_id: 7, interval: 100ms}
  - name: inside
    addresses: [10.64.20.11/24]
    hostname: inside.example.org
    interface: eno1
    endpoints: [internal, admin]
    vrrp: {router_id: 8, interval: 100ms}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services:
  keystone: {}
  nova: {}
`

// TestReloadThatSwitchesTLSMovesNothing takes the TLS of a VIP away by a reload
// of one controller after the other, and puts it back, on machines that are slow
// to say that the reload is done. Nothing moves, and who comes by the other VIP
// notices nothing. Then the service goes on whose port HAProxy was asked.
func TestReloadThatSwitchesTLSMovesNothing(t *testing.T) {
	c := newCloud(t, "tls", twoVIPs)
	c.await("a whole lab", c.whole)
	with := "    tls: {certificate: " + filepath.Join(string(c.dir), "api.pem") + "}\n"
	secure := strings.Replace(twoVIPs, "    tls: {certificate: /etc/holdfast/tls/not-on-this-machine.pem}\n", with, 1)
	plain := strings.Replace(secure, with, "", 1)
	without := strings.Replace(plain, "  keystone: {}\n", "", 1)
	args := append(plannedLoad(30*time.Second), "--url", "nova=http://inside.example.org:8774/")
	c.movesNothing(args, func() {
		for i, text := range []string{plain, secure, plain, without} {
			for _, name := range c.others("") {
				slow := c.slowReload(name, 700*time.Millisecond)
				c.give(name, text)
				slow()
			}
			c.await("every reload", func() error { return c.reloaded(i + 1) })
		}
	})
	c.await("holdfast to call the lab well", c.well)
}

// slowReload stops the master of a node's HAProxy for d as soon as that has
// another worker, so that the agent learns as late that a reload is done as on a
// busy machine. The function it gives waits for that.
func (c *cloud) slowReload(node string, d time.Duration) func() {
	c.Helper()
	master := c.haproxyMaster(node)
	before := children(master)
	done := make(chan error, 1)
	go func() {
		for end := time.Now().Add(awaitTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if !slices.ContainsFunc(children(master), func(pid string) bool { return !slices.Contains(before, pid) }) {
				continue
			}
			err := syscall.Kill(master, syscall.SIGSTOP)
			time.Sleep(d)
			done <- errors.Join(err, syscall.Kill(master, syscall.SIGCONT))
			return
		}
		done <- errors.New("there was no other worker")
	}()
	return func() {
		c.Helper()
		if err := <-done; err != nil {
			c.Errorf("slow down the reload of %s: %v", node, err)
		}
	}
}

// children gives the processes that pid has started.
func children(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // it has none
	}
	return strings.Fields(string(data))
}

// haproxyMaster gives the master of a node's HAProxy, as this process sees it.
func (c *cloud) haproxyMaster(node string) int {
	c.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		c.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(data), "-S\x00"+filepath.Join(string(c.dir), "nodes", node, "run", haproxy.MasterSocket)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			c.Fatal(err)
		}
		if len(children(pid)) > 0 {
			return pid
		}
	}
	c.Fatalf("%s has no HAProxy", node)
	return 0
}
