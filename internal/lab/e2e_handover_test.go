package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	overview "holdfast/internal/cloud"
	"holdfast/internal/lab/load"
	"holdfast/internal/status"
)

// plannedLoad is a load that no planned work may cost anything: keep-alive and
// new connections, and downloads that take longer than the work.
func plannedLoad(d time.Duration) []string {
	return []string{
		"--rate", "200", "--connections", "keep-alive", "--new-rate", "50",
		"--downloads", "5", "--download-time", (d - time.Second).String(), "--duration", d.String(),
	}
}

// during runs the load, and work while it goes on, and fails the test for each
// request that failed.
func (c *cloud) during(args []string, work func()) {
	c.Helper()
	type outcome struct {
		records []load.Record
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		records, err := c.tryLoad(args...)
		done <- outcome{records, err}
	}()
	time.Sleep(time.Second) // of load before the work
	work()
	o := <-done
	if o.err != nil {
		c.Fatal(o.err)
	}
	c.noneFailed(o.records)
}

// stoodStill is how late the load generator may send a request before one that
// failed may be this machine's doing: whoever is kept from running for so long is
// taken for dead by the others, as he should be.
const stoodStill = 60 * time.Millisecond

// noneFailed wants no request to have failed. Where one did, and the machine
// stood still meanwhile, the test says nothing.
func (c *cloud) noneFailed(records []load.Record) {
	c.Helper()
	failed, late := 0, time.Duration(0)
	for _, r := range records {
		late = max(late, r.Late)
		if r.Failure == "" {
			continue
		}
		if failed++; failed <= 5 {
			c.Logf("%s from %s at %s, after %v: %s %s", r.Target, r.Client, r.Due.Format("15:04:05.000"), r.Took, r.Failure, r.Error)
		}
	}
	c.Logf("%d requests, %d failed; the load generator was up to %v late", len(records), failed, late)
	switch {
	case failed > 0 && late >= stoodStill && !c.Failed():
		c.Skipf("%d of %d requests failed, and this machine kept the load generator itself waiting for %v", failed, len(records), late)
	case failed > 0 || len(records) == 0:
		c.Errorf("%d of %d requests failed", failed, len(records))
	}
}

// handOver has the VIP handed over to a controller, asked of any of them.
func (c *cloud) handOver(asked, to string) {
	c.Helper()
	out, code := c.run(asked, "holdfast", "handover", "--to", to)
	if code != 0 || !strings.Contains(out, "open connection") || strings.Contains(out, "reset") {
		c.Errorf("handover to %s: exit code %d: %s", to, code, out)
	}
	if holder := c.holder(); holder != to {
		c.Errorf("%s has the VIP, want %s", holder, to)
	}
}

// settled says what is left of handovers: nothing must be.
func (c *cloud) settled() error {
	out, code := c.run("holder", "holdfast", "status", "-o", "json")
	var all overview.Cloud
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return fmt.Errorf("status: exit code %d, %w", code, err)
	}
	for _, controller := range all.Controllers {
		if controller.Snapshot == nil {
			return errors.New(controller.Name + " does not answer")
		}
		for _, v := range controller.Snapshot.VIPs {
			if v.Giving != nil || v.Taking != nil {
				return fmt.Errorf("%s gives %+v, takes %+v", controller.Name, v.Giving, v.Taking)
			}
		}
	}
	return c.clean()
}

// clean says what a handover has left in the kernel of a controller.
func (c *cloud) clean() error {
	for _, name := range c.others("") {
		rules, code := c.run(name, "nft", "list", "tables")
		if code != 0 || strings.Contains(rules, "holdfast") {
			return fmt.Errorf("%s has the rules %q", name, rules)
		}
		addresses, _ := c.run(name, "ip", "-o", "address", "show", "dev", "lo")
		for line := range strings.SplitSeq(strings.TrimSpace(addresses), "\n") {
			if !strings.Contains(line, "127.0.0.1/8") && !strings.Contains(line, " ::1/128") {
				return fmt.Errorf("%s has on lo: %s", name, line)
			}
		}
	}
	return nil
}

// TestHandover moves the VIP round all controllers and back, under load.
func TestHandover(t *testing.T) {
	c := sharedCloud(t)
	names := c.others("")
	c.during(plannedLoad(8*time.Second), func() {
		first := c.holder()
		i := slices.Index(names, first)
		for step := range 2 * len(names) {
			time.Sleep(500 * time.Millisecond)
			c.handOver(names[i], names[(i+step+1)%len(names)])
		}
	})
	c.await("nothing to be left of the handovers", c.settled)
}

// TestAgentRestart ends the holder's agent as systemctl restart does, one
// controller after the other, under load.
func TestAgentRestart(t *testing.T) {
	c := sharedCloud(t)
	c.during(plannedLoad(10*time.Second), func() {
		for range 3 {
			holder := c.holder()
			c.endAgent(holder)
			if now := c.holder(); now == holder {
				t.Errorf("%s has the VIP still", holder)
			}
			c.await("a whole lab", c.whole)
		}
	})
	c.await("nothing to be left of the handovers", c.settled)
}

// endAgent sends SIGTERM to the agent of a node, and waits until another one runs.
func (c *cloud) endAgent(node string) {
	c.Helper()
	pid := c.agentPID(node)
	if out, code := c.run(node, "kill", "-TERM", fmt.Sprint(pid)); code != 0 {
		c.Fatalf("kill: %s", out)
	}
	c.await("another agent on "+node, func() error {
		if now := c.agentPID(node); now == pid || now == 0 {
			return fmt.Errorf("its pid is %d", now)
		}
		return nil
	})
}

// agentPID gives the process of the node's agent, 0 when it does not answer.
func (c *cloud) agentPID(node string) int { return c.snapshot(node).PID }

// snapshot gives what the node's agent says of itself, nothing when it does not answer.
func (c *cloud) snapshot(node string) status.Snapshot {
	c.Helper()
	out, _ := c.run(node, "holdfast", "status", "-o", "json")
	var all overview.Cloud
	if json.Unmarshal([]byte(out), &all) != nil {
		return status.Snapshot{}
	}
	for _, controller := range all.Controllers {
		if controller.Name == node && controller.Snapshot != nil {
			return *controller.Snapshot
		}
	}
	return status.Snapshot{}
}

// TestHandoverInterrupted kills an agent in the middle of a handover, at each
// side, a bit later each time: what is left is one holder, and nothing else.
func TestHandoverInterrupted(t *testing.T) {
	c := sharedCloud(t)
	for i := range 8 {
		holder := c.holder()
		to := c.others(holder)[i/2%2]
		victim := []string{holder, to}[i%2]
		pid := c.agentPID(victim)
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.run(holder, "holdfast", "handover", "--to", to) // it may fail
		}()
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		c.run(victim, "kill", "-KILL", fmt.Sprint(pid))
		<-done
		c.await("a whole lab after the agent of "+victim+" was killed", c.whole)
		c.await("answers", c.allAnswer)
		c.await("nothing to be left of the handover", c.settled)
	}
}

// TestHandoverRefused asks for what cannot be.
func TestHandoverRefused(t *testing.T) {
	c := sharedCloud(t)
	holder := c.holder()
	other := c.others(holder)[0]
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"--to nobody", 2, `no controller is called "nobody"; name one of `},
		{"--vip none", 2, `no vip is called "none"`},
		{"--to " + holder, 0, "is held by " + holder + " already"},
	} {
		out, code := c.run(other, append([]string{"holdfast", "handover"}, strings.Fields(tt.args)...)...)
		if code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("handover %s: exit code %d, %s; want %d, %q", tt.args, code, out, tt.code, tt.want)
		}
	}
	c.fault("haproxy-hang", other)
	c.await(other+" to be unfit", func() error {
		if s := c.snapshot(other); s.HAProxy.State != status.HAProxyHung {
			return fmt.Errorf("HAProxy is %s", s.HAProxy.State)
		}
		return nil
	})
	for _, asked := range []string{holder, c.others(holder)[1]} {
		out, code := c.run(asked, "holdfast", "handover", "--to", other)
		if want := "stays on " + holder + ": " + other + ": it cannot hold vip"; code != 1 || !strings.Contains(out, want) {
			t.Errorf("handover, asked of %s, to one with a HAProxy that hangs: exit code %d: %s; want %q", asked, code, out, want)
		}
		if strings.Count(out, holder) != 1 || strings.Count(out, other) != 1 {
			t.Errorf("the refusal, asked of %s, says something twice: %s", asked, out)
		}
	}
	if now := c.holder(); now != holder {
		t.Errorf("%s has the VIP, want %s", now, holder)
	}
}

// preferring is a spec whose first controller takes the VIP back.
const preferring = `
cloud: preferring
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: api.example.org
    interface: eno1
    vrrp: {router_id: 7, interval: 100ms, preempt: true}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {}
`

// TestPreferredReturns has the preferred controller lost, and take the VIP
// back by a planned handover when it has returned.
func TestPreferredReturns(t *testing.T) {
	c := newCloud(t, "preempt", preferring)
	first := c.others("")[0]
	c.awaitHolder(first)
	c.fault("power-off", first)
	c.awaitHolder(c.others(first)...)
	c.fault("back", first)
	c.during(plannedLoad(10*time.Second), func() { c.awaitHolder(first) })
	out, _ := c.run("ctl2", "holdfast", "events", "-n", "1000", "--controller", "ctl2")
	if !strings.Contains(out, "vip api was handed over from ctl2 to ctl1") || !strings.Contains(out, "is back, which is preferred") {
		t.Errorf("the events of ctl2 say nothing of a handover:\n%s", out)
	}
	c.await("nothing to be left of the handover", c.settled)
}

// anyKind is a cloud whose VIP has all that connections can differ in.
const anyKind = `
cloud: any
vips:
  - name: api
    addresses: [10.64.20.10/24, "2001:db8:20::10/64"]
    hostname: api.example.org
    interface: bond0.20
    device: macvlan
    endpoints: [public, admin]
    tls: {certificate: /etc/holdfast/tls/not-on-this-machine.pem}
    vrrp: {router_id: 7, interval: 100ms}
  - name: inside
    addresses: [10.64.20.11/24]
    hostname: inside.example.org
    interface: bond0.20
    endpoints: [internal]
    prefer: [ctl1]
    vrrp: {router_id: 8, interval: 100ms}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {}
  lines: {type: lines, port: 7007, mode: tcp}
`

// TestHandoverOfEveryKind has connections of every kind open while the VIP goes
// to the other controller and back: HTTP/1.1 and HTTP/2 over TLS, IPv4 and
// IPv6, a console, and a service that is not HTTP; on a device of its own.
func TestHandoverOfEveryKind(t *testing.T) {
	c := newCloud(t, "kinds", anyKind)
	needCurl(t)
	const seconds = 6
	curl := func(options string) string {
		return fmt.Sprintf(`curl -sSk %s -m 20 --rate 20/s "https://api.example.org:5000/v3?[1-%d]" -o /dev/null -w '%%{http_code} %%{errormsg}\n' | sort | uniq -c`, options, 20*seconds)
	}
	all := fmt.Sprintf("%d 200", 20*seconds)
	// talk sends a line every 100 ms and wants it back.
	talk := fmt.Sprintf(`for i in $(seq %d); do echo "hello $i" >&3; read -t 5 -r line <&3 || { echo "lost $i"; exit 1; }; sleep 0.1; done; echo "$line"`, 10*seconds)
	last := fmt.Sprintf("hello %d", 10*seconds)
	kinds := []struct{ name, script, want string }{
		{"HTTP/1.1 over IPv4", curl("-4 --http1.1"), all},
		{"HTTP/1.1 over IPv6", curl("-6 --http1.1"), all},
		{"HTTP/2 over IPv4", curl("-4 --http2"), all},
		{"HTTP/2 over IPv6", curl("-6 --http2"), all},
		{"a long answer over HTTP/2", fmt.Sprintf(`curl -sSk --http2 -m 30 "https://api.example.org:5000/stream/600000?s=%d" -o /dev/null -w '%%{http_code} %%{size_download} %%{errormsg}\n'`, seconds), "200 600000"},
		{"a console", `exec 3<>/dev/tcp/inside.example.org/5000; printf 'GET /v3 HTTP/1.1\r\nHost: inside\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n' >&3
			while read -t 5 -r header <&3 && [ "$header" != $'\r' ]; do :; done; ` + talk, last},
		{"lines", "exec 3<>/dev/tcp/inside.example.org/7007; " + talk, last},
	}
	results := make([]string, len(kinds))
	var running sync.WaitGroup
	for i, kind := range kinds {
		running.Go(func() { results[i], _ = c.run("client", "bash", "-c", kind.script) })
	}
	time.Sleep(time.Second) // all have begun
	for _, to := range []string{"ctl2", "ctl1"} {
		for _, name := range []string{"api", "inside"} {
			out, code := c.run("ctl1", "holdfast", "handover", "--vip", name, "--to", to)
			if code != 0 || strings.Contains(out, "reset") {
				t.Errorf("handover of %s to %s: exit code %d: %s", name, to, code, out)
			}
		}
		time.Sleep(time.Second)
	}
	running.Wait()
	for i, kind := range kinds {
		if !strings.HasSuffix(strings.TrimSpace(results[i]), kind.want) {
			t.Errorf("%s: %q, want %q", kind.name, results[i], kind.want)
		}
	}
	c.await("nothing to be left of the handovers", c.settled)
}

// besideKeepalived is a spec of which one controller runs keepalived.
const besideKeepalived = `
cloud: beside
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51, interval: 50ms, checksum: keepalived}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {}
`

// TestHandoverToKeepalived hands the VIP over to a controller that runs
// keepalived: by plain adverts, without an agent's word, and never to nobody.
func TestHandoverToKeepalived(t *testing.T) {
	c := newCloud(t, "beside", besideKeepalived)
	if _, err := exec.LookPath("keepalived"); err != nil {
		t.Skip("keepalived is not installed (make test installs it)")
	}
	c.fault("agent-stop", "ctl2") // its HAProxy goes on
	c.awaitHolder("ctl1")
	out, code := c.run("ctl1", "holdfast", "handover", "--to", "ctl2")
	if code != 1 || !strings.HasPrefix(out, "holdfast: vip api stays on ctl1: ctl2: it did not take over within ") {
		t.Errorf("handover to nobody: exit code %d: %s", code, out)
	}
	c.awaitHolder("ctl1")

	const config = `global_defs {
    vrrp_version 3
}
vrrp_instance api {
    state BACKUP
    nopreempt
    interface eno1
    virtual_router_id 51
    priority 100
    advert_int 0.05
    unicast_src_ip 10.64.20.14
    unicast_ttl 255
    unicast_peer {
        10.64.20.13
    }
    virtual_ipaddress {
        10.64.20.10/24
    }
}`
	dir := filepath.Join(string(c.dir), "keepalived")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code = c.run("ctl2", "sh", "-c", fmt.Sprintf(
		"cd %s && keepalived --vrrp --use-file conf --pid $PWD/pid --vrrp_pid $PWD/vrrp.pid --checkers_pid $PWD/checkers.pid </dev/null >log 2>&1", dir))
	if code != 0 {
		t.Fatalf("keepalived: exit code %d: %s", code, out)
	}
	c.await("keepalived to take the VIP", func() error {
		out, code := c.run("ctl1", "holdfast", "handover", "--to", "ctl2")
		if code != 0 || !strings.Contains(out, "open connections were reset: the agent of ctl2 does not answer") {
			return fmt.Errorf("exit code %d: %s", code, out)
		}
		return nil
	})
	c.awaitHolder("ctl2")
	if err := c.allAnswer(); err != nil {
		t.Error(err)
	}
}

// TestHandoverLimit has a transfer take longer than it may after a handover.
func TestHandoverLimit(t *testing.T) {
	c := newCloud(t, "limit", strings.Replace(preferring, ", preempt: true", "", 1)+"agent: {handover_limit: 2s}\n")
	needCurl(t)
	if c.holder() != "ctl1" {
		c.handOver("ctl1", "ctl1")
		c.await("nothing to be left of the handover", c.settled)
	}
	ended := make(chan string)
	go func() {
		out, _ := c.run("client", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download} ", "http://api.example.org:5000/stream/100000?s=30")
		ended <- out
	}()
	c.await("the transfer to have begun", func() error {
		if n := c.snapshot("ctl1").HAProxy.Connections; n == 0 {
			return errors.New("no connection")
		}
		return nil
	})
	c.handOver("ctl1", "ctl2")
	if out, _ := c.run("ctl2", "holdfast", "status"); !strings.Contains(flat(out), "1 connection goes on at ctl1, which handed it over to ctl2") {
		t.Errorf("status says nothing of the transfer:\n%s", out)
	}
	if out := <-ended; strings.HasPrefix(out, "200 100000 ") {
		t.Errorf("the transfer was not cut: %s", out)
	}
	c.await("nothing to be left of the handover", c.settled)
	out, _ := c.run("ctl1", "holdfast", "events", "-n", "1000", "--controller", "ctl1")
	if !strings.Contains(out, "1 connection of vip api on ctl1, which ctl2 took, was cut") {
		t.Errorf("the events say nothing of what was cut:\n%s", out)
	}
}
