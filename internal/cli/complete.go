package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/incident"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// names gives those of a spec that a shell may offer.
type names func(*spec.Spec) []string

func controllerNames(s *spec.Spec) []string {
	var all []string
	for _, c := range s.Controllers {
		all = append(all, c.Name+"\t"+c.Address.String())
	}
	return all
}

func serviceNames(s *spec.Spec) []string {
	var all []string
	for _, one := range s.Services {
		all = append(all, one.Name)
	}
	return all
}

func vipNames(s *spec.Spec) []string {
	var all []string
	for _, v := range s.VIPs {
		all = append(all, v.Name+"\t"+v.Hostname)
	}
	return all
}

// eventKinds gives the kinds that "holdfast events --kind" takes.
func eventKinds(*spec.Spec) []string {
	var all []string
	for _, k := range status.EventKinds() {
		all = append(all, k.Kind+"\t"+k.Means)
	}
	for _, k := range incident.Kinds() {
		all = append(all, string(k))
	}
	return all
}

// offers has a shell complete the flags of cmd, and its argument where there is an offer
// called "", from the names of the spec. It says nothing where there is no readable spec: a
// shell is no place for findings.
func (a commands) offers(cmd *cobra.Command, of map[string]names) *cobra.Command {
	for flag, list := range of {
		complete := func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if flag == "" && len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.startingWith(begun, list), cobra.ShellCompDirectiveNoFileComp
		}
		if flag == "" {
			cmd.ValidArgsFunction = complete
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic("completion of --" + flag + ": " + err.Error()) // there is no such flag: a test builds all commands
		}
	}
	return cmd
}

// startingWith gives those of list that begin as the last word of begun does, of several
// between commas.
func (a commands) startingWith(begun string, list names) []string {
	data, err := a.ReadSpec()
	if err != nil || a.File == "-" {
		data = nil
	}
	s, _ := spec.Parse(a.SpecName(), data)
	if s == nil {
		s = &spec.Spec{}
	}
	before := begun[:strings.LastIndex(begun, ",")+1]
	var all []string
	for _, name := range list(s) {
		if strings.HasPrefix(name, begun[len(before):]) {
			all = append(all, before+name)
		}
	}
	return slices.Clip(all)
}
