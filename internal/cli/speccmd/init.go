package speccmd

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/catalog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/osauth"
	"holdfast/internal/cli/tui"
	"holdfast/internal/file"
	"holdfast/internal/importer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// initAnswer is the answer of "holdfast init -o json".
type initAnswer struct {
	File     string           `json:"file"`
	Spec     string           `json:"spec"`
	Findings []status.Finding `json:"findings"`
}

type initFlags struct {
	importFlags
	services []string
	force    bool
}

// initCommand is "holdfast init".
func (a commands) initCommand() *cobra.Command {
	var f initFlags
	var live osauth.Flags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a spec from five questions",
		Long: `init asks five questions and writes a spec that validates into the file of -f,
which must not be there yet; "-f -" prints it. What a flag says is not asked, and
with all five nothing is. With --os-cloud, or where clouds.yaml has one cloud, the
region and the name of the APIs come from there and are offered.

For a cloud whose catalog has its endpoints already, "holdfast import" knows more.`,
		Example: `  holdfast init
  holdfast init -f - --vip 10.64.20.10/24 --hostname openstack.example.org \
    --interface eno1 --service keystone,glance,nova,neutron \
    --controller ctl1=10.64.20.13 --controller ctl2=10.64.20.14`,
		Args: app.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.init(f, &live) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.vips, "vip", nil, "`ADDRESS/LENGTH` dedicated to HAProxy; again for one of the other IP version")
	flags.StringVar(&f.hostname, "hostname", "", "DNS `NAME` of that address")
	flags.StringVar(&f.networkInterface, "interface", "", "network `INTERFACE` that gets the address")
	flags.StringArrayVar(&f.controllers, "controller", nil, "controller as `NAME=ADDRESS`; repeated, in order of preference")
	flags.StringSliceVar(&f.services, "service", nil, "`SERVICE` of the catalog; repeated, or with commas")
	flags.StringVar(&f.region, "region", "", "Keystone `REGION` (default: that of clouds.yaml, else RegionOne)")
	flags.StringVar(&f.cloud, "cloud", "", "short `NAME` of the cloud")
	flags.IntVar(&f.routerID, "router-id", 0, "VRRP router `ID`, 1 to 255 (default 51)")
	flags.StringVar(&live.Cloud, "os-cloud", "", "`NAME` of a cloud in clouds.yaml")
	flags.BoolVar(&f.force, "force", false, "write over a file that is there")
	return cmd
}

func (a commands) init(f initFlags, live *osauth.Flags) error {
	if a.File != "-" && !f.force {
		if _, err := os.Stat(a.File); !errors.Is(err, fs.ErrNotExist) {
			return app.Usagef("%s is there already; name another file with -f, print with -f -, or write over it with --force", a.File)
		}
	}
	hostname, region, err := fromClouds(live)
	if err != nil {
		return err
	}
	if f.region == "" {
		f.region = region
	}
	if err := a.ask(&f, hostname); err != nil {
		return err
	}
	opt, err := f.options(f.routerID != 0)
	if err != nil {
		return err
	}
	text := importer.Fresh(opt, f.services)
	s, findings := spec.Parse("the spec", text)
	if s == nil {
		tui.PrintFindings(a.Stdio.Err, findings)
		a.Logf("%s; nothing was written", tui.CountFindings(findings))
		return app.Silent(app.ExitUsage)
	}
	if a.File != "-" {
		if err := os.MkdirAll(filepath.Dir(a.File), 0o755); err != nil {
			return fmt.Errorf("write the spec: %w", err)
		}
		if err := file.Write(a.File, text, 0o644); err != nil {
			return fmt.Errorf("write the spec: %w", err)
		}
	}
	for _, w := range findings {
		fmt.Fprintln(a.Stdio.Err, w)
	}
	said := string(text)
	if a.File != "-" {
		said = fmt.Sprintf("%s: written: %s, %s\nnext: the same file to every controller, then on each: holdfast doctor\n", a.File, status.Count(len(s.Controllers), "controller"), status.Count(len(s.Services), "service"))
	}
	return a.Answer(initAnswer{a.File, string(text), append([]status.Finding{}, findings...)}, said)
}

// fromClouds gives what clouds.yaml, or the environment, offers. It is asked for only with
// --os-cloud; else nothing there is no error.
func fromClouds(live *osauth.Flags) (hostname, region string, err error) {
	auth, err := live.Auth()
	if err != nil {
		if live.Cloud != "" {
			return "", "", err
		}
		return "", "", nil
	}
	if u, err := url.Parse(auth.URL); err == nil {
		if _, err := netip.ParseAddr(u.Hostname()); err != nil { // an address is no name
			hostname = u.Hostname()
		}
	}
	return hostname, auth.Region, nil
}

// A quiz asks on stderr, and takes its answers from stdin.
type quiz struct {
	a  commands
	in *bufio.Reader
}

// ask asks what no flag said. An answer that no spec may have is asked for again at once.
func (a commands) ask(f *initFlags, hostname string) error {
	q := &quiz{a, bufio.NewReader(a.Stdio.In)}
	known, err := catalog.Load()
	if err != nil {
		return err
	}
	all := []struct {
		asked                   bool
		question, offered, flag string
		set                     func(f *initFlags, answer string)
	}{
		{
			len(f.vips) == 0, "Which free address, with its network's prefix length, is HAProxy to have (as 10.64.20.10/24)?", "", "--vip",
			func(f *initFlags, answer string) { f.vips = words(answer) },
		},
		{f.hostname == "", "Which DNS name is that address to have?", hostname, "--hostname", func(f *initFlags, answer string) { f.hostname = answer }},
		{f.networkInterface == "", "On which network interface of the controllers?", "", "--interface", func(f *initFlags, answer string) { f.networkInterface = answer }},
		{
			len(f.controllers) == 0, "Which controllers, as NAME=ADDRESS, the preferred one first (as ctl1=10.64.20.13 ctl2=10.64.20.14)?", "", "--controller",
			func(f *initFlags, answer string) { f.controllers = words(answer) },
		},
		{len(f.services) == 0, "Which services?", strings.Join(importer.UsualServices(), " "), "--service", func(f *initFlags, answer string) { f.services = words(answer) }},
	}
	if err := knownServices(known, f.services); err != nil {
		return err
	}
	for _, x := range all {
		if !x.asked {
			continue
		}
		if err := fits(*f); err != nil { // what flags say no answer mends
			return app.Usagef("%w", err)
		}
		err := q.until(x.question, x.offered, x.flag, func(answer string) error {
			next := *f
			x.set(&next, answer)
			if err := cmp.Or(knownServices(known, next.services), fits(next)); err != nil {
				return err
			}
			*f = next
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fits says why no spec may be of what f has so far; something that would do stands in for
// what was not answered yet.
func fits(f initFlags) error {
	vip, controller := "192.0.2.10/24", "stand-in=192.0.2.11"
	if !slices.ContainsFunc(slices.Concat(f.vips, f.controllers), func(a string) bool { return !strings.Contains(a, ":") }) {
		vip, controller = "2001:db8::10/64", "stand-in=2001:db8::11" // what there is has IPv6 alone
	}
	if len(f.vips) == 0 {
		f.vips = []string{vip}
	}
	if len(f.controllers) == 0 {
		f.controllers = []string{controller}
	}
	if len(f.services) == 0 {
		f.services = importer.UsualServices()
	}
	f.hostname, f.networkInterface = cmp.Or(f.hostname, "stand-in.example.org"), cmp.Or(f.networkInterface, "eno1")
	opt, err := f.options(f.routerID != 0)
	if err != nil {
		return err
	}
	s, findings := spec.Parse("the spec", importer.Fresh(opt, f.services))
	if i := slices.IndexFunc(findings, func(g status.Finding) bool { return g.Severity == status.Error }); s == nil && i >= 0 {
		return fmt.Errorf("%s; %s", findings[i].Text, findings[i].Remedy)
	}
	return nil
}

func knownServices(known catalog.Catalog, names []string) error {
	for i, name := range names {
		if _, there := known.Lookup(name); !there {
			if near, ok := known.Nearest(name); ok {
				return app.Usagef("--service %q is not in the catalog; did you mean %q?", name, near)
			}
			return app.Usagef("--service %q is not in the catalog; write it into the spec by hand, with its type and port", name)
		}
		if slices.Contains(names[:i], name) {
			return app.Usagef("--service %s is given twice", name)
		}
	}
	return nil
}

func words(answer string) []string {
	return strings.FieldsFunc(answer, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
}

// until asks a question until take takes the answer; an empty one is offered, where there is one.
// When nobody answers any more, it says which flag would.
func (q *quiz) until(question, offered, flag string, take func(string) error) error {
	for {
		fmt.Fprint(q.a.Stdio.Err, question)
		if offered != "" {
			fmt.Fprintf(q.a.Stdio.Err, " [%s]", offered)
		}
		fmt.Fprint(q.a.Stdio.Err, " ")
		line, err := q.in.ReadString('\n')
		answer := strings.TrimSpace(line)
		if answer == "" {
			answer = offered
		}
		switch {
		case err != nil && strings.TrimSpace(line) == "":
			fmt.Fprintln(q.a.Stdio.Err)
			if errors.Is(err, io.EOF) {
				return app.Usagef("there is no answer to that; write %s", flag)
			}
			return fmt.Errorf("read the answer: %w", err)
		case answer == "":
			continue
		}
		err = take(answer)
		if err == nil {
			return nil
		}
		q.a.Logf("%v", err)
	}
}
