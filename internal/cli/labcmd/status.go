package labcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/lab"
	"holdfast/internal/status"
)

func (a commands) statusCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "status [--name NAME]",
		Short: "Show a lab: its nodes, who holds the address, what runs where",
		Long: `status shows the lab from outside, as the nodes' kernels and process tables
have it, and then what "holdfast status" says inside.`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := lab.Find(cmd.Context(), name)
			if err != nil {
				return err
			}
			s, err := lab.GetStatus(cmd.Context(), dir)
			if err != nil {
				return err
			}
			if a.AsJSON() {
				return a.statusJSON(cmd.Context(), dir, s)
			}
			return a.statusText(cmd.Context(), dir, s)
		},
	}
	return withName(cmd, &name)
}

// statusJSON prints the lab's status with what holdfast says inside.
func (a commands) statusJSON(ctx context.Context, dir lab.Dir, s *lab.Status) error {
	answer := struct {
		*lab.Status
		Holdfast json.RawMessage `json:"holdfast,omitempty"`
	}{Status: s}
	if node, ok := someController(s); ok {
		var out bytes.Buffer
		c := lab.Command{Node: node, Args: []string{"holdfast", "status", "-o", "json"}, Stdout: &out}
		// Degraded is exit code 1 and no error; what is no JSON is none.
		if _, err := c.Run(ctx, dir); err == nil && json.Valid(out.Bytes()) {
			answer.Holdfast = out.Bytes()
		}
	}
	return a.PrintJSON(answer)
}

// someController gives the controller to ask: the holder of the first VIP, or
// another that is on.
func someController(s *lab.Status) (string, bool) {
	for _, v := range s.VIPs {
		if n := len(v.Holders); n > 0 {
			return v.Holders[n-1], true
		}
	}
	for _, n := range s.Nodes {
		if n.Agent != nil {
			return n.Name, true
		}
	}
	return "", false
}

func (a commands) statusText(ctx context.Context, dir lab.Dir, s *lab.Status) error {
	text, err := statusTable(s)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(a.Stdio.Out, text); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	node, ok := someController(s)
	if !ok {
		_, err := fmt.Fprintln(a.Stdio.Out, "\nNo controller is on.")
		return err
	}
	if _, err := fmt.Fprintf(a.Stdio.Out, "\n\"holdfast status\" on %s:\n", node); err != nil {
		return err
	}
	c := lab.Command{Node: node, Args: []string{"holdfast", "status"}, Stdin: os.Stdin, Stdout: a.Stdio.Out, Stderr: a.Stdio.Err}
	_, err = c.Run(ctx, dir)
	return err
}

// statusTable gives the lab as a table for people.
func statusTable(s *lab.Status) (string, error) {
	w := &strings.Builder{}
	fmt.Fprintf(w, "lab %q  up %s  %s\n", s.Name, time.Since(s.Started).Round(time.Second), s.Dir)
	for _, v := range s.VIPs {
		fmt.Fprintf(w, "vip %s  %s  %s  held by %s\n", v.Name, v.Address, v.Hostname, orNobody(v.Holders))
	}
	if len(s.Partition) > 0 {
		var sets []string
		for _, set := range s.Partition {
			sets = append(sets, strings.Join(set, ","))
		}
		fmt.Fprintf(w, "partition  %s\n", strings.Join(sets, " | "))
	}
	w.WriteString("\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tSTATE\tADDRESSES\tAGENT\tHAPROXY\tSERVICES")
	for _, n := range s.Nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, nodeState(n), nodeAddresses(n), agentState(n), haproxyState(n), serviceStates(n))
	}
	if err := t.Flush(); err != nil {
		return "", fmt.Errorf("lay out the status: %w", err)
	}
	return w.String(), nil
}

func nodeState(n lab.Node) string {
	switch {
	case !n.On:
		return "off"
	case !n.Plugged:
		return "unplugged"
	}
	return "on"
}

func nodeAddresses(n lab.Node) string {
	var all []string
	for _, i := range n.Interfaces {
		all = append(all, i.Name+" "+strings.Join(i.Addresses, " "))
	}
	return tui.Dash(strings.Join(all, ", "))
}

func agentState(n lab.Node) string {
	if n.Agent == nil {
		return "-"
	}
	if n.Agent.Restarts > 0 {
		return n.Agent.State + ", " + status.Count(n.Agent.Restarts, "restart")
	}
	return n.Agent.State
}

func haproxyState(n lab.Node) string {
	switch {
	case n.Agent == nil:
		return "-"
	case n.Problem != "":
		return "unknown"
	case len(n.HAProxy) == 0:
		return "none"
	case n.HAProxyHung:
		return "hung"
	}
	return "running"
}

// serviceStates names the services, with the state of those that are not up.
func serviceStates(n lab.Node) string {
	var all []string
	for _, s := range n.Services {
		name := s.Name
		if s.State != "up" {
			name += " (" + s.State + ")"
		}
		all = append(all, name)
	}
	return tui.Dash(strings.Join(all, " "))
}
