package peer

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"holdfast/internal/netnstest"
	"holdfast/internal/spec"
)

// TestBridgedContainer has a container on ctl1, behind masquerading as container engines
// set it up, ask ctl2 for something from a port of root: it comes from ctl1's own address,
// and from a port of root there, and is refused. The agent of ctl1 itself is not.
func TestBridgedContainer(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft: ", err)
	}
	ctl1, ctl2, container := netnstest.New(t), netnstest.New(t), netnstest.New(t)
	ctl1.Run("ip link add eth0 type veth peer name eth0 netns " + ctl2.Path())
	ctl1.Run("ip link add bridge type veth peer name eth0 netns " + container.Path())
	ctl1.Run(`ip address add 10.0.0.1/24 dev eth0
		ip link set eth0 up
		ip address add 172.17.0.1/16 dev bridge
		ip link set bridge up
		nft add table ip nat
		nft add chain ip nat postrouting { type nat hook postrouting priority srcnat ; }
		nft add rule ip nat postrouting ip saddr 172.17.0.0/16 oifname eth0 masquerade`)
	ctl1.Write("/proc/sys/net/ipv4/ip_forward", "1")
	ctl2.Run(`ip address add 10.0.0.2/24 dev eth0
		ip link set eth0 up`)
	container.Run(`ip address add 172.17.0.2/16 dev eth0
		ip link set eth0 up
		ip route add default via 172.17.0.1`)

	address1, address2 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	at := func(ns *netnstest.Namespace, address string) net.Listener {
		var l net.Listener
		err := ns.Do(func() (err error) { l, err = listen(address); return err })
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	s := func() *spec.Spec {
		return &spec.Spec{
			Controllers: []spec.Controller{{Name: "ctl1", Address: address1}, {Name: "ctl2", Address: address2}}, Agent: spec.Agent{CheckPort: 9471},
		}
	}
	done := 0
	agent1 := &Client{Controller: "ctl1", Spec: s}
	server1 := NewServer(Options{Handlers: map[string]Handler{}, Peers: agent1, Log: slog.New(slog.DiscardHandler)})
	server1.Allow(map[netip.Addr]string{address2: "ctl2"})
	go server1.Serve(t.Context(), at(ctl1, "10.0.0.1:9471"))
	// What the agent of ctl2 asks, it asks from there: the goroutines of its server are not.
	agent2 := &Client{Controller: "ctl2", Spec: s}
	server2 := NewServer(Options{Handlers: count(&done), Peers: agent2, Log: slog.New(slog.DiscardHandler)})
	server2.Allow(map[netip.Addr]string{address1: "ctl1"})
	go server2.Serve(t.Context(), at(ctl2, "10.0.0.2:9471"))
	if err := ctl2.Do(func() error { return agent2.Ask(t.Context(), "ctl1", "alive", nil, nil) }); err == nil || Unanswered(err) {
		t.Fatalf("ctl2 asks ctl1: %v", err) // which knows no such command
	}

	var from net.Addr
	var answer reply
	err := container.Do(func() error {
		conn, err := dialPrivileged(t.Context(), netip.MustParseAddr("172.17.0.2"), netip.MustParseAddrPort("10.0.0.2:9471"))
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // it is only read
		from = conn.LocalAddr()
		answer, err = once(conn, json.NewDecoder(conn), controlPrefix, request{Command: "count", Body: json.RawMessage("1")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if done != 0 || !strings.Contains(answer.Error, "with a TTL of 254") || !strings.Contains(answer.Error, "a container behind masquerading") {
		t.Errorf("a container at %v is answered %+v, and it was done %d times", from, answer, done)
	}
	if is := server2.Refusals(); is.From != "ctl1" || is.Count != 1 {
		t.Errorf("%+v: it does not come as ctl1, so this test shows nothing", is)
	}
	if err := ctl1.Do(func() error { return agent1.Ask(context.Background(), "ctl2", "count", 1, nil) }); err != nil || done != 1 {
		t.Errorf("the agent of ctl1 is refused: %v", err)
	}
}
