// Package bgptest gives tests a router: FRR, in a network namespace of its own, at the other end of
// a cable. It is for tests only.
package bgptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/internal/netnstest"
)

// A Router is FRR on the other end of a cable.
type Router struct {
	t   testing.TB
	ns  *netnstest.Namespace
	dir string
	// Link is this end of the cable.
	Link string
}

// New starts one, whose bgpd is AS 64800 and is configured with config below that. It is 10.0.0.1,
// fd00::1 and fe80::1, and here, on a device of its own, is 10.0.0.2, fd00::2 and fe80::2.
func New(t testing.TB, config string) *Router {
	t.Helper()
	if _, err := os.Stat(programs + "bgpd"); err != nil {
		t.Skip("FRR is not installed: apt-get install frr")
	}
	r := &Router{t: t, ns: netnstest.New(t), dir: directory(t)}
	r.Link = fmt.Sprintf("r%d", time.Now().UnixNano()%1e9)
	netnstest.Run(t, "ip link add "+r.Link+" type veth peer name peer netns "+r.ns.Path())
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", r.Link).Run() }) //nolint:noctx // the test's context has ended
	for _, command := range []string{"ip link set %s addrgenmode none", "ip link set %s up", "ip address add 10.0.0.2/24 dev %s", "ip address add fd00::2/64 dev %s nodad", "ip address add fe80::2/64 dev %s nodad"} {
		netnstest.Run(t, fmt.Sprintf(command, r.Link))
	}
	r.ns.Run(`ip link set peer up
		ip address add 10.0.0.1/24 dev peer
		ip address add fd00::1/64 dev peer nodad
		ip address add fe80::1/64 dev peer nodad`)
	for name, text := range map[string]string{"zebra": "\n", "bfdd": "\n", "bgpd": "router bgp 64800\n bgp router-id 10.0.0.1\n no bgp ebgp-requires-policy\n" + config} {
		if err := os.WriteFile(filepath.Join(r.dir, name+".conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.start("zebra")
	Wait(t, "zebra to listen", func() bool { _, err := os.Stat(filepath.Join(r.dir, "zserv.api")); return err == nil })
	r.start("bfdd", "--bfdctl", filepath.Join(r.dir, "bfdd.sock"))
	r.start("bgpd")
	Wait(t, "bgpd to answer", func() bool { _, err := r.Ask("show version"); return err == nil })
	return r
}

// Wait waits until holds, for a minute: several daemons have to start, and retry, on a machine
// that may be busy.
func Wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("still waiting: %s", what)
		}
	}
}

const programs = "/usr/lib/frr/"

// directory gives one that FRR's own user can write to.
func directory(t testing.TB) string {
	t.Helper()
	owner, err := user.Lookup("frr")
	if err != nil {
		t.Skip("FRR has no user: ", err)
	}
	dir, err := os.MkdirTemp("", "holdfast-frr-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	uid, uidErr := strconv.Atoi(owner.Uid)
	gid, gidErr := strconv.Atoi(owner.Gid)
	if err := errors.Join(uidErr, gidErr, os.Chown(dir, uid, gid), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (r *Router) start(name string, more ...string) {
	r.t.Helper()
	run(r.t, r.dir, name, r.ns.Do, more...)
}

// run starts a daemon of FRR, by do, with its file in dir.
func run(t testing.TB, dir, name string, do func(func() error) error, more ...string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(dir, name) }
	log, err := os.Create(in(name + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the daemon has it
	args := append([]string{
		"-f", in(name + ".conf"), "-i", in(name + ".pid"), "-z", in("zserv.api"), "--vty_socket", dir,
		"-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", "debug",
	}, more...)
	cmd := exec.Command(programs+name, args...) //nolint:noctx // it is killed below
	cmd.Stdout, cmd.Stderr = log, log
	if err := do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // by the signal
		if t.Failed() {
			said, _ := os.ReadFile(in(name + ".log")) //nolint:errcheck // then it has said nothing
			t.Logf("%s says:\n%s", name, said)
		}
	})
}

// FRR starts one on this end of the cable, with a file of its configuration.
func FRR(t testing.TB, config []byte) {
	t.Helper()
	dir := directory(t)
	for name, text := range map[string][]byte{"zebra": []byte("\n"), "bfdd": []byte("\n"), "bgpd": config} {
		if err := os.WriteFile(filepath.Join(dir, name+".conf"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	here := func(f func() error) error { return f() }
	run(t, dir, "zebra", here)
	Wait(t, "zebra to listen", func() bool { _, err := os.Stat(filepath.Join(dir, "zserv.api")); return err == nil })
	run(t, dir, "bfdd", here, "--bfdctl", filepath.Join(dir, "bfdd.sock"))
	run(t, dir, "bgpd", here)
}

// Ask gives what a show command says.
func (r *Router) Ask(command string) (string, error) {
	out, err := exec.Command("vtysh", "--vty_socket", r.dir, "-d", "bgpd", "-c", command).CombinedOutput() //nolint:noctx // the test's context may have ended
	return string(out), err
}

// A Path is one that bgpd has.
type Path struct {
	Valid     bool `json:"valid"`
	Stale     bool `json:"stale"`
	MED       int  `json:"metric"`
	Community struct {
		String string `json:"string"`
	} `json:"community"`
	Aspath struct {
		String string `json:"string"`
	} `json:"aspath"`
	Nexthops []struct {
		IP string `json:"ip"`
	} `json:"nexthops"`
	LocalPref int `json:"localpref"`
}

// Paths gives those to a prefix.
func (r *Router) Paths(prefix string) []Path {
	family := "ipv4"
	if strings.Contains(prefix, ":") {
		family = "ipv6"
	}
	out, err := r.Ask(fmt.Sprintf("show bgp %s unicast %s json", family, prefix))
	var all struct{ Paths []Path }
	if err != nil || json.Unmarshal([]byte(out), &all) != nil {
		return nil
	}
	return all.Paths
}

// Await waits for exactly one path to prefix that is as it should be; meanwhile is done at each look.
func (r *Router) Await(what, prefix string, is func(Path) bool, meanwhile ...func()) Path {
	r.t.Helper()
	var found []Path
	Wait(r.t, what, func() bool {
		for _, do := range meanwhile {
			do()
		}
		found = r.Paths(prefix)
		return len(found) == 1 && is(found[0])
	})
	return found[0]
}

// AwaitRoute waits until the router's kernel has a route to prefix.
func (r *Router) AwaitRoute(prefix string) {
	r.t.Helper()
	Wait(r.t, "a route to "+prefix, func() bool {
		var out []byte
		err := r.ns.Do(func() (err error) { out, err = exec.Command("ip", "route", "show", prefix).Output(); return err }) //nolint:noctx // it is short
		return err == nil && len(out) > 0
	})
}

// AwaitNone waits for no path to prefix.
func (r *Router) AwaitNone(what, prefix string) {
	r.t.Helper()
	Wait(r.t, what, func() bool { return len(r.Paths(prefix)) == 0 })
}

// Watch looks at the router's table all the time, and gives how often prefix was not there.
func (r *Router) Watch(prefix string) (end func() int) {
	done, ended, missing := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := r.ns.Do(func() error {
				out, err := exec.Command("ip", "route", "show", prefix).Output() //nolint:noctx // it is short
				if err == nil && len(out) == 0 {
					missing++
				}
				return err
			}); err != nil {
				r.t.Error(err)
				return
			}
		}
	}()
	return func() int { close(done); <-ended; return missing }
}
