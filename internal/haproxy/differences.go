package haproxy

import (
	"fmt"
	"slices"
	"strings"
)

// differences tells in words where two configurations differ beside servers.
func differences(old, now []*Section) []string {
	heads := func(all []*Section) []string {
		out := make([]string, len(all))
		for i, s := range all {
			out[i] = s.head()
		}
		return out
	}
	var out []string
	before, after := heads(old), heads(now)
	for _, s := range missing(now, before) {
		out = append(out, "a new "+s)
	}
	for _, s := range missing(old, after) {
		out = append(out, "no "+s+" any more")
	}
	if len(out) > 0 {
		return out
	}
	if !slices.Equal(before, after) {
		return []string{"another order of services or VIPs"}
	}
	for i := range old {
		out = append(out, lineDifferences(old[i], now[i])...)
	}
	return out
}

// missing names the sections of all whose heads are not among others.
func missing(all []*Section, others []string) []string {
	var out []string
	for _, s := range all {
		name := s.head()
		if slices.Contains(others, name) {
			continue
		}
		if first := serviceOfBackend(name); first != name && !slices.Contains(others, first) {
			continue // it came or went with the service's first backend
		}
		if s.Bind != nil {
			name = "frontend for " + s.Bind.Address.String()
		}
		out = append(out, name)
	}
	return out
}

// directives gives what s says, but for servers, and for what names each of them:
// see countsTries.
func (s *Section) directives() []string {
	return slices.DeleteFunc(s.lines(), func(l string) bool { return isProse(l) || strings.HasPrefix(l, countsTries) })
}

// lineDifferences tells in words in what lines two sections of one head differ.
func lineDifferences(old, now *Section) []string {
	before, after := old.directives(), now.directives()
	if slices.Equal(before, after) {
		return nil
	}
	gone, come := without(before, after), without(after, before)
	if len(gone) == 0 && len(come) == 0 {
		return []string{"another order of lines in " + now.head()}
	}
	var out []string
	for _, key := range keys(come, gone) {
		verb := "changed"
		switch {
		case !slices.Contains(keys(gone), key):
			verb = "is new"
		case !slices.Contains(keys(come), key):
			verb = "is gone"
		}
		out = append(out, key+" of "+now.head()+" "+verb)
	}
	return out
}

// without gives those of lines that are not among others, as often as they are more often there.
func without(lines, others []string) []string {
	others = slices.Clone(others)
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		i := slices.Index(others, l)
		if i >= 0 {
			others = slices.Delete(others, i, i+1)
		}
		return i >= 0
	})
}

// keys gives what lines set, each once.
func keys(all ...[]string) []string {
	var out []string
	for _, lines := range all {
		for _, l := range lines {
			if k := lineKey(l); !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	return out
}

// lineKey gives what a line sets: its first word, or two where one says little.
func lineKey(line string) string {
	words := strings.Fields(line)
	switch words[0] {
	case "timeout", "option", "http-check", "http-request", "http-response", "http-after-response", "tcp-request", "stats":
		return strings.Join(words[:min(2, len(words))], " ")
	}
	return words[0]
}

// someOf names the first few of all.
func someOf(all []string) string {
	const few = 4
	switch n := len(all); {
	case n == 0:
		return ""
	case n == 1:
		return all[0]
	case n > few+1:
		return strings.Join(all[:few], ", ") + fmt.Sprintf(" and %d more", n-few)
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}
