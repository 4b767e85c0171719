package haproxy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

var update = flag.Bool("update", false, "write the golden files anew")

// parse gives the spec in data, which must have no errors.
func parse(t testing.TB, data []byte) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("spec.yaml", data)
	for _, f := range findings {
		if f.Severity == status.Error {
			t.Error(f)
		}
	}
	if s == nil {
		t.FailNow()
	}
	return s
}

// Each golden file is a spec and the configuration made of it, which HAProxy
// must take without a warning.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			local := haproxy.Local{RunDir: "/run/holdfast", StateDir: "/var/lib/holdfast"}
			got := haproxy.Render(parse(t, archive.Files[0].Data), local).Bytes()
			if *update {
				archive.Files[1].Data = got
				write(t, file, txtar.Format(archive))
			}
			if d := cmp.Diff(string(archive.Files[1].Data), string(got)); d != "" {
				t.Errorf("%s (-want +got); go test -update writes it anew\n%s", file, d)
			}
			check(t, got)
		})
	}
}

// check has HAProxy check cfg, with files of its own in place of those of a controller.
func check(t *testing.T, cfg []byte) {
	t.Helper()
	path, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("no haproxy here to check it; apt-get install haproxy")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, haproxy.StateFile), []byte(haproxy.EmptyState))
	write(t, filepath.Join(dir, haproxy.ClosingList), nil)
	text := strings.ReplaceAll(string(cfg), "/run/holdfast/", dir+"/")
	write(t, filepath.Join(dir, "page"), []byte("sorry\n"))
	write(t, filepath.Join(dir, "list"), []byte("192.0.2.66\n10.0.0.0/8\n"))
	text = regexp.MustCompile(`(content-type .+) file \S+`).ReplaceAllString(text, "$1 file "+filepath.Join(dir, "page"))
	text = regexp.MustCompile(` -f /var/lib/holdfast/files/\S+`).ReplaceAllString(text, " -f "+filepath.Join(dir, "list"))
	if strings.Contains(text, " ssl ") {
		write(t, filepath.Join(dir, "tls.pem"), selfSigned(t))
		text = regexp.MustCompile(`(crt|ca-file) \S+`).ReplaceAllString(text, "$1 "+filepath.Join(dir, "tls.pem"))
	}
	file := filepath.Join(dir, "haproxy.cfg")
	write(t, file, []byte(text))
	cmd := exec.Command(path, "-c", "-f", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("haproxy -c: %v\n%s", err, stderr.String())
	}
}

// selfSigned makes a certificate and its key in one PEM file.
func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"api.example.org"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
}

// A service listens on the VIPs that it is on, and nowhere else: databases not on a
// public address. There is a listener the less for each, in what maxconn counts too.
func TestPlaces(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/render/places.txtar")
	if err != nil {
		t.Fatal(err)
	}
	cfg := haproxy.Render(parse(t, archive.Files[0].Data), haproxy.Local{RunDir: "/run/holdfast"}).Bytes()
	var binds []string
	for line := range strings.Lines(string(cfg)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "bind" {
			binds = append(binds, words[1])
		}
	}
	want := []string{"192.0.2.10:5000", "192.0.2.10:80", "10.0.0.10:5000", "10.0.0.10:8775", "10.0.0.10:3306"}
	if d := cmp.Diff(want, binds); d != "" {
		t.Errorf("listeners (-want +got):\n%s", d)
	}
	if i := strings.Index(string(cfg), "cookie HOLDFAST_HORIZON"); i < 0 || !strings.Contains(string(cfg[i:i+120]), " secure\n") {
		t.Error("the cookie of a service that is on TLS only is not for TLS only")
	}
}

// What is local is in a few lines; all else is the same on every controller.
func TestLocalIsAllThatDiffers(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/render/design.txtar")
	if err != nil {
		t.Fatal(err)
	}
	s := parse(t, archive.Files[0].Data)
	one := strings.Split(string(haproxy.Render(s, haproxy.Local{RunDir: "/run/one", StateDir: "/var/one", MaxConn: 1000}).Bytes()), "\n")
	two := strings.Split(string(haproxy.Render(s, haproxy.Local{RunDir: "/run/two", StateDir: "/var/two", MaxConn: 2000}).Bytes()), "\n")
	if len(one) != len(two) {
		t.Fatalf("%d and %d lines", len(one), len(two))
	}
	for i := range one {
		same := strings.NewReplacer("/run/one", "/run/two", "/var/one", "/var/two", "maxconn 1000", "maxconn 2000").Replace(one[i])
		if same != two[i] {
			t.Errorf("line %d:\n%s\n%s", i+1, one[i], two[i])
		}
	}
	users := string(haproxy.Render(s, haproxy.Local{RunDir: "/run/one", User: "haproxy", Group: "haproxy"}).Bytes())
	if !strings.Contains(users, "\n    user haproxy\n    group haproxy\n") {
		t.Error("no user and group lines")
	}
}

// Whatever a Spec holds, no word of it becomes more than one word or line.
func TestHostileSpec(t *testing.T) {
	evil := "a b\"c'd#e$HOME\\f\n    server evil 6.6.6.6:80\n%[x]"
	s := &spec.Spec{
		Cloud: evil, Controllers: []spec.Controller{{Name: evil, Address: netip.MustParseAddr("10.0.0.1")}}, Agent: spec.Agent{CheckPort: 9471},
		VIPs: []spec.VIP{{Name: evil, Hostname: "api.example.org", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.10/24")}}},
		Services: []spec.Service{{
			Name: evil, Type: evil, Port: 80, Affinity: spec.AffinityCookie, SafePosts: []string{evil},
			Check: spec.Check{Layer: 7, Method: "GET", Path: evil},
			Hosts: []spec.Host{{Name: evil, Address: netip.MustParseAddr("10.0.0.1")}},
		}},
	}
	cfg := haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast", StateDir: evil, User: "root"}).Bytes()
	if n := bytes.Count(cfg, []byte("\n    server ")); n != 5 { // two in each of the two backends, and one in the third
		t.Errorf("%d servers", n)
	}
	if bytes.Contains(cfg, []byte("\n    server evil")) {
		t.Error("a name began a line")
	}
	check(t, cfg)
}

// A host keeps its id whatever others there are, and no two share one.
func TestServerIDs(t *testing.T) {
	big := large(1, 50)
	all := ids(t, big)
	if len(all) != 50 {
		t.Fatalf("%d servers", len(all))
	}
	seen := make(map[string]string)
	for name, id := range all {
		if other, taken := seen[id]; taken {
			t.Errorf("%s and %s have id %s", name, other, id)
		}
		seen[id] = name
	}
	big.Services[0].Hosts = append(big.Services[0].Hosts[30:], big.Services[0].Hosts[3:20]...)
	for name, id := range ids(t, big) {
		if all[name] != id {
			t.Errorf("%s has id %s, and had %s among other hosts", name, id, all[name])
		}
	}
}

// ids gives the id of each server of the first service.
func ids(t *testing.T, s *spec.Spec) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for line := range strings.Lines(string(haproxy.Render(s, haproxy.Local{}).Bytes())) {
		if f := strings.Fields(line); len(f) > 4 && f[0] == "server" && f[3] == "id" && !strings.HasSuffix(f[1], ":last") {
			out[f[1]] = f[4]
		}
	}
	return out
}

// large makes a spec with n services on as many hosts as said.
func large(services, hosts int) *spec.Spec {
	s := &spec.Spec{Cloud: "large", Agent: spec.Agent{CheckPort: 9471}, VIPs: []spec.VIP{{
		Name: "api", Hostname: "api.example.org",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.10/16"), netip.MustParsePrefix("2001:db8::10/64")},
	}}}
	var all []spec.Host
	for i := range hosts {
		h := spec.Host{Name: fmt.Sprintf("cloudcontrol%04d", i+1), Address: netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)})}
		all = append(all, h)
		s.Controllers = append(s.Controllers, spec.Controller{Name: h.Name, Address: h.Address})
	}
	for i := range services {
		s.Services = append(s.Services, spec.Service{
			Name: fmt.Sprintf("service%d", i+1), Port: 10000 + i, Hosts: all,
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck", Expect: []spec.CodeRange{{From: 200, To: 200}}},
		})
	}
	return s
}

func TestLargeIsValid(t *testing.T) {
	check(t, haproxy.Render(large(100, 50), haproxy.Local{RunDir: "/run/holdfast"}).Bytes())
}

// The target is 50 ms.
func BenchmarkRender100x50(b *testing.B) {
	s := large(100, 50)
	var n int
	for b.Loop() {
		n = len(haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast", StateDir: "/var/lib/holdfast"}).Bytes())
	}
	b.ReportMetric(float64(n), "bytes")
}

// HAProxy must start with a hard limit that MaxConn was told of, and use most of it.
func TestMaxConnFits(t *testing.T) {
	requireHAProxy(t)
	for limit, s := range map[int]*spec.Spec{1024: large(1, 3), 4096: large(20, 9), 20_000: large(100, 25)} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, haproxy.StateFile), []byte(haproxy.EmptyState))
		write(t, filepath.Join(dir, haproxy.ClosingList), nil)
		cfg := haproxy.Render(s, haproxy.Local{RunDir: dir, MaxConn: haproxy.MaxConn(s, uint64(limit))}).Bytes()
		write(t, filepath.Join(dir, "haproxy.cfg"), bytes.ReplaceAll(cfg, []byte("2001:db8::10"), []byte("::1")))
		cmd := exec.Command("sh", "-c", fmt.Sprintf("ulimit -n %d; exec haproxy -db -f %s/haproxy.cfg", limit, dir))
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		x := &balancer{run: dir, bench: &bench{t: t}}
		var info output.Info
		x.eventually("started", func() bool { info, _ = output.ParseInfo(x.ask("show info")); return info.PID > 0 })
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		t.Logf("%d services: maxconn %d, %d descriptors of %d", len(s.Services), info.MaxConn, info.MaxSock, limit)
		if info.MaxSock > limit || info.MaxSock < limit*4/10 || strings.Contains(said.String(), "limit") {
			t.Errorf("maxsock %d with a limit of %d\n%s", info.MaxSock, limit, said.String())
		}
	}
}
