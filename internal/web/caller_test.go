package web

import (
	"context"
	"math"
	"os/user"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCallerIsKnown asks on a real socket who asks.
func TestCallerIsKnown(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	s := NewControlServer(&fakeControls{}, discard())
	Handle(s, "/who", func(ctx context.Context, _ struct{}) (string, error) { return Caller(ctx), nil })
	var got string
	if err := startControl(t, s).Do(t.Context(), "POST", "/who", nil, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) < len(me.Username) || got[:len(me.Username)] != me.Username {
		t.Errorf("%q asked, want %q", got, me.Username)
	}
	if got := Caller(t.Context()); got != "" {
		t.Errorf("without a socket %q asked", got)
	}
}

func TestCallerOf(t *testing.T) {
	for _, test := range []struct {
		uid, login uint32
		want       string
	}{{0, math.MaxUint32, "root"}, {0, 0, "root"}, {0, 4200001, "root for uid 4200001"}, {4200001, 4200001, "uid 4200001"}} {
		if got := callerOf(&unix.Ucred{Uid: test.uid}, test.login); got != test.want {
			t.Errorf("user %d who logged in as %d is %q, want %q", test.uid, test.login, got, test.want)
		}
	}
}
