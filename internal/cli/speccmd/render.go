package speccmd

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/haproxy"
)

// rendered is the answer of "holdfast render -o json".
type rendered struct {
	Controller string `json:"controller"`
	Config     string `json:"config"`
}

// renderCommand is "holdfast render".
func (a commands) renderCommand() *cobra.Command {
	var controller, stateDir string
	cmd := &cobra.Command{
		Use:   "render --controller NAME",
		Short: "Print the HAProxy configuration of a controller",
		Long: `render prints the HAProxy configuration that the agent of a controller makes of the
spec. It is the same for every controller: only the paths, the user and maxconn,
which the agent takes from its host, may differ.

The agent has HAProxy check it before it is used, so there is no need to do so by
hand. The server-state-file that it names is made by the agent: until there is one,
"haproxy -c" warns of it. So are closing.list and the copies of certificates, pages and
lists that it names: without them "haproxy -c" fails.`,
		Example: `  holdfast render --controller ctl1
  diff <(holdfast render --controller ctl1) /var/lib/holdfast/haproxy.cfg`,
		Args: app.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.render(controller, haproxy.Local{RunDir: a.RunDir, StateDir: stateDir})
		},
	}
	cmd.Flags().StringVar(&controller, "controller", os.Getenv(app.EnvController), "name of the controller in the spec, else $"+app.EnvController)
	cmd.Flags().StringVar(&stateDir, "state-dir", app.DefaultStateDir, "the agent's directory of what survives a restart")
	return a.WithRunDir(cmd)
}

func (a commands) render(controller string, local haproxy.Local) error {
	s, err := a.LoadSpec()
	if err != nil {
		return err
	}
	c, ok := s.Controller(controller)
	if !ok {
		return app.UnknownController(s, controller)
	}
	local.Address = c.Address
	cfg := haproxy.Render(s, local).Bytes()
	if a.AsJSON() {
		return a.PrintJSON(rendered{controller, string(cfg)})
	}
	if _, err := a.Stdio.Out.Write(cfg); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
