// Package speccmd is the commands that work on a spec, or on the host that it is for,
// before the spec comes into force: import, init, validate, diff, render and doctor.
// None changes anything but the file that it is told to write.
package speccmd

import (
	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
)

// commands are those of an App.
type commands struct{ *app.App }

// Import is "holdfast import".
func Import(a *app.App) *cobra.Command { return commands{a}.importCommand() }

// Init is "holdfast init".
func Init(a *app.App) *cobra.Command { return commands{a}.initCommand() }

// Validate is "holdfast validate".
func Validate(a *app.App) *cobra.Command { return commands{a}.validateCommand() }

// Diff is "holdfast diff".
func Diff(a *app.App) *cobra.Command { return commands{a}.diffCommand() }

// Render is "holdfast render".
func Render(a *app.App) *cobra.Command { return commands{a}.renderCommand() }

// Doctor is "holdfast doctor".
func Doctor(a *app.App) *cobra.Command { return commands{a}.doctorCommand() }
