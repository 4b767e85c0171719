package throughput

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A Machine is where something was measured.
type Machine struct {
	Processors int    `json:"processors"`
	Model      string `json:"model"`
	Kernel     string `json:"kernel"`
	HAProxy    string `json:"haproxy"`
	Load       string `json:"load"` // averages at the end, by other work too
}

// String describes m in a line.
func (m Machine) String() string {
	return fmt.Sprintf("%d processors, %s; Linux %s; %s; load average %s", m.Processors, m.Model, m.Kernel, m.HAProxy, m.Load)
}

func machine(ctx context.Context, haproxy string) Machine {
	m := Machine{Processors: runtime.NumCPU(), Kernel: fileText("/proc/sys/kernel/osrelease"), Load: fileText("/proc/loadavg")}
	for line := range strings.Lines(fileText("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	if out, err := exec.CommandContext(ctx, haproxy, "-v").Output(); err == nil {
		first, _, _ := strings.Cut(string(out), "\n")
		m.HAProxy = strings.TrimSpace(strings.TrimSuffix(first, " - https://haproxy.org/"))
	}
	return m
}

// fileText gives what is in a file of /proc, "" if there is none.
func fileText(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// spent gives the processor time that p has used so far; 0 for no proxy.
func (p *proxy) spent() (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	return processorTime(p.cmd.Process.Pid)
}

// processorTime sums what the scheduler says of each thread of a process, to
// the nanosecond (/proc/PID/task/TID/schedstat, first field); utime and stime
// of /proc/PID/stat are in hundredths of a second.
func processorTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time of %d: %w", pid, err)
	}
	sum := time.Duration(0)
	for _, f := range files {
		words := strings.Fields(fileText(f))
		if len(words) == 0 {
			continue // a thread that has ended
		}
		n, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("processor time of %d: %s: %w", pid, f, err)
		}
		sum += time.Duration(n)
	}
	if sum == 0 {
		return 0, fmt.Errorf("processor time of %d: none in /proc; it has ended, or the kernel has no CONFIG_SCHED_INFO", pid)
	}
	return sum, nil
}
