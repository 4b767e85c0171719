package rollout

import (
	"errors"
	"os/user"
	"strings"
	"testing"
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
