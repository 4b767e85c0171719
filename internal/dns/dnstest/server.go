package dnstest

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// readyWithin bounds how long a server may take to answer.
const readyWithin = 20 * time.Second

// A Server is one running DNS server.
type Server struct {
	Addr netip.AddrPort
	Dir  string
	net  *Net
	name string // of the program
	cmd  *exec.Cmd
	done chan struct{}
}

// program gives the path of a program, or skips the test where its package is
// not installed. Debian keeps servers where only root looks.
func program(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, at := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed: apt-get install %s", name, pkg)
	return ""
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

func (n *Net) server(addr netip.AddrPort) *Server {
	return &Server{Addr: addr, Dir: n.t.TempDir(), net: n}
}

func (n *Net) write(file, text string) {
	n.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// run starts the server, stops it when the test ends, and waits until it
// answers for zone.
func (s *Server) run(zone, path string, args ...string) {
	t := s.net.t
	t.Helper()
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	s.name = filepath.Base(path)
	s.cmd = exec.CommandContext(context.Background(), path, args...)
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
			t.Fatalf("%s ended at once:\n%s", s.name, s.Log())
		default:
		}
		client := &dns.Client{Timeout: time.Second}
		if r, _, err := client.Exchange(m, s.Addr.String()); err == nil && len(r.Answer) > 0 {
			return
		}
	}
	t.Fatalf("%s at %s does not answer for %s:\n%s", s.name, s.Addr, zone, s.Log())
}

// Log gives what the server has written to its log.
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
			s.net.t.Logf("signal %s: %v", s.name, err)
		}
	}
}
