package auth

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what docs/adr/0011 says of each mode anew")

// TestDecisionSaysWhatIsWithstood holds the decision to the words of the command.
func TestDecisionSaysWhatIsWithstood(t *testing.T) {
	const path, begin = "../../docs/adr/0011-agents-talk-over-the-check-port.md", "In the words of `holdfast validate --authentication`:\n\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, got, found := strings.Cut(string(data), begin)
	if !found {
		t.Fatalf("%s does not say what each mode withstands", path)
	}
	var want strings.Builder
	keys := mustParse(t, "hex:"+digits)
	for _, mode := range []struct {
		name string
		p    Policy
	}{{"Without a key", Policy{}}, {"`receive-only` and `permissive`", Policy{keys, Permissive}}, {"`strict`", Policy{keys, Strict}}} {
		want.WriteString(mode.name + ":\n\n")
		for _, w := range mode.p.Withstands() {
			want.WriteString("- " + w.Who + " " + w.What + ".\n")
		}
		want.WriteString("\n")
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+strings.TrimSuffix(want.String(), "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if strings.TrimSpace(got) != strings.TrimSpace(want.String()) {
		t.Errorf("%s says\n%s\nand is to say\n%s", path, got, want.String())
	}
}
