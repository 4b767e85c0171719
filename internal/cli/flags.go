package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"holdfast/internal/cli/app"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what is wrong with the flags of cmd, and for a value what is expected:
// what Go's parsers say of one is for who wrote the program.
func flagError(cmd *cobra.Command, err error) error {
	hint := cmd.CommandPath() + " --help"
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return app.Usagef("%w; see %q", err, hint)
	}
	flag, why := bad.GetFlag(), errors.Unwrap(bad).Error()
	switch flag.Value.Type() {
	case "duration":
		why = expectedTime(bad.GetValue())
	case "int", "int64", "uint64":
		why = "write a whole number"
	case "float64":
		why = "write a number"
	case "bool":
		why = "write true or false, or the flag alone"
	}
	return app.Usagef("invalid argument %q for %q flag: %s; see %q", bad.GetValue(), "--"+flag.Name, why, hint)
}

// expectedTime says how to write the time that text was to be.
func expectedTime(text string) string {
	if _, err := strconv.Atoi(text); err == nil {
		return fmt.Sprintf("write its unit too, as in %ss or %[1]sm", text)
	}
	return "write a time with its unit, as in 5s, 10m or 2h"
}

// checkFlags refuses what was given to cmd that no parser sees: times below zero, and
// directories that are files.
func checkFlags(cmd *cobra.Command) error {
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Value.Type() == "duration":
			if d, err := time.ParseDuration(f.Value.String()); f.Changed && err == nil && d < 0 {
				errs = append(errs, app.Usagef("--%s is %s; a time is not below 0", f.Name, f.Value))
			}
		case f.Name == "run-dir", f.Name == "state-dir", f.Name == "save", f.Name == "logs":
			if why := app.NoDirectory(f.Value.String()); why != "" {
				errs = append(errs, app.Usagef("--%s: %s; name a directory", f.Name, why))
			}
		}
	})
	if len(errs) > 0 {
		return errs[0]
	}
	return checkFile(cmd.Flags().Lookup("file"), cmd.Name())
}

// checkFile refuses a spec that was named for a command and cannot be read, whether the
// command reads it or not. An agent begins with the last good one where it has to, import
// says what is wrong with naming one, and init makes it.
func checkFile(f *pflag.Flag, command string) error {
	if f == nil || !f.Changed || f.Value.String() == "-" || command == "agent" || command == "import" || command == "init" {
		return nil
	}
	file, err := os.Open(f.Value.String())
	if err != nil {
		return app.SpecError(f.Value.String(), err)
	}
	return file.Close()
}
