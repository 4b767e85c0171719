package throughput

import (
	"bufio"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/spec"
)

func TestParseVariant(t *testing.T) {
	got, err := ParseVariant("one=-option http;global+nbthread 1")
	want := Variant{Name: "one", Edits: []Edit{{Text: "option http"}, {Section: "global", Text: "nbthread 1"}}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	for _, bad := range []string{"", "x", "=-a", "kolla=-a", "x=a", "x=+a", "x=global+", "x=-"} {
		if v, err := ParseVariant(bad); err == nil {
			t.Errorf("%q: %+v, want an error", bad, v)
		}
	}
}

func TestApply(t *testing.T) {
	cfg := []byte("global\n    maxconn 1\n\nbackend a\n    option x\nbackend b\n    option x y\n")
	v := Variant{Name: "v", Edits: []Edit{{Text: "option x"}, {Section: "backend", Text: "new"}}}
	got, err := v.apply(cfg)
	if want := "global\n    maxconn 1\n\nbackend a\n    new\nbackend b\n    new\n"; err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	v.Edits[0].Text = "nowhere"
	if _, err := v.apply(cfg); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("an edit that changes nothing: %v", err)
	}
}

func TestRatioIsOfTheSameRound(t *testing.T) {
	// The machine is ten times slower in the second round: a ratio of medians would not be 2.
	a := []Turn{{PerSecond: 200, CPU: 20}, {PerSecond: 20, CPU: 200}, {PerSecond: 400, CPU: 20}}
	b := []Turn{{PerSecond: 100, CPU: 40}, {PerSecond: 10, CPU: 400}, {PerSecond: 50, CPU: 40}}
	if got := ratio(a, b, Kolla); got.PerSecond != 2 || got.CPU != 0.5 || got.P50 != 0 {
		t.Errorf("%+v", got)
	}
	if got := median([]int{4, 1, 3, 2}, func(n int) float64 { return float64(n) }); got != 2.5 {
		t.Errorf("median of 1 to 4: %v", got)
	}
}

func FuzzReadHead(f *testing.F) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nContent-Length: 12\r\nConnection: close\r\n\r\n", "\r\n\r\n", "x\ny\n\n", "x\nContent-Length: -1\n\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := readHead(bufio.NewReader(strings.NewReader(text)))
		if err == nil && h.length < 0 {
			t.Errorf("length %d", h.length)
		}
	})
}

func TestOrigin(t *testing.T) {
	o, err := newOrigin(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(o.listener.Addr().String())
	for _, p := range Points() {
		l := newLoop(at, p, []netip.Addr{netip.MustParseAddr("127.0.0.1")})
		if n, failed := l.run(t.Context(), 50*time.Millisecond); n == 0 || failed > 0 {
			t.Errorf("%s: %d answered, %d failed: %s", p, n, failed, l.firstFailure())
		}
	}
	if err := o.close(); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	good := Options{Rounds: 1, Turn: time.Second, Connections: 1}
	for name, spoil := range map[string]func(*Options){
		"rounds":      func(o *Options) { o.Rounds = 0 },
		"turn":        func(o *Options) { o.Turn = 1 },
		"connections": func(o *Options) { o.Connections = maxConnections + 1 },
		"point":       func(o *Options) { o.Only = "PATCH" },
	} {
		o := good
		spoil(&o)
		if err := o.check(); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}

// TestRun measures one point with real HAProxys, one of them plain.
func TestRun(t *testing.T) {
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("no haproxy here; apt-get install haproxy")
	}
	if os.Getuid() != 0 {
		t.Skip("binding transparently needs root")
	}
	plain := func(s *spec.Spec, dir string, _ int) []byte {
		at := s.VIPs[0].Addresses[0].Addr()
		host := s.Services[0].Hosts[0]
		port := netip.AddrPortFrom(at, uint16(s.Services[0].Port)).String()
		return []byte("defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nlisten x\n bind " + port +
			"\n server a " + netip.AddrPortFrom(host.Address, uint16(s.Services[0].Port)).String() + "\n")
	}
	opt := Options{Rounds: 2, Turn: 100 * time.Millisecond, Connections: 2, Only: "GET 1 KiB, keep-alive", Latency: true, Render: plain}
	report, err := Run(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 3 {
		t.Fatalf("%d rows, want one for each system", len(report.Rows))
	}
	for _, row := range report.Rows {
		if row.Median.PerSecond <= 0 || (row.Median.CPU > 0) != (row.System != Direct) || len(row.Turns) != 2 {
			t.Errorf("%s: %+v", row.System, row.Median)
		}
	}
	if text := report.Text(); !strings.Contains(text, "| kolla") {
		t.Errorf("no row of kolla:\n%s", text)
	}
}

func TestIdleText(t *testing.T) {
	at := time.Unix(0, 0)
	g := func(s int, n int64) *glance {
		u := map[string]used{"c1": {cpu: time.Duration(n) * time.Millisecond, rss: 2 << 20}}
		return &glance{at: at.Add(time.Duration(s) * time.Second), accepted: n, names: []string{"c1"}, holder: "c1", agent: u, haproxy: u}
	}
	c := idleBetween(time.Second, g(0, 100), g(10, 200))
	if c.Checks != 10 || c.Controllers[0].Agent.CPU != 0.01 {
		t.Errorf("%+v", c)
	}
	var u used
	if err := u.add("10 3 1\n1000 5 6\n2000 5 6\n"); err != nil || u.cpu != 3000 || u.rss != 3*int64(os.Getpagesize()) {
		t.Errorf("%+v, %v", u, err)
	}
	r := IdleReport{Clouds: []IdleCloud{c}}
	if !strings.Contains(r.Text(), "| 1s | c1 (holds the VIP) | 1.00 % | 2 MiB | 1.00 % | 2 MiB | 10.0 |") {
		t.Error(r.Text())
	}
}
