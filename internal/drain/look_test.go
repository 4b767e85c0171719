package drain

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// TestDrainUnseen proves that a controller that lives, and does not say what it
// drains, has another one refuse to be drained, whatever tells that it lives; and
// that one of which nothing is left does not.
func TestDrainUnseen(t *testing.T) {
	for name, test := range map[string]struct {
		answer error
		unseen bool
		says   string
	}{
		"its agent answers": {nil, true, "as its agent answers others"},
		"its agent is old": {
			&peer.Error{Controller: "ctl2", Refusal: "holdfast 0.1 has no command \"alive\" for other controllers; upgrade it"}, true, "as its agent answers others",
		},
		"its agent hangs":        {&peer.Error{Controller: "ctl2", Err: peer.WordlessError{Err: io.EOF}}, true, "as its agent takes connections"},
		"its agent is not there": {refusedConnection("ctl2"), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.spec.Controllers = append(b.spec.Controllers, spec.Controller{Name: "ctl3", Address: netip.MustParseAddr("127.0.71.3")})
			b.mute = true
			b.ask = func(string) error { return test.answer }
			_, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}})
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
			got, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}, Force: true})
			if err != nil || len(got.Notes) == 0 || !strings.HasPrefix(got.Notes[len(got.Notes)-1], "by force: ") {
				t.Errorf("by force: %+v, %v", got, err)
			}
		})
	}
}

// TestSignOfLife proves what tells that a controller lives where neither its page
// nor its agent can be reached.
func TestSignOfLife(t *testing.T) {
	b := newBench(t)
	at := b.spec.Controllers[1].Address
	own := status.Snapshot{Services: []status.Service{{Name: "nova", Hosts: []status.Host{{Name: "ctl2", Address: at.String() + ":8774", State: status.Up}}}}}
	b.ask = func(string) error { return &peer.Error{Controller: "ctl2", Err: errors.New("no route")} }
	if got := b.signOfLife(t.Context(), b.spec, "ctl2", &own); got != "nova on it passes its check" {
		t.Errorf("a service that is up there: %q", got)
	}
	own.Services[0].Hosts[0].State = status.Down
	if got := b.signOfLife(t.Context(), b.spec, "ctl2", &own); got != "" {
		t.Errorf("a service that is down there: %q", got)
	}
	own.VIPs = []status.VIP{{Name: "api", Holder: "ctl2"}}
	if got := b.signOfLife(t.Context(), b.spec, "ctl2", &own); got != "it holds vip api" {
		t.Errorf("one that sends adverts: %q", got)
	}
}
