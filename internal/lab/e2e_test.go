package lab_test

import (
	"bytes"
	"context"
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

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

// The tests of these files run the shipped binary, a real HAProxy and the
// kernel's network. Each lab has a random name, and hangs on this process: a
// test that panics leaves nothing.

// upTimeout is how long a lab may take to come up on a slow machine, and
// awaitTimeout how long a test waits for what must come to pass.
const (
	upTimeout    = time.Minute
	awaitTimeout = 40 * time.Second
)

// shared holds what the tests have in common: the binary, and the lab of the
// proposal, which every test leaves as it found it.
type shared struct {
	dir    string
	binary func() (string, error)
	cloud  func() (*lab.Lab, error)
}

var common shared

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "holdfast-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var up *lab.Lab
	common = shared{dir: dir, binary: sync.OnceValues(func() (string, error) { return build(dir) })}
	common.cloud = sync.OnceValues(func() (*lab.Lab, error) {
		up, err = proposal(dir)
		return up, err
	})
	code := m.Run()
	if up != nil {
		err = errors.Join(err, up.Close())
	}
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// build builds the binary that is shipped, where any user can run it.
func build(dir string) (string, error) {
	path := filepath.Join(dir, "holdfast")
	out, err := exec.Command("go", "build", "-o", path, "holdfast/cmd/holdfast").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build holdfast: %w\n%s", err, out)
	}
	return path, os.Chmod(dir, 0o755)
}

// proposal imports the proposal's own list with the shipped binary and builds
// the lab of it. Its interval is that of the promises, not the default.
func proposal(dir string) (*lab.Lab, error) {
	binary, err := common.binary()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "import", "demo/endpoint-list.txt",
		"--vip", "10.64.20.10/24", "--interface", "eno1", "--hostname", "openstack.eqiad1.wikimediacloud.org",
		"--controller", "ctl1=10.64.20.13", "--controller", "ctl2=10.64.20.14", "--controller", "ctl3=10.64.20.15",
		"--host", "designate:dns1=10.64.20.23", "--host", "designate:dns2=10.64.20.24",
		"--host", "proxy:proxy1=172.16.5.33", "--host", "proxy:proxy2=172.16.5.34")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("import: %w\n%s", err, said.String())
	}
	return lab.Up(context.Background(), lab.UpOptions{
		Name: fmt.Sprintf("test-%d", os.Getpid()), File: "imported.yaml", Data: out.Bytes(), Binary: binary, Timeout: upTimeout,
	})
}

// A cloud is a lab under test.
type cloud struct {
	*testing.T
	dir    lab.Dir
	binary string
}

// needLab skips a test where no lab can be built.
func needLab(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a lab; not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root (make test runs as root)")
	}
	for _, tool := range []string{"haproxy", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make test installs it)", tool)
		}
	}
	binary, err := common.binary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// sharedCloud gives the lab of the proposal, healed again after the test.
func sharedCloud(t *testing.T) *cloud {
	t.Helper()
	binary := needLab(t)
	l, err := common.cloud()
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t, l.Dir, binary}
	t.Cleanup(func() {
		if t.Failed() {
			c.logs()
		}
	})
	c.await("a whole lab before the test", c.whole)
	c.await("holdfast to call the lab well", c.well)
	t.Cleanup(func() { c.heal() })
	return c
}

// newCloud builds a lab of its own for a test.
func newCloud(t *testing.T, name, yaml string) *cloud {
	t.Helper()
	return newCloudOf(t, name, yaml, lab.UpOptions{})
}

// newCloudOf is newCloud with options.
func newCloudOf(t *testing.T, name, yaml string, opt lab.UpOptions) *cloud {
	t.Helper()
	binary := needLab(t)
	opt.Name, opt.File = fmt.Sprintf("%s-%d", name, os.Getpid()), name+".yaml"
	opt.Data, opt.Binary, opt.Timeout = []byte(yaml), binary, upTimeout
	l, err := lab.Up(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(string(l.Dir)); err == nil {
			t.Errorf("%s is still there", l.Dir)
		}
	})
	c := &cloud{t, l.Dir, binary}
	t.Cleanup(func() { // before it is gone
		if t.Failed() {
			c.logs()
		}
	})
	return c
}

// await waits until check finds nothing wrong.
func (c *cloud) await(what string, check func() error) {
	c.Helper()
	c.awaitFor(awaitTimeout, what, check)
}

// awaitFor is await with a time of its own.
func (c *cloud) awaitFor(timeout time.Duration, what string, check func() error) {
	c.Helper()
	var err error
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	c.Fatalf("waited %v for %s: %v", timeout, what, err)
}

// logs shows the end of each agent's log when a test has failed.
func (c *cloud) logs() {
	c.Helper()
	logs, err := filepath.Glob(filepath.Join(string(c.dir), "nodes", "*", "*", "haproxy.log"))
	if more, moreErr := filepath.Glob(filepath.Join(string(c.dir), "nodes", "*", "agent.log")); moreErr == nil {
		logs = append(logs, more...)
	}
	if err != nil {
		c.Error(err)
	}
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err != nil {
			c.Error(err)
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		c.Logf("%s:\n%s", path, strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
}

func (c *cloud) status() *lab.Status {
	c.Helper()
	s, err := lab.GetStatus(context.Background(), c.dir)
	if err != nil {
		c.Fatal(err)
	}
	return s
}

// whole says what keeps the lab from being as it was built.
func (c *cloud) whole() error {
	var wrong []string
	s := c.status()
	for _, v := range s.VIPs {
		if len(v.Holders) != 1 {
			wrong = append(wrong, fmt.Sprintf("%s has the holders %v", v.Address, v.Holders))
		}
	}
	for _, n := range s.Nodes {
		if !n.On || !n.Plugged {
			wrong = append(wrong, n.Name+" is off or unplugged")
		}
		if n.Agent != nil && (n.Agent.State != "ready" || len(n.HAProxy) == 0 || n.HAProxyHung) {
			wrong = append(wrong, fmt.Sprintf("%s: agent %s, HAProxy %v", n.Name, n.Agent.State, n.HAProxy))
		}
		for _, service := range n.Services {
			if service.State != "up" {
				wrong = append(wrong, fmt.Sprintf("%s on %s is %s", service.Name, n.Name, service.State))
			}
		}
	}
	if len(s.Partition) > 0 {
		wrong = append(wrong, fmt.Sprintf("partition %v", s.Partition))
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// heal undoes every fault.
func (c *cloud) heal() {
	c.Helper()
	c.fault("heal", "")
	for _, n := range c.status().Nodes {
		c.fault("back", n.Name)
	}
	c.await("a healed lab", c.whole)
	c.await("answers in the healed lab", c.allAnswer)
	c.await("holdfast to call the healed lab well", c.well)
}

// well says what "holdfast status" has to complain about.
func (c *cloud) well() error {
	if out, code := c.run("holder", "holdfast", "status"); code != 0 {
		return fmt.Errorf("exit code %d:\n%s", code, out)
	}
	return nil
}

func (c *cloud) fault(kind, node string, service ...string) lab.Fault {
	c.Helper()
	f, err := lab.Inject(context.Background(), c.dir, lab.Fault{Kind: kind, Node: node, Service: strings.Join(service, "")})
	if err != nil {
		c.Fatalf("%s %s: %v", kind, node, err)
	}
	return f
}

// partition cuts the wire between sets, "a,b" each.
func (c *cloud) partition(sets ...string) {
	c.Helper()
	f := lab.Fault{Kind: "partition"}
	for _, set := range sets {
		f.Sets = append(f.Sets, strings.Split(set, ","))
	}
	if _, err := lab.Inject(context.Background(), c.dir, f); err != nil {
		c.Fatal(err)
	}
}

// run runs a command in a node and gives what it printed and its exit code.
func (c *cloud) run(node string, args ...string) (string, int) {
	c.Helper()
	var out, said bytes.Buffer
	code, err := lab.Command{Node: node, Args: args, Stdout: &out, Stderr: &said}.Run(context.Background(), c.dir)
	if err != nil {
		c.Fatalf("%v in %s: %v", args, node, err)
	}
	return out.String() + said.String(), code
}

// load runs the load generator in the client's node on the lab's spec.
func (c *cloud) load(args ...string) []load.Record {
	c.Helper()
	records, err := c.tryLoad(args...)
	if err != nil {
		c.Fatal(err)
	}
	return records
}

func (c *cloud) tryLoad(args ...string) ([]load.Record, error) {
	var out, said bytes.Buffer
	all := append([]string{"holdfast", "lab", "load", "--records"}, args...)
	code, err := lab.Command{Node: "client", Args: all, Stdout: &out, Stderr: &said}.Run(context.Background(), c.dir)
	if err != nil || code != 0 {
		return nil, fmt.Errorf("load: exit code %d, %w: %s", code, err, said.String())
	}
	var records []load.Record
	for lines := json.NewDecoder(&out); lines.More(); {
		var r load.Record
		if err := lines.Decode(&r); err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		records = append(records, r)
	}
	return records, nil
}

// allAnswer says which services do not answer through the VIP's name.
func (c *cloud) allAnswer() error {
	n := len(c.status().Endpoints)
	records, err := c.tryLoad("--rate", fmt.Sprint(20*n), "--duration", "50ms", "--timeout", "2s", "--connections", "new")
	if err != nil {
		return err
	}
	var wrong []string
	for _, r := range records {
		if r.Failure != "" {
			wrong = append(wrong, r.Target+": "+r.Error)
		}
	}
	if len(records) < n {
		wrong = append(wrong, fmt.Sprintf("%d requests for %d services", len(records), n))
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// holder gives the one node that has the first VIP, when there is one.
func (c *cloud) holder() string {
	c.Helper()
	name := ""
	c.await("one holder", func() error {
		holders := c.status().VIPs[0].Holders
		if len(holders) != 1 {
			return fmt.Errorf("holders %v", holders)
		}
		name = holders[0]
		return nil
	})
	return name
}

// awaitHolder waits until one of nodes, and no other node, has the VIP.
func (c *cloud) awaitHolder(nodes ...string) {
	c.Helper()
	c.await(fmt.Sprintf("one of %v to hold the VIP alone", nodes), func() error {
		holders := c.status().VIPs[0].Holders
		if len(holders) != 1 || !slices.Contains(nodes, holders[0]) {
			return fmt.Errorf("holders %v", holders)
		}
		return nil
	})
}

// others gives the controllers but node.
func (c *cloud) others(node string) []string {
	var all []string
	for _, n := range c.status().Nodes {
		if n.Agent != nil && n.Name != node {
			all = append(all, n.Name)
		}
	}
	return all
}
