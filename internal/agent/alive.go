package agent

import (
	"errors"
	"time"

	"holdfast/internal/systemd"
)

// supervisorSilence is how long HAProxy's supervisor may be silent before it counts as
// stuck: it may be at a reload.
const supervisorSilence = time.Minute

// alive says why the agent stands still, nil when it does not: every VRRP loop
// must have turned lately, since a VIP that nobody renews is lost; and so must who
// starts HAProxy again and who tells VRRP of its state, without which a VIP stays
// where nothing answers.
func (a *Agent) alive() error {
	return errors.Join(systemd.StandsStill("HAProxy's supervisor", a.haproxy.Turned(), supervisorSilence), a.vips.Alive(), a.announcer.Alive())
}
