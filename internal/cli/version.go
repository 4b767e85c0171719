package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"holdfast/internal/cli/app"

	"github.com/spf13/cobra"
)

// versionCommand is "holdfast version".
func (a commands) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  app.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.AsJSON() {
				return a.PrintJSON(map[string]string{"version": Version(), "go": runtime.Version(), "platform": platform()})
			}
			_, err := fmt.Fprintf(a.Stdio.Out, "holdfast %s (%s, %s)\n", Version(), runtime.Version(), platform())
			return err
		},
	}
}

func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// release is the one that this source becomes; CHANGELOG.md begins with it.
const release = "0.9.0"

// Version gives the version of the program that runs: a release's, or, between
// two, that of the next one with "-dev", and the commit it was built from if known.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release + "-dev"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; strings.TrimPrefix(v, "v") == release {
		return release
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	version := release + "-dev"
	if commit := set["vcs.revision"]; commit != "" {
		version += "." + commit[:min(12, len(commit))]
	}
	if set["vcs.modified"] == "true" {
		version += "+changed"
	}
	return version
}
