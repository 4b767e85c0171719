package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// A costs says which requests a kind of fault may cost.
type costs int

const (
	costsNothing costs = iota
	// costsOld: those under way or on connections opened before the address moved.
	costsOld
	// costsReset is costsOld, of which none may stand still until its timeout.
	costsReset
	// costsGap: new connections too, until the address has moved.
	costsGap
	// costsAll: all, until the address has moved or the fault has ended.
	costsAll
	// costsAnswers: those that a service refuses with an answer of its own.
	costsAnswers
)

// A chaosKind is a fault that chaos does, and what it may cost.
type chaosKind struct {
	name string // that of the lab's fault
	// holder is what it costs on the controller that has the address, and other on
	// one that has not.
	holder, other costs
	// apart says that two controllers cannot but both have the address, each on its
	// side of a cut. No client is on that of a controller which is cut off: who has
	// the address there takes no request until the cut has ended.
	apart bool
	// work says that the address is moved by an operator in its midst: without, the
	// fault meets nothing that it could break.
	work bool
	// value draws how much, of a fault that lasts for so long; nil where none is said.
	value func(r *rand.Rand, length time.Duration) string
}

// chaosKinds gives the faults that chaos does, each as likely as the others.
func chaosKinds() []chaosKind {
	return []chaosKind{
		// Other hosts of the service answer.
		{name: "service-kill"}, {name: "service-hang"}, {name: "service-errors"}, {name: "service-restart"}, {name: "graceful-restart"},
		// It is late, and stays in.
		{name: "late", value: between(100*time.Millisecond, 3*time.Second)},
		{name: "busy", value: busyWorkers},
		{name: "service-stall", value: asLong}, {name: "stall", value: asLong},
		{name: "push-back", holder: costsAnswers, other: costsAnswers, value: number(5, 50)},

		// The controller that has the address gives it up, or loses it.
		{name: "haproxy-kill", holder: costsGap}, {name: "haproxy-hang", holder: costsGap},
		// Its listeners answer nobody, and then it gives the address up, or answer some
		// when others have gone, and then it does not.
		{name: "haproxy-no-files", holder: costsAll},
		{name: "agent-kill", holder: costsOld}, {name: "agent-hang", holder: costsOld},
		{name: "power-off", holder: costsGap}, {name: "device-remade", holder: costsGap}, {name: "conntrack-full", holder: costsGap},
		{name: "unplug", holder: costsGap, other: costsGap, apart: true},
		{name: "partition", holder: costsGap, other: costsGap, apart: true},

		// A planned move, and a reload.
		{name: "agent-stop"}, {name: "agent-restart"}, {name: "agent-reload"},

		// The agent and HAProxy go on with what they have.
		{name: "no-files"}, {name: "disk-full"}, {name: "read-only"}, {name: "no-run-dir"}, {name: "log-stuck"}, {name: "mac-change"},
		{name: "clock", value: hours},
		// Its own host of each service answers, and an address that moves does so by
		// a planned move.
		{name: "blind"},

		// Who does not hear the holder takes over, if only for a moment.
		{name: "loss", holder: costsGap, other: costsGap, value: number(1, 10)},
		{name: "delay", holder: costsGap, other: costsGap, value: between(5*time.Millisecond, 100*time.Millisecond)},
		{name: "flap", holder: costsGap, other: costsGap, value: between(200*time.Millisecond, 2*time.Second)},
		{name: "one-way", holder: costsGap},
		{name: "adverts-blocked", holder: costsGap, other: costsGap, value: side},

		// Of a move whose connections cannot go on, each is reset.
		{name: "source-guard", other: costsReset, work: true},
		{name: "flush-rules", holder: costsReset, other: costsReset, work: true},
	}
}

// notDrawn says of the lab's other faults why chaos does not do them.
func notDrawn() map[string]string {
	const end = "it ends others, as chaos does after each"
	return map[string]string{
		"service-back": end, "haproxy-back": end, "agent-back": end, "back": end, "heal": end,
		"address-stolen": "the agents can only say so, and clients come to whom the last word was of",
		"closes":         "it is done to requests with more headers than those of the load have",
	}
}

// kindOf gives the kind called name; one that costs nothing when there is none.
func kindOf(name string) chaosKind {
	for _, k := range chaosKinds() {
		if k.name == name {
			return k
		}
	}
	return chaosKind{name: name}
}

// between draws a time: short ones are as likely as long ones of ten times the
// length.
func between(low, high time.Duration) func(*rand.Rand, time.Duration) string {
	return func(r *rand.Rand, _ time.Duration) string {
		return drawTime(r, low, high).Round(time.Millisecond).String()
	}
}

// drawTime draws a time as between has it.
func drawTime(r *rand.Rand, low, high time.Duration) time.Duration {
	from, to := math.Log(float64(low)), math.Log(float64(high))
	return time.Duration(math.Exp(from + r.Float64()*(to-from)))
}

// number draws one of low to high.
func number(low, high int) func(*rand.Rand, time.Duration) string {
	return func(r *rand.Rand, _ time.Duration) string { return strconv.Itoa(low + r.IntN(high-low+1)) }
}

// asLong has what the lab does last as long as the fault.
func asLong(_ *rand.Rand, length time.Duration) string {
	return length.Round(time.Millisecond).String()
}

// busyWorkers draws a host that can do less than half of its share of the load, or
// twice as much: others have room for what it has not.
func busyWorkers(r *rand.Rand, _ time.Duration) string {
	return fmt.Sprintf("%dx%dms", 4+r.IntN(5), 60+r.IntN(91))
}

// hours draws how far off a clock is, ahead or behind.
func hours(r *rand.Rand, _ time.Duration) string {
	return fmt.Sprintf("%+dh", 1+r.IntN(24)-25*r.IntN(2))
}

func side(r *rand.Rand, _ time.Duration) string { return []string{"out", "in"}[r.IntN(2)] }
