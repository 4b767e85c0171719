package link

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"holdfast/internal/vrrp"
)

// keepalivedConfig is a router like that of a loop with 51 as its id.
var keepalivedConfig = template.Must(template.New("keepalived.conf").Parse(`
global_defs {
    vrrp_version 3
    vrrp_garp_master_repeat 1
}
vrrp_instance api {
    state BACKUP
    nopreempt
    interface eth0
    virtual_router_id 51
    priority {{.Priority}}
    advert_int 0.1
{{- if .Unicast}}
    unicast_src_ip {{.Source}}
    unicast_ttl 255
    unicast_peer {
        {{.Peer}}
    }
{{- end}}
{{- if .Six}}
    native_ipv6
{{- end}}
{{- if .Auth}}
    auth_hmac {
        {{.Auth}}
    }
{{- end}}
    virtual_ipaddress {
        {{.Virtual}}
    }
}
`))

// A keepalived is a real keepalived on a machine.
type keepalived struct {
	t    *testing.T
	log  string
	stop func() // as systemd does, with SIGTERM
}

// keepalived starts one on x, with the priority.
func (x *machine) keepalived(t *testing.T, m mode, priority int, peer *machine) *keepalived {
	t.Helper()
	path, err := exec.LookPath("keepalived")
	if err != nil {
		t.Skip("keepalived is not installed: apt-get install keepalived")
	}
	return x.keepalivedAt(t, path, "", m, priority, peer)
}

// keepalivedAt starts the one at path, with the lines of an auth_hmac block, if any.
func (x *machine) keepalivedAt(t *testing.T, path, auth string, m mode, priority int, peer *machine) *keepalived {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	f, err := os.Create(in("keepalived.conf"))
	if err != nil {
		t.Fatal(err)
	}
	prefix := 24
	if m.six {
		prefix = 64
	}
	err = keepalivedConfig.Execute(f, map[string]any{
		"Priority": priority, "Unicast": !m.multicast, "Six": m.six,
		"Source": m.addr(x), "Peer": m.addr(peer), "Virtual": fmt.Sprintf("%v/%d", m.virtual(), prefix),
		"Auth": auth,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(in("log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--dont-fork", "--log-console", "--vrrp",
		"--use-file", in("keepalived.conf"), "--pid", in("pid"), "--vrrp_pid", in("vrrp.pid"), "--checkers_pid", in("checkers.pid"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := x.ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	k := &keepalived{t: t, log: in("log")}
	k.stop = sync.OnceFunc(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Logf("keepalived: %v", err)
		}
		if t.Failed() || testing.Verbose() {
			t.Logf("keepalived says:\n%s", k.said())
		}
	})
	t.Cleanup(k.stop)
	return k
}

func (k *keepalived) said() string {
	b, err := os.ReadFile(k.log)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(b)
}

// TestTakeOverFromKeepalived lets a loop take over when a real keepalived stops.
func TestTakeOverFromKeepalived(t *testing.T) {
	eachMode(t, modes, func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		k := theirs.keepalived(t, m, 254, ours)
		await(t, "keepalived to have the address", func() bool { return theirs.has(m.virtual()) })
		a := ours.loop(m.options(ours, ours, theirs))
		a.hears(10)
		if s := a.Stats(); s.State != vrrp.Backup || len(s.Rejected) != 0 || s.OtherAddresses != 0 || s.OtherInterval != 0 {
			t.Errorf("beside keepalived: %+v", s)
		}
		if s := a.Stats(); !m.six && s.Checksums["pseudo-header"] < 10 {
			t.Errorf("checksums %v, want keepalived's to be with a pseudo-header", s.Checksums)
		}
		k.stop()
		a.await(vrrp.Active)
		if got := a.Stats().Reason; !strings.HasSuffix(got, "resigned") {
			t.Errorf("active because %q, want keepalived to have resigned", got)
		}
	})
}

// TestKeepalivedTakesOver lets a real keepalived stay Backup while a loop is
// Active, and take over when it ends.
func TestKeepalivedTakesOver(t *testing.T) {
	eachMode(t, modes, func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		o := m.options(ours, ours, theirs)
		o.Checksum = vrrp.PseudoHeader // and no link-local address over IPv6
		a := ours.loop(o)
		a.await(vrrp.Active)
		k := theirs.keepalived(t, m, 100, ours)
		await(t, "keepalived to start", func() bool { return strings.Contains(k.said(), "Entering BACKUP STATE") })
		sent := a.Stats().AdvertsSent
		await(t, "ten more adverts", func() bool { return a.Stats().AdvertsSent > sent+10 })
		if theirs.has(m.virtual()) || a.Stats().State != vrrp.Active {
			t.Errorf("keepalived took the address from an active loop: %+v", a.Stats())
		}
		begun := time.Now()
		a.stop()
		await(t, "keepalived to take over", func() bool { return theirs.has(m.virtual()) })
		t.Logf("keepalived had the address after %v", time.Since(begun))
		if s := a.Stats(); len(s.Rejected) != 0 || s.AdvertsSeen != 0 {
			t.Errorf("keepalived's adverts before it took over: %+v", s)
		}
	})
}

// TestKeepalivedWantsItsChecksum shows why the form of the checksum is an
// option: keepalived does not accept the RFC's over IPv4.
func TestKeepalivedWantsItsChecksum(t *testing.T) {
	t.Parallel()
	m := modes[0]
	l := newLAN(t)
	ours, theirs := l.plug(), l.plug()
	a := ours.loop(m.options(ours, ours, theirs))
	a.await(vrrp.Active)
	k := theirs.keepalived(t, m, 100, ours)
	await(t, "keepalived to take the address too", func() bool { return theirs.has(m.virtual()) })
	if !strings.Contains(k.said(), "Invalid VRRPv3 checksum") {
		t.Error("keepalived did not complain about the checksum")
	}
}

// held watches who has the address, until the function it gives is called, which
// gives how often nobody had it.
func held(t *testing.T, m mode, all ...*machine) func() int {
	stop, misses := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				misses <- n
				return
			case <-time.After(time.Millisecond):
			}
			// One look after the other: who takes it between two has it in the next.
			if !slices.ContainsFunc(all, has(m)) {
				if !slices.ContainsFunc(all, has(m)) {
					n++
				}
			}
		}
	}()
	end := sync.OnceValue(func() int {
		close(stop)
		return <-misses
	})
	t.Cleanup(func() { end() }) // a look that fails after its test has ended ends all tests
	return end
}

func has(m mode) func(*machine) bool {
	return func(x *machine) bool { return x.has(m.virtual()) }
}

// TestYieldToKeepalived hands over to a real keepalived, with the lowest and with
// the highest priority: both have nopreempt. Over multicast it takes over once every
// router is told, since it drops what is for it alone.
func TestYieldToKeepalived(t *testing.T) {
	cases := map[int][]mode{1: {modes[0], modes[3]}, 254: {modes[1], modes[2]}}
	for priority, some := range cases {
		t.Run(fmt.Sprint("priority ", priority), func(t *testing.T) {
			t.Parallel()
			eachMode(t, some, func(t *testing.T, m mode) {
				l := newLAN(t)
				ours, theirs := l.plug(), l.plug()
				o := m.options(ours, ours, theirs)
				o.Checksum, o.Priority = vrrp.PseudoHeader, 200
				a := ours.loop(o)
				a.await(vrrp.Active)
				k := theirs.keepalived(t, m, priority, ours)
				await(t, "keepalived to start", func() bool { return strings.Contains(k.said(), "Entering BACKUP STATE") })
				sent := a.Stats().AdvertsSent
				await(t, "five more adverts", func() bool { return a.Stats().AdvertsSent > sent+5 })
				misses := held(t, m, ours, theirs)
				begun := time.Now()
				if err := a.Yield(t.Context(), m.addr(theirs), YieldOptions{}); err != nil {
					t.Fatalf("%v; keepalived says:\n%s", err, k.said())
				}
				t.Logf("handed over in %v", time.Since(begun))
				if !theirs.has(m.virtual()) || ours.has(m.virtual()) {
					t.Error("the address is not on keepalived alone")
				}
				if got := a.Stats().Reason; got != "handed over to ctl2" {
					t.Errorf("reason %q", got)
				}
				a.hears(20)
				if n := misses(); n > 0 {
					t.Errorf("nobody had the address, %d times", n)
				}
				if s := a.Stats(); s.State != vrrp.Backup || s.Transitions != 3 || len(s.Rejected) != 0 {
					t.Errorf("%+v", s)
				}
				k.stop()
				a.await(vrrp.Active)
			})
		})
	}
}

// TestYieldToDeadKeepalived hands over to a keepalived that was killed: the loop
// stays Active.
func TestYieldToDeadKeepalived(t *testing.T) {
	eachMode(t, modes[:2], func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		o := m.options(ours, ours, theirs)
		o.Checksum = vrrp.PseudoHeader // and no link-local address over IPv6
		a := ours.loop(o)
		a.await(vrrp.Active)
		k := theirs.keepalived(t, m, 100, ours)
		await(t, "keepalived to start", func() bool { return strings.Contains(k.said(), "Entering BACKUP STATE") })
		k.stop()
		misses := held(t, m, ours, theirs)
		err := a.Yield(t.Context(), m.addr(theirs), YieldOptions{})
		if err == nil || !strings.Contains(err.Error(), "it did not take over within") {
			t.Errorf("got %v", err)
		}
		if n := misses(); n > 0 {
			t.Errorf("nobody had the address, %d times", n)
		}
		if s := a.Stats(); s.State != vrrp.Active || s.Transitions != 2 || theirs.has(m.virtual()) {
			t.Errorf("%+v", s)
		}
	})
}
