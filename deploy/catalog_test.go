package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"holdfast/internal/status"
	"holdfast/internal/systemd"
)

const catalogFile = "systemd/holdfast.catalog"

var (
	entryIn = regexp.MustCompile(`(?m)^-- ([0-9a-f]{32})\nSubject: (.+)\nDefined-By: holdfast\nDocumentation: man:holdfast\(8\)\n\n`)
	fieldIn = regexp.MustCompile(`@([^@\n]*)@`)
)

// TestCatalogExplainsEvents has an entry for each kind of event, and for each finding that
// somebody has to act on, by the id that the agent gives it, and for nothing else.
func TestCatalogExplainsEvents(t *testing.T) {
	kinds := map[string]string{}
	for _, k := range status.EventKinds() {
		kinds[systemd.MessageID(k.Kind)] = k.Kind
	}
	for _, c := range status.FindingCodes() {
		if c.Action == status.ActNow || c.Action == status.ActSoon {
			kinds[systemd.MessageID(c.Code)] = c.Code
		}
	}
	text := string(read(t, catalogFile))
	if n, begun := len(entryIn.FindAllString(text, -1)), strings.Count(text, "\n-- "); n != begun {
		t.Errorf("%d entries begin, and %d have all that one has", begun, n)
	}
	for _, e := range entryIn.FindAllStringSubmatch(text, -1) {
		if kinds[e[1]] == "" {
			t.Errorf("%q explains %s, which is no event's, or there twice", e[2], e[1])
		}
		delete(kinds, e[1])
	}
	for id, kind := range kinds {
		t.Errorf("nothing explains %s, %s", kind, id)
	}
	for _, f := range fieldIn.FindAllStringSubmatch(text, -1) {
		if f[1] != "HOLDFAST_SUBJECT" && f[1] != "HOLDFAST_CONTROLLER" { // which every event has
			t.Errorf("it asks for the field %s", f[1])
		}
	}
}

// TestJournalctlTakesTheCatalog has systemd read it.
func TestJournalctlTakesTheCatalog(t *testing.T) {
	if _, err := exec.LookPath("journalctl"); err != nil {
		t.Skip("needs journalctl: ", err)
	}
	root, text := t.TempDir(), read(t, catalogFile)
	there := filepath.Join(root, "usr/lib/systemd/catalog")
	for _, dir := range []string{there, filepath.Join(root, "var/lib/systemd/catalog")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(there, "holdfast.catalog"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "journalctl", "--root="+root, "--update-catalog").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "journalctl", "--root="+root, "--list-catalog").CombinedOutput()
	if got, want := strings.Count(string(out), " holdfast: "), len(entryIn.FindAll(text, -1)); err != nil || got != want {
		t.Errorf("%v: it has %d of %d entries\n%s", err, got, want, out)
	}
}
