package tokens

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/lab/peer"
	"holdfast/internal/status"
)

// counts is what the HAProxys of a lab have counted since they were started.
type counts struct {
	// downs has how often a host was marked down, by HAProxy and host. A host
	// may be in several backends, which see it go down together: it counts once.
	downs map[[2]string]uint64
	// none has how often no host of Keystone's was left, by HAProxy.
	none    map[string]uint64
	retries uint64
	out     []string // hosts that are not up now
}

// counts asks the HAProxy of each controller.
func (b *bed) counts(ctx context.Context) (counts, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	all := counts{downs: map[[2]string]uint64{}, none: map[string]uint64{}}
	for i, c := range b.spec.Controllers {
		reply, err := peer.Ask(ctx, b.lab.Dir.RuntimeSocket(i, c.Name), "show stat")
		if err != nil {
			return counts{}, fmt.Errorf("HAProxy of %s: %w", c.Name, err)
		}
		rows, err := output.ParseStat([]byte(reply))
		if err != nil {
			return counts{}, fmt.Errorf("HAProxy of %s: %w", c.Name, err)
		}
		all.add(c.Name, rows)
	}
	return all, nil
}

// add adds what the HAProxy of controller says.
func (c *counts) add(controller string, rows []output.Row) {
	for _, row := range rows {
		if !strings.HasPrefix(row.Proxy, service) {
			continue
		}
		switch row.Kind {
		case output.KindServer:
			key := [2]string{controller, row.Name}
			c.downs[key] = max(c.downs[key], row.Downs)
			if !strings.HasPrefix(row.Status, "UP") && row.Status != "no check" {
				c.out = append(c.out, fmt.Sprintf("%s is %s at %s", row.Name, row.Status, controller))
			}
		case output.KindBackend:
			c.none[controller] = max(c.none[controller], row.Downs)
			c.retries += row.Retries
		case output.KindFrontend, output.KindListener:
		}
	}
}

// arrivals is what came to hosts, as they wrote it down.
type arrivals struct {
	requests int // of clients
	checks   int
}

// logs reads what uwsgi writes, a line for each request that it has answered.
type logs struct{ offsets map[string]int64 }

func newLogs() *logs { return &logs{offsets: map[string]int64{}} }

func (l *logs) add(path string) { l.offsets[path] = 0 }

// read gives what was written since it was called last.
func (l *logs) read() (arrivals, error) {
	var sum arrivals
	for path, offset := range l.offsets {
		file, err := os.Open(path)
		if err != nil {
			return sum, fmt.Errorf("read what a host wrote: %w", err)
		}
		data, err := io.ReadAll(io.NewSectionReader(file, offset, 1<<40))
		if err := errors.Join(err, file.Close()); err != nil {
			return sum, fmt.Errorf("read what a host wrote: %w", err)
		}
		data = data[:bytes.LastIndexByte(data, '\n')+1] // the rest of a line is yet to come
		l.offsets[path] += int64(len(data))
		sum.count(data)
	}
	return sum, nil
}

// verdicts reads what agents write of hosts that they, or their HAProxys, take out: why a
// host was marked down that was only late is what somebody who sees that wants to know.
type verdicts struct{ offsets map[string]int64 }

// read gives what was written since it was called last, a line each. What cannot be read
// is left out: it would only explain.
func (v *verdicts) read() []string {
	var all []string
	for path, offset := range v.offsets {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		data, err := io.ReadAll(io.NewSectionReader(file, offset, 1<<40))
		if errors.Join(err, file.Close()) != nil {
			continue
		}
		data = data[:bytes.LastIndexByte(data, '\n')+1]
		v.offsets[path] += int64(len(data))
		for line := range bytes.Lines(data) {
			if said := verdict(line); said != "" {
				all = append(all, said)
			}
		}
	}
	slices.Sort(all)
	return all
}

// verdict gives what a line of an agent's log says of a host that went out, beginning
// with the time; "" for what says something else.
func verdict(line []byte) string {
	var said struct{ Time, Msg, Controller, Event, Cause string }
	if json.Unmarshal(line, &said) != nil || said.Event != status.EventHostDown && said.Event != status.EventHostTakenOut {
		return ""
	}
	return fmt.Sprintf("%s %s: %s (%s)", said.Time, said.Controller, said.Msg, said.Cause)
}

// count counts the requests in lines of uwsgi's log:
// "[pid: 8|app: 0|req: 18/18] 10.64.20.15 () {24 vars in 286 bytes} [date] GET /healthcheck => generated …".
func (a *arrivals) count(lines []byte) {
	for line := range bytes.Lines(lines) {
		switch {
		case !bytes.HasPrefix(line, []byte("[pid: ")):
		case bytes.Contains(line, []byte("] GET /v3")), bytes.Contains(line, []byte("] POST /v3")):
			a.requests++
		case bytes.Contains(line, []byte(" /healthcheck => ")):
			a.checks++
		}
	}
}
