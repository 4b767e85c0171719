// Package bindtest runs real BIND servers for tests, on 127.0.0.1 and ports of
// their own: a primary that takes updates, secondaries, and a caching resolver.
// It is for tests only, and asserts nothing itself.
package bindtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// readyWithin bounds how long a server may take to answer.
const readyWithin = 20 * time.Second

// A Net is some servers and a TSIG key.
type Net struct {
	t       testing.TB
	named   string // path of the program
	KeyName string
	KeyFile string // as tsig-keygen writes it
	Secret  string // of the key, base64
}

// New begins a Net, or skips the test where BIND is not installed.
func New(t testing.TB) *Net {
	t.Helper()
	named, err := exec.LookPath("named")
	if err != nil {
		if named, err = exec.LookPath("/usr/sbin/named"); err != nil {
			t.Skip("named is not installed: apt-get install bind9")
		}
	}
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	n := &Net{t: t, named: named, KeyName: "holdfast-test", Secret: base64.StdEncoding.EncodeToString(random)}
	n.KeyFile = filepath.Join(t.TempDir(), "tsig.key")
	n.write(n.KeyFile, n.keyStatement())
	return n
}

func (n *Net) keyStatement() string {
	return fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", n.KeyName, n.Secret)
}

// Addr gives 127.0.0.1 and a port that nothing has. BIND listens on addresses
// that an interface has been given, and of 127.0.0.0/8 that is only this one.
func (n *Net) Addr() netip.AddrPort {
	n.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(n.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was sent
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// A Server is one running named.
type Server struct {
	Addr netip.AddrPort
	Dir  string
	net  *Net
	cmd  *exec.Cmd
	done chan struct{}
}

// A Zone is one zone of a primary.
type Zone struct {
	Name string // without final dot
	Text string // its records; see Text
	// Notify are told of each change.
	Notify []netip.AddrPort
	// Update says who may update it; empty is the key of the Net, everything.
	Update string
	// Options are further statements of the zone's clause, each with its ";".
	Options string
}

// Text begins a zone's text: its SOA record with the name servers named, each
// with its address.
func Text(zone string, servers map[string]netip.AddrPort, primary string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s.\n$TTL 3600\n@ 3600 IN SOA %s. hostmaster 10 3600 600 86400 60\n", zone, primary)
	for name, addr := range servers {
		fmt.Fprintf(&b, "@ IN NS %s.\n%s. IN A %s\n", name, name, addr.Addr())
	}
	return b.String()
}

// Primary starts a primary at addr for zones. The key of n may update them.
func (n *Net) Primary(addr netip.AddrPort, zones ...Zone) *Server {
	n.t.Helper()
	s := n.server(addr)
	var b strings.Builder
	for _, z := range zones {
		file := filepath.Join(s.Dir, z.Name+".zone")
		n.write(file, z.Text)
		update := cmp.Or(z.Update, fmt.Sprintf("allow-update { key %q; };", n.KeyName))
		fmt.Fprintf(&b, "zone %q {\n type primary;\n file %q;\n %s\n notify explicit;\n also-notify {%s };\n%s\n};\n",
			z.Name, file, update, list(z.Notify), z.Options)
	}
	s.start(n.keyStatement()+"options {\n recursion no;\n notify-delay 0;\n allow-transfer { any; };\n", b.String(), zones[0].Name)
	return s
}

// Secondary starts a secondary at addr for the zone of primary.
func (n *Net) Secondary(addr, primary netip.AddrPort, zone string) *Server {
	n.t.Helper()
	s := n.server(addr)
	s.start("options {\n recursion no;\n", fmt.Sprintf("zone %q {\n type secondary;\n file %q;\n primaries {%s };\n};\n",
		zone, filepath.Join(s.Dir, "copy"), list([]netip.AddrPort{primary})), zone)
	return s
}

// Resolver starts a caching resolver at addr, which asks to for everything in zone.
func (n *Net) Resolver(addr, to netip.AddrPort, zone string) *Server {
	n.t.Helper()
	s := n.server(addr)
	s.start("options {\n recursion yes;\n allow-recursion { any; };\n qname-minimization off;\n", fmt.Sprintf("zone %q {\n type forward;\n forward only;\n forwarders {%s };\n};\n",
		zone, list([]netip.AddrPort{to})), zone)
	return s
}

// Views starts a primary at addr with two zones of one name: inside is for what
// is signed with the key of n, outside for everybody else.
func (n *Net) Views(addr netip.AddrPort, inside, outside Zone) *Server {
	n.t.Helper()
	s := n.server(addr)
	var b strings.Builder
	for name, z := range map[string]Zone{"inside": inside, "outside": outside} {
		n.write(filepath.Join(s.Dir, name), z.Text)
	}
	for _, name := range []string{"inside", "outside"} { // the first view that matches counts
		match := "any"
		if name == "inside" {
			match = fmt.Sprintf("key %q", n.KeyName)
		}
		fmt.Fprintf(&b, "view %s {\n match-clients { %s; };\n zone %q {\n type primary;\n file %q;\n allow-update { key %q; };\n%s };\n};\n",
			name, match, inside.Name, filepath.Join(s.Dir, name), n.KeyName, inside.Options)
	}
	s.start(n.keyStatement()+"options {\n recursion no;\n", b.String(), outside.Name)
	return s
}

func list(addrs []netip.AddrPort) string {
	var b strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&b, " %s port %d;", a.Addr(), a.Port())
	}
	return b.String()
}

func (n *Net) server(addr netip.AddrPort) *Server {
	return &Server{Addr: addr, Dir: n.t.TempDir(), net: n}
}

func (n *Net) write(file, text string) {
	n.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// start writes the configuration and runs named until it answers for zone.
func (s *Server) start(options, zones, zone string) {
	s.net.t.Helper()
	addr := s.Addr.Addr()
	conf := filepath.Join(s.Dir, "named.conf")
	s.net.write(conf, fmt.Sprintf(`%s directory %q;
 listen-on port %d { %s; };
 listen-on-v6 { none; };
 query-source address %s;
 transfer-source %s;
 notify-source %s;
 pid-file none;
 session-keyfile none;
 dnssec-validation no;
 empty-zones-enable no;
 allow-query { any; };
};
controls { };
%s`, options, s.Dir, s.Addr.Port(), addr, addr, addr, addr, zones))
	s.run(conf, zone)
}

// run starts named, and stops it when the test ends.
func (s *Server) run(conf, zone string) {
	t := s.net.t
	t.Helper()
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.CommandContext(context.Background(), s.net.named, "-g", "-n", "1", "-c", conf)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // it is killed
		_ = log.Close()
	}()
	t.Cleanup(s.Kill)
	s.await(zone)
}

// await waits until the server has the zone, or answers at all if it is a resolver.
func (s *Server) await(zone string) {
	t := s.net.t
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
	for end := time.Now().Add(readyWithin); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.done:
			t.Fatalf("named ended at once:\n%s", s.Log())
		default:
		}
		client := &dns.Client{Timeout: time.Second}
		if r, _, err := client.Exchange(m, s.Addr.String()); err == nil && len(r.Answer) > 0 {
			return
		}
	}
	t.Fatalf("named at %s does not answer for %s:\n%s", s.Addr, zone, s.Log())
}

// Log gives what named has written to its log.
func (s *Server) Log() string {
	data, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Kill ends the server, and waits until it has.
func (s *Server) Kill() {
	s.signal(syscall.SIGCONT)
	s.signal(syscall.SIGKILL)
	<-s.done
}

// Pause makes the server hang until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	select {
	case <-s.done:
	default:
		if err := s.cmd.Process.Signal(sig); err != nil {
			s.net.t.Logf("signal named: %v", err)
		}
	}
}
