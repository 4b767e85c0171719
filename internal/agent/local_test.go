package agent

import (
	"errors"
	"os/user"
	"strings"
	"testing"

	"holdfast/internal/status"
)

func TestUserFor(t *testing.T) {
	if _, err := user.Lookup("nobody"); err != nil {
		t.Skip("needs a user: ", err)
	}
	for _, c := range []struct {
		name        string
		euid        int
		only        bool
		want        string
		refused     bool
		saysSoLater bool
	}{
		{name: "nobody", want: "nobody"},
		{name: "holdfast-no-such-user", refused: true},
		{name: "holdfast-no-such-user", euid: 1000},
		{name: "holdfast-no-such-user", only: true},
		{name: "root", saysSoLater: true},
		{name: "root", euid: 1000},
		{name: "root", only: true},
	} {
		account, group, err := userFor(c.name, c.euid, c.only)
		if account != c.want || (group == "") != (c.want == "") || (err != nil) != c.refused {
			t.Errorf("%+v: %q, %q, %v", c, account, group, err)
		}
		if _, ok := errors.AsType[*noUserError](err); c.refused && (!ok || !strings.Contains(err.Error(), "useradd --system --no-create-home --shell /usr/sbin/nologin "+c.name)) {
			t.Errorf("%+v: %v", c, err)
		}
		if f := rootFinding(c.name, c.euid, c.only); (f != nil) != c.saysSoLater {
			t.Errorf("%+v: %v", c, f)
		}
	}
}

// Without a user for its workers HAProxy is not started, and status says what to do.
// Whoever insists gets a finding.
func TestNoUserForHAProxy(t *testing.T) {
	h := newHost(t)
	h.opt.HAProxyUser = "holdfast-no-such-user"
	d := h.start()
	h.await("it is said", func() bool {
		f := d.wrong()
		return len(f) == 1 && f[0].Code == notInForce && strings.Contains(f[0].Text, "would run as root") && strings.Contains(f[0].Text, "--haproxy-user")
	})
	if s := d.Snapshot(); s.HAProxy.PID != 0 || s.VIPs[0].State == status.Active {
		t.Errorf("HAProxy is %+v, the VIP %+v", s.HAProxy, s.VIPs[0])
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	h.opt.HAProxyUser = rootUser
	d = h.start()
	d.awaitActive()
	if !hasFinding(d.Snapshot(), codeRoot, status.Warning) {
		t.Errorf("findings: %+v", d.Snapshot().Findings)
	}
}
