package atrest

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// A process is what /proc says of one, at one moment.
type process struct {
	controller string
	agent      bool // else an HAProxy
	ran        time.Duration
	switches   uint64
	memory     int64
}

// look gives the agents and HAProxys of the lab called name, by their ids. What ends
// while it is looked at is left out.
func look(proc fs.FS, name string) map[string]process {
	found := map[string]process{}
	dirs, err := fs.Glob(proc, "[0-9]*")
	if err != nil { // a pattern that is wrong
		return nil
	}
	for _, pid := range dirs {
		p, ours := identify(proc, pid, name)
		if !ours {
			continue
		}
		if p.add(proc, pid) == nil {
			found[pid] = p
		}
	}
	return found
}

// identify reports whether a process is an agent or an HAProxy of the lab, by its command line.
func identify(proc fs.FS, pid, name string) (p process, ours bool) {
	data, err := fs.ReadFile(proc, pid+"/cmdline")
	if err != nil {
		return p, false
	}
	words := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	_, below, ours := strings.Cut(string(data), "/"+name+"/nodes/")
	p.controller, _, _ = strings.Cut(below, "/")
	p.agent = len(words) > 1 && words[1] == "agent"
	return p, ours && (p.agent || path.Base(words[0]) == "haproxy")
}

// add adds up what the threads of a process have taken.
func (p *process) add(proc fs.FS, pid string) error {
	threads, err := fs.Glob(proc, pid+"/task/[0-9]*")
	if err != nil || len(threads) == 0 {
		return fs.ErrNotExist
	}
	for _, dir := range threads {
		times, err := fs.ReadFile(proc, dir+"/schedstat")
		if err != nil {
			return err
		}
		ran, _, _ := strings.Cut(string(times), " ")
		ns, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return fmt.Errorf("%s/schedstat: %w", dir, err)
		}
		p.ran += time.Duration(ns)
		state, err := fs.ReadFile(proc, dir+"/status")
		if err != nil {
			return err
		}
		p.switches += number(state, "voluntary_ctxt_switches") + number(state, "nonvoluntary_ctxt_switches")
		p.memory = int64(number(state, "VmRSS")) << 10
	}
	return nil
}

// number gives a field of proc(5)'s status; 0 where it is not.
func number(state []byte, field string) uint64 {
	for line := range strings.Lines(string(state)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// costsOf gives what the processes took between two looks, that lasted.
func costsOf(first, last map[string]process, elapsed time.Duration, holder string) (Costs, error) {
	var c Costs
	agents := 0
	for pid, l := range last {
		f, ok := first[pid]
		if !ok {
			return c, fmt.Errorf("process %s on %s began meanwhile: that is no rest", pid, l.controller)
		}
		one := Cost{CPU: (l.ran - f.ran).Seconds() * 1000 / elapsed.Seconds(), Switches: float64(l.switches-f.switches) / elapsed.Seconds(), Memory: l.memory}
		c.All.CPU, c.All.Switches, c.All.Memory = c.All.CPU+one.CPU, c.All.Switches+one.Switches, c.All.Memory+one.Memory
		at := c.of(l.agent, l.controller == holder)
		at.CPU, at.Switches, at.Memory = max(at.CPU, one.CPU), max(at.Switches, one.Switches), max(at.Memory, one.Memory)
		if l.agent {
			agents++
		}
	}
	if agents == 0 || len(last) != len(first) {
		return c, fmt.Errorf("%d processes at the end of %d, %d of them agents: that is no rest", len(last), len(first), agents)
	}
	return c, nil
}

// of gives where the cost of a process belongs. HAProxy's master, which sleeps, is in
// the same place as its worker.
func (c *Costs) of(agent, holder bool) *Cost {
	switch {
	case agent && holder:
		return &c.HolderAgent
	case agent:
		return &c.OtherAgent
	case holder:
		return &c.HolderHAProxy
	}
	return &c.OtherHAProxy
}
