package bench

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/lab"
	"holdfast/internal/lab/busy"
	"holdfast/internal/lab/load"
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

// A Server is what one HAProxy says of one host of a service.
type Server struct {
	Proxy string `json:"proxy"`
	Name  string `json:"name"`
	Downs int    `json:"downs"` // since HAProxy's start
}

// AskServers is the question of HAProxy's runtime API whose answer ParseServers
// reads.
const AskServers = "show stat -1 4 -1"

// ParseServers reads HAProxy's answer to AskServers (management guide, 9.1).
func ParseServers(text string) ([]Server, error) {
	text = strings.TrimPrefix(strings.TrimSpace(text), "# ")
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("what HAProxy says of its servers: %w", err)
	}
	if len(lines) == 0 {
		return nil, errors.New("HAProxy says nothing of its servers")
	}
	at := map[string]int{}
	for _, name := range []string{"pxname", "svname", "chkdown"} {
		if at[name] = slices.Index(lines[0], name); at[name] < 0 {
			return nil, fmt.Errorf("HAProxy does not say the %s of its servers", name)
		}
	}
	var all []Server
	for _, line := range lines[1:] {
		if len(line) <= at["chkdown"] {
			continue
		}
		downs, err := strconv.Atoi(cmp.Or(line[at["chkdown"]], "0"))
		if err != nil {
			return nil, fmt.Errorf("what HAProxy says of its servers: %w", err)
		}
		all = append(all, Server{Proxy: line[at["pxname"]], Name: line[at["svname"]], Downs: downs})
	}
	return all, nil
}

// downs gives how often each host of the service under load was marked down by
// each HAProxy so far, by "CONTROLLER HOST". A host that has several servers in
// one HAProxy counts once.
func (t *testbed) downs(ctx context.Context) (map[string]int, error) {
	all := map[string]int{}
	for _, controller := range t.spec.Controllers {
		out, err := lab.Command{Node: controller.Name, Args: []string{"holdfast", "lab", "servers"}}.Output(ctx, t.dir())
		var servers []Server
		if err == nil {
			err = json.Unmarshal(out, &servers)
		}
		if err != nil {
			return nil, fmt.Errorf("ask HAProxy of %s for its servers: %w", controller.Name, err)
		}
		for _, s := range servers {
			if strings.Contains(s.Proxy, service) {
				key := controller.Name + " " + s.Name
				all[key] = max(all[key], s.Downs)
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
