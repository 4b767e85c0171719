package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// silentPair is drainPair with a ctl2 whose page says nothing, and port 9471 of
// which is served by answer; nil: nothing listens. A ctl3 finds keystone up everywhere.
func silentPair(t *testing.T, answer func(net.Conn)) *Agent {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root, for a network namespace")
	}
	a, n := drainPair(t)
	third := n.snapshot
	third.Controller = "ctl3"
	serveAt(t, fmt.Sprintf("127.0.71.3:%d", a.currentSpec().Agent.Port), func(conn net.Conn) {
		defer conn.Close()                                          //nolint:errcheck // all was said
		_, _ = http.ReadRequest(bufio.NewReader(conn))              // the one that there is
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\n")      // the agent says what it misses
		if err := json.NewEncoder(conn).Encode(third); err != nil { // as for that
			t.Error(err)
		}
	})
	a.currentSpec().Controllers = append(a.currentSpec().Controllers, spec.Controller{Name: "ctl3", Address: netip.MustParseAddr("127.0.71.3")})
	n.mute = true
	if answer != nil {
		serveAt(t, fmt.Sprintf("127.0.71.2:%d", a.currentSpec().Agent.CheckPort), answer)
	}
	return a
}

// serveAt has answer talk on each connection to address, until the test ends.
func serveAt(t *testing.T, address string, answer func(net.Conn)) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // nothing to be done about it
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answer(conn)
		}
	}()
}

// TestDrainUnseen proves that a controller that lives, and does not say what it
// drains, has another one refuse to be drained, whatever tells that it lives; and
// that one of which nothing is left does not.
func TestDrainUnseen(t *testing.T) {
	obey := func(conn net.Conn) {
		defer conn.Close()                                                                                                       //nolint:errcheck // all was said
		_, _ = bufio.NewReader(conn).ReadString('\n')                                                                            // the one that there is
		_, _ = io.WriteString(conn, `{"error": "holdfast 0.1 has no command \"alive\" for other controllers; upgrade it"}`+"\n") // the agent says what it misses
	}
	for name, test := range map[string]struct {
		answer func(net.Conn)
		unseen bool
		says   string
	}{
		"its agent answers":      {obey, true, "as its agent answers others"},
		"its agent hangs":        {func(conn net.Conn) { defer conn.Close(); _, _ = io.Copy(io.Discard, conn) }, true, "as its agent takes connections"}, //nolint:errcheck // it ends with the other end
		"its agent is not there": {nil, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := silentPair(t, test.answer)
			_, err := a.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}})
			refusal, refused := errors.AsType[*web.ControlError](err)
			if !test.unseen {
				if err != nil {
					t.Errorf("refused for an agent that is not there: %v", err)
				}
				return
			}
			if !refused || refusal.Status != http.StatusConflict || !strings.Contains(err.Error(), "what ctl2 drains is not known") || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v, want a refusal that says that %s", err, test.says)
			}
			got, err := a.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}, Force: true})
			if err != nil || len(got.Notes) == 0 || !strings.HasPrefix(got.Notes[len(got.Notes)-1], "by force: ") {
				t.Errorf("by force: %+v, %v", got, err)
			}
		})
	}
}

// TestSignOfLife proves what tells that a controller lives where neither its page
// nor its agent can be reached.
func TestSignOfLife(t *testing.T) {
	a, _ := drainPair(t)
	s := a.currentSpec()
	far := s.Controllers[1].Address.Next() // nobody is there, but nothing says so
	s.Controllers[1].Address = far
	own := status.Snapshot{Services: []status.Service{{Name: "nova", Hosts: []status.Host{{Name: "ctl2", Address: far.String() + ":8774", State: status.Up}}}}}
	if got := upAt(own.Services, far); got != "nova" {
		t.Errorf("a service that is up there: %q", got)
	}
	own.Services[0].Hosts[0].State = status.Down
	if got := upAt(own.Services, far); got != "" {
		t.Errorf("a service that is down there: %q", got)
	}
	own.VIPs = []status.VIP{{Name: "api", Holder: "ctl2"}}
	if got := a.signOfLife(t.Context(), s, "ctl2", &own); got != "it holds vip api" {
		t.Errorf("one that sends adverts: %q", got)
	}
}
