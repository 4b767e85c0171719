package bench

import (
	"fmt"
	"strings"
	"time"

	"holdfast/internal/lab/load"
)

// The service of the rows in which it is busy: three hosts of eight workers,
// each request a tenth of a second, the health check in the same queue.
const (
	workers  = 8
	hold     = 100 * time.Millisecond
	capacity = 3 * workers * float64(time.Second) / float64(hold) // requests a second
)

// patientTimeout is how long clients wait while a service is overloaded: longer
// than any queue, so that it counts as time and not as failures.
const patientTimeout = 60 * time.Second

// The uploads of a graceful restart: some ten for each host.
const (
	uploads       = 30
	uploadTime    = 5 * time.Second
	uploadBytes   = 1 << 20
	uploadSpread  = 300 * time.Millisecond
	uploadClients = 41
)

// A FaultLoad is the load of a row that has one of its own.
type FaultLoad struct {
	// Rate is that in requests a second; that of the other rows when 0.
	Rate float64 `json:"rate,omitempty"`
	// Phases are rates one after the other. They are all that is done.
	Phases []load.Phase `json:"phases,omitempty"`
	// Percent is the rate beside what the hosts can do, of a row of the sweep.
	Percent int           `json:"percent,omitempty"`
	Gets    bool          `json:"gets,omitempty"` // GET only
	Uploads int           `json:"uploads,omitempty"`
	Timeout time.Duration `json:"timeout_ns,omitempty"` // that of the other rows when 0
	// Lead is how long it runs before something is done; a second when 0.
	Lead time.Duration `json:"lead_ns,omitempty"`
}

// length gives how long the phases of l are.
func (l *FaultLoad) length() time.Duration {
	var all time.Duration
	if l != nil {
		for _, p := range l.Phases {
			all += p.Duration
		}
	}
	return all
}

// most gives the highest rate of l, usual where it has none of its own.
func (l *FaultLoad) most(usual float64) float64 {
	if l == nil || l.Rate == 0 && len(l.Phases) == 0 {
		return usual
	}
	most := l.Rate
	for _, p := range l.Phases {
		most = max(most, p.Rate)
	}
	return most
}

// String tells of the phases of l, for a person.
func (l *FaultLoad) String() string {
	var words []string
	for _, p := range l.Phases {
		words = append(words, fmt.Sprintf("%g requests/s for %v", p.Rate, p.Duration))
	}
	return strings.Join(words, ", then ")
}

// share gives the rate that is so much of what the hosts can do.
func share(percent int) float64 { return capacity * float64(percent) / 100 }

// makeBusy gives every host of the service its workers.
func makeBusy() []Action {
	return []Action{{On: OnAll, Kind: "busy", Value: fmt.Sprintf("%dx%v", workers, hold)}}
}

// beside is the promise of a service that is busy: it costs no more than behind
// kolla-ansible's settings, and no host is out for being late.
func beside(text string, failed int, p99 float64) Promise {
	p := promise(text, AllowBeside, none)
	p.Beside, p.NoneDown, p.Ratio = &Beside{Failed: failed, P99: p99}, true, mostSeen
	return p
}

// mostSeen is how many requests hosts may see for each that clients sent.
const mostSeen = 1.1

// busyRows gives the rows of services that are well, but late, or busy, or
// standing still.
func busyRows() []Fault {
	const ms, second = time.Millisecond, time.Second
	stalled := promise("0 failed, no POST twice", AllowNone, none)
	finish := promise("every upload ends well", AllowBeside, none)
	finish.Beside, finish.Uploads = &Beside{}, true
	// Rates are random to a host: what is over its rate is not what is promised.
	back := promise("seen <= 1.1 x sent", AllowAny, none)
	back.Ratio, back.NoneDown = mostSeen, true
	idle := promise("0 failed, slowest < 1 s", AllowNone, none)
	idle.Slowest = second
	return []Fault{
		{
			ID: "late-one", Name: "a host is late, 1 s", Watch: 3 * second, Slow: 3 * second,
			Action: Action{On: OnBusiest, Kind: "late", Value: "1s"}, Promise: beside("as kolla, none down", 0, 1.1),
		},
		{
			ID: "late-all", Name: "all are late, 1 s", Watch: 3 * second, Slow: 3 * second,
			Action: Action{On: OnAll, Kind: "late", Value: "1s"}, Promise: beside("as kolla, none down", 0, 1.1),
		},
		{
			ID: "overload", Name: "overload, 130 %", Before: makeBusy(),
			Load: &FaultLoad{
				Phases: []load.Phase{{Rate: share(90), Duration: 8 * second}, {Rate: share(130), Duration: 6 * second}, {Rate: share(90), Duration: 8 * second}},
				Gets:   true, Timeout: patientTimeout,
			},
			Promise: beside("kolla + 5, none down", 5, 0),
		},
		{
			ID: "stall-all", Name: "all stall for 3 s", Watch: 6 * second, Slow: 6 * second,
			Action: Action{On: OnEveryHost, Kind: "stall", Value: "3s"}, Promise: stalled,
		},
		{
			ID: "stall-one", Name: "a host stalls, 3 s", Watch: 6 * second, Slow: 6 * second,
			Action: Action{On: OnBusiest, Kind: "service-stall", Value: "3s"}, Promise: stalled,
		},
		{
			ID: "hang-idle", Name: "a host hangs, idle", Watch: 8 * second, Slow: 8 * second,
			Load:   &FaultLoad{Rate: 2, Gets: true, Lead: 2500 * ms},
			Action: Action{On: OnBusiest, Kind: "service-hang"}, Promise: idle,
		},
		{
			ID: "graceful-restart", Name: "graceful restart", Watch: 6 * second, Slow: 6 * second,
			Load:   &FaultLoad{Uploads: uploads},
			Action: Action{On: OnBusiest, Kind: "graceful-restart"}, Promise: finish,
		},
		{
			ID: "push-back", Name: "503 + Retry-After",
			Before:  []Action{{On: OnAll, Kind: "push-back", Value: "40"}},
			Load:    &FaultLoad{Phases: []load.Phase{{Rate: 200, Duration: 4 * second}}},
			Promise: back,
		},
	}
}

// sweepPercents are the loads of the sweep, beside what the hosts can do.
func sweepPercents() []int { return []int{50, 80, 90, 100, 120, 150, 200} }

// sweepTime is how long each of them lasts.
const sweepTime = 8 * time.Second

// sweepRows gives the rows of the sweep: one load after the other, and nothing
// broken.
func sweepRows() []Fault {
	var rows []Fault
	for _, percent := range sweepPercents() {
		rows = append(rows, Fault{
			ID: fmt.Sprintf("load-%d", percent), Name: fmt.Sprintf("%d %% of capacity", percent), Before: makeBusy(),
			Load: &FaultLoad{
				Phases: []load.Phase{{Rate: share(percent), Duration: sweepTime}}, Percent: percent, Gets: true, Timeout: patientTimeout,
			},
			Promise: beside("as kolla, none down", 0, 1.1),
		})
	}
	return rows
}
