package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// NoArgs is cobra.NoArgs with the exit code of a usage error.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef("%s takes no argument, got %q; see %q", cmd.CommandPath(), args[0], cmd.CommandPath()+" --help")
	}
	return nil
}

// NoSuchSubcommand refuses words after a command that only has commands below it.
func NoSuchSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return Usagef("unknown command %q; %s has %s", args[0], cmd.CommandPath(), strings.Join(names, ", "))
}

// NoDirectory says why there can be no directory at path; empty when there can.
func NoDirectory(path string) string {
	if path == "" {
		return ""
	}
	for ; ; path = filepath.Dir(path) {
		switch info, err := os.Stat(path); {
		case err == nil && !info.IsDir():
			return path + " is a file"
		case err == nil, !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR), path == filepath.Dir(path):
			return ""
		}
	}
}
