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
	// secureConnects is the same where the VIP terminates TLS: to accept a
	// connection costs HAProxy several times as much there.
	secureConnects = 5 * time.Millisecond
	// patience is how long an attempt to connect may go unanswered until it
	// counts as failed.
	patience = 100 * time.Millisecond

	downloads      = 10
	downloadBytes  = 1 << 20
	downloadSpread = 300 * time.Millisecond
	// downloadTail is how long downloads go on after the work has begun.
	downloadTail = 2500 * time.Millisecond

	drained = 2 * time.Second // how long a controller stays so

	plannedLead = 700 * time.Millisecond // the work begins so long after the load
	// connectGap is the time in which new connections may find nobody.
	connectGap = 5 * time.Millisecond
)

// A Step is one thing of those that an operator does for planned work. One of
// Kind, Args, Renew, Pause and Each says what. It is done on the controller
// that has the address when the work begins.
type Step struct {
	Kind string // of the lab's faults, one that is no fault: "agent-restart"
	// Args is a command. In it $HOLDER is the controller that has the address
	// when the work begins, $NEXT the one after it in the spec, $PROGRAM the path
	// of the last copy of HAProxy, and $TIMEOUT a duration that is another each
	// time.
	Args  []string
	Renew Renewal
	Pause time.Duration
	// Each is done on each controller, one after the other, the holder last.
	Each []Step
	// Late has it done when clients were watched long enough: to look whether
	// the work was done.
	Late bool
}

// A Renewal is what is replaced under those who use it, for all controllers.
type Renewal string

// The renewals.
const (
	RenewProgram     Renewal = "program"     // HAProxy's
	RenewCertificate Renewal = "certificate" // the VIP's
)

func shell(text string) Step { return Step{Args: []string{"sh", "-c", text}} }

// operate is what is done to a peer.
func operate(verb, what string) Step {
	return Step{Args: []string{"holdfast", "lab", "operate", verb, what}}
}

// each is done on each controller.
func each(steps ...Step) Step { return Step{Each: steps} }

// late looks whether work was done, with a command that fails if it was not.
func late(text string) Step {
	s := shell(text)
	s.Late = true
	return s
}

// Commands that look whether work was done, and one that waits for it.
const (
	hasConfig   = `grep -qF "timeout server $TIMEOUT" "${HOLDFAST_FILE%/*}/state/haproxy.cfg" || { echo "HAProxy's configuration is the old one" >&2; exit 1; }`
	awaitConfig = `i=0; until grep -qF "timeout server $TIMEOUT" "${HOLDFAST_FILE%/*}/state/haproxy.cfg" || [ $((i+=1)) -gt 40 ]; do sleep 0.05; done`
	hasProgram  = `readlink /proc/[0-9]*/exe | grep -qxF "$PROGRAM" || { echo "HAProxy is the old one" >&2; exit 1; }`
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
				Holdfast: {{Args: []string{"holdfast", "handover", "--to", "$NEXT"}}},
				Kolla:    keepalivedAway(time.Second), Tuned: keepalivedAway(time.Second),
			},
		},
		{
			// With --wait it would go on for as long as HAProxy lets connections
			// be idle: 10 s.
			ID: "drain", Name: "drain, undrain", Watch: 5 * second, Slow: 6 * second,
			Work: map[System][]Step{
				Holdfast: {
					{Args: []string{"holdfast", "drain", "$HOLDER"}},
					{Pause: drained},
					{Args: []string{"holdfast", "undrain", "$HOLDER"}},
				},
				Kolla: drainPeer(), Tuned: drainPeer(),
			},
		},
		{
			ID: "agent-restart", Name: "agent restarted", Watch: 3 * second, Slow: 4 * second,
			Work: everywhere(Step{Kind: "agent-restart"}),
		},
		{
			ID: "haproxy-upgrade", Name: "HAProxy upgraded", Watch: 3 * second, Slow: 4 * second,
			Work: map[System][]Step{
				Holdfast: {{Renew: RenewProgram}, {Kind: "agent-reload"}, late(hasProgram)},
				Kolla:    {{Renew: RenewProgram}, operate("restart", "haproxy"), operate("restart", "keepalived"), late(hasProgram)},
				Tuned:    {{Renew: RenewProgram}, operate("reload", "haproxy"), late(hasProgram)},
			},
		},
		{
			ID: "reload", Name: "timeout changed", Watch: 4 * second, Slow: 4 * second,
			Work: map[System][]Step{
				Holdfast: {each(shell(editSpec), Step{Kind: "agent-reload"}, shell(awaitConfig)), {Late: true, Each: []Step{shell(hasConfig)}}},
				Kolla:    {each(shell(editPeer), operate("restart", "haproxy"))},
				Tuned:    {each(shell(editPeer), operate("reload", "haproxy"))},
			},
		},
		{
			ID: "certificate", Name: "certificate renewed", Watch: 4 * second, Slow: 4 * second, TLS: true,
			Work: map[System][]Step{
				Holdfast: {{Renew: RenewCertificate}},
				Kolla:    {{Renew: RenewCertificate}, each(operate("restart", "haproxy"))},
				Tuned:    {{Renew: RenewCertificate}, each(operate("reload", "haproxy"))},
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
// takes the address, and starts it again after a while.
func keepalivedAway(after time.Duration) []Step {
	return []Step{operate("stop", "keepalived"), {Pause: after}, operate("start", "keepalived")}
}

// drainPeer takes all work from the holder, and gives it back: on each HAProxy
// its servers are told to drain, and then it loses the address.
func drainPeer() []Step {
	steps := append([]Step{each(operate("drain", "$HOLDER"))}, keepalivedAway(drained)...)
	return append(steps, each(operate("undrain", "$HOLDER")))
}
