// Package peer plays what operators run today in front of OpenStack, for a lab
// to be measured beside: HAProxy and keepalived, looked after by a small
// supervisor that starts them again as their containers' or units' own would.
// Two kinds of settings are known: the values that kolla-ansible lays down, and
// the best that can be had from the same two programs by hand.
//
// It is the benchmark's other side and no part of holdfast: nothing in
// production imports it. The texts are its own; only values are taken over.
package peer

import (
	"fmt"
	"strings"
	"time"
)

// A Kind is one way to set HAProxy and keepalived.
type Kind string

// The kinds.
const (
	// Kolla has the settings of kolla-ansible, master of August 2026: VRRP
	// version 2 once a second with the priorities 1 to N, a check of HAProxy's
	// socket every 2 s, health checks every 2 s that may take 10 s.
	Kolla Kind = "kolla"
	// Tuned has what an expert gets from keepalived 2.2 and HAProxy 2.6 with
	// nothing but their settings: VRRP version 3 at the interval of the spec,
	// quick checks, retries of what is safe to repeat.
	Tuned Kind = "tuned"
)

// Kinds gives all kinds.
func Kinds() []Kind { return []Kind{Kolla, Tuned} }

// ParseKind gives the kind called name.
func ParseKind(name string) (Kind, error) {
	var names []string
	for _, k := range Kinds() {
		if string(k) == name {
			return k, nil
		}
		names = append(names, string(k))
	}
	return "", fmt.Errorf("no peer is called %q; there are %s", name, strings.Join(names, ", "))
}

// restart is how a supervisor starts again what ended.
type restart struct {
	first, most time.Duration // the pause before it, doubled up to most each time
	reset       time.Duration // having run so long, the pause is the first again
}

// restart gives the policy of k: Docker's "unless-stopped" for kolla's
// containers, else a unit's Restart=always with systemd's RestartSec.
func (k Kind) restart() restart {
	if k == Kolla {
		return restart{first: 100 * time.Millisecond, most: time.Minute, reset: 10 * time.Second}
	}
	return restart{first: 100 * time.Millisecond, most: 100 * time.Millisecond}
}

// next gives the pause before the next start of what ran for ran, and was
// started again after last before.
func (r restart) next(last, ran time.Duration) time.Duration {
	if last == 0 || r.reset > 0 && ran >= r.reset {
		return r.first
	}
	return min(2*last, r.most)
}
