package speccmd

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/doctor"
	examine "holdfast/internal/doctor/look"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// diagnosis is the answer of "holdfast doctor -o json".
type diagnosis struct {
	Controller string `json:"controller"`
	File       string `json:"file"`
	// Healthy: nothing is left to be done; findings of the severity "info" do not count.
	Healthy  bool             `json:"healthy"`
	Findings []doctor.Finding `json:"findings"`
	// To and Ways are of --to, and Ways of --listen, too.
	To   string       `json:"to,omitempty"`
	Ways []doctor.Way `json:"ways,omitempty"`
	// Met has, with --listen, each controller by what it was heard.
	Met map[string][]string `json:"met,omitempty"`
}

type doctorFlags struct {
	controller, haproxy, stateDir, to string
	listen                            bool
	during                            time.Duration
}

const (
	hearFor   = 3 * time.Second
	listenFor = 10 * time.Minute
)

// doctorCommand is "holdfast doctor".
func (a commands) doctorCommand() *cobra.Command {
	var opt doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [--controller NAME]",
		Short: "Check this host, before and during service",
		Long: `doctor looks whether this host is fit to be the controller that the spec has, and
says of each finding what was seen, what to do and the command that does it. It
changes nothing. docs/doctor.md lists what it knows.

Before agents run it cannot tell a filter from a host where nobody listens. Then
run "holdfast doctor --listen" on one controller, and "holdfast doctor --to NAME"
on each of the others: they try TCP at the agent's ports and IP protocol 112, there
and back.

The exit code is 0 when nothing is to be done, 1 when something is, and 2 when the
spec is bad. Without root's rights it sees less, and says so.`,
		Example: `  holdfast doctor
  holdfast doctor -o json
  holdfast doctor --listen
  holdfast doctor --to cloudcontrol1003`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), opt) },
	}
	flags := cmd.Flags()
	flags.StringVar(&opt.controller, "controller", app.EnvOr(app.EnvController, ""), "name of this controller in the spec, else $"+app.EnvController+", else the one whose address this host has")
	flags.StringVar(&opt.haproxy, "haproxy", "haproxy", "the HAProxy that the agent is to run")
	flags.StringVar(&opt.stateDir, "state-dir", app.DefaultStateDir, "directory of what must survive a restart")
	flags.BoolVar(&opt.listen, "listen", false, "listen for the other controllers' doctors, in the place of the agent")
	flags.StringVar(&opt.to, "to", "", "try all ways to the controller `NAME`, which listens")
	flags.DurationVar(&opt.during, "for", 0, "how long to listen: to the network, 3s by default; with --listen until all others were heard, 10m at most")
	return a.WithRunDir(cmd)
}

func (a commands) doctor(ctx context.Context, opt doctorFlags) error {
	if opt.listen && opt.to != "" {
		return app.Usagef("--listen and --to are for two controllers, one each; leave one of them out")
	}
	s, err := a.LoadSpec()
	if err != nil {
		return err
	}
	own, err := thisController(s, opt.controller)
	if err != nil {
		return err
	}
	d := diagnosis{Controller: own.Name, File: a.SpecName()}
	switch {
	case opt.listen:
		err = a.doctorListens(ctx, s, own, opt, &d)
	case opt.to != "":
		err = a.doctorTries(ctx, s, own, opt, &d)
	default:
		facts := examine.Look(ctx, examine.Options{
			Spec: s, SpecFile: a.SpecName(), Controller: own, HAProxy: opt.haproxy, StateDir: opt.stateDir, Local: a.Control().Snapshot, Hear: cmp.Or(opt.during, hearFor),
		})
		d.Findings = doctor.Examine(facts)
	}
	if err != nil {
		return err
	}
	return a.tellDiagnosis(d)
}

// thisController gives the one of s called name; without a name the one whose name is the
// host's, or whose address this host has.
func thisController(s *spec.Spec, name string) (spec.Controller, error) {
	if name == "" {
		if host, err := os.Hostname(); err == nil {
			short, _, _ := strings.Cut(host, ".")
			if c, there := s.Controller(short); there {
				return c, nil
			}
		}
		addresses, err := net.InterfaceAddrs()
		if err == nil {
			for _, c := range s.Controllers {
				if slices.ContainsFunc(addresses, func(x net.Addr) bool {
					p, err := netip.ParsePrefix(x.String())
					return err == nil && p.Addr() == c.Address
				}) {
					return c, nil
				}
			}
		}
		return spec.Controller{}, app.UnknownController(s, "")
	}
	c, there := s.Controller(name)
	if !there {
		return c, app.UnknownController(s, name)
	}
	return c, nil
}

// doctorTries tries the ways to another controller.
func (a commands) doctorTries(ctx context.Context, s *spec.Spec, own spec.Controller, opt doctorFlags, d *diagnosis) error {
	to, there := s.Controller(opt.to)
	if !there {
		return app.UnknownController(s, opt.to)
	}
	if to.Name == own.Name {
		return app.Usagef("--to %s is this controller; name another one", opt.to)
	}
	ways, err := examine.To(ctx, s, own, to)
	if err != nil {
		return err
	}
	d.To, d.Ways = to.Name, ways
	d.Findings = doctor.Meeting(doctor.Facts{Spec: s, Controller: own}, to.Name, ways)
	return nil
}

// doctorListens waits until all others were heard by all ways, or the time is up.
func (a commands) doctorListens(ctx context.Context, s *spec.Spec, own spec.Controller, opt doctorFlags, d *diagnosis) error {
	ctx, stop := context.WithTimeout(ctx, cmp.Or(opt.during, listenFor))
	defer stop()
	ways := []string{fmt.Sprintf("tcp %d", s.Agent.Port), fmt.Sprintf("tcp %d", s.Agent.CheckPort), doctor.ProtocolVRRP}
	d.Met = map[string][]string{}
	a.Logf("listening as %s at %v; on each other controller run: holdfast doctor --to %s", own.Name, own.Address, own.Name)
	err := examine.Listen(ctx, s, own, func(m examine.Met) {
		if slices.Contains(d.Met[m.Name], m.What) {
			return
		}
		d.Met[m.Name] = append(d.Met[m.Name], m.What)
		a.Logf("heard %s by %s", m.Name, m.What)
		for _, name := range s.OtherNames(own.Name) {
			if len(d.Met[name]) < len(ways) {
				return
			}
		}
		stop()
	})
	if err != nil {
		return err
	}
	for _, name := range s.OtherNames(own.Name) {
		var missing []doctor.Way
		for _, w := range ways {
			if !slices.Contains(d.Met[name], w) {
				missing = append(missing, doctor.Way{What: w, Reach: doctor.Silent})
			}
		}
		for _, f := range doctor.Meeting(doctor.Facts{Spec: s, Controller: own}, name, missing) {
			f.Text, f.Evidence = "nothing came from it by "+missing[0].What, "its doctor was not heard; did it run with --to "+own.Name+"?"
			d.Findings = append(d.Findings, f)
		}
	}
	return nil
}

// tellDiagnosis prints d, and ends with exit code 1 where something is to be done.
func (a commands) tellDiagnosis(d diagnosis) error {
	d.Findings = append([]doctor.Finding{}, d.Findings...)
	d.Healthy = doctor.Healthy(d.Findings)
	if err := a.Answer(d, diagnosisText(d)); err != nil {
		return err
	}
	if !d.Healthy {
		return app.Silent(app.ExitFailed)
	}
	return nil
}

func diagnosisText(d diagnosis) string {
	var b strings.Builder
	for _, w := range d.Ways {
		fmt.Fprintf(&b, "%s to %s: %s\n", w.What, d.To, w.Reach)
	}
	for _, f := range d.Findings {
		fmt.Fprintln(&b, tui.Printable(fmt.Sprintf("%s: %s: %s", f.Severity, f.Subject, f.Text)))
		for _, part := range [][2]string{{"seen", f.Evidence}, {"do", f.Remedy}, {"run", f.Command}} {
			if part[1] != "" {
				fmt.Fprintln(&b, tui.Printable(fmt.Sprintf("    %-4s  %s", part[0], part[1])))
			}
		}
	}
	var plain []status.Finding
	for _, f := range d.Findings {
		plain = append(plain, status.Finding{Severity: f.Severity})
	}
	if len(plain) > 0 {
		fmt.Fprintf(&b, "%s: %s\n", d.Controller, tui.CountFindings(plain))
	} else {
		fmt.Fprintf(&b, "%s: nothing found\n", d.Controller)
	}
	return b.String()
}
