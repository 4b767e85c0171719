package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/cli"
	"holdfast/internal/dns/dnstest"
	"holdfast/internal/keystone/keystonetest"
)

const dnsSpec = `
cloud: test
vips:
  - name: public
    addresses: [192.0.2.10/24, 2001:db8::10/64]
    hostname: api.example.org
    endpoints: [public]
    interface: eno1
    vrrp: {router_id: 51}
  - name: internal
    addresses: [10.0.0.10/24]
    hostname: int.example.org
    endpoints: [internal, admin]
    interface: eno2
    vrrp: {router_id: 52}
controllers:
  - {name: ctl1, address: 10.0.0.13}
services:
  keystone: {}
  designate:
    hosts: [{name: ns1, address: 127.0.0.1}]
`

// zoneUnderTest is a zone in a real BIND, and what holdfast needs to change it.
type zoneUnderTest struct {
	t      *testing.T
	net    *dnstest.Net
	server netip.AddrPort
	dir    string
}

func newZone(t *testing.T) *zoneUnderTest {
	t.Helper()
	n := dnstest.New(t)
	z := &zoneUnderTest{t: t, net: n, server: n.Addr(), dir: t.TempDir()}
	text := dnstest.Text("example.org", map[string]netip.AddrPort{"ns1.example.org": z.server}, "ns1.example.org") +
		"api 3600 IN CNAME ctl1\nctl1 600 IN A 10.0.0.13\nint 600 IN A 10.0.0.13\n"
	n.Primary(z.server, dnstest.Zone{Name: "example.org", Text: text})
	z.write("holdfast.yaml", dnsSpec)
	return z
}

func (z *zoneUnderTest) write(name, text string) {
	z.t.Helper()
	if err := os.WriteFile(filepath.Join(z.dir, name), []byte(text), 0o600); err != nil {
		z.t.Fatal(err)
	}
}

// run runs "holdfast dns" with the files of z, and gives its exit code and what it said.
func (z *zoneUnderTest) run(in io.Reader, args ...string) (code int, stdout, stderr string) {
	z.t.Helper()
	if args[0] != "rollback" {
		at := z.server.String()
		args = append(args, "-f", filepath.Join(z.dir, "holdfast.yaml"), "--server", at, "--resolver", at)
	}
	if args[0] != "plan" {
		args = append(args, "--state-dir", z.dir)
	}
	var out, err bytes.Buffer
	code = cli.Main(z.t.Context(), append([]string{"dns"}, args...), cli.Stdio{In: in, Out: &out, Err: &err})
	z.noSecret(out.String() + err.String())
	return code, out.String(), err.String()
}

// noSecret fails the test when text has the key's secret.
func (z *zoneUnderTest) noSecret(text string) {
	z.t.Helper()
	if strings.Contains(text, z.net.Secret) {
		z.t.Errorf("the secret is shown: %s", text)
	}
}

// expect runs holdfast, compares the exit code, and looks for texts in all that
// it said. It gives what was on stdout.
func (z *zoneUnderTest) expect(code int, texts []string, args ...string) string {
	z.t.Helper()
	got, stdout, stderr := z.run(strings.NewReader(""), args...)
	if got != code {
		z.t.Errorf("%v: exit code %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	for _, text := range texts {
		if !strings.Contains(stdout+stderr, text) {
			z.t.Errorf("%v: %q is not in:\n%s%s", args, text, stdout, stderr)
		}
	}
	return stdout
}

func TestDNSFromPlanToRollback(t *testing.T) {
	z := newZone(t)
	key := z.net.KeyFile
	z.expect(0, []string{
		"- api.example.org.   3600 IN CNAME ctl1.example.org.", "+ api.example.org.   3600 IN AAAA  2001:db8::10", "10.0.0.13 (controller ctl1)",
		"hostnames: 2 to change", "every name server of its zone is of the cloud that needs this name to start: 127.0.0.1 (host ns1 of designate)",
	}, "plan")
	var plan struct {
		Plan  string `json:"plan"`
		Names []struct {
			Hostname string
			Change   bool
			StaleFor int64 `json:"stale_for_ns"`
		}
	}
	if err := json.Unmarshal([]byte(z.expect(0, nil, "plan", "-o", "json")), &plan); err != nil || len(plan.Names) != 2 || !plan.Names[0].Change || plan.Names[0].StaleFor != 3600e9 {
		t.Fatalf("%+v, %v", plan, err)
	}
	z.expect(2, []string{"no terminal to ask on", "--plan ID --yes"}, "apply", "--key-file", key)
	z.expect(1, []string{"the plan is " + plan.Plan + " now, not 123456789abc"}, "apply", "--key-file", key, "--yes", "--plan", "123456789abc")
	z.expect(0, []string{"no journal in " + z.dir + "/dns"}, "rollback", "--list")
	z.expect(0, []string{"2 hostnames changed, and proved at every name server", "caches may give the old answer until 20", "(in 59m)", "to take it back: holdfast dns rollback --state-dir " + z.dir},
		"apply", "--key-file", key, "--yes", "--plan", plan.Plan)
	z.expect(0, []string{"nothing to change", "hostnames: 2 with nothing to change"}, "plan")
	z.expect(0, []string{"nothing to change"}, "apply", "--key-file", key, "--yes")
	z.expect(0, []string{"rfc2136", "2 of 2", "applied"}, "rollback", "--list")
	z.noSecret(z.journals())
	z.expect(2, []string{"no terminal to ask on"}, "rollback")
	z.expect(0, []string{"rolled back: 2 hostnames put back, 0 as they were"}, "rollback", "--yes")
	z.expect(0, []string{"plan " + plan.Plan + ": hostnames: 2 to change"}, "plan")
	z.expect(0, []string{"nothing to roll back"}, "rollback", "--yes")
	z.expect(0, []string{`"state": "rolled-back"`}, "rollback", "--list", "-o", "json")
}

// journals gives the text of all journals.
func (z *zoneUnderTest) journals() string {
	z.t.Helper()
	files, err := filepath.Glob(filepath.Join(z.dir, "dns", "*.jsonl"))
	if err != nil || len(files) == 0 {
		z.t.Fatalf("no journals: %v", err)
	}
	var all string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			z.t.Fatal(err)
		}
		all += string(data)
	}
	return all
}

func TestDNSApplyAnswersPrograms(t *testing.T) {
	z := newZone(t)
	var answer struct {
		Applied           bool
		Changed, Verified int
		Journal, Error    string
		Stale             string `json:"stale_until"`
		Names, Findings   []map[string]any
	}
	out := z.expect(0, []string{"1/1 int.example.org: A 10.0.0.13 (TTL 600) -> A 10.0.0.10 (TTL 60)"},
		"apply", "--key-file", z.net.KeyFile, "--yes", "-o", "json", "--vip", "internal", "--ttl", "1m")
	if err := json.Unmarshal([]byte(out), &answer); err != nil || !answer.Applied || answer.Verified != 1 || answer.Journal == "" || answer.Stale == "" || len(answer.Names) != 1 || answer.Findings == nil {
		t.Errorf("%+v, %v: %s", answer, err, out)
	}
	var back struct {
		RolledBack bool `json:"rolled_back"`
		Undone     int
		Left       []string
	}
	out = z.expect(0, nil, "rollback", "--yes", "-o", "json", answer.Journal)
	if err := json.Unmarshal([]byte(out), &back); err != nil || !back.RolledBack || back.Undone != 1 || back.Left == nil {
		t.Errorf("%+v, %v: %s", back, err, out)
	}
}

func TestDNSPrint(t *testing.T) {
	z := newZone(t)
	got := z.expect(0, nil, "apply", "--print")
	want := `; api.example.org, zone example.org: in place of all A, AAAA and CNAME records of this name
; remove: api.example.org.   3600 IN CNAME ctl1.example.org.
api.example.org.   3600 IN A     192.0.2.10
api.example.org.   3600 IN AAAA  2001:db8::10
; and raise the serial of the zone's SOA record
; int.example.org, zone example.org: in place of all A, AAAA and CNAME records of this name
; remove: int.example.org.    600 IN A     10.0.0.13
int.example.org.    600 IN A     10.0.0.10
; and raise the serial of the zone's SOA record
`
	if got != want {
		t.Errorf("got:\n%s", got)
	}
	z.expect(0, []string{"hostnames: 2 to change"}, "plan")
	z.expect(2, []string{"--print prints lines of a zone file"}, "apply", "--print", "-o", "json")
}

func TestDNSApplyAsks(t *testing.T) {
	z := newZone(t)
	for _, tt := range []struct {
		typed string
		code  int
		want  string
	}{
		{"n\n", 1, "nothing was changed"},
		{"\n", 1, "nothing was changed"},
		{"y\n", 0, "2 hostnames changed"},
	} {
		keyboard, tty := terminal(t)
		if _, err := keyboard.WriteString(tt.typed); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := z.run(tty, "apply", "--key-file", z.net.KeyFile)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) || !strings.Contains(stderr, "Change 2 hostnames in DNS? [y/N]") {
			t.Errorf("%q: exit code %d, %s%s", tt.typed, code, stdout, stderr)
		}
	}
	for typed, code := range map[string]int{"n\n": 1} {
		keyboard, tty := terminal(t)
		if _, err := keyboard.WriteString(typed); err != nil {
			t.Fatal(err)
		}
		if got, stdout, stderr := z.run(tty, "rollback"); got != code || !strings.Contains(stderr, "Put this back? [y/N]") || !strings.Contains(stderr, "nothing was changed") {
			t.Errorf("exit code %d, %s%s", got, stdout, stderr)
		}
	}
}

func TestDNSSaysWhatIsWrong(t *testing.T) {
	z := newZone(t)
	key := z.net.KeyFile
	z.expect(2, []string{"how is the zone changed? --key-file FILE", "--designate", "--print"}, "apply", "--yes")
	z.expect(2, []string{"are two ways to change a zone"}, "apply", "--yes", "--key-file", key, "--designate")
	z.expect(2, []string{`there is no VIP "api" in the spec; it has public, internal`}, "plan", "--vip", "api")
	z.expect(2, []string{`--server "ns1.example.org": write an address`}, "plan", "--server", "ns1.example.org")
	z.expect(2, []string{"--server " + z.server.String() + " is given twice"}, "plan", "--server", z.server.String())
	z.expect(2, []string{`--ttl "1.5s": write whole seconds`}, "plan", "--ttl", "1.5s")
	z.expect(2, []string{`--ttl "2147483648"`}, "plan", "--ttl", "2147483648")
	z.expect(2, []string{"say to what, as in --ttl 60 --ttl-only"}, "plan", "--ttl-only")
	z.expect(2, []string{"plan takes no argument"}, "plan", "now")
	z.expect(2, []string{"rollback takes one journal, got 2"}, "rollback", "a", "b")
	z.expect(2, []string{"there is no journal " + z.dir + "/dns/x.jsonl"}, "rollback", "--yes", "x.jsonl")
	z.expect(2, []string{"there is no key file " + z.dir + "/none"}, "apply", "--yes", "--key-file", z.dir+"/none")
	z.write("bad.key", `key k { algorithm hmac-sha256; secret "`+z.net.Secret+`!"; };`)
	z.expect(2, []string{"bad.key:1: the secret of the key k is not base64"}, "apply", "--yes", "--key-file", z.dir+"/bad.key")
	z.write("other.key", `key k { algorithm hmac-sha256; secret "`+z.net.Secret+`"; };`)
	if err := os.Chmod(z.dir+"/other.key", 0o644); err != nil {
		t.Fatal(err)
	}
	z.expect(1, []string{"everybody on this machine can read", "it does not know the key k (hmac-sha256), by this name and algorithm (BADKEY)"}, "apply", "--yes", "--key-file", z.dir+"/other.key")
	z.write("no.key", "options { };\n")
	z.expect(2, []string{"no TSIG key in it"}, "apply", "--yes", "--key-file", z.dir+"/no.key")
	z.write("holdfast.yaml", strings.ReplaceAll(dnsSpec, "int.example.org", "api.example.org"))
	z.expect(1, []string{"the VIPs public and internal have this one hostname", "there is no plan for api.example.org"}, "plan")
	z.expect(1, []string{"there is no plan for api.example.org"}, "apply", "--yes", "--key-file", key)
	z.expect(1, []string{"; api.example.org: no plan"}, "apply", "--print")
	z.expect(0, []string{"10.0.0.10"}, "plan", "--vip", "internal")
	z.write("holdfast.yaml", strings.ReplaceAll(dnsSpec, "example.org", "example.net"))
	z.expect(1, []string{"it is in no zone that could be found", "answers REFUSED when asked for the zone of api.example.net; see that the server that --server names has the zone"}, "plan")
	z.write("holdfast.yaml", "cloud: 3\n")
	z.expect(2, []string{"holdfast.yaml:"}, "plan")
}

// TestDNSDesignate authenticates to Keystone, finds Designate in the catalog or
// where it is told, and takes the change back there with no more than the journal.
func TestDNSDesignate(t *testing.T) {
	z := newZone(t)
	var sets []map[string]any
	designate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body any = map[string]any{}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("X-Auth-Token") == "":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/v2/zones"):
			list := []any{}
			if r.URL.Query().Get("name") == "example.org." {
				list = append(list, map[string]any{"id": "z", "name": "example.org.", "ttl": 60, "type": "PRIMARY"})
			}
			body = map[string]any{"zones": list}
		case r.Method == http.MethodGet:
			body = map[string]any{"recordsets": append([]map[string]any{}, sets...)}
		case r.Method == http.MethodPost:
			set := map[string]any{}
			if err := json.NewDecoder(r.Body).Decode(&set); err != nil {
				t.Error(err)
			}
			set["id"], set["zone_id"] = "s", "z"
			sets, body = append(sets, set), set
			w.WriteHeader(http.StatusCreated)
		case r.Method == http.MethodDelete:
			sets = nil
			w.WriteHeader(http.StatusAccepted)
		}
		if err := json.NewEncoder(w).Encode(body); err != nil {
			t.Error(err)
		}
	}))
	defer designate.Close()
	keystone := keystonetest.New(keystonetest.Catalog{
		Regions: []string{"RegionOne"}, Services: []keystonetest.Service{{ID: "d", Name: "designate", Type: "dns", Enabled: true}},
		Endpoints: []keystonetest.Endpoint{{ID: "e", Interface: "public", Region: "RegionOne", ServiceID: "d", URL: designate.URL, Enabled: true}},
	}, 0)
	server := httptest.NewServer(keystone)
	defer server.Close()
	for name, value := range map[string]string{
		"OS_CLOUD": "", "OS_CLIENT_CONFIG_FILE": "", "OS_AUTH_URL": server.URL + "/v3", "OS_USERNAME": "admin", "OS_PASSWORD": keystonetest.Password, "OS_PROJECT_NAME": "admin",
	} {
		t.Setenv(name, value)
	}
	z.expect(0, []string{"+ int.example.org.    300 IN A     10.0.0.10", "where the zone is edited it has nothing"}, "plan", "--designate", "--vip", "internal")
	// The name servers here are not Designate's, so the change is made and not proved.
	z.expect(1, []string{"the change was made, but after 100ms, " + z.server.String() + " still has 10.0.0.13", "stopped; to take back what was done: holdfast dns rollback --state-dir " + z.dir},
		"apply", "--designate", "--vip", "internal", "--yes", "--wait", "100ms")
	if len(sets) != 1 {
		t.Fatalf("record sets: %v", sets)
	}
	keystone.Edit(func(k *keystonetest.Catalog) { k.Endpoints = nil }) // the journal has its URL
	z.expect(1, []string{"rolled back: 1 hostname put back", "not every name server has it yet"}, "rollback", "--yes", "--wait", "100ms")
	if len(sets) != 0 {
		t.Errorf("record sets: %v", sets)
	}
	z.expect(1, []string{"has no endpoint of type dns in region RegionOne; --designate-url URL says where it is"}, "plan", "--designate")
	z.expect(0, []string{"hostnames: 1 to change"}, "plan", "--designate", "--designate-url", designate.URL+"/v2", "--vip", "internal")
	if text := z.journals(); strings.Contains(text, keystonetest.Password) || !strings.Contains(text, fmt.Sprintf("%q", designate.URL+"/v2/")) {
		t.Errorf("journal: %s", text)
	}
}
