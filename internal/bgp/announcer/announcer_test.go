package announcer

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	before, err := a.speakerOptions(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if len(before.Peers) != 1 || before.Peers[0].Address.String() != "10.64.20.1" || before.RouterID.String() != "10.64.20.13" {
		t.Errorf("ctl1 speaks as %+v", before)
	}
	for change, same := range map[string]bool{
		"10.64.20.2, asn: 64800": true, "10.64.20.1, asn: 64800": false, "asn: 64710": false,
	} {
		after, err := a.speakerOptions(parse(t, strings.Replace(text, change, strings.Replace(change, "64", "65", 1), 1)))
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
	a := New(Options{Controller: "ctl1", Log: slog.New(slog.DiscardHandler), HAProxy: func() status.HAProxy { t.Error("it looks at HAProxy"); return status.HAProxy{} }})
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
