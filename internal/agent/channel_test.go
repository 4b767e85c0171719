package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/spec"
)

// channelServer answers like the agent of a controller at 127.0.0.2.
func channelServer(t *testing.T, command func(context.Context, netip.Addr, peerRequest) (any, error)) netip.AddrPort {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("ports below 1024 are root's")
	}
	s := &checkServer{log: slog.New(slog.DiscardHandler), command: command}
	s.allow([]netip.Addr{netip.MustParseAddr("127.0.0.1")})
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.serve(t.Context(), listener)
	return netip.MustParseAddrPort(listener.Addr().String())
}

// asker is an agent at 127.0.0.1 that knows one other, ctl2, at to.
func asker(to netip.AddrPort) *Agent {
	a := New(Options{Controller: "ctl1", Log: slog.New(slog.DiscardHandler)})
	a.rollout.Use(&spec.Spec{
		Controllers: []spec.Controller{
			{Name: "ctl1", Address: netip.MustParseAddr("127.0.0.1")}, {Name: "ctl2", Address: to.Addr()},
		},
		Agent: spec.Agent{CheckPort: int(to.Port())},
	})
	return a
}

func TestChannel(t *testing.T) {
	big := strings.Repeat("x", 10*checkLine)
	to := channelServer(t, func(_ context.Context, from netip.Addr, req peerRequest) (any, error) {
		if req.Command == "refuse" {
			return nil, errors.New("not now")
		}
		return map[string]any{"from": from, "command": req.Command, "body": req.Body}, nil
	})
	a := asker(to)
	for _, body := range []string{"short", big} {
		var got struct{ From, Command, Body string }
		if err := a.askPeer(t.Context(), "ctl2", "say", body, &got); err != nil {
			t.Fatal(err)
		}
		if got.From != "127.0.0.1" || got.Command != "say" || got.Body != body {
			t.Errorf("the other agent got %+v", got)
		}
	}
	err := a.askPeer(t.Context(), "ctl2", "refuse", nil, nil)
	if err == nil || err.Error() != "ctl2: not now" || unanswered(err) {
		t.Errorf("refused with %v", err)
	}
	if err := a.askPeer(t.Context(), "ctl9", "say", nil, nil); err == nil || unanswered(err) {
		t.Errorf("an unknown controller gave %v", err)
	}
}

// TestChannelNobody asks where no agent is.
func TestChannelNobody(t *testing.T) {
	to := channelServer(t, nil)
	a := asker(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), to.Port()))
	err := a.askPeer(t.Context(), "ctl2", "say", nil, nil)
	if !unanswered(err) || !noAgent(err) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

// TestChannelStrangers proves that who is not root on a controller is not obeyed.
func TestChannelStrangers(t *testing.T) {
	obeyed := false
	to := channelServer(t, func(context.Context, netip.Addr, peerRequest) (any, error) {
		obeyed = true
		return nil, nil
	})
	request := `CONTROL {"command": "handover"}` + "\n"
	if got := ask(t, to.String(), request); got != `{"error":"asked from a port that anybody can have"}`+"\n" {
		t.Errorf("a port above 1023 was answered %q", got)
	}
	reply, err := converseWith(t.Context(), netip.MustParseAddr("127.0.0.9"), to, "handover", nil)
	if err == nil {
		t.Errorf("an address that is no controller's was answered %+v", reply)
	}
	if obeyed {
		t.Error("a stranger was obeyed")
	}
}

// FuzzObey proves that no request of another agent ends this one.
func FuzzObey(f *testing.F) {
	f.Add([]byte(`{"command": "say", "body": {}}`))
	f.Add([]byte(`{"command": 1}`))
	f.Add([]byte(`{`))
	s := &checkServer{command: func(_ context.Context, _ netip.Addr, req peerRequest) (any, error) {
		return json.RawMessage(req.Body), nil
	}}
	remote := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 700}
	f.Fuzz(func(t *testing.T, request []byte) {
		s.obey(t.Context(), remote, strings.NewReader(string(request)))
	})
}
