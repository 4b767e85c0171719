// Package holdfast_test holds the architecture to its table: which package may
// import which, what a pure one must not touch, and that each says what it is.
package holdfast_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "holdfast/"

// mayImport lists, for each package below internal, the ones of ours that it
// may import. Imports point down only: a package stands below all it imports
// from. "*" is anything.
var mayImport = map[string][]string{
	"internal/auth":         {},
	"internal/auth/keyfile": {"internal/auth", "internal/file"},
	"internal/status":       {},
	"internal/catalog":      {},
	"internal/health":       {"internal/status"},
	"internal/health/probe": {"internal/health"},
	"internal/health/watch": {
		"internal/health", "internal/health/probe", "internal/haproxy", "internal/haproxy/output", "internal/haproxy/process", "internal/sockdiag", "internal/spec", "internal/status", "internal/tick",
	},
	"internal/reach":           {"internal/status"},
	"internal/reach/handshake": {},
	"internal/reach/paths":     {"internal/tick", "internal/reach", "internal/reach/handshake", "internal/spec", "internal/status"},
	"internal/bgp":             {"internal/spec", "internal/status"},
	"internal/bgp/speaker":     {"internal/bgp", "internal/spec"},
	"internal/bgp/announcer": {
		"internal/bgp", "internal/bgp/speaker", "internal/file", "internal/haproxy/process", "internal/rtnl", "internal/sockdiag", "internal/spec", "internal/status", "internal/systemd", "internal/vip",
	},
	"internal/cloud":           {"internal/reach", "internal/status"},
	"internal/incident":        {"internal/status"},
	"internal/clocks":          {},
	"internal/notify":          {"internal/incident", "internal/status"},
	"internal/traffic":         {"internal/status"},
	"internal/traffic/history": {"internal/traffic"},
	"internal/traffic/listen":  {"internal/haproxy", "internal/spec", "internal/status", "internal/tick", "internal/traffic"},
	"internal/notify/tell":     {"internal/file", "internal/incident", "internal/notify", "internal/peer", "internal/spec", "internal/status", "internal/tick"},
	"internal/vrrp":            {},
	"internal/vrrp/sim":        {"internal/auth", "internal/conflict", "internal/ether", "internal/vrrp"},
	"internal/conflict":        {"internal/ether"},
	"internal/conflict/watch":  {"internal/conflict", "internal/ether", "internal/rtnl", "internal/status", "internal/tick", "internal/vrrp", "internal/vrrp/link"},
	"internal/certificate":     {"internal/status"},
	"internal/certificate/keep": {
		"internal/certificate", "internal/file", "internal/haproxy", "internal/haproxy/process", "internal/spec", "internal/status", "internal/tick",
	},
	"internal/doctor":           {"internal/spec", "internal/status"},
	"internal/doctor/look":      {"internal/certificate", "internal/conflict/watch", "internal/dns/zone", "internal/doctor", "internal/file", "internal/haproxy/ports", "internal/spec", "internal/status", "internal/web"},
	"internal/spec":             {"internal/status", "internal/catalog"},
	"internal/haproxy":          {"internal/haproxy/output", "internal/spec", "internal/catalog", "internal/status", "internal/health"},
	"internal/haproxy/output":   {},
	"internal/keystone":         {"internal/spec", "internal/catalog", "internal/status"},
	"internal/keystone/admin":   {"internal/keystone", "internal/changelog", "internal/spec", "internal/catalog", "internal/status"},
	"internal/importer":         {"internal/keystone", "internal/spec", "internal/catalog", "internal/status"},
	"internal/dns":              {"internal/spec", "internal/status"},
	"internal/dns/wire":         {"internal/dns"},
	"internal/dns/zone":         {"internal/dns", "internal/dns/wire", "internal/changelog", "internal/status"},
	"internal/vrrp/link":        {"internal/auth", "internal/vrrp", "internal/rtnl", "internal/status", "internal/vrrp/link/nic", "internal/vrrp/link/thread"},
	"internal/vrrp/link/thread": {},
	"internal/vrrp/link/nic":    {},
	"internal/haproxy/ports":    {},
	"internal/haproxy/runtime":  {"internal/haproxy", "internal/haproxy/output"},
	"internal/haproxy/ours":     {"internal/haproxy"},
	"internal/haproxy/process": {
		"internal/haproxy", "internal/haproxy/output", "internal/haproxy/ours", "internal/haproxy/ports", "internal/haproxy/runtime", "internal/pidfd", "internal/file", "internal/status", "internal/tick",
	},
	"internal/haproxy/client": {"internal/haproxy", "internal/haproxy/process", "internal/spec"},
	"internal/rollout": {
		"internal/spec", "internal/status", "internal/haproxy", "internal/haproxy/output", "internal/haproxy/process", "internal/haproxy/client", "internal/file", "internal/tick",
	},
	"internal/vip":           {"internal/ether", "internal/rtnl", "internal/sockdiag"},
	"internal/vip/move":      {"internal/ether", "internal/rtnl", "internal/sockdiag", "internal/vip", "internal/vip/conntrack"},
	"internal/vip/conntrack": {"internal/rtnl"},
	"internal/peer":          {"internal/auth", "internal/connlimit", "internal/spec"},
	"internal/web":           {"internal/auth", "internal/cloud", "internal/incident", "internal/status", "internal/connlimit", "internal/traffic", "internal/web/page"},
	"internal/web/page":      {"internal/cloud", "internal/incident", "internal/status", "internal/traffic"},
	"internal/vips":          {"internal/auth", "internal/conflict/watch", "internal/haproxy/process", "internal/spec", "internal/status", "internal/systemd", "internal/vip", "internal/vrrp", "internal/vrrp/link"},
	"internal/hearing":       {"internal/tick", "internal/peer", "internal/spec", "internal/status", "internal/vrrp/link"},
	"internal/splitbrain":    {"internal/peer", "internal/spec", "internal/tick", "internal/vrrp", "internal/vrrp/link"},
	"internal/handover": {
		"internal/spec", "internal/status", "internal/cloud", "internal/haproxy/output", "internal/reach", "internal/vip", "internal/vip/conntrack", "internal/vip/move", "internal/vrrp", "internal/vrrp/link",
		"internal/web", "internal/peer", "internal/hearing", "internal/file", "internal/tick",
	},
	"internal/drain": {"internal/tick", "internal/spec", "internal/status", "internal/cloud", "internal/catalog", "internal/haproxy", "internal/web", "internal/peer", "internal/file"},
	"internal/agent": {
		"internal/auth", "internal/auth/keyfile", "internal/bgp/announcer", "internal/clocks", "internal/incident", "internal/notify/tell",
		"internal/spec", "internal/status", "internal/catalog", "internal/cloud", "internal/haproxy", "internal/haproxy/process", "internal/haproxy/client",
		"internal/rollout", "internal/vrrp", "internal/vrrp/link", "internal/vip", "internal/vip/conntrack", "internal/web", "internal/certificate/keep",
		"internal/health/watch", "internal/reach", "internal/reach/paths", "internal/hearing", "internal/journal", "internal/peer", "internal/drain", "internal/handover",
		"internal/file", "internal/onlyone", "internal/splitbrain", "internal/systemd", "internal/traffic/history", "internal/traffic/listen", "internal/vips", "internal/tick",
	},
	"internal/pidfd":     {},
	"internal/asynclog":  {},
	"internal/journal":   {"internal/asynclog", "internal/status"},
	"internal/ether":     {},
	"internal/rtnl":      {"internal/ether"},
	"internal/sockdiag":  {"internal/rtnl"},
	"internal/changelog": {"internal/file"},
	"internal/connlimit": {},
	"internal/file":      {},
	"internal/onlyone":   {"internal/haproxy/ours"},
	"internal/systemd":   {"internal/tick"},
	"internal/tick":      {},
	// The lab runs the shipped binary: it must not reach into the agent.
	"internal/lab":            {"internal/spec", "internal/status", "internal/lab/busy", "internal/lab/load", "internal/lab/openstack"},
	"internal/lab/busy":       {},
	"internal/lab/openstack":  {"internal/spec"},
	"internal/lab/load":       {"internal/spec"},
	"internal/lab/standin":    {"internal/spec", "internal/lab/busy"},
	"internal/lab/throughput": {"internal/spec", "internal/lab", "internal/lab/load", "internal/lab/peer"},
	"internal/lab/demo":       {"internal/spec", "internal/lab", "internal/lab/bench", "internal/lab/load"},
	"internal/lab/jitter":     {"internal/lab", "internal/lab/bench"},
	"internal/lab/atrest":     {"internal/lab", "internal/lab/bench", "internal/lab/load"},
	"internal/lab/tokens":     {"internal/spec", "internal/status", "internal/haproxy/output", "internal/lab", "internal/lab/bench", "internal/lab/load", "internal/lab/openstack", "internal/lab/peer"},
	"internal/lab/peer":       {"internal/spec", "internal/haproxy/output"},
	"internal/lab/bench":      {"internal/spec", "internal/haproxy/output", "internal/status", "internal/cloud", "internal/lab", "internal/lab/busy", "internal/lab/load", "internal/lab/peer"},
	"internal/cli":            {"*"},
	"internal/cli/app":        {"internal/cli/tui", "internal/web", "internal/spec", "internal/catalog"},
	"internal/cli/speccmd": {
		"internal/auth", "internal/auth/keyfile", "internal/catalog", "internal/cli/app", "internal/cli/osauth", "internal/cli/tui", "internal/doctor", "internal/doctor/look",
		"internal/file", "internal/haproxy", "internal/importer", "internal/keystone", "internal/spec", "internal/status", "internal/web",
	},
	"internal/cli/labcmd": {
		"internal/cli/app", "internal/cli/tui", "internal/haproxy", "internal/spec", "internal/status", "internal/lab", "internal/lab/bench",
		"internal/lab/busy", "internal/lab/demo", "internal/lab/load", "internal/lab/atrest", "internal/lab/jitter", "internal/lab/peer", "internal/lab/standin", "internal/lab/throughput", "internal/lab/tokens",
	},
	"internal/cli/changecmd": {
		"internal/cli/app", "internal/cli/osauth", "internal/cli/tui", "internal/catalog", "internal/changelog", "internal/spec", "internal/status",
		"internal/dns", "internal/dns/zone", "internal/keystone", "internal/keystone/admin",
	},
	"internal/cli/osauth": {"internal/cli/app", "internal/keystone", "internal/keystone/admin", "internal/status"},
	"internal/cli/tui":    {"internal/status"},
	// For tests only.
	"internal/netnstest":                   {},
	"internal/bgp/bgptest":                 {"internal/netnstest"},
	"internal/certificate/certificatetest": {},
	"internal/keystone/keystonetest":       {},
	"internal/dns/dnstest":                 {},
	"internal/vrrp/sim/simulate":           {"internal/vrrp/sim"},
	"cmd/holdfast":                         {"internal/cli"},
}

// pure packages have no I/O, no clock and no logger of their own.
var pure = []string{"internal/auth", "internal/status", "internal/catalog", "internal/spec", "internal/bgp", "internal/vrrp", "internal/vrrp/sim", "internal/conflict", "internal/ether", "internal/haproxy", "internal/haproxy/output", "internal/keystone", "internal/importer", "internal/dns", "internal/dns/wire", "internal/doctor", "internal/certificate", "internal/health", "internal/reach", "internal/cloud", "internal/incident", "internal/notify", "internal/traffic", "internal/web/page"}

// notPure gives, for each package that no pure one imports, the reason.
var notPure = map[string]string{
	"net":       "it opens sockets; net/netip has the addresses",
	"net/http":  "it opens sockets",
	"os":        "it reads the machine",
	"os/exec":   "it starts processes",
	"syscall":   "it talks to the kernel",
	"log":       "what a pure package finds, it returns",
	"log/slog":  "what a pure package finds, it returns",
	"math/rand": "it makes two runs differ",
}

type goPackage struct {
	ImportPath string
	Dir        string
	Doc        string
	GoFiles    []string
	Imports    []string
}

func (p goPackage) short() string { return strings.TrimPrefix(p.ImportPath, module) }

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		allowed, known := mayImport[p.short()]
		if !known {
			t.Errorf("%s is not in the table of imports: say what it may import", p.short())
			continue
		}
		for _, imported := range p.Imports {
			ours, isOurs := strings.CutPrefix(imported, module)
			if isOurs && !slices.Contains(allowed, ours) && !slices.Contains(allowed, "*") {
				t.Errorf("%s imports %s, which the table does not allow", p.short(), ours)
			}
		}
	}
}

func TestPurePackagesArePure(t *testing.T) {
	missing := slices.Clone(pure)
	for _, p := range packages(t) {
		if !slices.Contains(pure, p.short()) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == p.short() })
		for _, imported := range p.Imports {
			if ours, isOurs := strings.CutPrefix(imported, module); isOurs && !slices.Contains(pure, ours) {
				t.Errorf("%s imports %s: a pure package imports none that is not", p.short(), ours)
			}
		}
		for _, file := range p.GoFiles {
			checkPureFile(t, filepath.Join(p.Dir, file))
		}
	}
	if len(missing) > 0 {
		t.Errorf("there are no packages %q", missing)
	}
}

// TestPurePackagesAreNamedAlike holds the lists of pure packages in the Makefile and for
// the linters to the one here.
func TestPurePackagesAreNamedAlike(t *testing.T) {
	line := regexp.MustCompile(`(?m)^PURE +:= (.*)$`).FindStringSubmatch(read(t, "Makefile"))
	if line == nil {
		t.Fatal("the Makefile has no PURE")
	}
	want := slices.Sorted(slices.Values(pure))
	var got []string
	for name := range strings.FieldsSeq(line[1]) {
		got = append(got, "internal/"+name)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the Makefile's PURE has %q, and the table here %q", got, want)
	}
	linters := read(t, ".golangci.yml")
	for _, name := range want {
		if !strings.Contains(linters, `"**/`+name+`/*.go"`) || !regexp.MustCompile(`path-except: internal/\(.*\b`+strings.TrimPrefix(name, "internal/")+`[|)]`).MatchString(linters) {
			t.Errorf(".golangci.yml does not know that %s is pure", name)
		}
	}
}

func checkPureFile(t *testing.T, path string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, imported := range parsed.Imports {
		if why, bad := notPure[strings.Trim(imported.Path.Value, `"`)]; bad {
			t.Errorf("%s imports %s: a pure package must not, %s", path, imported.Path.Value, why)
		}
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, clock := range []string{"time.Now(", "time.Since(", "time.Sleep(", "time.After(", "time.NewTimer("} {
		if strings.Contains(string(source), clock) {
			t.Errorf("%s calls %s): a pure package is told the time", path, clock)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if len(strings.Fields(p.Doc)) < 4 {
			t.Errorf("%s has no package comment that says what it is", p.short())
		}
	}
}
