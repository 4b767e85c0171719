// Package openstack_test runs holdfast against real OpenStack services, in a
// lab of three controllers, and lets the openstack client judge. It needs the
// packages that deps.sh installs; run.sh runs it.
package openstack_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// binaryVariable names the holdfast to test; without it all is skipped.
const binaryVariable = "HOLDFAST_OPENSTACK_BINARY"

const (
	vipName = "openstack.eqiad1.wikimediacloud.org"
	region  = "eqiad1-r"
	// first is the controller that everything points at before the migration.
	first = "cloudcontrol1003"
)

func controllers() []string { return []string{first, "cloudcontrol1004", "cloudcontrol1005"} }

// killText is a spec for a part of that cloud, so that the many applies of the
// tests of kills have no more to do than one change of each kind.
const killText = `
cloud: eqiad1
region: eqiad1-r
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: openstack.eqiad1.wikimediacloud.org
    interface: eno1
    endpoints: [public]
    vrrp: {router_id: 51}
controllers:
  - {name: cloudcontrol1003, address: 10.64.20.13}
  - {name: cloudcontrol1004, address: 10.64.20.14}
  - {name: cloudcontrol1005, address: 10.64.20.15}
services:
  keystone: {}
  glance: {}
  neutron: {}
`

// specText is the proposal's cloud, as "holdfast import" makes it of the list.
const specText = `
cloud: eqiad1
region: eqiad1-r
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: openstack.eqiad1.wikimediacloud.org
    interface: eno1
    endpoints: [public]
    vrrp: {router_id: 51, interval: 500ms} # this is no test of speed, and may share its machine
controllers:
  - {name: cloudcontrol1003, address: 10.64.20.13}
  - {name: cloudcontrol1004, address: 10.64.20.14}
  - {name: cloudcontrol1005, address: 10.64.20.15}
services:
  keystone: {}
  glance: {}
  neutron: {}
  nova: {}
  designate:
    hosts:
      - {name: cloudservices1003, address: 10.64.20.23}
      - {name: cloudservices1004, address: 10.64.20.24}
  proxy:
    type: proxy
    port: 5668
    path: /dynamicproxy-api/v1/$(tenant_id)s
    check: {path: /dynamicproxy-api/, expect: "200-499"}
    hosts:
      - {name: proxy1, address: 10.64.20.33}
      - {name: proxy2, address: 10.64.20.34}
`

// cloud is a lab with real services.
type cloud struct {
	t    *testing.T
	bin  string
	name string
	dir  string // for files; every node sees it
	spec string
}

// newCloud builds the lab, and takes it down when t ends.
func newCloud(t *testing.T) *cloud {
	t.Helper()
	bin := os.Getenv(binaryVariable)
	if bin == "" {
		t.Skip("this is for test/openstack/run.sh, which installs Keystone and Glance first: make test-openstack")
	}
	c := &cloud{t: t, bin: bin, name: fmt.Sprintf("hfos%d", rand.IntN(1e6)), dir: t.TempDir()}
	c.spec = c.file("holdfast.yaml", specText)
	begin := time.Now()
	out, err := exec.CommandContext(t.Context(), bin, "lab", "up", "--name", c.name, "--detach", "--timeout", "5m",
		"--openstack", "keystone,glance", "-f", c.spec).CombinedOutput()
	if err != nil {
		t.Fatalf("lab up: %v\n%s", err, out)
	}
	t.Logf("Keystone and Glance on three controllers, and four stand-ins: up after %.0f s", time.Since(begin).Seconds())
	t.Cleanup(func() {
		if out, err := exec.Command(bin, "lab", "down", "--name", c.name).CombinedOutput(); err != nil {
			t.Errorf("lab down: %v\n%s", err, out)
		}
	})
	return c
}

func (c *cloud) file(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// lab runs a command of the lab.
func (c *cloud) lab(args ...string) string {
	c.t.Helper()
	out, err := exec.CommandContext(c.t.Context(), c.bin, append([]string{"lab", args[0], "--name", c.name}, args[1:]...)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("lab %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// command gives a command in the client's node.
func (c *cloud) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, c.bin, append([]string{"lab", "exec", "--name", c.name, "client"}, args...)...)
}

// try runs a command in the client's node.
func (c *cloud) try(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	cmd := c.command(c.t.Context(), args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		c.t.Fatalf("%v: %v", args, err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// client runs a command in the client's node, which must succeed.
func (c *cloud) client(args ...string) string {
	c.t.Helper()
	stdout, stderr, code := c.try(args...)
	if code != 0 {
		c.t.Fatalf("%v ended with exit code %d:\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

// holdfast runs holdfast in the client's node.
func (c *cloud) holdfast(args ...string) string {
	c.t.Helper()
	return c.client(append([]string{c.bin}, args...)...)
}

// endpoint is one of "openstack endpoint list -f json".
type endpoint struct {
	ID        string `json:"ID"`
	Region    string `json:"Region"`
	Name      string `json:"Service Name"`
	Type      string `json:"Service Type"`
	Enabled   bool   `json:"Enabled"`
	Interface string `json:"Interface"`
	URL       string `json:"URL"`
}

// endpoints gives what "openstack endpoint list" prints, in the order of the ids.
func (c *cloud) endpoints() []endpoint {
	c.t.Helper()
	return parseEndpoints(c.t, []byte(c.client("openstack", "endpoint", "list", "-f", "json")))
}

func parseEndpoints(t *testing.T, text []byte) []endpoint {
	t.Helper()
	var all []endpoint
	if err := json.Unmarshal(text, &all); err != nil || len(all) == 0 {
		t.Fatalf("the openstack client's list: %v\n%s", err, text)
	}
	slices.SortFunc(all, func(a, b endpoint) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// judge is an openstack client that answers one question after the other. It
// starts once, which is most of the time that the client takes.
type judge struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newJudge(t *testing.T, cmd *exec.Cmd) *judge {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	j := &judge{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(j.close)
	return j
}

func (j *judge) close() {
	_ = j.in.Close() // that ends it
	if err := j.cmd.Wait(); err != nil {
		j.t.Logf("the openstack client: %v", err)
	}
}

// endpoints asks for the list.
func (j *judge) endpoints() []endpoint {
	j.t.Helper()
	late := time.AfterFunc(2*time.Minute, func() { _ = j.cmd.Process.Kill() }) // then the read below ends
	defer late.Stop()
	if _, err := io.WriteString(j.in, "endpoint list -f json\n"); err != nil {
		j.t.Fatalf("ask the openstack client: %v", err)
	}
	if _, err := j.out.ReadString('['); err != nil { // its prompt
		j.t.Fatalf("no answer of the openstack client: %v", err)
	}
	dec := json.NewDecoder(io.MultiReader(strings.NewReader("["), j.out))
	var text json.RawMessage
	if err := dec.Decode(&text); err != nil {
		j.t.Fatalf("no list from the openstack client: %v", err)
	}
	j.out = bufio.NewReader(io.MultiReader(dec.Buffered(), j.out))
	return parseEndpoints(j.t, text)
}
