package announcer

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/netnstest"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

func TestReadPassword(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		path, password, problem string
	}{
		{write("good", "s3cret\n", 0o600), "s3cret", ""},
		{write("blank", "two words", 0o400), "two words", ""},
		{write("open", "s3cret\n", 0o644), "", "can be read by others: chmod 600"},
		{write("empty", "\n", 0o600), "", "has not one line"},
		{write("lines", "a\nb\n", 0o600), "", "has not one line"},
		{write("long", strings.Repeat("x", 81), 0o600), "", "has not one line"},
		{filepath.Join(dir, "none"), "", "no such file"},
		{dir, "", "is no file"},
	} {
		password, err := readPassword(c.path)
		if password != c.password || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %q, %v; want %q, %q", c.path, password, err, c.password, c.problem)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}

const text = `
vips: [{name: api, addresses: [203.0.113.10/32], hostname: api.example.org, announce: bgp}]
controllers: [{name: ctl1, address: 10.64.20.13}, {name: ctl2, address: 10.64.20.14}]
services: {keystone: {}}
bgp: {asn: 64710, peers: [{address: 10.64.20.1, asn: 64800, controllers: [ctl1]}, {address: 10.64.20.2, asn: 64800, controllers: [ctl2]}]}
`

func parse(t *testing.T, text string) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("test.yaml", []byte(text))
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

// TestSpeakerIsKept has a reload that changes nothing of this controller's sessions leave them
// alone.
func TestSpeakerIsKept(t *testing.T) {
	a := New(Options{Controller: "ctl1", Log: slog.New(slog.DiscardHandler)})
	before, _, err := a.speakerOptions(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if len(before.Peers) != 1 || before.Peers[0].Address.String() != "10.64.20.1" || before.RouterID.String() != "10.64.20.13" {
		t.Errorf("ctl1 speaks as %+v", before)
	}
	for change, same := range map[string]bool{
		"10.64.20.2, asn: 64800": true, "10.64.20.1, asn: 64800": false, "asn: 64710": false,
	} {
		after, _, err := a.speakerOptions(parse(t, strings.Replace(text, change, strings.Replace(change, "64", "65", 1), 1)))
		if err != nil {
			t.Fatal(err)
		}
		after.Restarting = true
		if before.Like(after) != same {
			t.Errorf("with another %q it goes on: %v", change, !same)
		}
	}
}

// TestNothingToDo has an announcer without a VIP be well, and wait.
func TestNothingToDo(t *testing.T) {
	a := New(Options{Controller: "ctl1", Log: slog.New(slog.DiscardHandler), Report: func(string, string, *status.Finding) {}, HAProxy: func() status.HAProxy { t.Error("it looks at HAProxy"); return status.HAProxy{} }})
	use, err := a.Make(parse(t, strings.Replace(strings.Replace(text, "announce: bgp", "interface: eno1, vrrp: {router_id: 7}", 1), "/32", "/24", 1)))
	if err != nil {
		t.Fatal(err)
	}
	use()
	if err := a.Alive(); err != nil || len(a.Held()) > 0 || len(a.Status()) > 0 || len(a.Closing()) > 0 || a.speaker != nil {
		t.Errorf("without a VIP: %v, %+v", err, a.Status())
	}
	a.began = time.Now().Add(-time.Hour)
	if err := a.Alive(); err != nil {
		t.Error(err)
	}
	a.End()
}

// well gives an announcer of ctl1 in a network namespace, where HAProxy and keystone are well.
func well(t *testing.T) *Announcer {
	t.Helper()
	netnstest.New(t).Enter()
	netnstest.Run(t, "ip link set lo up")
	up := []status.Service{{Name: "keystone", Hosts: []status.Host{{State: status.Up}}}}
	return New(Options{
		Controller: "ctl1", Log: slog.New(slog.DiscardHandler), Drained: func() string { return "" },
		HAProxy: func() status.HAProxy { return status.HAProxy{State: status.HAProxyRunning} }, Services: func() []status.Service { return up },
		Event: func(status.Event) {}, Report: func(string, string, *status.Finding) {},
	})
}

func use(t *testing.T, a *Announcer, text string) {
	t.Helper()
	take, err := a.Make(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	take()
}

// TestReloadKeepsAddresses has a VIP that is changed keep the addresses that it goes on having,
// and their connections.
func TestReloadKeepsAddresses(t *testing.T) {
	before := strings.Replace(text, text[strings.Index(text, "bgp: {asn"):], "bgp: {engine: external}\n", 1)
	for name, change := range map[string][2]string{
		"an address more":   {"[203.0.113.10/32]", "[203.0.113.10/32, 203.0.113.11/32]"},
		"another name":      {"name: api", "name: apis"},
		"another interface": {"announce: bgp", "announce: bgp, interface: other"},
	} {
		t.Run(name, func(t *testing.T) {
			a := well(t)
			netnstest.Run(t, "ip link add other type veth peer name end")
			netnstest.Run(t, "ip link set end up")
			netnstest.Run(t, "ip link set other up")
			use(t, a, before)
			l, err := net.Listen("tcp", "203.0.113.10:5000")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := net.Dial("tcp", "203.0.113.10:5000")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			use(t, a, strings.Replace(before, change[0], change[1], 1))
			if v := a.Status()[0]; v.Announced != status.Announced || !v.Present {
				t.Errorf("after the reload: %+v", v)
			}
			if _, err := c.Write([]byte("a")); err != nil {
				t.Error(err)
			}
			if _, err := s.Read(make([]byte, 1)); err != nil {
				t.Errorf("the connection has ended: %v", err)
			}
			if change[0] == "announce: bgp" {
				if out := netnstest.Run(t, "ip -4 -o address show dev lo scope global"); out != "" {
					t.Errorf("lo has still %s", out)
				}
			}
			use(t, a, strings.Replace(strings.Replace(text, "announce: bgp", "interface: eno1, vrrp: {router_id: 7}", 1), "/32", "/24", 1))
			if out := netnstest.Run(t, "ip -4 -o address show scope global"); out != "" {
				t.Errorf("what is left without bgp: %s", out)
			}
			a.End()
		})
	}
}

// TestUntold has no VIP be said to be announced of which no router is told.
func TestUntold(t *testing.T) {
	found := map[string]string{}
	a := well(t)
	a.opt.Report = func(_, key string, f *status.Finding) {
		if delete(found, key); f != nil {
			found[key] = f.Code
		}
	}
	use(t, a, strings.Replace(text, "announce: bgp", "announce: bgp, interface: none", 1))
	if v := a.Status()[0]; v.Announced != status.Withdrawn || v.State == status.Active || v.Holder != "" || v.Reason == "" || len(found) != 1 {
		t.Errorf("without the interface: %+v, found %v", v, found)
	}
	use(t, a, text)
	if v := a.Status()[0]; v.Announced != status.Announced || v.State != status.Active || len(found) != 0 {
		t.Errorf("at first: %+v, found %v", v, found)
	}
	a.spoke = time.Now().Add(-time.Hour)
	a.look(t.Context())
	if v := a.Status()[0]; v.Announced != status.Withdrawn || v.State == status.Active || v.Reason != "no router has a session with this controller" || len(found) != 1 {
		t.Errorf("without a session: %+v, found %v", v, found)
	}
	a.next.RouterID = netip.Addr{} // in the place of a port that another daemon has
	for range 20 {
		a.settle(t.Context(), time.Now())
	}
	a.look(t.Context())
	if v := a.Status()[0]; v.Announced != status.Withdrawn || v.State == status.Active || v.Reason == "" || found["bgp"] == "" {
		t.Errorf("without a speaker: %+v, found %v", v, found)
	}
	a.End()
}

// TestUnreadPassword has a password file that is gone refuse a spec that is new, and keep neither an
// agent from starting nor the VIPs that it has.
func TestUnreadPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	secret := strings.Replace(text, "10.64.20.1, asn: 64800", "10.64.20.1, asn: 64800, password_file: "+file, 1)
	found := map[string]string{}
	a := well(t)
	a.opt.Report = func(_, key string, f *status.Finding) {
		if delete(found, key); f != nil {
			found[key] = f.Text
		}
	}
	use(t, a, secret)
	if len(a.with.Peers) > 0 || len(a.Held()) != 1 || !strings.Contains(found["bgp password"], "no such file") {
		t.Errorf("at the start: peers %+v, found %q", a.with.Peers, found)
	}
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	use(t, a, secret)
	if len(a.with.Peers) != 1 || a.with.Peers[0].Password != "s3cret" || len(found) > 0 {
		t.Errorf("when it is there: peers %+v, found %q", a.with.Peers, found)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	use(t, a, secret)
	if len(a.with.Peers) != 1 || a.with.Peers[0].Password != "s3cret" || found["bgp password"] == "" || strings.Contains(found["bgp password"], "s3cret") {
		t.Errorf("when it is gone: peers %+v, found %q", a.with.Peers, found)
	}
	if _, err := a.Make(parse(t, strings.Replace(secret, file, file+"2", 1))); err == nil || !strings.Contains(err.Error(), "password2") {
		t.Errorf("a new file that is not there: %v", err)
	}
	a.End()
}
