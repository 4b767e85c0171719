// Package systemd_test has systemd itself check the unit.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnitIsUnderstood(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze: ", err)
	}
	unit, err := os.ReadFile("holdfast.service")
	if err != nil {
		t.Fatal(err)
	}
	// The program and its page are not installed where this is tested.
	text := strings.Replace(string(unit), "/usr/local/bin/holdfast", "/bin/true", 1)
	text = strings.Replace(text, "man:holdfast(8)", "man:true(1)", 1)
	path := filepath.Join(t.TempDir(), "holdfast.service")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// It looks at the units of this machine, too, and says what is wrong with those.
	out, _ := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "holdfast.service") {
			t.Error(strings.TrimSpace(line))
		}
	}
}
