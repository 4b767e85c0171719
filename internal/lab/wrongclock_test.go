package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clockOf is in the environment of a test that prints what time it is, in seconds,
// many times over, and what time a program of its own says that it is.
const clockOf = "HOLDFAST_TEST_CLOCK"

// TestStartWrong starts a process whose clock is off, in Go as the agent is. What
// that starts has the right one, as HAProxy must.
func TestStartWrong(t *testing.T) {
	if os.Getenv(clockOf) != "" {
		var lines []string
		for range 1000 {
			lines = append(lines, strconv.FormatInt(time.Now().Unix(), 10))
		}
		begin := time.Now()
		time.Sleep(time.Millisecond)
		out, err := exec.CommandContext(t.Context(), "date", "+%s").Output()
		fmt.Println(lines[0], lines[999], time.Since(begin) >= time.Millisecond, strings.TrimSpace(string(out)), err)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root (make test runs as root)")
	}
	for _, offset := range []time.Duration{3 * time.Hour, -1000 * time.Hour} {
		var out strings.Builder
		cmd := exec.Command(os.Args[0], "-test.run=^TestStartWrong$")
		cmd.Env = append(os.Environ(), clockOf+"=1")
		cmd.Stdout, cmd.SysProcAttr = &out, &syscall.SysProcAttr{}
		before := time.Now().Unix()
		if err := onThread(func() error { return startWrong(cmd, offset) }); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err, out.String())
		}
		after := time.Now().Unix()
		var first, last, child int64
		var passes bool
		if _, err := fmt.Sscan(out.String(), &first, &last, &passes, &child); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		off := int64(offset / time.Second)
		if first < before+off || last < first || last > after+off || !passes {
			t.Errorf("off by %v, from %d to %d: it saw %d to %d, and time passed: %v", offset, before, after, first, last, passes)
		}
		if child < before || child > after {
			t.Errorf("off by %v, from %d to %d: what it started saw %d", offset, before, after, child)
		}
	}
}
