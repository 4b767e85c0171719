package speccmd

import (
	"bufio"
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

// ask asks what no flag said.
func (a commands) ask(f *initFlags, hostname string) error {
	q := &quiz{a, bufio.NewReader(a.Stdio.In)}
	if len(f.vips) == 0 {
		err := q.until("Which free address, with its network's prefix length, is HAProxy to have (as 10.64.20.10/24)?", "", "--vip", func(answer string) error {
			f.vips = words(answer)
			_, err := initFlags{importFlags: importFlags{vips: f.vips}}.options(false)
			return err
		})
		if err != nil {
			return err
		}
	}
	if f.hostname == "" {
		if err := q.until("Which DNS name is that address to have?", hostname, "--hostname", set(&f.hostname)); err != nil {
			return err
		}
	}
	if f.networkInterface == "" {
		if err := q.until("On which network interface of the controllers?", "", "--interface", set(&f.networkInterface)); err != nil {
			return err
		}
	}
	if len(f.controllers) == 0 {
		err := q.until("Which controllers, as NAME=ADDRESS, the preferred one first (as ctl1=10.64.20.13 ctl2=10.64.20.14)?", "", "--controller", func(answer string) error {
			f.controllers = words(answer)
			_, err := initFlags{importFlags: importFlags{controllers: f.controllers}}.options(false)
			return err
		})
		if err != nil {
			return err
		}
	}
	known, err := catalog.Load()
	if err != nil {
		return err
	}
	if len(f.services) == 0 {
		return q.until("Which services?", strings.Join(importer.UsualServices(), " "), "--service", func(answer string) error {
			f.services = words(answer)
			return knownServices(known, f.services)
		})
	}
	return knownServices(known, f.services)
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

func set(to *string) func(string) error {
	return func(answer string) error {
		*to = answer
		return nil
	}
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
