package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Usage is how much memory and how many descriptors the agent and HAProxy of a
// controller have, or those of several together.
type Usage struct {
	Agent   Processes `json:"agent"`
	HAProxy Processes `json:"haproxy"`
}

// Processes sums up those of one kind.
type Processes struct {
	Count  int   `json:"count"`
	Memory int64 `json:"memory_bytes"` // resident
	Files  int   `json:"files"`        // open descriptors
}

// usageAt is a sample of Usage.
type usageAt struct {
	time time.Time
	Usage
}

// ReadUsage reads the Usage of this controller from proc, its /proc. What ends
// while it is looked at does not count.
func ReadUsage(proc fs.FS) (Usage, error) {
	var u Usage
	dirs, err := fs.Glob(proc, "[0-9]*")
	if err != nil {
		return u, fmt.Errorf("list the processes: %w", err)
	}
	for _, dir := range dirs {
		kind := u.kind(proc, dir)
		if kind == nil {
			continue
		}
		err := kind.addProcess(proc, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return u, fmt.Errorf("look at process %s: %w", dir, err)
		}
	}
	return u, nil
}

// kind gives where the process of dir is to be counted; nil: nowhere.
func (u *Usage) kind(proc fs.FS, dir string) *Processes {
	comm, err := fs.ReadFile(proc, dir+"/comm")
	if err != nil {
		return nil
	}
	if strings.TrimSpace(string(comm)) == "haproxy" {
		return &u.HAProxy
	}
	line, err := fs.ReadFile(proc, dir+"/cmdline")
	if err != nil {
		return nil
	}
	args := strings.Split(string(line), "\x00")
	if len(args) > 1 && strings.HasSuffix(args[0], "holdfast") && args[1] == "agent" {
		return &u.Agent
	}
	return nil
}

func (p *Processes) addProcess(proc fs.FS, dir string) error {
	text, err := fs.ReadFile(proc, dir+"/status")
	if err != nil {
		return err
	}
	files, err := fs.ReadDir(proc, dir+"/fd")
	if err != nil {
		return err
	}
	p.Count++
	p.Files += len(files)
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			p.Memory += kib << 10
		}
	}
	return nil
}

// add adds what "lab usage" printed.
func (u *Usage) add(data []byte) error {
	var more Usage
	if err := json.Unmarshal(data, &more); err != nil {
		return fmt.Errorf("read the usage of a controller: %w", err)
	}
	u.Agent.plus(more.Agent)
	u.HAProxy.plus(more.HAProxy)
	return nil
}

func (p *Processes) plus(more Processes) {
	p.Count += more.Count
	p.Memory += more.Memory
	p.Files += more.Files
}

// How much more than at the beginning, relative and beside that absolute over
// three controllers, counts as flat: processes that are killed and started
// again are not of one size, and HAProxy keeps connections to servers.
const (
	flatShare  = 0.25
	flatMemory = 16 << 20
	flatFiles  = 150
)

// growth compares the last third of samples with the second sixth, when all
// has warmed up, and says what has grown beyond bounds. It is silent about
// fewer samples than can tell.
func growth(samples []usageAt) (from, to Usage, grown []string) {
	n := len(samples)
	if n < 6 {
		return from, to, nil
	}
	from, to = middleOf(samples[n/6:max(n/3, n/6+1)]), middleOf(samples[n-n/3:])
	check := func(what string, before, after, slack int64, unit func(int64) string) {
		if after > before+int64(flatShare*float64(before))+slack {
			grown = append(grown, fmt.Sprintf("%s grew from %s to %s", what, unit(before), unit(after)))
		}
	}
	check("memory of the agents", from.Agent.Memory, to.Agent.Memory, flatMemory, mib)
	check("memory of the HAProxys", from.HAProxy.Memory, to.HAProxy.Memory, flatMemory, mib)
	check("descriptors of the agents", int64(from.Agent.Files), int64(to.Agent.Files), flatFiles, plain)
	check("descriptors of the HAProxys", int64(from.HAProxy.Files), int64(to.HAProxy.Files), flatFiles, plain)
	return from, to, grown
}

func mib(n int64) string   { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
func plain(n int64) string { return fmt.Sprint(n) }

// middleOf gives the median of each figure of samples, of which there is one.
func middleOf(samples []usageAt) Usage {
	middle := func(of func(Usage) Processes) Processes {
		var counts, files []int
		var memory []int64
		for _, s := range samples {
			p := of(s.Usage)
			counts, files, memory = append(counts, p.Count), append(files, p.Files), append(memory, p.Memory)
		}
		slices.Sort(counts)
		slices.Sort(files)
		slices.Sort(memory)
		at := len(samples) / 2
		return Processes{Count: counts[at], Memory: memory[at], Files: files[at]}
	}
	return Usage{
		Agent:   middle(func(u Usage) Processes { return u.Agent }),
		HAProxy: middle(func(u Usage) Processes { return u.HAProxy }),
	}
}
