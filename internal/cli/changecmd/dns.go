package changecmd

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/osauth"
	"holdfast/internal/cli/tui"
	"holdfast/internal/dns"
	"holdfast/internal/dns/zone"
	"holdfast/internal/keystone/admin"
	"holdfast/internal/spec"
)

// resolvConf says which resolvers this machine asks.
const resolvConf = "/etc/resolv.conf"

// DNS returns "holdfast dns" with what is below it.
func DNS(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dns",
		Short: "Make the hostname map to the VIP",
		Long: `dns looks at what the name servers and the resolver of this machine say of the
hostname of each VIP, plans what to change so that its A and AAAA records are the
VIP's addresses and nothing else, makes the changes, and takes them back.`,
		Args: app.NoSuchSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(dnsPlanCommand(a), dnsApplyCommand(a), dnsRollbackCommand(a))
	return cmd
}

// dnsFlags are those of more than one command, as they were written.
type dnsFlags struct {
	vips, servers, resolvers []string
	primary, ttl             string
	ttlOnly                  bool

	keyFile, key string
	designate    bool
	designateURL string
	os           osauth.Flags

	stateDir string
	wait     time.Duration
}

// dnsRun is one call of a command.
type dnsRun struct {
	*app.App
	dnsFlags

	spec   *spec.Spec
	wants  []dns.Want
	looker zone.Looker
	opt    dns.PlanOptions
	// editor changes the zone; nil where nothing was said about how.
	editor zone.Editor
	// byHand says that the lines are printed, and nothing is changed from here.
	byHand bool
	// api is editor where that is Designate, and apiURL where it is.
	api    *zone.Designate
	apiURL string
}

// addLookFlags adds what says where to look, and for what.
func (r *dnsRun) addLookFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&r.vips, "vip", nil, "the hostname of this VIP only, by its `NAME` in the spec; repeated for more")
	flags.StringArrayVar(&r.servers, "server", nil, "ask the name server at `ADDRESS[:PORT]`, and not those of the NS records; repeated, the primary first")
	flags.StringArrayVar(&r.resolvers, "resolver", nil, "ask the resolver at `ADDRESS[:PORT]`, and not those of "+resolvConf+"; repeated")
	flags.StringVar(&r.ttl, "ttl", "", "`TIME` that caches may keep the records, as in 300 or 5m (default: what they have; for new ones 5m)")
	flags.BoolVar(&r.ttlOnly, "ttl-only", false, "change the TTL of what is there, and no address: the day before")
	r.addPrimary(cmd)
}

func (r *dnsRun) addPrimary(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.primary, "primary", "", "where updates go, as `ADDRESS[:PORT]` (default: what the SOA record names, or the first --server)")
}

// addWayFlags adds what says how the zone is changed.
func (r *dnsRun) addWayFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&r.keyFile, "key-file", "", "update by RFC 2136, with the TSIG key in `FILE`, as tsig-keygen writes it")
	flags.StringVar(&r.key, "key", "", "`NAME` of the key, when the file has several")
	flags.BoolVar(&r.designate, "designate", false, "the zone is in OpenStack Designate: change its record sets there")
	flags.StringVar(&r.designateURL, "designate-url", "", "`URL` of Designate in place of the catalog's, which may have the very name that does not work yet")
	r.os.Add(cmd)
}

// addStateFlags adds what apply and rollback need.
func (r *dnsRun) addStateFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&r.stateDir, "state-dir", app.DefaultStateDir, "directory of what must survive a restart; the journals are in dns/ of it")
	flags.DurationVar(&r.wait, "wait", zone.DefaultWait, "how long all name servers may take to have a change")
}

// open reads flags and spec, and gets hold of what changes the zone.
func (r *dnsRun) open(ctx context.Context) error {
	if r.keyFile != "" && r.designate {
		return app.Usagef("--key-file and --designate are two ways to change a zone; choose the one by which it is edited")
	}
	if err := r.readFlags(); err != nil {
		return err
	}
	var err error
	if r.spec, err = r.LoadSpec(); err != nil {
		return err
	}
	if r.wants, err = dns.Wants(r.spec, r.vips); err != nil {
		return app.Usagef("%w", err)
	}
	if len(r.looker.Resolvers) == 0 {
		if r.looker.Resolvers, err = zone.ReadResolvers(resolvConf); err != nil {
			return err
		}
	}
	return r.openEditor(ctx, r.spec.Region)
}

// openEditor gets hold of what changes the zone, if it was said how.
func (r *dnsRun) openEditor(ctx context.Context, region string) error {
	switch {
	case r.designate:
		return r.openDesignate(ctx, region)
	case r.keyFile != "":
		key, err := r.readKey()
		if err != nil {
			return err
		}
		r.looker.Key = &key
		r.editor = zone.Updater{Looker: r.looker}
	}
	return nil
}

// openDesignate authenticates to Keystone and finds Designate.
func (r *dnsRun) openDesignate(ctx context.Context, region string) error {
	auth, err := r.os.Auth()
	if err != nil {
		return err
	}
	client, err := admin.Connect(ctx, auth)
	if err != nil {
		return err
	}
	service, err := client.ServiceClient([]string{"dns"}, region, r.designateURL)
	if err != nil {
		return fmt.Errorf("%w; --designate-url URL says where it is", err)
	}
	service.Endpoint = zone.DesignateURL(service.Endpoint)
	r.api, r.apiURL = zone.NewDesignate(service), service.Endpoint
	r.editor = r.api
	return nil
}

// readKey reads the TSIG key.
func (r *dnsRun) readKey() (dns.Key, error) {
	info, err := os.Stat(r.keyFile)
	if err != nil {
		return dns.Key{}, app.ReadError("key file", r.keyFile, err)
	}
	if info.Mode().Perm()&0o004 != 0 {
		r.Logf("everybody on this machine can read %s; chmod o-r", r.keyFile)
	}
	data, err := os.ReadFile(r.keyFile)
	if err != nil {
		return dns.Key{}, app.ReadError("key file", r.keyFile, err)
	}
	keys, err := dns.ParseKeys(r.keyFile, data)
	if err != nil {
		return dns.Key{}, app.Usagef("%w", err)
	}
	key, err := dns.ChooseKey(r.keyFile, keys, r.key)
	if err != nil {
		return key, app.Usagef("%w", err)
	}
	return key, nil
}

// readFlags reads the flags that are addresses and times.
func (r *dnsRun) readFlags() error {
	r.looker.Now = time.Now
	var err error
	if r.looker.Servers, err = parseServers("--server", r.servers); err != nil {
		return err
	}
	if r.looker.Resolvers, err = parseServers("--resolver", r.resolvers); err != nil {
		return err
	}
	if r.primary != "" {
		if r.looker.Primary, err = parseServer("--primary", r.primary); err != nil {
			return err
		}
	}
	r.opt.TTLOnly = r.ttlOnly
	if r.ttl == "" {
		if r.ttlOnly {
			return app.Usagef("--ttl-only changes the TTL; say to what, as in --ttl 60 --ttl-only")
		}
		return nil
	}
	ttl, err := parseTTL(r.ttl)
	r.opt.TTL = &ttl
	return err
}

func parseServers(flag string, texts []string) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, text := range texts {
		addr, err := parseServer(flag, text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(all, addr) {
			return nil, app.Usagef("%s %s is given twice", flag, text)
		}
		all = append(all, addr)
	}
	return all, nil
}

// parseServer reads "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:5353".
func parseServer(flag, text string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return netip.AddrPortFrom(addr, 53), nil
	}
	addr, err := netip.ParseAddrPort(text)
	if err != nil || addr.Port() == 0 {
		return addr, app.Usagef("%s %q: write an address, as in 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:5353", flag, text)
	}
	return addr, nil
}

// parseTTL reads "300" or "5m".
func parseTTL(text string) (uint32, error) {
	const highest = 1<<31 - 1 // RFC 2181 section 8
	if n, err := strconv.ParseUint(text, 10, 32); err == nil && n <= highest {
		return uint32(n), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d%time.Second != 0 || d/time.Second > highest {
		return 0, app.Usagef("--ttl %q: write whole seconds, as in 300, or 5m", text)
	}
	return uint32(d / time.Second), nil
}

// makePlan looks at DNS, and compares.
func (r *dnsRun) makePlan(ctx context.Context) (dns.Plan, error) {
	var hosts []string
	for _, w := range r.wants {
		hosts = append(hosts, w.Hostname)
	}
	if r.api != nil {
		r.opt.Sources = map[string]dns.Source{}
		for _, host := range hosts {
			source, err := r.api.Source(ctx, host)
			if err != nil {
				return dns.Plan{}, err
			}
			r.opt.Sources[host] = source
		}
	}
	views := r.looker.LookAll(ctx, hosts)
	if err := ctx.Err(); err != nil {
		return dns.Plan{}, fmt.Errorf("look at DNS: %w", err)
	}
	plan := dns.MakePlan(r.spec, r.wants, views, r.opt)
	if updater, ok := r.editor.(zone.Updater); ok && !r.byHand {
		plan = updater.Try(ctx, plan)
	}
	return plan, nil
}

// dnsPlanText shows a plan.
func dnsPlanText(plan dns.Plan) string {
	return tui.PrintableLines(plan.Diff()) + tui.ListFindings(plan.Findings)
}

// dnsPlanFault is the error of a plan that lacks some hostname.
func dnsPlanFault(plan dns.Plan) error {
	var names []string
	for _, n := range plan.Names {
		if n.Blocked {
			names = append(names, n.Hostname)
		}
	}
	if names == nil {
		return nil
	}
	return fmt.Errorf("there is no plan for %s, for the reasons above", strings.Join(names, ", "))
}

func dnsPlanCommand(a *app.App) *cobra.Command {
	r := &dnsRun{App: a}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what would change in DNS",
		Long: `plan asks every name server of the hostname's zone, and the resolver, and shows what
they say, what "holdfast dns apply" would change, as lines of a zone file, and what
is wrong: addresses of a single controller, AAAA records without an IPv6 VIP, an
alias or a wildcard in the way, servers that are down, lame or behind, caches that
are stale, and until when. It changes nothing.

A zone in Designate is looked at there with --designate. With --key-file, the
primary is asked with that key, as for the update: it may have views. It is also
asked, by an update that cannot be carried out, whether it would make the change.`,
		Example: `  holdfast dns plan
  holdfast dns plan --server 10.64.20.23 --resolver 9.9.9.9`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.open(cmd.Context()); err != nil {
				return err
			}
			plan, err := r.makePlan(cmd.Context())
			if err != nil {
				return err
			}
			return cmp.Or(r.Answer(plan, dnsPlanText(plan)), dnsPlanFault(plan))
		},
	}
	r.addLookFlags(cmd)
	r.addWayFlags(cmd)
	return cmd
}

func (r *dnsRun) journals() zone.Journals { return zone.JournalsIn(r.stateDir) }

// applier gives what changes DNS and changes it back.
func (r *dnsRun) applier() (*zone.Applier, error) {
	a := &zone.Applier{
		Looker: r.looker, Editor: r.editor, Journals: r.journals(), URL: r.apiURL, Wait: r.wait,
		Now: time.Now, Tell: func(line string) { r.Logf("%s", tui.Printable(line)) },
	}
	if r.spec != nil {
		a.Cloud = r.spec.Cloud
	}
	if r.keyFile == "" {
		return a, nil
	}
	var err error
	a.KeyFile, err = filepath.Abs(r.keyFile)
	return a, err
}
