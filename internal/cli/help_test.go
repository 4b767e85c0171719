package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"holdfast/internal/cli/app"

	"github.com/spf13/cobra"
)

// tooWide gives the lines of text that a terminal of 80 columns would break.
func tooWide(text string) []string {
	var wide []string
	for line := range strings.Lines(text) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "        ")
		if utf8.RuneCountInString(line) > 80 {
			wide = append(wide, line)
		}
	}
	return wide
}

// TestHelpFits has the help of every command, hidden ones too, fit a terminal of 80
// columns, with examples that can be copied as they stand.
func TestHelpFits(t *testing.T) {
	var out bytes.Buffer
	a := commands{&app.App{Stdio: Stdio{In: strings.NewReader(""), Out: &out, Err: &out}}}
	seen := 0
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		seen++
		out.Reset()
		cmd.InitDefaultHelpFlag()
		if err := cmd.Help(); err != nil {
			t.Errorf("%s: %v", cmd.CommandPath(), err)
		}
		for _, line := range append(tooWide(out.String()), tooWide(cmd.Example)...) {
			t.Errorf("%s --help: %d columns: %s", cmd.CommandPath(), utf8.RuneCountInString(line), line)
		}
		if !strings.Contains(out.String(), "Usage:\n  "+cmd.Root().Name()) || cmd.HasAvailableLocalFlags() && !strings.Contains(out.String(), "--help") {
			t.Errorf("%s --help lacks its usage or flags:\n%s", cmd.CommandPath(), out.String())
		}
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(a.rootCommand())
	if seen < 40 {
		t.Errorf("only %d commands", seen)
	}
}

// TestFaultsFit has the list of faults fit, too, and lack nothing.
func TestFaultsFit(t *testing.T) {
	var out bytes.Buffer
	if code := Main(t.Context(), []string{"lab", "fault", "--list"}, Stdio{In: strings.NewReader(""), Out: &out, Err: &out}); code != 0 {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	for _, line := range tooWide(out.String()) {
		t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
	}
	if all := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(all, "graceful-restart NODE [SERVICE] close the listener, finish what is in flight however long it takes, and start again") {
		t.Errorf("words are lost:\n%s", out.String())
	}
}

// TestHelpTellsOfTheEnvironment has the help of commands, which the man pages are made of, name
// what stands for a flag that is not given.
func TestHelpTellsOfTheEnvironment(t *testing.T) {
	for command, wants := range map[string][]string{
		"status": {app.EnvFile, app.EnvRunDir}, "agent": {app.EnvFile, app.EnvRunDir, app.EnvController}, "render": {app.EnvFile, app.EnvController},
	} {
		_, out, _ := run(t.Context(), command, "--help")
		for _, want := range wants {
			if !strings.Contains(out, "$"+want) {
				t.Errorf("%s --help does not name $%s:\n%s", command, want, out)
			}
		}
	}
}

// What the packages tell those who install them to do, they can.
func TestPackagesNameCommandsThatThereAre(t *testing.T) {
	var out bytes.Buffer
	a := commands{&app.App{Stdio: Stdio{In: strings.NewReader(""), Out: &out, Err: &out}}}
	have := map[string]bool{}
	for _, c := range a.all() {
		have[c.Name()] = true
	}
	scripts, err := filepath.Glob("../../packaging/scripts/*")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	for _, path := range scripts {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"holdfast ([a-z]+)[ "]`).FindAllStringSubmatch(string(text), -1) {
			if !have[m[1]] {
				t.Errorf("%s names %s, and there is no such command", path, m[0])
			}
		}
	}
}
