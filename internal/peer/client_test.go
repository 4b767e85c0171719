package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/spec"
)

// listen listens as the agent does.
func listen(address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(context.Background(), "tcp", address)
}

// serve answers like the agent of a controller at 127.0.0.2 that has these commands.
func serve(t *testing.T, commands map[string]Handler) netip.AddrPort {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("ports below 1024 are root's")
	}
	to, _ := serveWith(t, Options{Handlers: commands})
	return to
}

// serveWith does it with more options.
func serveWith(t *testing.T, opt Options) (netip.AddrPort, *Server) {
	t.Helper()
	opt.Version, opt.Log = "test", slog.New(slog.DiscardHandler)
	s := NewServer(opt)
	s.Allow(map[netip.Addr]string{netip.MustParseAddr("127.0.0.1"): "ctl1"})
	listener, err := listen("127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context(), listener)
	return netip.MustParseAddrPort(listener.Addr().String()), s
}

// asker is the agent of ctl1, at 127.0.0.1, that knows one other, ctl2, at to.
func asker(to netip.AddrPort) *Client {
	return &Client{Controller: "ctl1", Spec: func() *spec.Spec {
		return &spec.Spec{
			Controllers: []spec.Controller{
				{Name: "ctl1", Address: netip.MustParseAddr("127.0.0.1")}, {Name: "ctl2", Address: to.Addr()},
			},
			Agent: spec.Agent{CheckPort: int(to.Port())},
		}
	}}
}

func TestChannel(t *testing.T) {
	big := strings.Repeat("x", 10*checkLine)
	c := asker(serve(t, map[string]Handler{
		"say": func(_ context.Context, from string, body json.RawMessage) (any, error) {
			return map[string]any{"from": from, "body": body}, nil
		},
		"count":  Handle(func(_ context.Context, _ string, n int) (any, error) { return n + 1, nil }),
		"refuse": func(context.Context, string, json.RawMessage) (any, error) { return nil, errors.New("not now") },
		"wait": func(context.Context, string, json.RawMessage) (any, error) {
			return nil, fmt.Errorf("something else is under way: %w", ErrLater)
		},
	}))
	for _, body := range []string{"short", big} {
		var got struct{ From, Body string }
		if err := c.Ask(t.Context(), "ctl2", "say", body, &got); err != nil {
			t.Fatal(err)
		}
		if got.From != "ctl1" || got.Body != body {
			t.Errorf("the other agent got %+v", got)
		}
	}
	var n int
	if err := c.Ask(t.Context(), "ctl2", "count", 1, &n); err != nil || n != 2 {
		t.Errorf("counted to %d, %v", n, err)
	}
	for command, want := range map[string]string{
		"refuse": "ctl2: not now",
		"wait":   "ctl2: something else is under way: try again in a moment",
		"count":  "ctl2: the request is not understood: json: cannot unmarshal string into Go value of type int",
		"fly":    `ctl2: holdfast test has no command "fly" for other controllers; upgrade it`,
	} {
		if err := c.Ask(t.Context(), "ctl2", command, "now", nil); err == nil || err.Error() != want || Unanswered(err) || errors.Is(err, ErrLater) != (command == "wait") {
			t.Errorf("%s: refused with %v, want %s", command, err, want)
		}
	}
	if err := c.Ask(t.Context(), "ctl9", "say", nil, nil); err == nil || Unanswered(err) {
		t.Errorf("an unknown controller gave %v", err)
	}
}

// TestChannelNobody asks where no agent is.
func TestChannelNobody(t *testing.T) {
	to := serve(t, nil)
	c := asker(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), to.Port()))
	err := c.Ask(t.Context(), "ctl2", "say", nil, nil)
	if !Unanswered(err) || !NoAgent(err) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

// TestChannelWordless asks one that takes the connection and says nothing.
func TestChannelWordless(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	to := serve(t, map[string]Handler{"wait": func(served context.Context, _ string, _ json.RawMessage) (any, error) {
		cancel()
		<-served.Done()
		return nil, served.Err()
	}})
	err := asker(to).Ask(ctx, "ctl2", "wait", nil, nil)
	if _, wordless := errors.AsType[WordlessError](err); !wordless || !Unanswered(err) || NoAgent(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestChannelStrangers proves that who is not root on a controller is not obeyed.
func TestChannelStrangers(t *testing.T) {
	obeyed := false
	to := serve(t, map[string]Handler{"handover": func(context.Context, string, json.RawMessage) (any, error) {
		obeyed = true
		return nil, nil
	}})
	line := `CONTROL {"command": "handover"}` + "\n"
	if got := ask(t, to.String(), line); got != `{"error":"asked from a port that anybody can have","ttl":255}`+"\n" {
		t.Errorf("a port above 1023 was answered %q", got)
	}
	reply, err := asker(to).converse(t.Context(), netip.MustParseAddr("127.0.0.9"), to, "ctl2", "handover", nil)
	if err == nil {
		t.Errorf("an address that is no controller's was answered %+v", reply)
	}
	if obeyed {
		t.Error("a stranger was obeyed")
	}
}

// TestSilentChecks proves that a local user of a controller, who opens connections
// to the port of the agent-check and says nothing, keeps no command from coming.
func TestSilentChecks(t *testing.T) {
	to := serve(t, map[string]Handler{"say": func(context.Context, string, json.RawMessage) (any, error) { return "done", nil }})
	for range checksOfOne + 64 {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}).DialContext(t.Context(), "tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // the other end may have
	}
	ctx, cancel := context.WithTimeout(t.Context(), checkTimeout/2) // before the first of them is given up
	defer cancel()
	var got string
	if err := asker(to).Ask(ctx, "ctl2", "say", nil, &got); err != nil || got != "done" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzObey proves that no request of another agent ends this one.
func FuzzObey(f *testing.F) {
	f.Add([]byte(`{"command": "say", "body": {}}`))
	f.Add([]byte(`{"command": 1}`))
	f.Add([]byte(`{`))
	s := NewServer(Options{Handlers: map[string]Handler{
		"say": func(_ context.Context, _ string, body json.RawMessage) (any, error) { return body, nil },
	}})
	s.Allow(map[netip.Addr]string{netip.MustParseAddr("127.0.0.1"): "ctl1"})
	f.Fuzz(func(t *testing.T, request []byte) {
		s.obey(t.Context(), caller{"ctl1", 700, farthest}, json.NewDecoder(strings.NewReader(string(request))), func(reply) error { return nil })
	})
}
