package holdfast_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// clockFree are the packages whose decisions depend on durations: who holds a
// VIP, whether HAProxy hangs. A clock that is set must change none of them.
var clockFree = []string{"agent", "vips", "reach/paths", "hearing", "rollout", "drain", "handover", "peer", "certificate/keep", "health/watch", "vrrp", "vrrp/link", "vip", "vip/move", "vip/conntrack", "rtnl", "sockdiag", "haproxy/process"}

// wallTime finds what makes a time from the wall clock, or takes from one its
// reading of the monotonic clock (package time, "Monotonic Clocks"): differences
// of such times change when the clock is set.
var wallTime = regexp.MustCompile(`time\.(Unix|UnixMilli|UnixMicro|Parse|ParseInLocation|Date)\(|` +
	`\.(UTC|Local|In|ModTime|Unix|UnixNano|UnixMilli|UnixMicro)\(|\.Round\(0\)|CLOCK_REALTIME|` +
	"time\\.Time +`json:") // what comes out of JSON, from another host or an earlier agent, has no reading of it either

// harmless are the lines that may have it, each with the reason.
var harmless = map[string]string{
	`SetDeadline(time.Unix(1, 0))`:             "any time in the past ends a wait",
	`SetReadDeadline(time.Unix(1, 0))`:         "any time in the past ends a wait",
	`now = now.UTC().Truncate(`:                "a drain is kept over reboots, and ends when an operator's clock says so",
	`e.Until.UTC().Format(`:                    "words for the journal",
	"Since     time.Time     `json:\"since\"`": "for people, and for an older agent; BootSince counts",
	"Until     time.Time     `json:\"until\"`": "for people, and for an older agent; BootUntil counts",
	"Until time.Time     `json:\"until\"`":     "for an older agent; Left counts",
	`int(time.Now().UnixMicro())+i)%`:          "any port will do",
	`time.Since(info.ModTime())`:               "whether a file of server states is worth reading; HAProxy checks each anyway",
}

// TestDurationsAreMonotonic looks for durations that a clock which is set, as by
// an hour, would change. The kernel does count leases without that clock.
func TestDurationsAreMonotonic(t *testing.T) {
	for _, dir := range clockFree {
		files, err := filepath.Glob(filepath.Join("internal", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				checkClock(t, file)
			}
		}
	}
}

func checkClock(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(data), "\n") {
		code, _, _ := strings.Cut(line, "//")
		if found := wallTime.FindString(code); found != "" && !isHarmless(code) {
			t.Errorf("%s:%d: %s depends on the wall clock; keep the time.Time of time.Now, or say in this test why it does no harm", file, i+1, found)
		}
	}
}

func isHarmless(code string) bool {
	for allowed := range harmless {
		if strings.Contains(code, allowed) {
			return true
		}
	}
	return false
}
