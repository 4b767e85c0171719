package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

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

// Version gives the version that the build was stamped with: the module's, or
// that of the commit it was built from, or "devel".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
