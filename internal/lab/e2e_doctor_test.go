package lab_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const patient = `
cloud: patient
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51, interval: 50ms}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services: {keystone: {}, glance: {}}
`

// codes runs doctor on a controller and gives what it found, sorted, each once.
func (c *cloud) codes(node string, args ...string) []string {
	c.Helper()
	out, code := c.run(node, append([]string{c.binary, "doctor", "-o", "json", "--for", "1s"}, args...)...)
	var d struct {
		Healthy  bool
		Findings []struct{ Code, Evidence, Remedy, Command string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		c.Fatalf("doctor on %s: %v: %s", node, err, out)
	}
	var all []string
	for _, f := range d.Findings {
		if f.Code == "haproxy-unsupported" || f.Code == "haproxy-bug" {
			continue // of this machine's HAProxy, on this day
		}
		all = append(all, f.Code)
		if f.Evidence == "" || f.Remedy == "" || f.Command == "" {
			c.Errorf("doctor on %s says too little: %+v", node, f)
		}
	}
	if (code == 0) != d.Healthy { // the two above count, too
		c.Errorf("doctor on %s ended with %d, and healthy is %v", node, code, d.Healthy)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestDoctor has doctor find nothing on a healthy lab, and what is planted, all together.
func TestDoctor(t *testing.T) {
	c := newCloud(t, "doctor", patient)
	c.await("the lab to be well", c.well)
	for _, node := range []string{"ctl1", "ctl2", "ctl3"} {
		if got := c.codes(node); len(got) > 0 {
			t.Errorf("%s is healthy, and doctor finds %q", node, got)
		}
	}

	sh := func(node, script string) {
		t.Helper()
		if out, code := c.run(node, "sh", "-ec", script); code != 0 {
			t.Fatalf("%s in %s: %s", script, node, out)
		}
	}
	sh("ctl1", `cd /proc/sys/net
		echo 80 > ipv4/ip_unprivileged_port_start
		echo 1024 60999 > ipv4/ip_local_port_range
		echo 100 > core/somaxconn
		ip link set eno1 mtu 9000`)
	sh("ctl3", `nft 'add table inet planted; add chain inet planted input { type filter hook input priority 0; }; add rule inet planted input ip saddr 10.64.20.13 tcp dport 9471 drop'`)
	c.fault("service-kill", "ctl2", "keystone")
	other := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(other, []byte(patient+"# changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"backlog-small", "ephemeral-ports", "keystone-answers-not", "mtu-path", "port-filtered", "specs-differ", "unprivileged-ports"}
	if got := c.codes("ctl1", "-f", other); !slices.Equal(got, want) {
		t.Errorf("doctor finds %q, want %q", got, want)
	}

	// Before agents run: one listens, and the others try.
	c.fault("agent-stop", "ctl2")
	listening := make(chan string)
	go func() {
		out, code := c.run("ctl2", c.binary, "doctor", "--listen", "--for", "30s", "-o", "json")
		listening <- fmt.Sprintf("%d %s", code, out)
	}()
	c.await("ctl1 and ctl3 to reach ctl2", func() error {
		for _, node := range []string{"ctl1", "ctl3"} {
			if out, code := c.run(node, c.binary, "doctor", "--to", "ctl2"); code != 0 || strings.Count(out, ": open") != 3 {
				return fmt.Errorf("%s to ctl2: %d: %s", node, code, out)
			}
		}
		return nil
	})
	if out := <-listening; !strings.HasPrefix(out, "0 ") || strings.Count(out, "ip protocol 112") < 2 {
		t.Errorf("the one that listens ended with %s", out)
	}
}
