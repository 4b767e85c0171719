package haproxy_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// replies gives what HAProxy 2.4, 2.6 and 3.2 answered to one command, by version.
func replies(t testing.TB, command string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/replies/" + command + "-*")
	if err != nil || len(files) < 3 {
		t.Fatalf("replies to %s: %v, %v", command, files, err)
	}
	all := make(map[string][]byte)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), command+"-"), filepath.Ext(f))] = data
	}
	return all
}

// rowOf makes the row of one server.
func rowOf(name, state, check string, code int, text string) output.Row {
	return output.Row{
		Kind: output.KindServer, Proxy: "nova", Name: name, Status: state, CheckStatus: check,
		CheckCode: code, CheckText: text, CheckDesc: "Layer4 connection problem", Since: 90 * time.Second, Sessions: 3, Weight: 16,
	}
}

// drainedRow is a row of a server whose agent answers "drain" or "maint", as
// HAProxy 2.6 shows it.
func drainedRow(state, check string, code int) output.Row {
	row := rowOf("ctl1", state, check, code, "")
	row.AgentStatus = "CHECKED"
	return row
}

// offRow is a row of a server whose host is powered off, and whose agent was asked
// last with the outcome agent; drained says what "show servers state" has.
func offRow(agent string, drained bool) output.Row {
	row := rowOf("ctl1", "DOWN", "L4TOUT", 0, "")
	row.AgentStatus, row.Drained = agent, drained
	return row
}

// TestWordless proves of which servers HAProxy is asked whether they are drained:
// no more than it must.
func TestWordless(t *testing.T) {
	rows := []output.Row{offRow("L4TOUT", false), offRow("L4CON", false), offRow("L7OK", false), offRow("CHECKED", false), offRow("", false)}
	for i, proxy := range []string{"nova", "nova", "glance", "heat", "designate"} {
		rows[i].Proxy = proxy
	}
	up := offRow("L4TOUT", false)
	up.Proxy, up.Status = "keystone", "UP"
	if got := haproxy.Wordless(append(rows, up)); !slices.Equal(got, []string{"nova", "glance"}) {
		t.Errorf("asks about %v, want nova and glance", got)
	}
}

func TestServices(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	svc := spec.Service{
		Name: "nova", Type: "compute", Port: 8774,
		Check: spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck", Expect: []spec.CodeRange{{From: 200, To: 200}, {From: 300, To: 399}}},
		Hosts: []spec.Host{{Name: "ctl1", Address: netip.MustParseAddr("10.0.0.1")}},
	}
	for _, c := range []struct {
		row  output.Row
		want status.ServiceState
		all  status.ServiceState
		text string
	}{
		{rowOf("ctl1", "UP", "L7OK", 200, ""), status.Up, status.Up, "GET /healthcheck answered 200"},
		{rowOf("ctl1", "UP 1/2", "L7STS", 503, ""), status.Up, status.Up, "GET /healthcheck answered 503, want 200,300-399"},
		{rowOf("ctl1", "DOWN", "L7STS", 404, ""), status.Down, status.Down, "GET /healthcheck answered 404, want 200,300-399"},
		{rowOf("ctl1", "DOWN 1/3", "L7OK", 200, ""), status.Down, status.Down, "GET /healthcheck answered 200"},
		{rowOf("ctl1", "DOWN (agent)", "L7OK", 200, ""), status.Down, status.Down, "GET /healthcheck answered 200"},
		{rowOf("ctl1", "DRAIN (agent)", "L7OK", 200, ""), status.Drain, status.Down, "GET /healthcheck answered 200"},
		{drainedRow("DRAIN (agent)", "L7OK", 200), status.Drain, status.Down, "GET /healthcheck answered 200"},
		{drainedRow("DOWN", "L7STS", 503), status.Drain, status.Down, "GET /healthcheck answered 503, want 200,300-399"},
		{offRow("L4TOUT", true), status.Drain, status.Down, "no connection within 1s"},
		{offRow("L4CON", true), status.Drain, status.Down, "no connection within 1s"},
		{offRow("L4TOUT", false), status.Down, status.Down, "no connection within 1s"},
		{offRow("L7OK", true), status.Drain, status.Down, "no connection within 1s"}, // its agent was asked before it was drained
		{offRow("L7OK", false), status.Down, status.Down, "no connection within 1s"},
		{drainedRow("MAINT", "", 0), status.Drain, status.Down, "not checked while it is taken out"},
		{rowOf("ctl1", "MAINT (via a/b)", "", 0, ""), status.Drain, status.Down, "not checked while it is taken out"},
		{rowOf("ctl1", "MAINT(resolution)", "", 0, ""), status.Drain, status.Down, "not checked while it is taken out"},
		{rowOf("ctl1", "NOLB", "L7OKC", 404, ""), status.Drain, status.Down, "GET /healthcheck answered 404"},
		{rowOf("ctl1", "UP", "INI", 0, ""), status.Unknown, status.Unknown, "not checked yet"},
		{rowOf("ctl1", "no check", "", 0, ""), status.Unknown, status.Unknown, "not checked yet"},
		{rowOf("ctl1", "DOWN", "L4CON", 0, "Connection refused"), status.Down, status.Down, "connection refused"},
		{rowOf("ctl1", "DOWN", "L4CON", 0, "No route to host"), status.Down, status.Down, "no route to host"},
		{rowOf("ctl1", "DOWN", "L4CON", 0, ""), status.Down, status.Down, "connection failed"},
		{rowOf("ctl1", "DOWN", "L4TOUT", 0, ""), status.Down, status.Down, "no connection within 1s"},
		{rowOf("ctl1", "DOWN", "L7TOUT", 0, ""), status.Down, status.Down, "GET /healthcheck: no answer within 2.5s"},
		{rowOf("ctl1", "DOWN", "L7RSP", 0, ""), status.Down, status.Down, "GET /healthcheck: the answer is not HTTP"},
		{rowOf("ctl1", "NEWSTATE", "L9NEW", 0, "Something New"), status.Unknown, status.Unknown, "layer4 connection problem: something new"},
		{rowOf("other", "UP", "L7OK", 200, ""), status.Unknown, status.Unknown, "HAProxy does not have it"},
	} {
		s := &spec.Spec{Services: []spec.Service{svc}}
		got := haproxy.Services(s, []output.Row{c.row}, now)
		if len(got) != 1 || len(got[0].Hosts) != 1 {
			t.Fatalf("%+v", got)
		}
		h := got[0].Hosts[0]
		if got[0].State != c.all || h.State != c.want || h.Check != c.text {
			t.Errorf("%s %s: service %s, host %s, %q; want %s, %s, %q", c.row.Status, c.row.CheckStatus, got[0].State, h.State, h.Check, c.all, c.want, c.text)
		}
		if c.row.Name == "ctl1" && (!h.Since.Equal(now.Add(-90*time.Second)) || h.Address != "10.0.0.1:8774" || h.Sessions != 3 || h.Weight != 16) {
			t.Errorf("host %+v", h)
		}
	}

	svc.Hosts = append(svc.Hosts, spec.Host{Name: "ctl2", Address: netip.MustParseAddr("10.0.0.2")})
	rows := []output.Row{rowOf("ctl1", "UP", "L7OK", 200, ""), rowOf("ctl2", "DRAIN", "L7OK", 200, "")}
	if got := haproxy.Services(&spec.Spec{Services: []spec.Service{svc}}, rows, now); got[0].State != status.Up {
		t.Errorf("one up, one drained on purpose: %s", got[0].State)
	}
}

func TestServerStates(t *testing.T) {
	s := large(1, 2)
	s.Services[0].Name, s.Services[0].Port = "nova", 18774
	s.Services[0].Hosts = []spec.Host{{Name: "ctl1", Address: netip.MustParseAddr("127.0.0.11")}, {Name: "ctl2", Address: netip.MustParseAddr("127.0.0.12")}}
	cfg := haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast"})
	for version, reply := range replies(t, "state") {
		got, err := haproxy.ServerStates(reply, cfg)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		lines := strings.Split(strings.TrimSpace(string(got)), "\n")
		// ctl2 has another port in the reply, and so begins afresh.
		if len(lines) != 3 || lines[0] != "1" || !strings.HasPrefix(lines[2], "3 nova 1 ctl1 127.0.0.11 2 0 16 16 ") || !strings.HasSuffix(lines[2], " - 18774 - 0 0 - - 0") {
			t.Errorf("%s: %q", version, lines)
		}
		again, err := haproxy.ServerStates(got, cfg)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s: what it makes is not what it takes: %v", version, err)
		}
	}
	// Nor may its weight, and that at the start, override the configuration's.
	moved := "1\n3 nova 1 ctl1 127.0.0.11 0 1 32 16 3 15 3 4 6 0 0 1 - 18774 - 0 99 6.6.6.6 6.6.6.6 666\n\n"
	got, err := haproxy.ServerStates([]byte(moved), cfg)
	if want := "1\n3 nova 1 ctl1 127.0.0.11 0 1 16 16 3 15 3 4 6 0 0 1 - 18774 - 0 0 - - 0\n"; string(got) != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	// Nor whether it is spoken to in TLS, which was true or not of the worker before.
	s.Services[0].TLS.Mode = spec.InsecureHosts
	secure := haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast"})
	got, err = haproxy.ServerStates([]byte(moved), secure)
	if want := "1\n3 nova 1 ctl1 127.0.0.11 0 1 16 16 3 15 3 4 6 0 0 1 - 18774 - 1 0 - - 0\n"; string(got) != want || err != nil {
		t.Errorf("with TLS: %q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"", "2\n", "1", "1\n3 nova 1 ctl1 127.0.0.11\n", "1\n# x\n3 nova"} {
		if got, err := haproxy.ServerStates([]byte(bad), cfg); err == nil {
			t.Errorf("%q: %q, want an error", bad, got)
		}
	}
}

func TestMaxConn(t *testing.T) {
	s := large(6, 3) // two addresses: 12 listeners, 18 servers
	for _, c := range []struct {
		nofile uint64
		want   int
	}{{0, 100}, {1024, 150}, {20_000, 9_600}, {1 << 40, 40_000}} {
		if got := haproxy.MaxConn(s, c.nofile); got != c.want {
			t.Errorf("MaxConn with %d files = %d, want %d", c.nofile, got, c.want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	for _, r := range replies(f, "stat") {
		f.Add(r)
	}
	f.Add([]byte("# pxname,svname,status\n\"a,b\n"))
	s := large(1, 1)
	f.Fuzz(func(_ *testing.T, data []byte) {
		rows, err := output.ParseStat(data)
		if err == nil {
			haproxy.Services(s, rows, time.Time{})
		}
	})
}

func FuzzServerStates(f *testing.F) {
	for _, r := range replies(f, "state") {
		f.Add(r)
	}
	cfg := haproxy.Render(large(1, 2), haproxy.Local{})
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := haproxy.ServerStates(data, cfg)
		if err != nil {
			return
		}
		if again, err := haproxy.ServerStates(out, cfg); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%q, %v, from %q", again, err, out)
		}
	})
}

// Where there is nothing at the path of a check, the other usual one is named.
func TestCheckWordsNameTheOtherPath(t *testing.T) {
	svc := spec.Service{Name: "rgw", Check: spec.Check{Layer: 7, Path: "/swift/healthcheck", Expect: []spec.CodeRange{{From: 200, To: 200}}, Others: []string{"/healthcheck"}}}
	for code, want := range map[int]string{
		404: `GET /swift/healthcheck answered 404, want 200; in other installations it is at /healthcheck, as "check: {path: /healthcheck}" says`,
		503: "GET /swift/healthcheck answered 503, want 200",
	} {
		row := rowOf("ctl1", "DOWN", "L7STS", code, "")
		if got := haproxy.CheckWords(&spec.Spec{}, svc, &row); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
