package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/catalog"
	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// rendered is the answer of "holdfast render -o json".
type rendered struct {
	Controller string `json:"controller"`
	Config     string `json:"config"`
}

// renderCommand is "holdfast render".
func (a *app) renderCommand() *cobra.Command {
	var controller, stateDir string
	cmd := &cobra.Command{
		Use:   "render --controller NAME",
		Short: "Print the HAProxy configuration of a controller",
		Long: `render prints the HAProxy configuration that the agent of a controller makes of the
spec. It is the same for every controller: only the paths, the user and maxconn,
which the agent takes from its host, may differ.

The agent has HAProxy check it before it is used, so there is no need to do so by
hand. The server-state-file that it names is made by the agent: until there is one,
"haproxy -c" warns of it. So are closing.list and the copies of certificates that it
names: without them "haproxy -c" fails.`,
		Example: `  holdfast render --controller ctl1
  diff <(holdfast render --controller ctl1) /var/lib/holdfast/haproxy.cfg`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.render(controller, haproxy.Local{RunDir: a.runDir, StateDir: stateDir})
		},
	}
	cmd.Flags().StringVar(&controller, "controller", os.Getenv("HOLDFAST_CONTROLLER"), "name of the controller in the spec")
	cmd.Flags().StringVar(&stateDir, "state-dir", defaultStateDir, "the agent's directory of what survives a restart")
	return a.withRunDir(cmd)
}

func (a *app) render(controller string, local haproxy.Local) error {
	s, err := a.loadSpec()
	if err != nil {
		return err
	}
	if _, ok := s.Controller(controller); !ok {
		return unknownController(s, controller)
	}
	cfg := haproxy.Render(s, local).Bytes()
	if a.asJSON() {
		return a.printJSON(rendered{controller, string(cfg)})
	}
	if _, err := a.stdio.Out.Write(cfg); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// unknownController says that no controller of s is called name, and what to
// write instead.
func unknownController(s *spec.Spec, name string) error {
	names := make([]string, len(s.Controllers))
	for i, c := range s.Controllers {
		names[i] = c.Name
	}
	all := strings.Join(names, ", ")
	if name == "" {
		return usagef("which controller? write --controller and one of %s", all)
	}
	if near, ok := catalog.Nearest(name, names); ok {
		return usagef("no controller is called %q; did you mean %q? There are %s", name, near, all)
	}
	return usagef("no controller is called %q; there are %s", name, all)
}
