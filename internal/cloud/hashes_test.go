package cloud

import (
	"slices"
	"testing"

	"holdfast/internal/status"
)

// TestHashOf has the versions on both sides of each border.
func TestHashOf(t *testing.T) {
	for version, want := range map[string]string{
		"2.4.22": hashUsual, "2.6.12-1+deb12u3": hashUsual, "2.8.5": hashUsual, "3.0.0": hashTwice, "3.0.11-1+deb13u2": hashTwice, "3.0.12": hashTwice, "3.0.13": hashUsual,
		"3.2.0": hashTwice, "3.2.6-dev": hashTwice, "3.2.7": hashUsual, "3.3.0": hashUsual, "3.4.1": hashUsual, "": "", "3.0": "", "3.0.x": "",
	} {
		if got := hashOf(version); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}

// TestHashesDiffer tells of two ways, and not of two versions with one.
func TestHashesDiffer(t *testing.T) {
	for other, want := range map[string]bool{"2.6.12": false, "2.8.5": false, "3.0.11": true, "3.0.13": false, "": false} {
		a := cloudOf(3)
		a[1].Snapshot.HAProxy.Version = other
		is := slices.ContainsFunc(Merge(now, "", a).Findings, func(f status.Finding) bool { return f.Code == status.CodeHashesDiffer })
		if is != want {
			t.Errorf("beside 2.6.12 %q: %v, want %v", other, is, want)
		}
	}
}
