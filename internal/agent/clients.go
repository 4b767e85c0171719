package agent

import (
	"cmp"
	"os"
	"os/user"
	"strconv"
)

// mayBeHAProxy tells the users that HAProxy's workers may be: name, the one that they are
// to become, root, and who this is.
func mayBeHAProxy(name string) func(uid uint32) bool {
	own, other := os.Geteuid(), -1
	if account, err := user.Lookup(cmp.Or(name, "haproxy")); err == nil {
		if uid, err := strconv.Atoi(account.Uid); err == nil {
			other = uid
		}
	}
	return func(uid uint32) bool { return uid == 0 || int(uid) == own || int(uid) == other }
}
