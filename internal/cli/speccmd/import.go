package speccmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/catalog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/osauth"
	"holdfast/internal/cli/tui"
	"holdfast/internal/importer"
	"holdfast/internal/keystone"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// importFlags are the flags of "holdfast import" as they were written.
type importFlags struct {
	vips, controllers, hosts                  []string
	cloud, region, hostname, networkInterface string
	routerID                                  int
}

// An endpointSource gives a catalog's endpoints, and what was found on the way.
type endpointSource func(context.Context) (name string, endpoints []keystone.Endpoint, findings []status.Finding, err error)

// importCommand is "holdfast import".
func (a commands) importCommand() *cobra.Command {
	var f importFlags
	var live osauth.Flags
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Make a spec from an endpoint list",
		Long: `import reads what "openstack endpoint list" prints, from FILE or stdin, and prints
a spec for those services. It reads the table as it stands on a terminal, and
the output of -f json, -f csv and -f yaml. With --os-cloud, or without a list where
OS_CLOUD or OS_AUTH_URL is set, it asks Keystone itself. What the list cannot tell
and no flag says is marked FILL_IN in the spec, with what to write there.

What was left out, merged or taken for something is said on stderr, with its row.`,
		Example: `  openstack endpoint list | holdfast import > holdfast.yaml

  holdfast import endpoints.txt --vip 10.64.20.10/24 --interface eno1 \
    --hostname openstack.example.org \
    --controller ctl1=10.64.20.13 --controller ctl2=10.64.20.14 \
    --host designate:ns1=10.64.20.23

  holdfast import --os-cloud mycloud > holdfast.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return app.Usagef("import reads one file, got %d; put the lists into one", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("file") {
				return app.Usagef("-f is for the spec, which import prints on stdout; name the list alone: holdfast import %s", a.File)
			}
			opt, err := f.options(cmd.Flags().Changed("router-id"))
			if err != nil {
				return err
			}
			source := a.listingFrom(args)
			switch {
			case live.Cloud != "" && len(args) > 0:
				return app.Usagef("--os-cloud asks Keystone, and %s is a list; leave one of them out", args[0])
			case live.Cloud != "", len(args) == 0 && tui.IsTerminal(a.Stdio.In) && live.InEnvironment():
				source = live.Endpoints
			}
			return a.runImport(cmd.Context(), source, opt)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.vips, "vip", nil, "`ADDRESS/LENGTH` dedicated to HAProxy; again for one of the other IP version")
	flags.StringVar(&f.hostname, "hostname", "", "DNS `NAME` of that address")
	flags.StringVar(&f.networkInterface, "interface", "", "network `INTERFACE` that gets the address")
	flags.StringArrayVar(&f.controllers, "controller", nil, "controller as `NAME=ADDRESS`; repeated, in order of preference")
	flags.StringArrayVar(&f.hosts, "host", nil, "host of a service that is not on the controllers, as `SERVICE:NAME=ADDRESS`; repeated")
	flags.StringVar(&f.region, "region", "", "Keystone `REGION` (default: the one with most endpoints that are not local)")
	flags.StringVar(&f.cloud, "cloud", "", "short `NAME` of the cloud (default: from the host name)")
	live.Add(cmd)
	flags.IntVar(&f.routerID, "router-id", 0, "VRRP router `ID`, 1 to 255 (default 51)")
	return cmd
}

// options reads the flags.
func (f importFlags) options(routerGiven bool) (importer.Options, error) {
	opt := importer.Options{
		Cloud: f.cloud, Region: f.region, Hostname: f.hostname, Interface: f.networkInterface,
		RouterID: f.routerID, Hosts: map[string][]spec.Host{},
	}
	if routerGiven && (f.routerID < 1 || f.routerID > 255) {
		return opt, app.Usagef("--router-id %d: a VRRP router id is from 1 to 255", f.routerID)
	}
	for _, text := range f.vips {
		p, err := parseVIP(text)
		if err != nil {
			return opt, err
		}
		if slices.Contains(opt.VIPs, p) {
			return opt, app.Usagef("--vip %s is given twice", text)
		}
		opt.VIPs = append(opt.VIPs, p)
	}
	for _, text := range f.controllers {
		var err error
		if opt.Controllers, err = addHost("--controller", text, text, "NAME=ADDRESS, as in ctl1=10.64.20.13", opt.Controllers); err != nil {
			return opt, err
		}
	}
	for _, text := range f.hosts {
		const form = "SERVICE:NAME=ADDRESS, as in designate:ns1=10.64.20.23"
		service, host, ok := strings.Cut(text, ":")
		if !ok || service == "" || strings.Contains(service, "=") {
			return opt, app.Usagef("--host %q names no service; write %s", text, form)
		}
		var err error
		if opt.Hosts[service], err = addHost("--host", text, host, form, opt.Hosts[service]); err != nil {
			return opt, err
		}
	}
	return opt, nil
}

// parseVIP reads "10.64.20.10/24".
func parseVIP(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		length := 24
		if addr.Is6() {
			length = 64
		}
		return netip.Prefix{}, app.Usagef("--vip %s has no prefix length; write that of its network, as in %s/%d", text, addr, length)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, app.Usagef("--vip %q is no address with a prefix length; write one like 10.64.20.10/24 or 2001:db8::10/64", text)
	}
	return p, nil
}

// addHost reads "name=address" and adds it to hosts, where neither may be yet.
// The whole text of the flag and its form are for the errors.
func addHost(flag, whole, text, form string, hosts []spec.Host) ([]spec.Host, error) {
	name, address, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return nil, app.Usagef("%s %q: write %s", flag, whole, form)
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		if p, err := netip.ParsePrefix(address); err == nil {
			return nil, app.Usagef("%s %q: write the address without its prefix length: %s=%s", flag, whole, name, p.Addr())
		}
		return nil, app.Usagef("%s %q: %q is no IP address; write %s", flag, whole, address, form)
	}
	for _, h := range hosts {
		if h.Name == name {
			return nil, app.Usagef("%s %q: %s is given twice, first with %s", flag, whole, name, h.Address)
		}
		if h.Address == addr {
			return nil, app.Usagef("%s %q: %s has this address already", flag, whole, h.Name)
		}
	}
	return append(hosts, spec.Host{Name: name, Address: addr}), nil
}

// listingFrom reads a listing from the file named, or from stdin for none or "-".
func (a commands) listingFrom(args []string) endpointSource {
	return func(context.Context) (string, []keystone.Endpoint, []status.Finding, error) {
		name, in := "stdin", a.Stdio.In
		if len(args) > 0 && args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return "", nil, nil, app.ReadError("endpoint list", args[0], err)
			}
			defer f.Close() //nolint:errcheck // it was only read
			name, in = args[0], f
		} else if len(args) == 0 && tui.IsTerminal(in) {
			return "", nil, nil, app.Usagef(`no endpoint list; write "openstack endpoint list | holdfast import", or name a file ("-" to type it in)`)
		}
		data, err := io.ReadAll(io.LimitReader(in, importer.MaxListing+1))
		if err != nil {
			return "", nil, nil, app.ReadError("endpoint list", name, err)
		}
		endpoints, findings := importer.ParseListing(name, data)
		return name, endpoints, findings, nil
	}
}

// runImport drafts a spec of what source gives, and prints it.
func (a commands) runImport(ctx context.Context, source endpointSource, opt importer.Options) error {
	name, endpoints, findings, err := source(ctx)
	if err != nil {
		return err
	}
	opt.Source = name
	var drafted importer.Drafted
	if len(endpoints) > 0 {
		known, err := catalog.Load()
		if err != nil {
			return err
		}
		if drafted, err = importer.Draft(endpoints, opt, known); err != nil {
			return app.Usagef("%w", err)
		}
	}
	findings = append(findings, drafted.Findings...)
	slices.SortStableFunc(findings, func(x, y status.Finding) int { return cmp.Compare(x.Where.Line, y.Where.Line) })
	wrong := faults(drafted.Spec)
	if err := a.printDraft(drafted, append(findings, wrong...)); err != nil {
		return err
	}
	switch {
	case drafted.Spec == nil:
		return fmt.Errorf("no spec: %s has no endpoint of use", name)
	case len(wrong) > 0:
		return app.Usagef("the spec is printed, but is not valid as the flags make it")
	}
	return nil
}

// faults gives the errors of a draft other than its marks: those that the flags
// brought in, such as a VIP that is a controller's own address.
func faults(text []byte) []status.Finding {
	if text == nil {
		return nil
	}
	_, findings := spec.Parse("the spec", text)
	return slices.DeleteFunc(findings, func(f status.Finding) bool {
		return f.Severity != status.Error || f.Code == status.CodeNotFilledIn
	})
}

// importAnswer is the JSON of "holdfast import -o json".
type importAnswer struct {
	Spec     string            `json:"spec"`
	Services []string          `json:"services"`
	FillIn   []importer.FillIn `json:"fill_in"`
	Findings []status.Finding  `json:"findings"`
}

// printDraft prints the spec on stdout and the findings beside it.
func (a commands) printDraft(drafted importer.Drafted, findings []status.Finding) error {
	if a.AsJSON() {
		return a.PrintJSON(importAnswer{
			Spec:     string(drafted.Spec),
			Services: append([]string{}, drafted.Services...),
			FillIn:   append([]importer.FillIn{}, drafted.FillIn...),
			Findings: append([]status.Finding{}, findings...),
		})
	}
	if _, err := a.Stdio.Out.Write(drafted.Spec); err != nil {
		return fmt.Errorf("write the spec: %w", err)
	}
	for _, f := range findings {
		fmt.Fprintln(a.Stdio.Err, f)
		if f.Line != "" {
			fmt.Fprintf(a.Stdio.Err, "    %s\n", strings.TrimSpace(f.Line))
		}
	}
	if drafted.Spec == nil {
		return nil
	}
	places := "nothing is left to fill in"
	if n := len(drafted.FillIn); n > 0 {
		places = fmt.Sprintf("%s marked %s to fill in, \"holdfast validate\" names each", status.Count(n, "place"), importer.Mark)
	}
	a.Logf("drafted %s; %s", status.Count(len(drafted.Services), "service"), places)
	return nil
}
