package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"holdfast/internal/cli"
	"holdfast/internal/keystone/keystonetest"
)

// cloudUnderTest is a Keystone and a Glance on 127.0.0.1, which is the VIP,
// and on 127.0.0.2, the controller that the catalog names.
type cloudUnderTest struct {
	t        *testing.T
	keystone *keystonetest.Keystone
	ports    [2]int
	dir      string
	// down makes Glance behind the VIP answer 503 after so many requests more;
	// below 0 it does not.
	down atomic.Int64
}

// listenTwice listens on one port of both addresses.
func listenTwice(t *testing.T) (vip, ctl net.Listener, port int) {
	t.Helper()
	var lc net.ListenConfig
	for range 20 {
		vip, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := vip.Addr().(*net.TCPAddr).Port
		if ctl, err = lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.2:%d", port)); err == nil {
			return vip, ctl, port
		}
		if err := vip.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no port that is free on both addresses")
	return nil, nil, 0
}

func newCloud(t *testing.T) *cloudUnderTest {
	t.Helper()
	c := &cloudUnderTest{t: t, dir: t.TempDir()}
	c.down.Store(-1)
	c.keystone = keystonetest.New(keystonetest.Catalog{}, 0)
	glance := http.HandlerFunc(keystonetest.ImageAPI)
	failing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.down.Load() == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		c.down.Add(-1)
		glance(w, r)
	})
	for i, behind := range [2][2]http.Handler{{c.keystone, c.keystone}, {failing, glance}} {
		vip, ctl, port := listenTwice(t)
		c.ports[i] = port
		for j, l := range []net.Listener{vip, ctl} {
			server := &httptest.Server{Listener: l, Config: &http.Server{Handler: behind[j]}}
			server.Start()
			t.Cleanup(server.Close)
		}
	}
	c.keystone.Edit(func(k *keystonetest.Catalog) {
		*k = keystonetest.Catalog{
			Regions:  []string{"RegionOne"},
			Services: []keystonetest.Service{{ID: "k", Name: "keystone", Type: "identity", Enabled: true}, {ID: "g", Name: "glance", Type: "image", Enabled: true}},
			Endpoints: []keystonetest.Endpoint{
				{ID: "e1", Interface: "public", Region: "RegionOne", ServiceID: "k", URL: fmt.Sprintf("http://127.0.0.2:%d/v3", c.ports[0]), Enabled: true},
				{ID: "e2", Interface: "public", Region: "RegionOne", ServiceID: "g", URL: fmt.Sprintf("http://127.0.0.2:%d", c.ports[1]), Enabled: true},
			},
		}
	})
	c.write("holdfast.yaml", fmt.Sprintf(`
cloud: test
vips:
  - name: api
    addresses: [127.0.0.1/8, "::1/128"]
    hostname: localhost
    interface: lo
    endpoints: [public]
    vrrp: {router_id: 51}
controllers:
  - {name: ctl1, address: 127.0.0.2}
services:
  keystone: {port: %d}
  glance: {port: %d}
`, c.ports[0], c.ports[1]))
	c.write("clouds.yaml", fmt.Sprintf(`
clouds:
  test:
    auth: {auth_url: "http://127.0.0.2:%d/v3", username: admin, password: %s, project_name: admin}
`, c.ports[0], keystonetest.Password))
	for _, name := range []string{"OS_CLOUD", "OS_AUTH_URL", "OS_CLIENT_SECURE_FILE", "OS_CACERT"} {
		t.Setenv(name, "")
	}
	t.Setenv("OS_CLIENT_CONFIG_FILE", filepath.Join(c.dir, "clouds.yaml"))
	return c
}

func (c *cloudUnderTest) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// run runs holdfast with the files of c, and gives its exit code and what it said.
func (c *cloudUnderTest) run(args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	return c.runWith(strings.NewReader(""), args...)
}

func (c *cloudUnderTest) runWith(in interface{ Read([]byte) (int, error) }, args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	var out, err bytes.Buffer
	if len(args) > 1 && args[0] == "endpoints" {
		if args[1] != "rollback" {
			args = append(args, "-f", filepath.Join(c.dir, "holdfast.yaml"))
		}
		if args[1] == "apply" || args[1] == "rollback" {
			args = append(args, "--state-dir", c.dir)
		}
	}
	code = cli.Main(c.t.Context(), args, cli.Stdio{In: in, Out: &out, Err: &err})
	if strings.Contains(out.String()+err.String(), keystonetest.Password) {
		c.t.Errorf("the password is shown: %s%s", &out, &err)
	}
	return code, out.String(), err.String()
}

// expect runs holdfast and compares the exit code, and looks for texts in all
// that it said.
func (c *cloudUnderTest) expect(code int, texts []string, args ...string) string {
	c.t.Helper()
	got, stdout, stderr := c.run(args...)
	if got != code {
		c.t.Errorf("%v: exit code %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	for _, text := range texts {
		if !strings.Contains(stdout+stderr, text) {
			c.t.Errorf("%v: %q is not in:\n%s%s", args, text, stdout, stderr)
		}
	}
	return stdout
}

func TestEndpointsFromPlanToRollback(t *testing.T) {
	c := newCloud(t)
	first := c.keystone.Catalog()
	c.expect(0, []string{"region RegionOne", "move", "->", "names the controller ctl1", fmt.Sprintf("http://localhost:%d/v3", c.ports[0])}, "endpoints", "list")
	c.expect(0, []string{"2 to update", "- http://127.0.0.2", "+ http://localhost"}, "endpoints", "plan")
	var plan struct {
		Plan    string           `json:"plan"`
		Changes []map[string]any `json:"changes"`
	}
	if err := json.Unmarshal([]byte(c.expect(0, nil, "endpoints", "plan", "-o", "json")), &plan); err != nil || len(plan.Changes) != 2 {
		t.Fatalf("%+v, %v", plan, err)
	}
	c.expect(2, []string{"no terminal to ask on", "--plan ID --yes"}, "endpoints", "apply")
	c.expect(1, []string{"the plan is " + plan.Plan + " now, not 123456789abc"}, "endpoints", "apply", "--yes", "--plan", "123456789abc")
	if diff := cmp.Diff(first, c.keystone.Catalog()); diff != "" {
		t.Fatalf("changed before it was to be: %s", diff)
	}
	c.expect(0, []string{"2 changes made and verified", "holdfast endpoints rollback --os-cloud test --state-dir " + c.dir, "ok      keystone"},
		"endpoints", "apply", "--yes", "--plan", plan.Plan, "--os-cloud", "test")
	c.expect(0, []string{"nothing to change in region RegionOne"}, "endpoints", "plan")
	c.expect(0, []string{"nothing to change"}, "endpoints", "apply", "--yes")
	c.expect(0, []string{"2 of 2", "applied"}, "endpoints", "rollback", "--list")
	c.expect(2, []string{"no terminal to ask on"}, "endpoints", "rollback")
	c.expect(0, []string{"2 changes taken back"}, "endpoints", "rollback", "--yes")
	if diff := cmp.Diff(first, c.keystone.Catalog()); diff != "" {
		t.Errorf("-first +after rollback: %s", diff)
	}
	c.expect(0, []string{"nothing to roll back"}, "endpoints", "rollback", "--yes")
	c.expect(0, []string{"rolled-back"}, "endpoints", "rollback", "--list")
	c.expect(0, []string{`"state": "rolled-back"`}, "endpoints", "rollback", "--list", "-o", "json")
}

func TestEndpointsApplyFails(t *testing.T) {
	c := newCloud(t)
	first := c.keystone.Catalog()
	c.down.Store(0)
	c.expect(1, []string{"the health check saw 503, want 200", "so nothing was changed"}, "endpoints", "apply", "--yes")
	c.expect(0, []string{"no journal in"}, "endpoints", "rollback", "--list")

	c.down.Store(3) // the preflight's two and the one before the change
	c.expect(1, []string{"the change was made, but", "stopped after 0 changes", "holdfast endpoints rollback"}, "endpoints", "apply", "--yes")
	c.expect(0, []string{"stopped"}, "endpoints", "rollback", "--list")
	c.expect(0, []string{"1 change taken back"}, "endpoints", "rollback", "--yes")

	c.down.Store(3)
	var answer struct {
		Applied    bool
		Error      string
		RolledBack struct {
			Undone int
		} `json:"rolled_back"`
	}
	stdout := c.expect(1, []string{"the catalog is as it was"}, "endpoints", "apply", "--yes", "--auto-rollback", "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer.Applied || answer.RolledBack.Undone != 1 || !strings.Contains(answer.Error, "503") {
		t.Errorf("%+v, %v: %s", answer, err, stdout)
	}
	if diff := cmp.Diff(first, c.keystone.Catalog()); diff != "" {
		t.Errorf("-first +after rollback: %s", diff)
	}
}

func TestEndpointsSayWhatIsWrong(t *testing.T) {
	c := newCloud(t)
	c.expect(2, []string{`no cloud "prod"`, "it has test"}, "endpoints", "list", "--os-cloud", "prod")
	c.expect(1, []string{"connection refused", "cloud test of"}, "endpoints", "plan", "--os-auth-url", "http://127.0.0.1:1")
	c.expect(2, []string{"unknown command"}, "endpoints", "remove")
	c.expect(2, []string{"takes no argument"}, "endpoints", "plan", "now")
	c.keystone.Edit(func(k *keystonetest.Catalog) { k.Regions = []string{"regionone"} })
	c.expect(1, []string{`did you mean "regionone"?`}, "endpoints", "plan")
	c.expect(1, []string{`did you mean "regionone"?`}, "endpoints", "apply", "--yes")
	c.keystone.Passwords = nil
	c.expect(1, []string{"refuses user admin of domain default, for project admin (401)"}, "endpoints", "list")
	t.Setenv("OS_CLIENT_CONFIG_FILE", "")
	t.Setenv("HOME", c.dir)
	t.Setenv("XDG_CONFIG_HOME", "")
	c.expect(2, []string{"no credentials for Keystone", c.dir + "/.config/openstack", "source an openrc file"}, "endpoints", "list")
	c.write("holdfast.yaml", "cloud: 3\n")
	c.expect(2, []string{"holdfast.yaml:"}, "endpoints", "list")
}

func TestEndpointsListShowsWhatDoesNotAnswer(t *testing.T) {
	c := newCloud(t)
	c.keystone.Edit(func(k *keystonetest.Catalog) { k.Endpoints[1].URL = "http://127.0.0.2:1" })
	c.expect(0, []string{"http://127.0.0.2:1 does not answer: connection refused"}, "endpoints", "list")
	if out := c.expect(0, nil, "endpoints", "list", "--no-probe"); strings.Contains(out, "does not answer") {
		t.Errorf("asked all the same: %s", out)
	}
	var listing struct {
		Endpoints []struct {
			ID, URL, Verdict, Unanswered string
			Target                       string
		}
	}
	if err := json.Unmarshal([]byte(c.expect(0, nil, "endpoints", "list", "-o", "json")), &listing); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(listing.Endpoints, func(e struct {
		ID, URL, Verdict, Unanswered string
		Target                       string
	},
	) bool {
		return e.ID == "e2"
	})
	if i < 0 || !strings.Contains(listing.Endpoints[i].Unanswered, "refused") || listing.Endpoints[i].Verdict != "move" {
		t.Errorf("%+v", listing)
	}
}

// terminal gives both ends of a pseudo terminal.
func terminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminal here: %v", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return keyboard, tty
}

func TestEndpointsApplyAsks(t *testing.T) {
	c := newCloud(t)
	first := c.keystone.Catalog()
	for _, tt := range []struct {
		typed string
		code  int
		want  string
	}{
		{"n\n", 1, "nothing was changed"},
		{"\n", 1, "nothing was changed"},
		{"\x04", 1, "no answer"},
		{"yes\n", 0, "2 changes made and verified"},
	} {
		keyboard, tty := terminal(t)
		if _, err := keyboard.WriteString(tt.typed); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := c.runWith(tty, "endpoints", "apply")
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) || !strings.Contains(stderr, "Make 2 changes in the catalog? [y/N]") {
			t.Errorf("%q: exit code %d, %s%s", tt.typed, code, stdout, stderr)
		}
		if same := cmp.Equal(first, c.keystone.Catalog()); same != (code == 1) {
			t.Errorf("%q: the catalog is the same: %v", tt.typed, same)
		}
	}
	keyboard, tty := terminal(t)
	if _, err := keyboard.WriteString("y\n"); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := c.runWith(tty, "endpoints", "rollback"); code != 0 || !strings.Contains(stderr, "Put this back") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	if diff := cmp.Diff(first, c.keystone.Catalog()); diff != "" {
		t.Errorf("-first +after rollback: %s", diff)
	}
	// A failure with somebody there to ask: the way back is offered.
	c.down.Store(3)
	if _, err := keyboard.WriteString("y\ny\n"); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := c.runWith(tty, "endpoints", "apply"); code != 1 || !strings.Contains(stderr, "Take back what was done? [y/N]") || !strings.Contains(stderr, "the catalog is as it was") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}

func TestImportFromKeystone(t *testing.T) {
	c := newCloud(t)
	c.expect(0, []string{"region: RegionOne", "glance:", "from Keystone at", fmt.Sprintf("http://127.0.0.2:%d", c.ports[1])}, "import", "--os-cloud", "test")
	c.expect(2, []string{"leave one of them out"}, "import", "--os-cloud", "test", "list.txt")
	t.Setenv("OS_AUTH_URL", fmt.Sprintf("http://127.0.0.2:%d", c.ports[0]))
	t.Setenv("OS_USERNAME", "admin")
	t.Setenv("OS_PASSWORD", keystonetest.Password)
	c.expect(0, []string{"region: RegionOne"}, "import", "--os-cloud", "envvars")
	_, tty := terminal(t)
	if code, stdout, stderr := c.runWith(tty, "import"); code != 0 || !strings.Contains(stdout, "region: RegionOne") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}
