package cli

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/spec"
	"holdfast/internal/web"
)

// look asks for the cloud as it is now.
type look func(context.Context) (cloud.Cloud, error)

// A source is whom to ask: for the cloud as it is, and for what has happened.
type source struct {
	look     look
	journals journalSource
}

// latelyAsked is how many events of each controller are looked through for what happened of late.
const latelyAsked = 500

// incidents gives all incidents that the newest events tell, the oldest first. Who is not told
// what has happened still sees what is.
func (s source) incidents(ctx context.Context) []incident.Incident {
	if s.journals.ask == nil {
		return nil
	}
	journals, err := s.journals.ask(ctx, latelyAsked, nil)
	if err != nil {
		return nil
	}
	return web.Group(journals, time.Now())
}

// statusCommand is "holdfast status".
func (a commands) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status [--watch]",
		Short: "Show every controller, VIP and service, and what is degraded and why",
		Long: `status asks every controller of the spec. The first line is a verdict: whether
clients are served, what is wrong and since when, and whether a person must act.
Below it is who holds each virtual IP; each thing that is wrong, in the order in
which to see to it, with where, what was seen, since when, where
docs/troubleshooting.md tells more, and a command to begin with; what happened within the last
hour, and what clients felt of it; every controller; and every service on every
host. A controller that does not answer is shown as such. Times are UTC. Versions
and digests of specs are shown where controllers differ in them.

With --watch it is a screen of its own, drawn anew every second: d drains a
controller or puts it back, h hands a VIP over (both ask first, and need root), e
shows what happened, / only what has a word in it, ? the keys, q ends it. Into a
pipe, without a keyboard, or with TERM=dumb it is one status after the other.

Without a readable spec it shows what the local agent knows of the cloud, unless
-f names the file.

The exit code is 0 when all is well, 1 when something is degraded, and 2 when the
spec is bad. A host drained on purpose is not degraded.`,
		Example: `  holdfast status
  holdfast status --watch
  holdfast status -o json | jq -r '.vips[].holder'`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := a.source(cmd)
			if err != nil {
				return err
			}
			if watch {
				return a.watchStatus(cmd.Context(), from)
			}
			return a.status(cmd.Context(), from)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every second: on a terminal with keys for drain, hand over, events and filter; elsewhere one after the other, until Ctrl-C")
	return a.WithRunDir(cmd)
}

// status shows the cloud once.
func (a commands) status(ctx context.Context, from source) error {
	all, err := from.look(ctx)
	if err != nil {
		return err
	}
	if a.AsJSON() {
		err = a.PrintJSON(all)
	} else {
		err = a.Print(statusText(sight{all, ofLate(from.incidents(ctx), all.Time)}, a.view()))
	}
	if err == nil && !all.Healthy {
		return app.Silent(app.ExitFailed)
	}
	return err
}

// source gives whom to ask: the controllers of the spec or, when the spec
// at its usual place cannot be used, the local agent, which has a good one.
func (a commands) source(cmd *cobra.Command) (source, error) {
	s, agent, err := a.specOrAgent(cmd, "knows")
	switch {
	case err != nil:
		return source{}, err
	case s != nil:
		return source{askControllers(s), a.journalsOf(s, nil)}, nil
	}
	return source{agent.Cloud, a.journalsOf(nil, agent)}, nil
}

// specOrAgent gives the spec or, when that at its usual place cannot be used, the local
// agent, and says that what follows is what that one "knows".
func (a commands) specOrAgent(cmd *cobra.Command, knows string) (*spec.Spec, *web.Control, error) {
	s, err := a.LoadSpec()
	if err == nil {
		return s, nil, nil
	}
	if cmd.Flags().Changed("file") {
		return nil, nil, err
	}
	agent := a.Control()
	if _, agentErr := agent.Snapshot(cmd.Context()); agentErr != nil {
		return nil, nil, err
	}
	a.Logf("%s cannot be used; this is what the local agent %s", a.File, knows)
	return nil, agent, nil
}

// targetsOf gives where the agents of the controllers of s answer.
func targetsOf(s *spec.Spec) []web.Target {
	var targets []web.Target
	for _, c := range s.Controllers {
		targets = append(targets, web.Target{Name: c.Name, Addr: netip.AddrPortFrom(c.Address, uint16(s.Agent.Port)).String()})
	}
	return targets
}

func askControllers(s *spec.Spec) look {
	targets := targetsOf(s)
	return func(ctx context.Context) (cloud.Cloud, error) {
		answers := web.Gather(ctx, targets)
		if err := ctx.Err(); err != nil {
			return cloud.Cloud{}, fmt.Errorf("ask the controllers: %w", err)
		}
		return cloud.Merge(time.Now(), s.Cloud, answers), nil
	}
}
