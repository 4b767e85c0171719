package lab_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/lab"
)

// small is a spec of one controller and one service.
const small = `
cloud: small
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 7, interval: 20ms}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
services:
  keystone: {}
`

// TestTwoLabs has two labs of the same names and addresses side by side: each
// answers, and what is done to one the other does not feel.
func TestTwoLabs(t *testing.T) {
	a, b := newCloud(t, "left", small), newCloud(t, "right", small)
	if err := errors.Join(a.allAnswer(), b.allAnswer()); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Find(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "--name") {
		t.Errorf("with two labs, none named: %v", err)
	}
	if d, err := lab.Find(t.Context(), b.dir.Name()); err != nil || d != b.dir {
		t.Errorf("found %s, %v, want %s", d, err, b.dir)
	}
	a.fault("power-off", "ctl1")
	if err := b.allAnswer(); err != nil {
		t.Errorf("after the other lab's only controller was powered off: %v", err)
	}
	if err := a.allAnswer(); err == nil {
		t.Error("a lab whose only controller is off still answers")
	}
	a.fault("back", "ctl1")
	a.await("the controller's return", a.allAnswer)
}

// TestLogOfANode finds what HAProxy logs of a request in the lab's own file, also on a
// machine that has no /dev/log, and no word of a log that would be lost.
func TestLogOfANode(t *testing.T) {
	c := sharedCloud(t)
	c.run("client", "curl", "-s", "http://openstack.eqiad1.wikimediacloud.org:5000/v3?marked")
	c.await("the request in the log of a controller", func() error {
		for _, name := range []string{"ctl1", "ctl2", "ctl3"} {
			log, err := os.ReadFile(filepath.Join(string(c.dir), "nodes", name, "syslog.log"))
			if err == nil && strings.Contains(string(log), "/v3?marked") {
				return nil
			}
		}
		return errors.New("no node's syslog.log has it")
	})
	for _, name := range []string{"ctl1", "ctl2", "ctl3"} {
		log, err := os.ReadFile(filepath.Join(string(c.dir), "nodes", name, "agent.log"))
		if err != nil || strings.Contains(string(log), "log is lost") {
			t.Errorf("the agent of %s says that HAProxy's log is lost: %v", name, err)
		}
	}
	if out, code := c.run("client", "sh", "-c", "test -c /dev/null && test -d /dev/pts && test -S /dev/log && echo x > /dev/null"); code != 0 {
		t.Errorf("the /dev of a node lacks something: %s", out)
	}
}

// TestExec runs commands as a person at a shell would.
func TestExec(t *testing.T) {
	c := sharedCloud(t)
	tests := []struct {
		name, node string
		args       []string
		want       string
		code       int
	}{
		{"host name", "dns1", []string{"hostname"}, "dns1\n", 0},
		{"exit code", "client", []string{"sh", "-c", "echo out; exit 7"}, "out\n", 7},
		{"killed", "client", []string{"sh", "-c", "kill -9 $$"}, "", 137},
		{"own processes only", "dns1", []string{"sh", "-c", "ls /proc | grep -c '^[0-9]*$'"}, "5\n", 0}, // init, designate, sh, ls, grep
		{"the lab's binary", "ctl1", []string{"holdfast", "version"}, "holdfast ", 0},
		{"the controller's spec", "ctl2", []string{"holdfast", "validate"}, "", 0},
		{"address of a node", "client", []string{"getent", "ahostsv4", "ctl3"}, "10.64.20.15 ", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, code := c.run(tt.node, tt.args...)
			if code != tt.code || !strings.HasPrefix(got, tt.want) {
				t.Errorf("%v in %s: exit code %d, %q; want %d, %q", tt.args, tt.node, code, got, tt.code, tt.want)
			}
		})
	}
	code, err := lab.Command{Node: "client", Args: []string{"no-such-command"}}.Run(t.Context(), c.dir)
	if code != 127 || err == nil || !strings.Contains(err.Error(), "not there") {
		t.Errorf("a command that is not there: %d, %v", code, err)
	}
	if _, err := (lab.Command{Node: "ctl9", Args: []string{"true"}}).Run(t.Context(), c.dir); err == nil || !strings.Contains(err.Error(), "there are ctl1, ") {
		t.Errorf("a node that is not there: %v", err)
	}
}

// TestExecEnds stops a command with its context, and one whose user is gone.
func TestExecEnds(t *testing.T) {
	c := sharedCloud(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
			t.Error(err)
		}
		cancel()
	}()
	code, err := lab.Command{Node: "client", Args: []string{"sh", "-c", "trap 'exit 9' TERM; echo on; while :; do sleep 0.05; done"}, Stdout: w}.Run(ctx, c.dir)
	if code != 9 || err != nil {
		t.Errorf("stopped: exit code %d, %v, want the command's own 9", code, err)
	}
	cmd := exec.Command(c.binary, "lab", "exec", "--name", c.dir.Name(), "dns2", "sleep", "7777")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sleeping := func() error {
		if out, _ := c.run("dns2", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"); strings.Contains(out, "sleep 7777") {
			return errors.New("it sleeps")
		}
		return nil
	}
	c.await("the command to run", func() error {
		if sleeping() == nil {
			return errors.New("it does not sleep yet")
		}
		return nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	c.await("the command's end with its user's", sleeping)
}

// upCommand starts "holdfast lab up" as a person would and waits until it says
// that the lab is up.
func upCommand(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	binary := needLab(t)
	file := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(file, []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "lab", "up", "--name", name, "-f", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "Ctrl-C ends it") {
			return cmd
		}
	}
	t.Fatalf("lab up ended: %s", said.String())
	return nil
}

// processesOf gives the processes of the lab called name, HAProxy included:
// each has the lab's directory in its arguments.
func processesOf(t *testing.T, name string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && bytes.Contains(data, []byte("holdfast-lab/"+name+"/")) {
			all = append(all, string(bytes.ReplaceAll(data, []byte{0}, []byte(" "))))
		}
	}
	return all
}

// TestNothingStays ends a lab in every way there is: no process is left, and
// the same name can be used again at once.
func TestNothingStays(t *testing.T) {
	name := fmt.Sprintf("gone-%d", os.Getpid())
	dir := lab.Dir("/run/holdfast-lab/" + name)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
		cmd := upCommand(t, name)
		if got := processesOf(t, name); len(got) < 5 {
			t.Fatalf("processes of the lab: %q; want server, node, agent, HAProxy, service", got)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if sig != syscall.SIGKILL && err != nil {
			t.Errorf("after %v: %v, want exit code 0", sig, err)
		}
		c := &cloud{T: t}
		c.await(fmt.Sprintf("the lab's end after %v", sig), func() error {
			if left := processesOf(t, name); len(left) > 0 {
				return fmt.Errorf("left: %q", left)
			}
			return nil
		})
		if _, err := os.Stat(string(dir)); sig != syscall.SIGKILL && !os.IsNotExist(err) {
			t.Errorf("after %v: %s is left: %v", sig, dir, err)
		}
	}
	// A lab that is brought down from elsewhere, twice in a row.
	cmd := upCommand(t, name)
	if out, err := exec.Command(needLab(t), "lab", "down", "--name", name).CombinedOutput(); err != nil {
		t.Errorf("lab down: %v: %s", err, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("lab up, after lab down: %v, want exit code 0", err)
	}
	if left := processesOf(t, name); len(left) > 0 {
		t.Errorf("after lab down: %q", left)
	}
	out, err := exec.Command(needLab(t), "lab", "down", "--name", name).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "runs") {
		t.Errorf("lab down of no lab: %v, %s", err, out)
	}
}

// TestUpFails tells why a lab did not come up, and leaves nothing of it.
func TestUpFails(t *testing.T) {
	binary := needLab(t)
	name := fmt.Sprintf("fails-%d", os.Getpid())
	try := func(yaml string, wait time.Duration) error {
		_, err := lab.Up(t.Context(), lab.UpOptions{Name: name, File: "x.yaml", Data: []byte(yaml), Binary: binary, Timeout: wait})
		if err == nil {
			t.Fatal("the lab came up")
		}
		if left := processesOf(t, name); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		if _, err := os.Stat("/run/holdfast-lab/" + name); !os.IsNotExist(err) {
			t.Errorf("its directory is left: %v", err)
		}
		return err
	}
	if err := try(small, time.Millisecond); !strings.Contains(err.Error(), "not ready after 1ms") {
		t.Errorf("in too short a time: %v", err)
	}
	if err := try("cloud: x\n", time.Minute); !strings.Contains(err.Error(), "x.yaml") {
		t.Errorf("of a bad spec: %v", err)
	}
	bad := strings.Replace(small, "interface: eno1,", "interface: eno1, tls: {certificate: /dev/null},", 1)
	if err := try(bad, 5*time.Second); !strings.Contains(err.Error(), "ctl1") || !strings.Contains(err.Error(), "log") {
		t.Errorf("with a certificate that HAProxy does not take: %v; want the controller's log", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lab.Up(ctx, lab.UpOptions{Name: name, File: "x.yaml", Data: []byte(small), Binary: binary, Timeout: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestAnySpec builds what a spec may ask for beside the usual: IPv6 beside
// IPv4, two VIPs in two networks, hosts outside of both, TLS, a service that is
// not HTTP.
func TestAnySpec(t *testing.T) {
	c := newCloud(t, "any", `
cloud: any
vips:
  - name: api
    addresses: [10.64.20.10/24, "2001:db8:20::10/64"]
    hostname: api.example.org
    interface: bond0.20
    endpoints: [public]
    tls: {certificate: /etc/holdfast/tls/not-on-this-machine.pem}
    vrrp: {router_id: 7, interval: 50ms}
  - name: inside
    addresses: [10.1.0.10/28]
    hostname: inside.example.org
    interface: eno2
    endpoints: [internal, admin]
    vrrp: {router_id: 8, interval: 50ms}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14, interface: enp2s0}
services:
  keystone: {}
  designate:
    hosts: [{name: ns1, address: 172.16.5.23}, {name: ctl2, address: 172.16.5.24}]
  lines: {type: lines, port: 7007, mode: tcp}
`)
	needCurl(t)
	for _, family := range []string{"-4", "-6"} {
		out, code := c.run("client", "curl", "-sSk", family, "-m", "5", "https://api.example.org:9001/")
		if code != 0 || !strings.Contains(out, "versions") {
			t.Errorf("curl %s: exit code %d, %s", family, code, out)
		}
	}
	out, code := c.run("client", "bash", "-c", "exec 3<>/dev/tcp/inside.example.org/7007; echo hello >&3; head -n 1 <&3")
	if code != 0 || !strings.HasSuffix(out, ": hello\n") {
		t.Errorf("a service of lines answered %q", out)
	}
	holder := c.holder()
	c.fault("power-off", holder)
	c.await("the other controller to hold all addresses", func() error {
		for _, v := range c.status().VIPs {
			if len(v.Holders) != 1 || v.Holders[0] == holder {
				return fmt.Errorf("%s is held by %v", v.Address, v.Holders)
			}
		}
		return nil
	})
	c.await("answers over IPv6", func() error {
		if out, code := c.run("client", "curl", "-sSk", "-6", "-m", "5", "https://api.example.org:5000/v3"); code != 0 {
			return errors.New(out)
		}
		return nil
	})
}

// TestNineControllers is the largest lab.
func TestNineControllers(t *testing.T) {
	controllers := ""
	for i := 1; i <= 9; i++ {
		controllers += fmt.Sprintf("  - {name: ctl%d, address: 10.64.20.%d}\n", i, 20+i)
	}
	c := newCloud(t, "nine", strings.Replace(strings.Replace(small, "  - {name: ctl1, address: 10.64.20.13}\n", controllers, 1), "20ms", "100ms", 1))
	c.fault("power-off", c.holder())
	c.await("another holder", c.allAnswer)
}

// TestWithoutRoot builds a lab as a user without any privilege.
func TestWithoutRoot(t *testing.T) {
	binary := needLab(t)
	const nobody = 65534
	home, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "small.yaml"), []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) (string, error) {
		cmd := exec.Command(binary, append([]string{"lab"}, args...)...)
		cmd.Dir, cmd.Env = home, append(os.Environ(), "XDG_RUNTIME_DIR="+home, "HOME="+home)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := as("up", "--detach", "-f", "small.yaml")
	if err != nil && strings.Contains(out, "does not let user 65534 make namespaces") {
		t.Skip("unprivileged user namespaces are not allowed here")
	}
	if err != nil {
		t.Fatalf("lab up: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := as("down"); err != nil {
			t.Errorf("lab down: %v\n%s", err, out)
		}
	})
	if out, err := as("exec", "client", "holdfast", "lab", "load", "--url", "k=http://api.example.org:5000/v3", "--duration", "200ms"); err != nil || !strings.Contains(out, `"failed": 0`) {
		t.Errorf("load: %v\n%s", err, out)
	}
	if out, err := as("fault", "power-off", "holder"); err != nil || out != "ctl1 powered off\n" {
		t.Errorf("fault: %v\n%s", err, out)
	}
	if out, err := as("fault", "back", "ctl1"); err != nil {
		t.Errorf("back: %v\n%s", err, out)
	}
	if out, err := as("status"); err != nil || !strings.Contains(out, "ctl1") {
		t.Errorf("status: %v\n%s", err, out)
	}
}
