package bench

import (
	"context"
	"fmt"
	"strings"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/lab"
	"holdfast/internal/lab/busy"
	"holdfast/internal/lab/load"
	"holdfast/internal/lab/peer"
)

// Hosts is what became of a service's hosts while they were busy: what they saw
// beside what clients sent, and what HAProxy made of them.
type Hosts struct {
	Sent int `json:"sent"` // requests and uploads, by clients
	Seen int `json:"seen"` // of these by hosts: more, where HAProxy repeated some
	// Checks counts the health checks that hosts saw meanwhile.
	Checks int `json:"checks"`
	// Down counts how often a host was marked down, by any of the HAProxys.
	Down int `json:"marked_down"`
	// Uploads counts those in flight when something was done, on any host, and
	// Cut those of them that did not end well.
	Uploads int `json:"uploads,omitempty"`
	Cut     int `json:"uploads_cut,omitempty"`
}

// ratio gives how many requests hosts saw for each that clients sent.
func (h Hosts) ratio() float64 {
	if h.Sent == 0 {
		return 0
	}
	return float64(h.Seen) / float64(h.Sent)
}

// downs gives how often each host of the service under load was marked down by
// each HAProxy so far, by "CONTROLLER HOST". A host that has several servers in
// one HAProxy counts once.
func (t *testbed) downs(ctx context.Context) (map[string]int, error) {
	all := map[string]int{}
	for i, controller := range t.spec.Controllers {
		reply, err := peer.Ask(ctx, t.dir().RuntimeSocket(i, controller.Name), "show stat -1 4 -1")
		var servers []output.Row
		if err == nil {
			servers, err = output.ParseStat([]byte(reply))
		}
		if err != nil {
			return nil, fmt.Errorf("ask HAProxy of %s for its servers: %w", controller.Name, err)
		}
		for _, s := range servers {
			if strings.Contains(s.Proxy, service) {
				key := controller.Name + " " + s.Name
				all[key] = max(all[key], int(s.Downs))
			}
		}
	}
	return all, nil
}

// downsSince adds up how often hosts were marked down between two looks. A
// HAProxy that counts from nothing was started in between.
func downsSince(before, after map[string]int) int {
	sum := 0
	for key, n := range after {
		if n >= before[key] {
			n -= before[key]
		}
		sum += n
	}
	return sum
}

// A sight is what is known of the service's hosts at one moment.
type sight struct {
	downs map[string]int
	seen  busy.Counts
}

// look looks at the service's hosts. Nothing of the load is under way.
func (d *drive) look(ctx context.Context) (sight, error) {
	var s sight
	var err error
	if s.seen, err = lab.ReadCounts(d.bed.dir(), service); err == nil {
		s.downs, err = d.bed.downs(ctx)
	}
	return s, err
}

// hosts sums up what hosts saw between two looks of all that was sent, and what
// became of the uploads that were in flight at the beginning of s.
func hosts(s span, all []load.Record, before, after sight) Hosts {
	seen := after.seen.Sub(before.seen)
	h := Hosts{Seen: seen.Keyed, Checks: seen.Checks, Down: downsSince(before.downs, after.downs)}
	for _, r := range all {
		if r.Kind != load.Request && r.Kind != load.Upload {
			continue
		}
		h.Sent++
		if r.Kind == load.Upload && r.Due.Before(s.from) && r.End().After(s.from) {
			h.Uploads++
			if r.Failure != "" {
				h.Cut++
			}
		}
	}
	return h
}
