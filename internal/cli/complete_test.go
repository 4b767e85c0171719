package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompletionKnowsNames asks as a shell does.
func TestCompletionKnowsNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "holdfast.yaml")
	if err := os.WriteFile(file, []byte(diffSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"drain -f FILE ":                        "ctl1\t10.0.0.1\nctl2\t10.0.0.2",
		"drain -f FILE ctl1 --service k":        "keystone",
		"undrain -f FILE ctl2 ":                 "",
		"handover -f FILE --to ctl2":            "ctl2\t10.0.0.2",
		"handover -f FILE --vip ":               "api\tapi.example.org",
		"events --file FILE --controller ctl1,": "ctl1,ctl1\t10.0.0.1\nctl1,ctl2\t10.0.0.2",
		"events --file none --controller ":      "",
		"events --kind vip-a":                   "vip-active\tthis controller holds the VIP",
		"events --kind host-lo":                 "host-lost",
		"lab fault power":                       "power-off\tcut the power: off the wire at once, every process dead, all memory lost",
		"lab fault power-off h":                 "holder\tthe controller that has the address",
	} {
		words := strings.Split(strings.ReplaceAll(line, "FILE", file), " ")
		code, stdout, _ := run(t.Context(), append([]string{"__complete"}, words...)...)
		got, _, _ := strings.Cut(stdout, ":4\n")
		if code != 0 || strings.TrimSuffix(got, "\n") != want {
			t.Errorf("%q: exit code %d, %q, want %q", line, code, got, want)
		}
	}
}
