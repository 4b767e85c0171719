package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A Machine is what the benchmark ran on.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     string `json:"memory"`
	Kernel     string `json:"kernel"`
	System     string `json:"system"` // the distribution
	HAProxy    string `json:"haproxy"`
	Keepalived string `json:"keepalived"`
	Go         string `json:"go"`
	// LoadBefore is the load average over a minute at the start: what else
	// this machine was busy with.
	LoadBefore string `json:"load_before"`
}

// Describe looks at this machine. What it cannot find out, it leaves empty.
func Describe(ctx context.Context) Machine {
	m := Machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Go: runtime.Version(),
		HAProxy:    version(ctx, "haproxy", "-v"),
		Keepalived: version(ctx, "keepalived", "--version"),
		System:     strings.Trim(field("/etc/os-release", "PRETTY_NAME"), `"`),
	}
	var kib int64
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kib); err == nil {
		m.Memory = fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:]) + " " +
			unix.ByteSliceToString(name.Machine[:])
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.LoadBefore, _, _ = strings.Cut(string(data), " ")
	}
	return m
}

// field gives the value of the first line of a file that begins with name.
func field(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, found := strings.Cut(strings.Replace(lines.Text(), "=", ":", 1), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// version gives the first word of a program's first line that looks like a version.
func version(ctx context.Context, program, flag string) string {
	cmd := exec.CommandContext(ctx, program, flag)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	if path, err := exec.LookPath("/usr/sbin/" + program); err == nil && cmd.Err != nil {
		cmd.Path, cmd.Err = path, nil
	}
	out, err := cmd.CombinedOutput() // keepalived answers on stderr
	if err != nil && len(out) == 0 {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	for word := range strings.FieldsSeq(line) {
		if number := strings.TrimPrefix(word, "v"); number != "" && number[0] >= '0' && number[0] <= '9' {
			return number
		}
	}
	return line
}
