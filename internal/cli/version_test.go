package cli

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}
	changed := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for _, tt := range []struct {
		module   string
		settings []debug.BuildSetting
		want     string
	}{
		{"v" + release, []debug.BuildSetting{commit}, release},
		{"v0.0.0-20261130170505-0123456789ab", []debug.BuildSetting{commit}, release + "-dev.0123456789ab"},
		{"(devel)", []debug.BuildSetting{commit, changed}, release + "-dev.0123456789ab+changed"},
		{"", nil, release + "-dev"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: tt.module}, Settings: tt.settings}
		if got := versionOf(info); got != tt.want {
			t.Errorf("module %q: %q, want %q", tt.module, got, tt.want)
		}
	}
}

// TestChangelogHasTheRelease has the list of changes begin with what this becomes.
func TestChangelogHasTheRelease(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	_, first, _ := strings.Cut(string(text), "\n## ")
	if version, _, _ := strings.Cut(first, " "); version != release {
		t.Errorf("CHANGELOG.md begins with %q, want %s", version, release)
	}
}
