package spec_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"holdfast/internal/catalog"
	"holdfast/internal/spec"
)

const reference = "../../docs/spec.md"

// The list of known services in the reference is that of the catalog; -update
// writes it.
func TestReferenceListsTheKnownServices(t *testing.T) {
	const begin, end = "<!-- services -->\n", "<!-- /services -->\n"
	text := read(t, reference)
	head, rest, found := strings.Cut(text, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the services", reference)
	}
	want := head + begin + servicesTable(t) + end + tail
	if *update {
		if err := os.WriteFile(reference, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text != want {
		t.Errorf("the services in %s are not those of the catalog; run with -update", reference)
	}
}

func servicesTable(t *testing.T) string {
	known, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| service | types | port, path | check | other | aliases |\n|---|---|---|---|---|---|\n")
	for _, name := range known.Names() {
		s, _ := known.Lookup(name)
		fmt.Fprintf(&b, "| `%s` | %s | %d %s | %s | %s | %s |\n", name, strings.Join(s.Types, ", "), s.Port, s.Path,
			checkText(s), otherText(s), strings.Join(s.Aliases, ", "))
	}
	return b.String()
}

func checkText(s catalog.Service) string {
	text := func(k catalog.Check) string {
		if k.Layer == 4 {
			return "connect"
		}
		var codes []string
		for _, r := range k.Expect {
			codes = append(codes, r.String())
		}
		return fmt.Sprintf("%s %s: %s", k.Method, k.Path, strings.Join(codes, ", "))
	}
	out := text(s.Check)
	for _, b := range s.Before {
		out += fmt.Sprintf("; before %s %s", b.Release, text(b.Check))
	}
	return out
}

func otherText(s catalog.Service) string {
	var words []string
	if s.Mode != "http" {
		words = append(words, s.Mode)
	}
	if s.Affinity != "source" {
		words = append(words, s.Affinity)
	}
	if s.Timeout.Client > 0 {
		words = append(words, fmt.Sprintf("client %s", short(s.Timeout.Client.String())))
	}
	if s.Timeout.Server > 0 {
		words = append(words, fmt.Sprintf("server %s", short(s.Timeout.Server.String())))
	}
	if s.Timeout.Tunnel > 0 {
		words = append(words, fmt.Sprintf("tunnel %s", short(s.Timeout.Tunnel.String())))
	}
	return strings.Join(words, ", ")
}

func short(d string) string {
	d = strings.TrimSuffix(d, "0s")
	if strings.HasSuffix(d, "h0m") {
		d = strings.TrimSuffix(d, "0m")
	}
	return d
}

// Every key that the file may have is in the reference.
func TestReferenceHasEveryKey(t *testing.T) {
	text := read(t, reference)
	for _, key := range spec.Keys() {
		if !strings.Contains(text, "| `"+key+"` |") && key != "name" && key != "address" {
			t.Errorf("%s does not have the key %q", reference, key)
		}
	}
}

// The example of the reference is a spec.
func TestReferenceExampleParses(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, reference), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	mustParse(t, example)
}
