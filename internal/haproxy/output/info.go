package output

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Info is what "show info" says of a worker (management guide 9.3).
type Info struct {
	Version   string
	PID       int
	Uptime    time.Duration // whole seconds
	Conns     int           // open connections of clients
	ConnRate  int           // new ones in the last second
	MaxConn   int
	MaxSock   int // file descriptors it counts on at most
	Listeners int
	Stopping  bool // it was told to leave
}

// ParseInfo reads the reply to "show info". Fields that it does not know are
// passed over; Pid must be there. A reply that was cut short is an error.
func ParseInfo(reply []byte) (Info, error) {
	text := string(reply)
	if !strings.HasSuffix(text, "\n") {
		return Info{}, errors.New("show info: the reply is cut short")
	}
	var i Info
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		switch name {
		case "Version":
			i.Version = value
		case "Pid":
			i.PID = Number(value)
		case "Uptime_sec":
			i.Uptime = time.Duration(Number(value)) * time.Second
		case "CurrConns":
			i.Conns = Number(value)
		case "ConnRate":
			i.ConnRate = Number(value)
		case "Maxconn":
			i.MaxConn = Number(value)
		case "Maxsock":
			i.MaxSock = Number(value)
		case "Listeners":
			i.Listeners = Number(value)
		case "Stopping":
			i.Stopping = value != "0"
		}
	}
	if i.PID <= 0 {
		return Info{}, fmt.Errorf("show info: no pid in %q", Excerpt(reply))
	}
	return i, nil
}

// Number gives s as a number of 0 to 2^31-1, 0 for what is none.
func Number(s string) int {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// A Process is one line of "show proc".
type Process struct {
	PID     int
	Reloads int // of the master: in all; of a worker: that it has outlived
	Failed  int // reloads that failed since the last that did not; the master only, HAProxy 2.5 and later
	Uptime  time.Duration
	Version string
}

// Processes is what "show proc" on the master's socket says (guide 9.4.1).
type Processes struct {
	Master  Process
	Workers []Process // the current ones; one, unless HAProxy is very old
	Old     []Process // those that finish what they have since a reload
}

// ParseProc reads the reply to "show proc", of HAProxy 2.4 (which has one more
// column) and later. A reply without a master is an error.
func ParseProc(reply []byte) (Processes, error) {
	var p Processes
	old := false
	for line := range strings.Lines(string(reply)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			old = line == "# old workers"
			continue
		}
		kind, proc, ok := process(line)
		switch {
		case !ok:
		case kind == "master":
			p.Master = proc
		case kind == "worker" && old:
			p.Old = append(p.Old, proc)
		case kind == "worker":
			p.Workers = append(p.Workers, proc)
		}
	}
	if p.Master.PID == 0 {
		return Processes{}, fmt.Errorf("show proc: no master in %q", Excerpt(reply))
	}
	return p, nil
}

// process reads one line: PID, type, in 2.4 the relative PID, reloads, in the
// master's line "[failed: N]", uptime and version.
func process(line string) (kind string, p Process, ok bool) {
	before, after, found := strings.Cut(line, "[failed:")
	if found {
		failed, rest, closed := strings.Cut(after, "]")
		if !closed {
			return "", Process{}, false
		}
		p.Failed = Number(strings.TrimSpace(failed))
		line = before + rest
	}
	f := strings.Fields(line)
	if len(f) < 4 {
		return "", Process{}, false
	}
	p.PID = Number(f[0])
	for i := 2; i < len(f); i++ {
		if d, isUptime := uptime(f[i]); isUptime {
			p.Uptime, p.Reloads = d, Number(f[i-1])
			p.Version = strings.Join(f[i+1:], " ")
			return f[1], p, p.PID > 0
		}
	}
	return "", Process{}, false
}

// uptime reads "0d00h02m07s".
func uptime(s string) (time.Duration, bool) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(days, 10, 15)
	if err != nil {
		return 0, false
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > 24*time.Hour {
		return 0, false
	}
	return time.Duration(n)*24*time.Hour + d, true
}
