package systemd

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test be the daemon that a service manager starts: see TestTake.
func TestMain(m *testing.M) {
	if at := os.Getenv("HOLDFAST_TEST_DAEMON"); at != "" {
		beDaemon(at)
		return
	}
	os.Exit(m.Run())
}

// beDaemon says what it was handed over, and serves one who comes to the address at.
func beDaemon(at string) {
	s := NewSockets(New(slog.New(slog.NewTextHandler(os.Stdout, nil))))
	s.Take()
	var all []string
	for where := range s.all {
		all = append(all, where.String())
	}
	slices.Sort(all)
	fmt.Println(strings.Join(all, " "), os.Getenv("LISTEN_FDS"))
	l, err := s.Listener(netip.MustParseAddrPort(at))
	if l == nil || err != nil {
		fmt.Println("none", err)
		return
	}
	conn, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprintln(conn, "served", conn.LocalAddr())
	_ = conn.Close()
}

// start starts the test as a daemon with files, as a service manager does.
func start(t *testing.T, at string, files ...*os.File) *bufio.Reader {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "HOLDFAST_TEST_DAEMON="+at, fmt.Sprint("LISTEN_FDS=", len(files)), "LISTEN_FDNAMES="+strings.TrimSuffix(strings.Repeat("x:", len(files)), ":"))
	cmd.ExtraFiles = files
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return bufio.NewReader(out)
}

func listenAt(t *testing.T, at string) (*net.TCPListener, *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return l.(*net.TCPListener), f
}

// TestTake has a daemon get sockets: for its address, for every address, and what is none.
func TestTake(t *testing.T) {
	one, oneFile := listenAt(t, "127.0.0.1:0")
	every, everyFile := listenAt(t, "[::]:0")
	noSocket, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer noSocket.Close() //nolint:errcheck // nothing was written
	everyPort := every.Addr().(*net.TCPAddr).Port
	for _, test := range []struct {
		at, from string
		want     string
	}{
		{one.Addr().String(), one.Addr().String(), "served " + one.Addr().String()},
		{fmt.Sprint("127.0.0.1:", everyPort), fmt.Sprint("127.0.0.1:", everyPort), fmt.Sprint("served 127.0.0.1:", everyPort)},
		{fmt.Sprint("[::1]:", everyPort), fmt.Sprint("[::1]:", everyPort), fmt.Sprint("served [::1]:", everyPort)},
		{fmt.Sprint("127.0.0.1:", everyPort), fmt.Sprint("127.0.0.2:", everyPort), ""},
		{"127.0.0.3" + one.Addr().String()[len("127.0.0.1"):], "", "none"},
	} {
		out := start(t, test.at, oneFile, noSocket, everyFile)
		var lines []string
		for range 2 {
			line, err := out.ReadString('\n')
			if err != nil {
				t.Fatal(lines, err)
			}
			lines = append(lines, strings.TrimSpace(line))
		}
		all := strings.Join(lines, "\n")
		if !strings.Contains(all, "is no socket for this agent") || !strings.Contains(all, one.Addr().String()) || !strings.Contains(all, fmt.Sprint("[::]:", everyPort)) {
			t.Errorf("it was handed over\n%s", all)
		}
		if test.from == "" {
			if line, _ := out.ReadString('\n'); !strings.HasPrefix(line, test.want) {
				t.Errorf("%s: %q, want %q", test.at, line, test.want)
			}
			continue
		}
		conn, err := net.Dial("tcp", test.from)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn) // however it ends
		_ = conn.Close()
		if got := strings.TrimSpace(string(answer)); got != test.want {
			t.Errorf("%s, asked at %s: answered %q, want %q", test.at, test.from, got, test.want)
		}
	}
}

// TestKeep has a daemon give the manager what it listens at, and its next life get it.
// Between the two nobody else can listen there.
func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close() //nolint:errcheck // the test has what it wants
	s := NewSockets(&Manager{path: path, log: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	if got, err := s.Listener(at); got != nil || err != nil {
		t.Errorf("it had one already: %v, %v", got, err)
	}
	s.Keep(at, l)
	s.Keep(at, l) // and not twice
	said, oob := make([]byte, 200), make([]byte, 200)
	n, oobn, _, _, err := manager.ReadMsgUnix(said, oob)
	if want := fmt.Sprintf("FDSTORE=1\nFDNAME=port-%d", at.Port()); err != nil || string(said[:n]) != want {
		t.Fatalf("the manager was told %q, %v; want %q", said[:n], err, want)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	kept := os.NewFile(uintptr(fds[0]), "kept")
	defer kept.Close() //nolint:errcheck // nothing was written
	// A listener of it that waits is none that blocks: it ends.
	ended := make(chan error)
	go func() { _, err := l.Accept(); ended <- err }()
	_ = l.Close()
	<-ended
	again, err := s.Listener(at) // within one life
	if again == nil || err != nil {
		t.Fatalf("it cannot be had again: %v", err)
	}
	_ = again.Close()
	s.Drop(at)
	if _, err := net.Listen("tcp", at.String()); err == nil {
		t.Error("somebody else can listen there, within one life")
	}

	// The daemon is gone.
	s.Forget(netip.MustParseAddrPort("127.0.0.1:1")) // which it does not have
	s.Forget(at)
	if n, _ := manager.Read(said); string(said[:n]) != fmt.Sprintf("FDSTOREREMOVE=1\nFDNAME=port-%d", at.Port()) {
		t.Errorf("the manager was told %q", said[:n])
	}
	if _, err := net.Listen("tcp", at.String()); err == nil {
		t.Error("somebody else can listen there, while no daemon runs")
	}
	conn, err := net.Dial("tcp", at.String()) // waits for the next one
	if err != nil {
		t.Fatal(err)
	}
	out := start(t, at.String(), kept)
	if line, err := out.ReadString('\n'); err != nil || strings.TrimSpace(line) != at.String() {
		t.Errorf("it was handed over %q, %v", line, err)
	}
	if answer, _ := io.ReadAll(conn); strings.TrimSpace(string(answer)) != "served "+at.String() {
		t.Errorf("who had come before was answered %q", answer)
	}
	_ = conn.Close()
}

// TestKeepNoManager has no manager that would keep something.
func TestKeepNoManager(t *testing.T) {
	s := NewSockets(&Manager{log: slog.New(slog.DiscardHandler)})
	s.Take()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	s.Keep(at, l)
	s.Drop()
	_ = l.Close()
	if l, err := net.Listen("tcp", at.String()); err != nil {
		t.Errorf("it is kept: %v", err)
	} else {
		_ = l.Close()
	}
	// Nor is one that cannot be told.
	s = NewSockets(&Manager{path: filepath.Join(t.TempDir(), "nobody"), log: slog.New(slog.DiscardHandler)})
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nobody came
	s.Keep(netip.MustParseAddrPort(l.Addr().String()), l)
	if len(s.all) != 0 {
		t.Error("one is kept that the manager does not have")
	}
}
