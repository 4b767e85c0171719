package spec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/status"
)

// Raw has lines for HAProxy's configuration as they are to stand there: the way out for what
// the spec has no key for. Of a service there are those of its frontends and backends only.
type Raw struct {
	Global, Defaults, Frontend, Backend []RawLine
}

// A RawLine is one line, without the blanks around it, and where the file has it.
type RawLine struct {
	Text string
	Line int // of the file, from 1
}

// Count gives how many lines there are.
func (r Raw) Count() int { return len(r.Global) + len(r.Defaults) + len(r.Frontend) + len(r.Backend) }

// RawCount gives how many raw lines s has, of all and of single services.
func (s *Spec) RawCount() int {
	n := s.HAProxy.Count()
	for _, svc := range s.Services {
		n += svc.HAProxy.Count()
	}
	return n
}

// maxRawLine is the longest line that HAProxy reads, about so.
const maxRawLine = 2000

// sectionWords begin a section of HAProxy's configuration: what follows would be in another one.
func sectionWords() []string {
	return []string{
		"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache", "program", "ring",
		"log-forward", "log-profile", "http-errors", "fcgi-app", "crt-store", "traces", "acme", "namespace_list",
	}
}

func rawFields() []field[Raw] {
	return append([]field[Raw]{{
		"global", false, "a list of lines for HAProxy's global section", `["tune.maxaccept 100"]`,
		func(d *decoder, v value, r *Raw) { r.Global = d.rawLines(v) },
	}, {
		"defaults", false, "a list of lines for HAProxy's defaults of http services", `["timeout client 90s"]`,
		func(d *decoder, v value, r *Raw) { r.Defaults = d.rawLines(v) },
	}}, rawServiceFields()...)
}

func rawServiceFields() []field[Raw] {
	return []field[Raw]{{
		"frontend", false, "a list of lines for its frontends", `["http-request set-header X-Region eqiad1"]`,
		func(d *decoder, v value, r *Raw) { r.Frontend = d.rawLines(v) },
	}, {
		"backend", false, "a list of lines for its backends", `["option forwardfor"]`,
		func(d *decoder, v value, r *Raw) { r.Backend = d.rawLines(v) },
	}}
}

// rawLines reads a list of lines, or a text of several.
func (d *decoder) rawLines(v value) []RawLine {
	if v.node.Kind == yaml.SequenceNode {
		var all []RawLine
		d.sequence(v, "write a line of HAProxy's configuration", func(e value) { all = append(all, d.rawText(e)...) })
		return all
	}
	return d.rawText(v)
}

// rawText reads the lines of one text. In a block ("|") they stand below its beginning.
func (d *decoder) rawText(v value) []RawLine {
	t, ok := d.scalar(v)
	if !ok {
		return nil
	}
	if v.node.Tag != "!!str" {
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s is %s", v.path, kind(v.node)), "write a line of HAProxy's configuration")
		return nil
	}
	first := v.node.Line
	if v.node.Style&yaml.LiteralStyle != 0 {
		first++
	}
	var all []RawLine
	for i, line := range strings.Split(t, "\n") {
		at := first
		if v.node.Style&yaml.LiteralStyle != 0 {
			at += i
		}
		line = strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
		if line == "" || line[0] == '#' {
			continue
		}
		if problem, remedy := rawProblem(line); problem != "" {
			d.report(status.Error, status.CodeBadRaw, at, d.columnAt(at, v.node), fmt.Sprintf("%s: %s", v.path, problem), remedy)
			continue
		}
		all = append(all, RawLine{line, at})
	}
	return all
}

// columnAt gives where a line of n begins in line at of the file.
func (d *decoder) columnAt(at int, n *yaml.Node) int {
	if at == n.Line || at > len(d.lines) {
		return n.Column
	}
	line := d.lines[at-1]
	return len(line) - len(strings.TrimLeft(line, " ")) + 1
}

// rawProblem says why a line cannot stand in a section of HAProxy's configuration.
func rawProblem(line string) (problem, remedy string) {
	word, _, _ := strings.Cut(line, " ")
	word = strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(word) // HAProxy takes them off
	switch {
	case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "a line has a control character", "write it without; HAProxy reads no further than that"
	case len(line) > maxRawLine:
		return fmt.Sprintf("a line has %d characters", len(line)), fmt.Sprintf("write at most %d; HAProxy reads no longer ones", maxRawLine)
	case strings.HasSuffix(line, `\`):
		return "a line goes on in the next one", "write it as one line"
	case slices.Contains(sectionWords(), word):
		return fmt.Sprintf("%s begins another section", quote(word)), "write lines of this section only; a section of your own has no place here"
	case word == "default_backend":
		return "default_backend is what the service itself is", "write use_backend, with a condition or without"
	}
	return "", ""
}

// IsOwnACL reports whether the frontends that are made of a spec may have an acl of that
// name, beside those of the lists of services, "nova-deny" and "nova-allow".
func IsOwnACL(name string) bool {
	return slices.Contains([]string{
		"own", "balancer", "reader", "vip:allow", "vip:deny", "service-allow", "service-deny", "limited", "has-a-limit",
		"of_this_vip", "at_hostname", "named_as_service", "keeps_forwarded",
	}, name)
}

// checkRawACLs finds acls that have the name of one that lists and limits go by: of two with
// one name either is enough, so that "acl own" would let whoever it is true for pass.
func (c *checker) checkRawACLs() {
	lists := map[string]bool{}
	all := slices.Clone(c.raw.haproxy.Frontend)
	for _, s := range c.raw.services.all {
		lists[s.name.v+"-allow"], lists[s.name.v+"-deny"] = true, true
		all = append(all, s.haproxy.Frontend...)
	}
	for _, l := range all {
		f := strings.Fields(strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(l.Text))
		if len(f) > 1 && f[0] == "acl" && (IsOwnACL(f[1]) || lists[f[1]]) {
			c.report(status.Error, status.CodeBadRaw, l.Line, 1, fmt.Sprintf("acl %s has the name of one of holdfast's, and would make that true, too", f[1]), "give it another name")
		}
	}
}

func rawValues(r Raw) []pair {
	return []pair{
		{"haproxy.global", rawValue(r.Global)},
		{"haproxy.defaults", rawValue(r.Defaults)},
		{"haproxy.frontend", rawValue(r.Frontend)},
		{"haproxy.backend", rawValue(r.Backend)},
	}
}

// rawValue gives lines on one, as a diff shows them.
func rawValue(lines []RawLine) string {
	if len(lines) == 0 {
		return none
	}
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.Text
	}
	return strings.Join(texts, " ⏎ ")
}
