package haproxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/spec"
)

// codes sends n requests one after the other and gives how often which code came.
func (x *balancer) codes(n int, from netip.Addr, method, path string, header ...string) map[int]int {
	x.t.Helper()
	got := map[int]int{}
	for range n {
		got[x.do(from, method, path, header...).code]++
	}
	return got
}

func wantCodes(t *testing.T, what string, got map[int]int, want string) {
	t.Helper()
	if s := fmt.Sprint(got); s != want {
		t.Errorf("%s: %s, want %s", what, s, want)
	}
}

// A client at ten times its limit gets the limit, and 429 for the rest; another one, and the
// cloud's own hosts, are not touched. What was turned away reaches no host, and is not counted.
func TestLimitOfEachClient(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2")
	b.service().Clients = spec.ClientLimit{Requests: spec.Rate{N: 6, Per: time.Hour}}
	x := b.start(1)
	wantCodes(t, "at ten times the limit", x.codes(60, b.addr(77), "GET", "/"), "map[200:6 429:54]")
	wantCodes(t, "another client", x.codes(6, b.addr(78), "GET", "/"), "map[200:6]")
	wantCodes(t, "a host of the cloud", x.codes(20, b.addr(11), "GET", "/"), "map[200:20]")
	wantCodes(t, "the agent's sign of life", x.codes(20, b.addr(79), "GET", "/.holdfast/ping"), "map[200:20]")
	if n := len(b.hosts["ctl1"].seen()) + len(b.hosts["ctl2"].seen()); n != 32 {
		t.Errorf("hosts saw %d requests, want 32", n)
	}
	r := x.do(b.addr(77), "GET", "/")
	if r.Get("Retry-After") != "3600" || !strings.Contains(r.body, `"code": 429`) || !strings.Contains(r.body, "6 requests an hour") {
		t.Errorf("%v %s", r.Header, r.body)
	}
}

// Tokens and projects are counted by themselves, whoever sends them, and no table has a token.
func TestLimitPerTokenAndProject(t *testing.T) {
	b := newBench(t, "ctl1")
	b.service().Clients = spec.ClientLimit{Requests: spec.Rate{N: 3, Per: time.Hour}, Per: spec.PerToken}
	x := b.start(1)
	wantCodes(t, "one token", x.codes(5, b.addr(77), "GET", "/", "X-Auth-Token", "secret-one"), "map[200:3 429:2]")
	wantCodes(t, "that token from elsewhere", x.codes(1, b.addr(78), "GET", "/", "X-Auth-Token", "secret-one"), "map[429:1]")
	wantCodes(t, "another token", x.codes(3, b.addr(77), "GET", "/", "X-Auth-Token", "secret-two"), "map[200:3]")
	wantCodes(t, "none", x.codes(5, b.addr(77), "GET", "/"), "map[200:3 429:2]")
	table := string(x.ask("show table api:limit"))
	if strings.Count(table, "key=") != 3 || strings.Contains(table, "secret") || strings.Contains(table, fmt.Sprintf("%X", "secret-one")) {
		t.Errorf("the table: %s", table)
	}

	b.service().Path = "/v3/%(project_id)s"
	b.service().Clients.Per = spec.PerProject
	x = b.start(2)
	wantCodes(t, "one project", x.codes(5, b.addr(77), "GET", "/v3/0123456789abcdef/volumes"), "map[200:3 429:2]")
	wantCodes(t, "another", x.codes(3, b.addr(77), "GET", "/v3/fedcba9876543210/volumes"), "map[200:3]")
	wantCodes(t, "none", x.codes(5, b.addr(77), "GET", "/v3/"), "map[200:3 429:2]")
}

// Who failed to log in too often gets no more tries, and goes on with the token that it has.
// Others log in, and logins that succeed are not counted.
func TestFailedLogins(t *testing.T) {
	b := newBench(t, "ctl1")
	b.service().Clients = spec.ClientLimit{FailedLogins: spec.Rate{N: 3, Per: time.Hour}}
	x := b.start(1)
	const login = "/v3/auth/tokens"
	wantCodes(t, "logins", x.codes(10, b.addr(77), "POST", login), "map[200:10]")
	b.hosts["ctl1"].set(func(s *standIn) { s.code = 401 })
	wantCodes(t, "401 to all else", x.codes(5, b.addr(77), "GET", login), "map[401:5]")
	wantCodes(t, "failed logins", x.codes(6, b.addr(77), "POST", login), "map[401:3 429:3]")
	wantCodes(t, "of another", x.codes(1, b.addr(78), "POST", login), "map[401:1]")
	wantCodes(t, "of a host of the cloud", x.codes(6, b.addr(11), "POST", login), "map[401:6]")
	for _, path := range []string{login + "/", "/v3/auth/token%73", "/v3//auth//tokens/.", "/v3/auth/x/../tokens", "/v2.0/tokens//", "/v3/ec2tokens/", "/v3/s3token%73"} {
		wantCodes(t, "the same in other letters, "+path, x.codes(1, b.addr(77), "POST", path), "map[429:1]")
	}
	b.hosts["ctl1"].set(func(s *standIn) { s.code = 200 })
	wantCodes(t, "with a token", x.codes(3, b.addr(77), "GET", "/v3/users"), "map[200:3]")
	if r := x.do(b.addr(77), "POST", login); r.code != 429 || r.Get("Retry-After") != "3600" {
		t.Errorf("%d %v", r.code, r.Header)
	}
}

// Who has an IPv6 address has a network of them, and cannot guess on with another one.
func TestFailedLoginsByIPv6(t *testing.T) {
	b := newBench(t, "ctl1")
	balancer := b.addr(90)
	b.spec.VIPs[0].Behind = spec.Behind{Trusted: []netip.Prefix{netip.PrefixFrom(balancer, 32)}}
	b.service().Clients = spec.ClientLimit{FailedLogins: spec.Rate{N: 2, Per: time.Hour}}
	x := b.start(1)
	b.hosts["ctl1"].set(func(s *standIn) { s.code = 401 })
	for i, want := range []string{"map[401:1]", "map[401:1]", "map[429:1]"} {
		from := fmt.Sprintf("2001:db8:0:1::%d", i+1)
		wantCodes(t, from, x.codes(1, balancer, "POST", "/v3/auth/tokens", "X-Forwarded-For", from), want)
	}
	wantCodes(t, "another network", x.codes(1, balancer, "POST", "/v3/auth/tokens", "X-Forwarded-For", "2001:db8:0:2::1"), "map[401:1]")
}

// Lists of the VIP and of the service: who is on one that denies, or not on one that allows,
// gets 403; the cloud's own hosts always may.
func TestLists(t *testing.T) {
	b := newBench(t, "ctl1")
	one := func(n int) netip.Prefix { return netip.PrefixFrom(b.addr(n), 32) }
	b.spec.VIPs[0].Access = spec.Access{Deny: []netip.Prefix{one(77)}}
	b.service().Access = spec.Access{Allow: []netip.Prefix{netip.PrefixFrom(b.addr(64), 26)}, Deny: []netip.Prefix{one(78)}}
	x := b.start(1)
	for n, want := range map[int]string{77: "map[403:1]", 78: "map[403:1]", 79: "map[200:1]", 150: "map[403:1]", 11: "map[200:1]", 201: "map[200:1]"} {
		wantCodes(t, fmt.Sprint(n), x.codes(1, b.addr(n), "GET", "/"), want)
	}
	if r := x.do(b.addr(77), "GET", "/"); !strings.Contains(r.body, `"code": 403`) {
		t.Error(r.body)
	}
	// What the holder of the VIP asks through it, as its services and its agent do, comes from the VIP's address.
	wantCodes(t, "the holder itself", x.codes(1, x.vip, "GET", "/"), "map[200:1]")
}

// A client of a TCP service that is not let in, or connects too often, is cut off.
func TestTCPLimits(t *testing.T) {
	b := newBench(t, "ctl1")
	svc := b.service()
	svc.Mode, svc.Check = spec.TCP, spec.Check{Layer: 4}
	svc.Access = spec.Access{Deny: []netip.Prefix{netip.PrefixFrom(b.addr(66), 32)}}
	svc.Clients = spec.ClientLimit{Requests: spec.Rate{N: 3, Per: time.Hour}, Connections: 50}
	x := b.start(1)
	served := func(from int) bool {
		conn, err := x.tryDial(b.addr(from))
		if err != nil {
			return false // it is cut off that soon
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET / HTTP/1.0\r\n\r\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return strings.Contains(line, " 200 ")
	}
	for i, want := range []bool{true, true, true, false, false} {
		if got := served(77); got != want {
			t.Errorf("connection %d: %t, want %t", i+1, got, want)
		}
	}
	if served(66) {
		t.Error("who is denied was served")
	}
	if !served(78) || !served(11) {
		t.Error("another client, or a host of the cloud, was not served")
	}
}

func (x *balancer) dial(from netip.Addr) net.Conn {
	x.t.Helper()
	conn, err := x.tryDial(from)
	if err != nil {
		x.t.Fatal(err)
	}
	return conn
}

func (x *balancer) tryDial(from netip.Addr) (net.Conn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	conn, err := dialer.DialContext(x.t.Context(), "tcp", netip.AddrPortFrom(x.vip, uint16(x.service().Port)).String())
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

// Who holds more connections than its limit gets no more, until it closes some.
func TestConnectionsOfOneClient(t *testing.T) {
	b := newBench(t, "ctl1")
	b.service().Clients = spec.ClientLimit{Connections: 4}
	x := b.start(1)
	var open []net.Conn
	for range 4 {
		open = append(open, x.dial(b.addr(77)))
	}
	used := func() bool { return strings.Contains(string(x.ask("show table api:limit")), "conn_cur=4") }
	x.eventually("four connections", used)
	if fifth, err := x.tryDial(b.addr(77)); err == nil { // it may be refused already
		fmt.Fprintf(fifth, "GET / HTTP/1.0\r\n\r\n")
		if line, err := bufio.NewReader(fifth).ReadString('\n'); err == nil {
			t.Errorf("the fifth connection: %q", line)
		}
	}
	wantCodes(t, "another client", x.codes(3, b.addr(78), "GET", "/"), "map[200:3]")
	for _, c := range open {
		_ = c.Close()
	}
	x.eventually("closed", func() bool {
		return strings.Contains(string(x.ask("show table api:limit")), "conn_cur=0") || !strings.Contains(string(x.ask("show table api:limit")), "key=")
	})
	wantCodes(t, "when they are closed", x.codes(3, b.addr(77), "GET", "/"), "map[200:3]")
}

// No raw line may have an acl of a name that a frontend has: two of one name are one.
func TestOwnACLsAreKnown(t *testing.T) {
	files, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^    acl (\S+) `).FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
	}
	for name := range found {
		service, isList := strings.CutSuffix(name, "-deny")
		if !isList {
			service, isList = strings.CutSuffix(name, "-allow")
		}
		isList = isList && slices.Contains([]string{"keystone", "glance", "nova"}, service)
		isRaw := name == "noisy"
		if !isList && !isRaw && !spec.IsOwnACL(name) {
			t.Errorf("spec.IsOwnACL does not know %s", name)
		}
	}
	for _, name := range []string{"own", "balancer", "reader", "vip:deny", "service-deny"} {
		if !found[name] {
			t.Errorf("no golden file has %s", name)
		}
	}
}
