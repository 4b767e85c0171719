package link

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/vrrp"
)

// A frr is a real vrrpd of FRR on a machine, with the zebra that it needs. It knows
// multicast only, and has the address on a macvlan device of its own at all times, which
// is taken down (protodown) while it is not Master: so its log says whether it is.
type frr struct {
	t    *testing.T
	log  string
	stop func() // as systemd does, with SIGTERM
	kill func() // without a word to the others
}

// vrrpd starts one on x, with the priority, and preempt or not.
func (x *machine) vrrpd(t *testing.T, m mode, priority int, preempt bool) *frr {
	t.Helper()
	const programs = "/usr/lib/frr/"
	if _, err := os.Stat(programs + "vrrpd"); err != nil {
		t.Skip("FRR is not installed: apt-get install frr")
	}
	dir := frrDirectory(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	device, mac, family, length := "vrrp4", "00:00:5e:00:01:33", "ip", 24
	if m.six {
		device, mac, family, length = "vrrp6", "00:00:5e:00:02:33", "ipv6", 64
	}
	x.run(fmt.Sprintf(`ip link add %[1]s link eth0 type macvlan mode bridge
		ip link set dev %[1]s address %[2]s
		ip address add %[3]v/%[4]d dev %[1]s nodad
		ip link set dev %[1]s up`, device, mac, m.virtual(), length))
	config := fmt.Sprintf("interface eth0\n vrrp 51\n vrrp 51 advertisement-interval 100\n vrrp 51 priority %d\n vrrp 51 %s %v\n", priority, family, m.virtual())
	if !preempt {
		config += " no vrrp 51 preempt\n"
	}
	for name, text := range map[string]string{"vrrpd.conf": config, "zebra.conf": "\n"} {
		if err := os.WriteFile(in(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := &frr{t: t, log: in("vrrpd.log")}
	start := func(name string) *exec.Cmd {
		log, err := os.Create(in(name + ".log"))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd := exec.Command(programs+name, "-f", in(name+".conf"), "-i", in(name+".pid"), "-z", in("zserv.api"), "--vty_socket", dir,
			"-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", "debug")
		cmd.Stdout, cmd.Stderr = log, log
		if err := x.ns.Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	zebra := start("zebra")
	await(t, "zebra to listen", func() bool { _, err := os.Stat(in("zserv.api")); return err == nil })
	vrrpd := start("vrrpd")
	end := func(signal syscall.Signal) func() {
		return func() {
			if err := vrrpd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
			_ = vrrpd.Wait() // by the signal
			if err := zebra.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = zebra.Wait()
			if t.Failed() || testing.Verbose() {
				t.Logf("vrrpd says:\n%s", f.said())
			}
		}
	}
	once := &sync.Once{}
	f.stop, f.kill = func() { once.Do(end(syscall.SIGTERM)) }, func() { once.Do(end(syscall.SIGKILL)) }
	t.Cleanup(f.stop)
	return f
}

// frrDirectory gives one that FRR's own user can write to, which tests' own cannot be.
func frrDirectory(t *testing.T) string {
	t.Helper()
	owner, err := user.Lookup("frr")
	if err != nil {
		t.Skip("FRR has no user: ", err)
	}
	dir, err := os.MkdirTemp("", "holdfast-frr-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	uid, uidErr := strconv.Atoi(owner.Uid)
	gid, gidErr := strconv.Atoi(owner.Gid)
	if err := errors.Join(uidErr, gidErr, os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (f *frr) said() string {
	b, err := os.ReadFile(f.log)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// is reports whether it came into a state last.
func (f *frr) is(state string) bool {
	said := f.said()
	_, last, found := strings.Cut(said[max(0, strings.LastIndex(said, " -> ")):], " -> ")
	return found && strings.HasPrefix(last, state)
}

// multicast are the modes that FRR knows.
func multicast() (some []mode) {
	for _, m := range modes {
		if m.multicast {
			some = append(some, m)
		}
	}
	return some
}

// TestTakeOverFromFRR joins a real vrrpd that is Master, takes over when it stops and
// when it is killed, and gives way when it comes back with a higher priority.
func TestTakeOverFromFRR(t *testing.T) {
	eachMode(t, multicast(), func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		f := theirs.vrrpd(t, m, 254, false)
		await(t, "vrrpd to be Master", func() bool { return f.is("Master") })
		o := m.options(ours, ours, theirs)
		o.Priority = 200
		a := ours.loop(o)
		a.hears(10)
		if s := a.Stats(); s.State != vrrp.Backup || len(s.Rejected) != 0 || s.OtherAddresses != 0 || s.OtherInterval != 0 {
			t.Errorf("beside vrrpd: %+v", s)
		}
		f.stop()
		a.await(vrrp.Active)
		if got := a.Stats().Reason; !strings.HasSuffix(got, "resigned") {
			t.Errorf("active because %q, want vrrpd to have resigned", got)
		}
	})
}

// TestTakeOverFromKilledFRR takes over when nothing more is heard of it.
func TestTakeOverFromKilledFRR(t *testing.T) {
	eachMode(t, multicast(), func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		f := theirs.vrrpd(t, m, 254, false)
		await(t, "vrrpd to be Master", func() bool { return f.is("Master") })
		o := m.options(ours, ours, theirs)
		o.Priority = 200
		a := ours.loop(o)
		a.hears(10)
		f.kill()
		a.await(vrrp.Active)
		if got := a.Stats().Reason; !strings.HasPrefix(got, "no advert from ") {
			t.Errorf("active because %q", got)
		}
	})
}

// TestFRRTakesOver lets a real vrrpd stay Backup while a loop is Active, and become
// Master when that ends; and preempt it, where it is set to.
func TestFRRTakesOver(t *testing.T) {
	eachMode(t, multicast(), func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		o := m.options(ours, ours, theirs)
		o.Checksum, o.Priority = vrrp.PseudoHeader, 200
		a := ours.loop(o)
		a.await(vrrp.Active)
		f := theirs.vrrpd(t, m, 100, false)
		await(t, "vrrpd to start", func() bool { return f.is("Backup") })
		sent := a.Stats().AdvertsSent
		await(t, "ten more adverts", func() bool { return a.Stats().AdvertsSent > sent+10 })
		if !f.is("Backup") || a.Stats().State != vrrp.Active {
			t.Errorf("vrrpd became Master beside an active loop: %+v", a.Stats())
		}
		begun := time.Now()
		a.stop()
		await(t, "vrrpd to be Master", func() bool { return f.is("Master") })
		t.Logf("vrrpd was Master after %v", time.Since(begun))
		if s := a.Stats(); len(s.Rejected) != 0 {
			t.Errorf("vrrpd's adverts: %+v", s)
		}
	})
}

// TestFRRPreempts has a vrrpd of a higher priority take the address from a loop, which
// gives way, and takes it back when that stops.
func TestFRRPreempts(t *testing.T) {
	eachMode(t, multicast(), func(t *testing.T, m mode) {
		l := newLAN(t)
		ours, theirs := l.plug(), l.plug()
		o := m.options(ours, ours, theirs)
		o.Checksum, o.Priority = vrrp.PseudoHeader, 200
		a := ours.loop(o)
		a.await(vrrp.Active)
		f := theirs.vrrpd(t, m, 254, true)
		await(t, "vrrpd to be Master", func() bool { return f.is("Master") })
		a.await(vrrp.Backup)
		a.hears(10)
		if !f.is("Master") || ours.has(m.virtual()) {
			t.Errorf("both have the address: %+v", a.Stats())
		}
		f.stop()
		a.await(vrrp.Active)
	})
}

// TestFRRWantsItsChecksum shows that vrrpd, too, does not accept the RFC's checksum over
// IPv4. It says nothing of that.
func TestFRRWantsItsChecksum(t *testing.T) {
	t.Parallel()
	m := multicast()[0]
	l := newLAN(t)
	ours, theirs := l.plug(), l.plug()
	a := ours.loop(m.options(ours, ours, theirs))
	a.await(vrrp.Active)
	f := theirs.vrrpd(t, m, 100, false)
	await(t, "vrrpd to become Master, too", func() bool { return f.is("Master") })
	await(t, "its other form of the checksum", func() bool { return a.Stats().Checksums["pseudo-header"] > 0 })
}
