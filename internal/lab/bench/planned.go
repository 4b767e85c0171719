package bench

import (
	"time"
)

// The load of planned work, as the promise has it.
const (
	plannedRate     = 500 // requests a second on connections that are kept alive
	plannedNew      = 100 // beside these, each on a new connection
	plannedClients  = 41  // with methods, no divisor in common
	plannedConnects = time.Millisecond
	// patience is how long an attempt to connect may go unanswered until it
	// counts as failed.
	patience = 100 * time.Millisecond

	downloads      = 10
	downloadBytes  = 1 << 20
	downloadSpread = 300 * time.Millisecond
	// downloadTail is how long downloads go on after the work has begun.
	downloadTail = 2500 * time.Millisecond

	plannedLead = 700 * time.Millisecond // the work begins so long after the load
	// connectGap is the time in which new connections may find nobody.
	connectGap = 5 * time.Millisecond
)

// A Step is one thing of those that an operator does for planned work. One of
// Kind, Args, Renew and Pause says what.
type Step struct {
	On   Target
	Kind string // of the lab's faults, one that is no fault: "agent-restart"
	// Args is a command for the node. In it $HOLDER is the controller that has
	// the address when the work begins, $NEXT the one after it in the spec,
	// $PROGRAM the path of the last copy of HAProxy, and $TIMEOUT a duration
	// that is another each time.
	Args  []string
	Renew Renewal
	Pause time.Duration
}

// A Renewal is what is replaced under those who use it, for all controllers.
type Renewal string

// The renewals.
const (
	RenewProgram     Renewal = "program"     // HAProxy's
	RenewCertificate Renewal = "certificate" // the VIP's
)

func shell(on Target, text string) Step {
	return Step{On: on, Args: []string{"sh", "-c", text}}
}

func operate(on Target, verb, what string) Step {
	return Step{On: on, Args: []string{"holdfast", "lab", "operate", verb, what}}
}

// Commands that fail unless what was asked for is in place: at once, or within
// 5 s.
const (
	hasConfig    = `grep -qF "timeout server $TIMEOUT" "${HOLDFAST_FILE%/*}/state/haproxy.cfg" || { echo "HAProxy's configuration is the old one" >&2; exit 1; }`
	awaitConfig  = `i=0; until grep -qF "timeout server $TIMEOUT" "${HOLDFAST_FILE%/*}/state/haproxy.cfg" || [ $((i+=1)) -gt 100 ]; do sleep 0.05; done`
	awaitProgram = `i=0; until readlink /proc/[0-9]*/exe | grep -qxF "$PROGRAM"; do [ $((i+=1)) -lt 100 ] || { echo "HAProxy is the old one" >&2; exit 1; }; sleep 0.05; done`
)

// What changes a timeout of the service under load.
const (
	editSpec = `sed -i "s/^  nova:.*/  nova: {timeout: {server: $TIMEOUT}}/" "$HOLDFAST_FILE"`
	editPeer = `sed -i "s/timeout server .*/timeout server $TIMEOUT/" "$HOLDFAST_RUN_DIR/haproxy.cfg"`
)

// planned gives the rows of planned work: what is done to each system for it is
// what its operators do, or the nearest thing. kolla-ansible restarts the
// container of HAProxy where others reload.
func planned() []Fault {
	const second = time.Second
	promise := Promise{
		Text: "0 failed, reset or cut; gap < 5 ms", Planned: true, Failed: AllowNone, Gap: 50 * time.Millisecond,
		Slowest: none, Two: none, Connect: connectGap,
	}
	rows := []Fault{
		{
			ID: "handover", Name: "handover", Watch: 3 * second, Slow: 4 * second,
			Work: map[System][]Step{
				Holdfast: {{On: OnHolder, Args: []string{"holdfast", "handover", "--to", "$NEXT"}}},
				Kolla:    keepalivedAway(nil, nil), Tuned: keepalivedAway(nil, nil),
			},
		},
		{
			ID: "drain", Name: "drain, undrain", Watch: 6 * second, Slow: 6 * second,
			Work: map[System][]Step{
				Holdfast: {
					{On: OnHolder, Args: []string{"holdfast", "drain", "$HOLDER", "--wait"}},
					{On: OnHolder, Args: []string{"holdfast", "undrain", "$HOLDER"}},
				},
				Kolla: drainPeer(), Tuned: drainPeer(),
			},
		},
		{
			ID: "agent-restart", Name: "agent restarted", Watch: 3 * second, Slow: 4 * second,
			Work: everywhere(Step{On: OnHolder, Kind: "agent-restart"}),
		},
		{
			ID: "haproxy-upgrade", Name: "HAProxy upgraded", Watch: 3 * second, Slow: 4 * second,
			Work: map[System][]Step{
				Holdfast: {{Renew: RenewProgram}, {On: OnHolder, Kind: "agent-reload"}, shell(OnHolder, awaitProgram)},
				Kolla:    {{Renew: RenewProgram}, operate(OnHolder, "restart", "haproxy"), operate(OnHolder, "restart", "keepalived"), shell(OnHolder, awaitProgram)},
				Tuned:    {{Renew: RenewProgram}, operate(OnHolder, "reload", "haproxy"), shell(OnHolder, awaitProgram)},
			},
		},
		{
			ID: "reload", Name: "timeout changed", Watch: 3 * second, Slow: 4 * second,
			Work: map[System][]Step{
				Holdfast: {shell(OnEach, editSpec), {On: OnEach, Kind: "agent-reload"}, shell(OnEach, awaitConfig), {Pause: time.Second}, shell(OnEach, hasConfig)},
				Kolla:    {shell(OnEach, editPeer), operate(OnEach, "restart", "haproxy")},
				Tuned:    {shell(OnEach, editPeer), operate(OnEach, "reload", "haproxy")},
			},
		},
		{
			ID: "certificate", Name: "certificate renewed", Watch: 3 * second, Slow: 4 * second, TLS: true,
			Work: map[System][]Step{
				Holdfast: {{Renew: RenewCertificate}},
				Kolla:    {{Renew: RenewCertificate}, operate(OnEach, "restart", "haproxy")},
				Tuned:    {{Renew: RenewCertificate}, operate(OnEach, "reload", "haproxy")},
			},
		},
	}
	for i := range rows {
		rows[i].Promise = promise
	}
	return rows
}

// everywhere gives every system the same steps.
func everywhere(steps ...Step) map[System][]Step {
	all := map[System][]Step{}
	for _, s := range Systems() {
		all[s] = steps
	}
	return all
}

// keepalivedAway stops keepalived on the holder, so that another controller
// takes the address, and starts it again.
func keepalivedAway(before, after []Step) []Step {
	steps := append(before, operate(OnHolder, "stop", "keepalived"), Step{Pause: time.Second}, operate(OnHolder, "start", "keepalived"))
	return append(steps, after...)
}

// drainPeer takes all work from the holder, and gives it back: on each HAProxy
// its servers are told to drain, and then it loses the address.
func drainPeer() []Step {
	return keepalivedAway(
		[]Step{operate(OnEach, "drain", "$HOLDER")},
		[]Step{operate(OnEach, "undrain", "$HOLDER")},
	)
}
