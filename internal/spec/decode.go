package spec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/catalog"
	"holdfast/internal/status"
)

// placeholder is what "holdfast import" writes where only the operator knows the value.
const placeholder = "FILL_IN"

// maxSteps bounds the values read from one file: aliases of lists of aliases
// make a small file a huge spec.
const maxSteps = 1_000_000

// decoder reads the raw values out of the YAML nodes, by tables of fields. It
// reports what is wrong with a value by itself; what is wrong with several
// together is for the checker.
type decoder struct {
	*source
	steps int
	said  map[saying]bool
}

// A saying is a finding that was reported of a single value. An alias brings the
// reader to the same value again, and once is enough.
type saying struct {
	node *yaml.Node
	code string
}

// fail reports an error at n, once.
func (d *decoder) fail(code string, n *yaml.Node, text, remedy string) {
	if n.Kind == yaml.ScalarNode {
		if d.said[saying{n, code}] {
			return
		}
		d.said[saying{n, code}] = true
	}
	d.source.fail(code, n, text, remedy)
}

// A value is a node of the file and what it is there for.
type value struct {
	node *yaml.Node // never an alias
	path string     // "vips[0].hostname"
	hint hint
}

// A hint says what to write in a place. Its text is put together when a finding
// needs it, which is seldom.
type hint struct {
	what    string // "the DNS name that clients use"; the whole text without a key
	key     string
	example string
}

func (h hint) String() string {
	if h.key == "" {
		return h.what
	}
	return fmt.Sprintf(`write %s, as in "%s: %s"`, h.what, h.key, h.example)
}

// A field is one key of a mapping that is read into a T.
type field[T any] struct {
	key      string
	required bool
	what     string // what to write: "the DNS name that clients use"
	example  string // "openstack.example.org"
	read     func(d *decoder, v value, into *T)
}

func (f field[T]) hint() hint { return hint{f.what, f.key, f.example} }

// An item is a value that was read. It is absent (no node), or wrong and
// reported (a node, not ok), or ok.
type item[T any] struct {
	v    T
	node *yaml.Node
	ok   bool
}

func (i item[T]) given() bool { return i.node != nil }

func (i item[T]) or(otherwise T) T {
	if i.ok {
		return i.v
	}
	return otherwise
}

func good[T any](v value, x T) item[T] { return item[T]{x, v.node, true} }

func bad[T any](v value) item[T] { return item[T]{node: v.node} }

// mapping reads the mapping v by its table of fields. It reports whether v is a mapping.
func mapping[T any](d *decoder, v value, fields []field[T], into *T) bool {
	entries, ok := d.entries(v)
	if !ok {
		return false
	}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		i := slices.IndexFunc(fields, func(f field[T]) bool { return f.key == e.key.Value })
		if i < 0 {
			// The key that was meant is not missing: one mistake, one finding.
			seen[d.unknownKey(e.key, v.path, keysOf(fields))] = true
			continue
		}
		f := fields[i]
		seen[f.key] = true
		f.read(d, value{follow(e.value), join(v.path, f.key), f.hint()}, into)
	}
	for _, f := range fields {
		if f.required && !seen[f.key] {
			d.fail(status.CodeMissingKey, v.node, fmt.Sprintf("%s has no %q", whole(v.path), f.key), f.hint().String())
		}
	}
	return true
}

func keysOf[T any](fields []field[T]) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// unknownKey reports key, and gives the one that was probably meant, "" if none.
func (d *decoder) unknownKey(key *yaml.Node, path string, known []string) string {
	remedy := "the keys here are " + list(known, "and")
	near, ok := catalog.Nearest(strings.ToLower(key.Value), known)
	if ok {
		remedy = fmt.Sprintf("did you mean %q?", near)
	} else if _, err := catalog.ParseCodes(key.Value); err == nil && slices.Contains(known, "expect") {
		remedy = `put all codes in quotes, as in expect: "200,300-308"`
	}
	text := fmt.Sprintf("unknown key %s", quote(key.Value))
	if path != "" {
		text += " in " + path
	}
	d.fail(status.CodeUnknownKey, key, text, remedy)
	return near
}

// An entry is a key of a mapping with its value.
type entry struct{ key, value *yaml.Node }

// entries gives the entries of the mapping v, merged ones ("<<") last. It
// reports what is no mapping and keys that are there twice.
func (d *decoder) entries(v value) ([]entry, bool) {
	if !d.is(v, yaml.MappingNode) {
		return nil, false
	}
	first := make(map[string]*yaml.Node)
	var all []entry
	var merges []*yaml.Node
	for pair := range slices.Chunk(v.node.Content, 2) {
		key := pair[0]
		switch line, twice := first[key.Value]; {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!null":
			d.fail(status.CodeWrongType, key, "a key that is "+kind(key), "write a word")
		case key.Tag == "!!merge":
			merges = append(merges, pair[1])
		case twice:
			d.fail(status.CodeDuplicateKey, key, fmt.Sprintf("%s is here a second time, first in line %d", quote(key.Value), line.Line), "remove one of the two")
		default:
			first[key.Value] = key
			all = append(all, entry{key, pair[1]})
		}
	}
	for _, m := range merges {
		all = d.merge(all, first, follow(m), 0)
	}
	return all, true
}

// merge adds to all the entries of m, the value of a "<<" key, whose keys are not
// there yet. Aliases can make a mapping part of itself, hence the depth.
func (d *decoder) merge(all []entry, first map[string]*yaml.Node, m *yaml.Node, depth int) []entry {
	switch {
	case depth > 8:
		d.fail(status.CodeWrongType, m, `"<<" within "<<", too deep`, "write the keys out")
	case m.Kind == yaml.SequenceNode:
		for _, part := range m.Content {
			all = d.merge(all, first, follow(part), depth+1)
		}
	case m.Kind != yaml.MappingNode:
		d.fail(status.CodeWrongType, m, `"<<" wants a mapping, and this is `+kind(m), `write "<<: *NAME", where NAME is the anchor of a mapping`)
	default:
		for pair := range slices.Chunk(m.Content, 2) {
			key := pair[0]
			if key.Tag == "!!merge" {
				all = d.merge(all, first, follow(pair[1]), depth+1)
			} else if first[key.Value] == nil && key.Kind == yaml.ScalarNode {
				first[key.Value] = key
				all = append(all, entry{key, pair[1]})
			}
		}
	}
	return all
}

// sequence reads each element of the list v, where what says what to write for
// one. It reports whether v is a list.
func (d *decoder) sequence(v value, what string, read func(value)) bool {
	if !d.is(v, yaml.SequenceNode) {
		return false
	}
	for i, n := range v.node.Content {
		read(value{follow(n), fmt.Sprintf("%s[%d]", v.path, i), hint{what: what}})
	}
	return true
}

// is reports whether v is of kind want, after reporting what it is instead.
func (d *decoder) is(v value, want yaml.Kind) bool {
	d.steps += 1 + len(v.node.Content)
	switch {
	case d.steps > maxSteps:
		if d.steps-1-len(v.node.Content) <= maxSteps {
			d.fail(status.CodeTooLarge, v.node, fmt.Sprintf("with its aliases the file has more than %d values", maxSteps), "write it out, or make it smaller")
		}
		return false
	case v.node.Kind == want:
		return true
	case d.unfilled(v):
	case isNull(v.node):
		d.fail(status.CodeWrongType, v.node, whole(v.path)+" has no value", v.hint.String())
	default:
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s is %s", whole(v.path), kind(v.node)), v.hint.String())
	}
	return false
}

// unfilled reports whether v is a place that the importer left to the operator,
// after reporting it.
func (d *decoder) unfilled(v value) bool {
	if v.node.Kind != yaml.ScalarNode || !strings.Contains(v.node.Value, placeholder) {
		return false
	}
	d.fail(status.CodeNotFilledIn, v.node, whole(v.path)+" is not filled in", v.hint.String())
	return true
}

// follow gives the node that n stands for.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// kind says what n is, in words.
func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case isNull(n):
		return "nothing"
	case n.Tag == "!!int", n.Tag == "!!float":
		return "the number " + cut(n.Value, 80)
	case n.Tag == "!!bool":
		return n.Value
	}
	if strings.Contains(n.Value, "://") { // it may have a secret, and findings are shown to everybody
		return "a URL"
	}
	return "the text " + quote(n.Value)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// whole names the value at path; the whole file has no path.
func whole(path string) string {
	if path == "" {
		return "the spec"
	}
	return path
}
