package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// drainAnswer is the answer of "holdfast drain -o json" and "holdfast undrain -o json".
type drainAnswer struct {
	web.DrainResult
	// Waited is how long --wait took.
	Waited time.Duration `json:"waited_ns,omitempty"`
}

// drainCommand is "holdfast drain".
func (a commands) drainCommand() *cobra.Command {
	var req web.DrainRequest
	var wait bool
	cmd := &cobra.Command{
		Use:   "drain NAME",
		Short: "Take a controller, or services on it, out for maintenance",
		Long: `drain takes a controller out for maintenance: every HAProxy sends new requests
elsewhere, those that run finish there, and what virtual IPs it holds are handed
over. With --service it is only that service on it. Works from any controller for
any controller, as long as that one's agent runs.

It stays so over restarts of the agent, of HAProxy and of the host, until
"holdfast undrain" or, with --for, for that long. To drain again changes the end
and the reason.

It is refused when a service would be left without a host; --force insists.

The exit code is 0 when it is drained, with --wait when nothing runs there any
more; 1 when it was refused or could not be done, and 2 for wrong names.`,
		Example: `  holdfast drain ctl2 --wait --reason "new kernel"
  holdfast drain ctl2 --service nova --for 30m`,
		Args: oneController,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Controller = args[0]
			if err := a.CheckController(cmd, req.Controller); err != nil {
				return err
			}
			if cmd.Flags().Changed("for") && req.For == 0 {
				return app.Usagef("--for is %s; for how long? 30m, 2h", req.For)
			}
			return a.drain(cmd.Context(), req, wait)
		},
	}
	drainFlags(cmd, &req, &wait)
	cmd.Flags().DurationVar(&req.For, "for", 0, "end it by itself after this time: 30m, 2h")
	cmd.Flags().BoolVar(&req.Force, "force", false, "drain although a service is left without a host")
	return a.offers(a.WithRunDir(cmd), map[string]names{"": controllerNames, "service": serviceNames})
}

// undrainCommand is "holdfast undrain".
func (a commands) undrainCommand() *cobra.Command {
	var req web.DrainRequest
	var wait bool
	cmd := &cobra.Command{
		Use:   "undrain NAME",
		Short: "Put a drained controller, or services on it, back",
		Long: `undrain puts back what "holdfast drain" has taken out: all that is drained on the
controller or, with --service, only that. Requests go there again within a second
or two, where the health checks pass; clients that had moved come back. Virtual
IPs stay where they are.`,
		Example: `  holdfast undrain ctl2
  holdfast undrain ctl2 --service nova --wait`,
		Args: oneController,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Controller = args[0]
			if err := a.CheckController(cmd, req.Controller); err != nil {
				return err
			}
			return a.undrain(cmd.Context(), req, wait)
		},
	}
	drainFlags(cmd, &req, &wait)
	return a.offers(a.WithRunDir(cmd), map[string]names{"": controllerNames, "service": serviceNames})
}

func drainFlags(cmd *cobra.Command, req *web.DrainRequest, wait *bool) {
	cmd.Flags().StringSliceVar(&req.Services, "service", nil, "only this service; may be repeated")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for the status and the journal")
	waitFor := "return when nothing runs there any more"
	if cmd.Name() == "undrain" {
		waitFor = "return when every HAProxy sends requests there again"
	}
	cmd.Flags().BoolVar(wait, "wait", false, waitFor)
}

// oneController takes the name of one controller.
func oneController(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return app.Usagef("which controller? write %s NAME", cmd.CommandPath())
	case len(args) > 1:
		return app.Usagef("%s takes one controller, got %q too; services are named with --service", cmd.CommandPath(), args[1])
	}
	return nil
}

func (a commands) drain(ctx context.Context, req web.DrainRequest, wait bool) error {
	result, err := a.Control().Drain(ctx, req)
	if err != nil {
		return drainError(err)
	}
	a.notes(result.Notes)
	answer := drainAnswer{DrainResult: result}
	if !a.AsJSON() {
		if err := a.Print(drainedText(req, result)); err != nil {
			return err
		}
	}
	if wait {
		answer.Waited, err = a.awaitCloud(ctx, func(c cloud.Cloud) []string { return running(c, result, len(req.Services) == 0) })
		if err != nil {
			return fmt.Errorf("%w; %s stays drained: holdfast undrain %s puts it back", err, req.Controller, req.Controller)
		}
	}
	return a.sayWaited(answer, wait, "nothing runs there any more")
}

func (a commands) undrain(ctx context.Context, req web.DrainRequest, wait bool) error {
	result, err := a.Control().Undrain(ctx, req)
	if err != nil {
		return drainError(err)
	}
	a.notes(result.Notes)
	answer := drainAnswer{DrainResult: result}
	if !a.AsJSON() {
		if err := a.Print(undrainedText(req, result)); err != nil {
			return err
		}
	}
	if wait {
		answer.Waited, err = a.awaitCloud(ctx, func(c cloud.Cloud) []string { return stillOut(c, result) })
		if err != nil {
			return fmt.Errorf("%w; %s is put back all the same", err, req.Controller)
		}
	}
	return a.sayWaited(answer, wait, "every HAProxy has it back")
}

func (a commands) sayWaited(answer drainAnswer, wait bool, what string) error {
	switch {
	case a.AsJSON():
		return a.PrintJSON(answer)
	case wait:
		return a.Print(fmt.Sprintf("%s, after %s\n", what, status.Brief(answer.Waited)))
	}
	return nil
}

func (a commands) notes(notes []string) {
	for _, n := range notes {
		a.Logf("%s", n)
	}
}

// drainError says what an agent is that does not know the command.
func drainError(err error) error {
	if e, ok := errors.AsType[*web.ControlError](err); ok && e.Status == http.StatusNotFound {
		return fmt.Errorf("%w; the agent that runs is older than this command: restart it", err)
	}
	return err
}

// drainedText says what was drained, and until when.
func drainedText(req web.DrainRequest, result web.DrainResult) string {
	text := result.Controller + " is drained: it gets no new requests"
	if len(req.Services) > 0 {
		text = fmt.Sprintf("%s drained on %s: no new requests go there", areDrained(req.Services), result.Controller)
	}
	for _, d := range result.Drains {
		if named(d, req.Services) && !d.Until.IsZero() {
			text += ", until " + d.Until.UTC().Format("2006-01-02 15:04:05 UTC")
			break
		}
	}
	return text + "; " + undrainCall(req) + " puts it back\n"
}

// named reports whether d is one of services or, where there are none, the whole controller.
func named(d status.Drained, services []string) bool {
	return d.Service == "" && len(services) == 0 || slices.Contains(services, d.Service)
}

func undrainCall(req web.DrainRequest) string {
	return strings.Join(append([]string{"holdfast undrain " + req.Controller}, req.Services...), " --service ")
}

func areDrained(services []string) string {
	if len(services) == 1 {
		return services[0] + " is"
	}
	return strings.Join(services[:len(services)-1], ", ") + " and " + services[len(services)-1] + " are"
}

// undrainedText says what was put back, and what stays out.
func undrainedText(req web.DrainRequest, result web.DrainResult) string {
	text := result.Controller + " takes requests again\n"
	switch {
	case !result.Changed && len(req.Services) == 0:
		text = "nothing is drained on " + result.Controller + "\n"
	case !result.Changed:
		text = areDrained(req.Services) + " not drained on " + result.Controller + "\n"
	case len(req.Services) > 0:
		text = strings.Join(req.Services, ", ") + " on " + result.Controller + " can take requests again\n"
	}
	var rest []string
	for _, d := range result.Drains {
		rest = append(rest, d.Service)
	}
	if len(rest) > 0 {
		text += areDrained(rest) + " still drained there\n"
	}
	return text
}
