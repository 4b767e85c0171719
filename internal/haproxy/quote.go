package haproxy

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// probeIDs gives each name the id that hash has for it, or the next free one.
// The outcome does not depend on the order of names.
func probeIDs(names []string, hash func(string) int) map[string]int {
	ids := make(map[string]int, len(names))
	taken := make(map[int]bool, len(names))
	for _, name := range slices.Sorted(slices.Values(names)) {
		id := hash(name)
		for taken[id] {
			id = id%(1<<idBits-1) + 1
		}
		taken[id] = true
		ids[name] = id
	}
	return ids
}

// word gives s as one word of a configuration line, quoted where it must be
// (HAProxy manual 2.2, "Quoting and escaping"). A control character, which no
// quoting can carry, becomes "?".
func word(s string) string {
	s = printable(s)
	if s != "" && strings.IndexFunc(s, isSpecial) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// isSpecial reports whether r means something to HAProxy's parser.
func isSpecial(r rune) bool {
	switch r {
	case ' ', '\t', '\\', '"', '\'', '#', '$':
		return true
	}
	return false
}

// printable gives s without control characters, fit for a comment.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// maxTime is the longest time HAProxy takes: 2^31-1 ms.
const maxTime = (1<<31 - 1) * time.Millisecond

// duration gives d as HAProxy writes times (manual 2.5), in the largest unit
// that is exact, and within what it takes: 1ms to maxTime.
func duration(d time.Duration) string {
	d = min(max(d.Truncate(time.Millisecond), time.Millisecond), maxTime)
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d%u.size == 0 {
			return itoa(int(d/u.size)) + u.name
		}
	}
	return itoa(int(d/time.Millisecond)) + "ms"
}

func itoa(n int) string { return strconv.Itoa(n) }

// CLIWord gives s as one word of a command of the runtime API (management
// guide 9.3).
func CLIWord(s string) string {
	return strings.NewReplacer(`\`, `\\`, " ", `\ `, ";", `\;`).Replace(s)
}
