package labcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/lab"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

func (a commands) upCommand() *cobra.Command {
	var opt lab.UpOptions
	bgp := false
	cmd := &cobra.Command{
		Use:   "up [-f FILE] [--name NAME] [--detach]",
		Short: "Build the cloud of a spec and wait until every service answers",
		Long: `up builds the cloud of the spec with 1 to 9 controllers, starts everything and
waits until every service answers through the virtual IP. It then stays until
Ctrl-C, SIGTERM, the end of the terminal or "holdfast lab down", and leaves nothing
behind. One that is killed leaves some files, which "lab down" or the next one
removes. With --detach it returns, and the lab stays until "lab down".

Without -f, and without ` + app.DefaultFile + `, it builds a sample: three
controllers with keystone, glance, neutron and nova, designate and a service of
its own on hosts of theirs. With --bgp it builds another sample, whose virtual
IP all three controllers announce to a router (FRR) by BGP. A spec whose virtual
IPs are announced by BGP gets such a router in any case.`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.specOf(cmd, &opt, bgp); err != nil {
				return err
			}
			return a.up(cmd.Context(), opt)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opt.Name, "name", lab.DefaultName, "name of the lab, when there is to be more than one")
	flags.BoolVar(&opt.Detach, "detach", false, "return when the lab is up, and let it run on")
	flags.StringSliceVar(&opt.OpenStack, "openstack", nil, "`SERVICES` that are real ones from Debian's packages, as in keystone,glance")
	flags.StringVar(&opt.Workers, "workers", "", "of every stand-in, and how long each request holds one: `8x100ms`")
	flags.StringVar(&opt.KeyFile, "key-file", "", "the controllers' keys, as holdfast key makes them")
	flags.BoolVar(&bgp, "bgp", false, "a sample whose virtual IP is announced by BGP, with a router; needs root and FRR")
	flags.DurationVar(&opt.Timeout, "timeout", time.Minute, "how long every service may take to answer")
	return cmd
}

// specOf reads the spec that a lab is to be built from, and shows what is
// wrong with it.
func (a commands) specOf(cmd *cobra.Command, opt *lab.UpOptions, bgp bool) error {
	var err error
	if bgp {
		if cmd.Flags().Changed("file") {
			return app.Usagef("--bgp builds a sample of its own; leave out -f or --bgp: a spec with announce: bgp gets a router anyway")
		}
		opt.File, opt.Data = "built-in sample", lab.SampleBGP()
		return nil
	}
	opt.File = a.File
	opt.Data, err = os.ReadFile(a.File)
	if errors.Is(err, fs.ErrNotExist) && a.File == app.DefaultFile && !cmd.Flags().Changed("file") {
		opt.File, opt.Data, err = "built-in sample", lab.Sample(), nil
	}
	if err != nil {
		return app.SpecError(a.File, err)
	}
	parsed, findings := spec.Parse(opt.File, opt.Data)
	for _, f := range findings {
		if f.Severity == status.Error || parsed == nil {
			fmt.Fprintln(a.Stdio.Err, f)
		}
	}
	if parsed == nil {
		return app.Silent(app.ExitUsage)
	}
	return nil
}

func (a commands) up(ctx context.Context, opt lab.UpOptions) error {
	ctx, stop := untilHangup(ctx)
	defer stop()
	begin := time.Now()
	opt.Progress = func(text string) { a.Logf("%5.1f s  %s", time.Since(begin).Seconds(), text) }
	l, err := lab.Up(ctx, opt)
	if err != nil {
		return err
	}
	s, err := lab.GetStatus(ctx, l.Dir)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if err := a.sayUp(s, opt, time.Since(begin)); err != nil {
		return errors.Join(err, l.Close())
	}
	if opt.Detach {
		return l.Release()
	}
	select {
	case <-l.Done():
		a.Logf("lab %q has ended", s.Name)
	case <-ctx.Done():
		a.Logf("lab %q goes down", s.Name)
	}
	return l.Close()
}

// sayUp tells that the lab is up and what to type next.
func (a commands) sayUp(s *lab.Status, opt lab.UpOptions, took time.Duration) error {
	if a.AsJSON() {
		return a.PrintJSON(s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "lab %q is up, after %.1f s: %s\n", s.Name, took.Seconds(), countNodes(s))
	for _, v := range s.VIPs {
		fmt.Fprintf(&b, "%s is %s, held by %s\n", v.Hostname, v.Address, orNobody(v.Holders))
	}
	name := ""
	if s.Name != lab.DefaultName {
		name = " --name " + s.Name
	}
	client := s.Nodes[len(s.Nodes)-1].Name
	fmt.Fprintf(&b, "\nTry:\n")
	lines := [][2]string{
		{"status" + name, "who holds the address, what runs where"},
		{fmt.Sprintf("exec%s %s curl -s %s", name, client, someURL(s)), "be a client"},
		{fmt.Sprintf("exec%s %s holdfast status", name, s.Nodes[0].Name), "be on a controller"},
		{"fault" + name + " power-off holder", "cut its power"},
		{"fault" + name + " back NODE", "and give it back"},
		{"fault --list", "what else can be broken"},
	}
	holdfast := ownName()
	for _, line := range lines {
		fmt.Fprintf(&b, "  # %s\n  %s lab %s\n", line[1], holdfast, line[0])
	}
	if opt.Detach {
		fmt.Fprintf(&b, "\nIt runs until: %s lab down%s\n", holdfast, name)
	} else {
		fmt.Fprintf(&b, "\nCtrl-C ends it and leaves nothing behind.\n")
	}
	_, err := fmt.Fprint(a.Stdio.Out, b.String())
	return err
}

func someURL(s *lab.Status) string {
	if len(s.Endpoints) == 0 {
		return "telnet://" + s.VIPs[0].Hostname
	}
	return s.Endpoints[0].URL
}

func countNodes(s *lab.Status) string {
	counts := map[string]int{}
	for _, n := range s.Nodes {
		counts[n.Role]++
	}
	text := status.Count(counts["controller"], "controller")
	if n := counts["host"]; n > 0 {
		text += ", " + status.Count(n, "other host")
	}
	return text + ", a client"
}

// ownName is what to type for this holdfast: a build that is not installed has its path,
// beside one that is, too.
func ownName() string {
	own, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	if installed, err := exec.LookPath("holdfast"); err == nil && sameFile(installed, own) {
		return "holdfast"
	}
	return os.Args[0]
}

func sameFile(a, b string) bool {
	of, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(of, other)
}

// untilHangup gives ctx with an end when the terminal goes, as with an ssh that
// drops, unless whoever started the command wants it to outlive that (nohup).
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}
