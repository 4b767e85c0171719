package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast/internal/onlyone"
	"holdfast/internal/vip"
	"holdfast/internal/vip/move"
)

// arp gives arp_ignore and arp_announce of an interface.
func arp(t *testing.T, name string) string {
	t.Helper()
	var all []string
	for _, setting := range []string{"arp_ignore", "arp_announce"} {
		text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/" + setting)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(string(text)))
	}
	return strings.Join(all, " ")
}

// TestSettingsAreLeftAsTheyWere ends an agent that held a VIP on a macvlan device, and
// one that was killed: the interface is as it was before.
func TestSettingsAreLeftAsTheyWere(t *testing.T) {
	h := newHost(t)
	h.write(strings.Replace(testSpec, "interface: eno1", "interface: eno1\n    device: macvlan", 1))
	before := arp(t, "eno1")
	d := h.start()
	d.awaitActive()
	if held := arp(t, "eno1"); held != "1 2" || held == before {
		t.Errorf("arp_ignore and arp_announce are %s while the VIP is held, and were %s", held, before)
	}
	record, err := os.ReadFile(filepath.Join(h.run, "moves.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	if left := arp(t, "eno1"); left != before {
		t.Errorf("arp_ignore and arp_announce are %s after the end, and were %s", left, before)
	}
	// As if it had been killed.
	if err := errors.Join(os.WriteFile(filepath.Join(h.run, "moves.json"), record, 0o600), setARP("eno1", "1", "2")); err != nil {
		t.Fatal(err)
	}
	h.write(testSpec)
	next := h.start()
	next.awaitActive()
	if left := arp(t, "eno1"); left != before {
		t.Errorf("arp_ignore and arp_announce are %s with another device, and were %s", left, before)
	}
}

func setARP(name, ignore, announce string) error {
	return errors.Join(
		os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/arp_ignore", []byte(ignore), 0),
		os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/arp_announce", []byte(announce), 0))
}

// noteMoves adds moves of the VIP api to what is written down: to ctl2, and from ctl3.
func noteMoves(t *testing.T, file string, settings *vip.Settings) {
	t.Helper()
	record := map[string]any{}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &record)
	}
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	record["giving"] = map[string]any{"api": map[string]any{"to": "ctl2", "until": until}}
	record["taking"] = map[string]any{"api": map[string]any{"from": "ctl3", "givers": []string{"192.0.2.2"}, "until": until}}
	record["settings"] = settings.Changed()
	if data, err = json.Marshal(record); err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCleanUp takes away what an agent has left that was killed in the midst of
// planned moves, and is refused while one runs.
func TestCleanUp(t *testing.T) {
	h := newHost(t)
	h.write(strings.Replace(testSpec, "interface: eno1", "interface: eno1\n    device: macvlan", 1))
	if err := os.MkdirAll(h.opt.StateDir, 0o750); err != nil {
		t.Fatal(err)
	}
	killed := New(h.opt)
	s, err := killed.rollout.Recall()
	if err != nil {
		t.Fatal(err)
	}
	killed.rollout.Use(s)
	all, own := arp(t, "all"), arp(t, "eno1")
	settings, api := vip.NewSettings(nil, nil), s.VIPs[0]
	c, err := move.NewCopy(move.CopyOptions{Name: "api", Addresses: api.Addresses, Interface: "eno1", Settings: settings, Log: killed.log})
	if err != nil {
		t.Fatal(err)
	}
	d, err := move.NewDetour(move.DetourOptions{
		Name: "api", Addresses: api.Addrs(), Givers: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Interface: "eno1", Settings: settings, Log: killed.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	o, err := vip.New(vip.Options{Name: "api", Addresses: api.Addresses, Interface: "eno1", Device: vip.Device(api.Device), RouterID: api.VRRP.RouterID, Log: killed.log})
	if err == nil {
		err = killed.moves.Note(o)
	}
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(o.Claim(t.Context()), o.Withdraw(t.Context()), c.Keep(t.Context(), time.Hour), d.Install(t.Context()), o.Close())
	if err != nil {
		t.Fatal(err)
	}
	noteMoves(t, filepath.Join(h.run, "moves.json"), settings)
	t.Cleanup(func() { _ = errors.Join(c.Drop(context.Background()), d.Remove(context.Background())) })
	if arp(t, "all") == all || arp(t, "eno1") == own {
		t.Fatalf("settings are %s and %s, as before: this test shows nothing", arp(t, "all"), arp(t, "eno1"))
	}

	held, err := onlyone.Acquire(t.Context(), h.run, "ctl1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(h.opt).CleanUp(t.Context()); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("while an agent runs: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}

	got, err := New(h.opt).CleanUp(t.Context())
	want := []string{
		"vip api, which ctl2 took: 0 connections cut", "vip api: nothing is sent on to ctl3 any more",
		"/proc/sys/net/ipv4/conf/all/arp_ignore is 0 again", "/proc/sys/net/ipv4/conf/eno1/arp_ignore is 0 again",
	}
	missing := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return slices.Contains(got.Changes, w) })
	if err != nil || len(missing) > 0 {
		t.Errorf("%q, %v; missing %q", got.Changes, err, missing)
	}
	if arp(t, "all") != all || arp(t, "eno1") != own {
		t.Errorf("settings are %s and %s, and were %s and %s", arp(t, "all"), arp(t, "eno1"), all, own)
	}
	present, presentErr := c.Present()
	rules, rulesErr := move.Detours(t.Context())
	devices, err := netlink.LinkList()
	if err := errors.Join(presentErr, rulesErr, err); present || len(rules) > 0 || err != nil {
		t.Errorf("the address is on lo: %v; rules %v; %v", present, rules, err)
	}
	for _, link := range devices {
		if link.Type() == "macvlan" {
			t.Errorf("left is %s", link.Attrs().Name)
		}
	}
	if again, err := New(h.opt).CleanUp(t.Context()); err != nil || fmt.Sprint(again) != "{[]}" {
		t.Errorf("and again: %v, %v", again, err)
	}
}
