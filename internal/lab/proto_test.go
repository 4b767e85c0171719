package lab

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// wires gives two ends of one connection.
func wires(t testing.TB) (a, b *wire) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends []*wire
	for _, fd := range fds {
		file := os.NewFile(uintptr(fd), "wire")
		conn, err := net.FileConn(file)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		w := &wire{conn: conn.(*net.UnixConn)}
		t.Cleanup(func() { _ = w.conn.Close() })
		ends = append(ends, w)
	}
	return ends[0], ends[1]
}

// TestWireCarriesFiles sends two requests, a long one with files, in one go.
func TestWireCarriesFiles(t *testing.T) {
	a, b := wires(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	long := request{Op: "exec", Exec: &execRequest{Node: "ctl1", Args: []string{strings.Repeat("x", 300_000)}}}
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(a.send(long, file, file, file), a.send(request{Op: "signal", Signal: 15})) }()
	var first, second request
	if err := errors.Join(b.receive(&first), b.receive(&second), <-sent); err != nil {
		t.Fatal(err)
	}
	if first.Exec == nil || len(first.Exec.Args[0]) != 300_000 || second.Signal != 15 {
		t.Errorf("received %.80v and %v", first, second)
	}
	files := b.handOver()
	if len(files) != 3 {
		t.Fatalf("%d files came, want 3", len(files))
	}
	data, err := io.ReadAll(files[2])
	if err != nil || string(data) != "content" {
		t.Errorf("the file has %q, %v", data, err)
	}
	closeAll(files)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	if err := b.receive(&first); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, want EOF", err)
	}
}

// FuzzWire feeds the control socket whatever comes: it may refuse it, and must
// neither panic nor hang.
func FuzzWire(f *testing.F) {
	for _, seed := range []string{
		`{"op":"ping"}` + "\n", `{"op":"exec","exec":{"node":"x","args":null}}` + "\n", "\n", "{", "[]\n", `{"op":7}` + "\n{}\n", "\x00\xff\n",
		`{"op":"fault","fault":{"fault":"partition","sets":[[],[""]]}}` + "\n", `{"op":"fault"}` + "\n", `{"op":"exec"}` + "\n",
	} {
		f.Add([]byte(seed))
	}
	s := testServer(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := wires(t)
		go func() {
			_, _ = a.conn.Write(data)
			_ = a.conn.CloseWrite()
		}()
		for {
			var req request
			if err := b.receive(&req); err != nil {
				return
			}
			if req.Op == "exec" && req.Exec != nil && len(b.files) > 0 {
				t.Fatal("files came from nowhere")
			}
			if req.Op != "fault" { // those reach this machine's own network
				_ = s.handle(t.Context(), req, b)
			}
		}
	})
}
