package changecmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/catalog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/osauth"
	"holdfast/internal/cli/tui"
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/admin"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Endpoints returns "holdfast endpoints" with what is below it.
func Endpoints(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endpoints",
		Short: "Point the Keystone catalog at the VIP",
		Long: `endpoints looks at the Keystone catalog, plans what to change so that every endpoint
of the spec's services names the VIP, makes the changes, and takes them back.

It authenticates as the openstack client does: --os-cloud or OS_CLOUD names a cloud
of clouds.yaml; without it the OS_* variables count. It asks the Keystone of
auth_url, never the one that the catalog names, so it works when that is broken.`,
		Args: app.NoSuchSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(endpointsListCommand(a), endpointsPlanCommand(a), endpointsApplyCommand(a), endpointsRollbackCommand(a))
	return cmd
}

// endpointsRun is one call of a command that looks at the catalog.
type endpointsRun struct {
	*app.App
	os       osauth.Flags
	opt      keystone.PlanOptions
	stateDir string

	spec    *spec.Spec
	known   catalog.Catalog
	auth    admin.Auth
	client  *admin.Client
	prober  *admin.Prober
	catalog keystone.State
}

// open reads the spec and connects to Keystone.
func (r *endpointsRun) open(ctx context.Context) error {
	var err error
	if r.spec, err = r.LoadSpec(); err != nil {
		return err
	}
	if r.known, err = catalog.Load(); err != nil {
		return err
	}
	if r.auth, err = r.os.Auth(); err != nil {
		return err
	}
	if r.prober, err = admin.NewProber(r.auth); err != nil {
		return err
	}
	if r.client, err = admin.Connect(ctx, r.auth); err != nil {
		return err
	}
	r.catalog, err = r.client.State(ctx)
	return err
}

func (r *endpointsRun) plan() keystone.Plan {
	return keystone.MakePlan(r.catalog, r.spec, r.known, r.opt)
}

func (r *endpointsRun) addPlanFlags(cmd *cobra.Command) {
	r.os.Add(cmd)
	cmd.Flags().BoolVar(&r.opt.Create, "create", false, "make the endpoints that the spec's services lack")
	cmd.Flags().BoolVar(&r.opt.Prune, "prune", false, "disable all but one of several definitions of the same endpoint")
}

func (r *endpointsRun) addStateDir(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.stateDir, "state-dir", app.DefaultStateDir, "directory of what must survive a restart; the journals are in endpoints/ of it")
}

func (r *endpointsRun) applier() *admin.Applier {
	return &admin.Applier{
		Client: r.client, Prober: r.prober, Journals: r.journals(), Spec: r.spec, Catalog: r.known,
		Tell: func(line string) { r.Logf("%s", tui.Printable(line)) },
	}
}

func (r *endpointsRun) journals() admin.Journals { return admin.JournalsIn(r.stateDir) }

func endpointsListCommand(a *app.App) *cobra.Command {
	r := &endpointsRun{App: a}
	var noProbe bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the catalog beside where each endpoint should point",
		Long: `list shows every endpoint of the spec's region as Keystone has it, where it should
point, and what is wrong: several definitions of one endpoint, endpoints that name a
single controller, disabled ones, services without an endpoint, URLs that do not
answer, http where the VIP has TLS, URLs under the wrong type. It changes nothing.`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.list(cmd.Context(), !noProbe) },
	}
	r.os.Add(cmd)
	cmd.Flags().BoolVar(&noProbe, "no-probe", false, "do not ask the URLs whether they answer")
	return cmd
}

// endpointsListing is the answer of "holdfast endpoints list -o json".
type endpointsListing struct {
	Region    string           `json:"region"`
	AuthURL   string           `json:"auth_url"`
	Endpoints []listedEndpoint `json:"endpoints"`
	Outside   int              `json:"outside"`
	Findings  []status.Finding `json:"findings"`
}

type listedEndpoint struct {
	keystone.Row
	Unanswered string `json:"unanswered,omitempty"`
}

func (r *endpointsRun) list(ctx context.Context, probe bool) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	if probe {
		var asked []keystone.Record
		for _, row := range r.plan().Rows {
			if row.Service != "" {
				asked = append(asked, row.Record)
			}
		}
		r.opt.Unanswered = r.prober.Unanswered(ctx, asked)
	}
	plan := r.plan()
	if r.AsJSON() {
		out := endpointsListing{plan.Region, r.client.URL(), []listedEndpoint{}, plan.Outside, plan.Findings}
		for _, row := range plan.Rows {
			out.Endpoints = append(out.Endpoints, listedEndpoint{row, r.opt.Unanswered[row.ID]})
		}
		return r.PrintJSON(out)
	}
	return r.Print(listText(plan, r.client.URL()) + tui.ListFindings(plan.Findings))
}

// listText shows the endpoints of the region, one in two lines: what is, and
// what should be.
func listText(plan keystone.Plan, authURL string) string {
	t := tui.Table{Head: tui.Words("SERVICE", "TYPE", "INTERFACE", "STATE", "URL")}
	for _, row := range plan.Rows {
		service := row.Service
		if service == "" {
			service = "(" + row.ServiceName + ")"
		}
		state := strings.ReplaceAll(string(row.Verdict), "-", " ")
		t.Add(tui.Plain(service), tui.Plain(row.ServiceType), tui.Plain(row.Interface), tui.Plain(state), tui.Plain(row.URL))
		if row.Verdict == keystone.Moves && row.Target != row.URL {
			t.Add(tui.Plain(""), tui.Plain(""), tui.Plain(""), tui.Plain("  ->"), tui.Plain(row.Target))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "region %s, at %s\n\n", plan.Region, authURL)
	for _, line := range t.Lines(false) {
		fmt.Fprintln(&b, line)
	}
	if len(plan.Rows) == 0 {
		fmt.Fprintln(&b, "no endpoint")
	}
	if others := plan.Outside - outsideShown(plan); others > 0 {
		fmt.Fprintf(&b, "and %s of other regions\n", status.Count(others, "endpoint"))
	}
	return b.String()
}

// outsideShown counts the rows that belong to none of the spec's services.
func outsideShown(plan keystone.Plan) int {
	n := 0
	for _, row := range plan.Rows {
		if row.Service == "" {
			n++
		}
	}
	return n
}

func endpointsPlanCommand(a *app.App) *cobra.Command {
	r := &endpointsRun{App: a}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what would change in the catalog",
		Long: `plan shows what "holdfast endpoints apply" would do, as a diff. Scheme, host and port
become those of the VIP; paths and templates stay as they are. Nothing outside of
the spec's region and services is ever touched, and nothing is ever deleted:
--prune disables what is too much, so that a rollback can bring it back with its id.

The plan's id stands for the changes and for the catalog that they were planned on;
"holdfast endpoints apply --plan ID" applies this plan or nothing.`,
		Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.open(cmd.Context()); err != nil {
				return err
			}
			plan := r.plan()
			return cmp.Or(r.Answer(plan, planText(plan)), planFault(plan))
		},
	}
	r.addPlanFlags(cmd)
	return cmd
}

// planText shows a plan, and what of its findings it does not put right.
func planText(plan keystone.Plan) string {
	solved := []string{status.CodeSingleController, status.CodeNotTheVIP, status.CodeNoTLS}
	left := slices.DeleteFunc(slices.Clone(plan.Findings), func(f status.Finding) bool { return slices.Contains(solved, f.Code) })
	return tui.PrintableLines(plan.Diff()) + tui.ListFindings(left)
}

// planFault is the error of a plan that cannot be what was meant.
func planFault(plan keystone.Plan) error {
	for _, f := range plan.Findings {
		if f.Severity == status.Error {
			return fmt.Errorf("%s; %s", f.Text, f.Remedy)
		}
	}
	return nil
}
