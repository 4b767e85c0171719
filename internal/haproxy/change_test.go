package haproxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// changeable makes a spec with nova on ctl1 and ctl2, which are controllers,
// and glance on ctl1 and store1.
func changeable() *spec.Spec {
	ctl1, ctl2 := spec.Host{Name: "ctl1", Address: netip.MustParseAddr("10.0.0.1")}, spec.Host{Name: "ctl2", Address: netip.MustParseAddr("10.0.0.2")}
	check := spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck"}
	return &spec.Spec{
		Cloud: "test", Agent: spec.Agent{CheckPort: 9471},
		VIPs: []spec.VIP{{Name: "api", Hostname: "api.example.org", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/24")}}},
		Controllers: []spec.Controller{
			{Name: "ctl1", Address: ctl1.Address}, {Name: "ctl2", Address: ctl2.Address}, {Name: "ctl3", Address: netip.MustParseAddr("10.0.0.3")},
		},
		Services: []spec.Service{
			{Name: "nova", Port: 8774, Hosts: []spec.Host{ctl1, ctl2}, Check: check},
			{Name: "glance", Port: 9292, Hosts: []spec.Host{ctl1, {Name: "store1", Address: netip.MustParseAddr("10.0.0.4")}}, Check: check},
		},
	}
}

// host makes a host.
func host(name, address string, weight int) spec.Host {
	return spec.Host{Name: name, Address: netip.MustParseAddr(address), Weight: weight}
}

func render(s *spec.Spec) *haproxy.Config {
	return haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast", StateDir: "/var/lib/holdfast", MaxConn: 500})
}

var serverLine = regexp.MustCompile(`^    server (\S+) (\S+) id (\d+)(?: weight (\d+))?`)

// workerOf gives the worker that HAProxy has with cfg.
func workerOf(t testing.TB, cfg *haproxy.Config) haproxy.Worker {
	t.Helper()
	reply, backend := "1\n# be_id …\n", ""
	for line := range strings.Lines(string(cfg.Bytes())) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "backend "); ok {
			backend = name
		}
		m := serverLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at := netip.MustParseAddrPort(m[2])
		weight, agent := m[4], "-"
		if weight == "" {
			weight = "16"
		}
		if strings.Contains(line, "agent-addr") {
			agent = at.Addr().String()
		}
		reply += fmt.Sprintf("3 %s %s %s %v 2 0 %s 16 2 15 3 4 6 22 0 1 - %d - 0 0 - %s 9471\n", backend, m[3], m[1], at.Addr(), weight, at.Port(), agent)
	}
	servers, err := haproxy.ParseServerStates([]byte(reply))
	if err != nil {
		t.Fatal(err)
	}
	return haproxy.Worker{Version: "2.6.12-1+deb12u4", Servers: servers}
}

// added gives the steps that add a host to a service: to its two backends, there
// as one of last resort, too, and to the one that tells whether it accepts.
func added(service, host, at, agent, weight string, id int) []string {
	const checks = "check inter 2s fastinter 50ms downinter 1s fall 2 rise 3 observe layer7 error-limit 1 on-error fastinter weight 16"
	var steps []string
	for _, one := range []struct {
		name, more string
		id         int
	}{
		{service + "/" + host, "", id},
		{service + "/" + host + ":last", " inter 5s rise 1 observe layer4" + weight + " backup", id + 1<<20},
		{service + ":once/" + host, "", id},
		{service + ":once/" + host + ":last", " inter 5s rise 1 observe layer4" + weight + " backup", id + 1<<20},
		{service + ":even/" + host, "", id},
		{service + ":accepts/" + host, " inter 5s rise 1 observe layer4", id},
	} {
		if one.more == "" {
			one.more = weight
		}
		on := "enable health " + one.name
		if agent != "" {
			on += ";enable agent " + one.name + ";set server " + one.name + " agent up"
		}
		steps = append(steps,
			fmt.Sprintf("add server %s %s pool-max-conn -1 pool-purge-delay 5s %s%s%s id %d", one.name, at, checks, one.more, agent, one.id),
			on+";set server "+one.name+" state drain;set server "+one.name+" health down;set server "+one.name+" state ready")
	}
	return steps
}

// What can be done without a reload, word for word.
func TestPlanChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *spec.Spec)
		done   string
		steps  []string
	}{
		{"nothing", func(*spec.Spec) {}, "", nil},
		{"another order of hosts", func(s *spec.Spec) {
			h := s.Services[0].Hosts
			s.Services[0].Hosts = []spec.Host{h[1], h[0]}
		}, "", nil},
		{"only a comment", func(s *spec.Spec) { s.Cloud = "other" }, "", nil},
		{"a host that is no controller comes", func(s *spec.Spec) {
			s.Services[1].Hosts = append(s.Services[1].Hosts, host("store2", "10.0.0.5", 32))
		}, "added host store2 to glance", added("glance", "store2", "10.0.0.5:9292", "", " weight 32", 863473)},
		{"a controller comes", func(s *spec.Spec) {
			s.Services[0].Hosts = append(s.Services[0].Hosts, host("ctl3", "10.0.0.3", 16))
		}, "added host ctl3 to nova", added("nova", "ctl3", "10.0.0.3:8774",
			` agent-check agent-addr 10.0.0.3 agent-port 9471 agent-inter 5s agent-send ctl3\ nova`+"\r", "", 136802)},
		{"a host goes", func(s *spec.Spec) { s.Services[0].Hosts = s.Services[0].Hosts[:1] }, "removed host ctl2 from nova", []string{
			"disable agent nova/ctl2", "quiet nova/ctl2", "set server nova/ctl2 state maint", "set server nova/ctl2:last state maint",
			"set server nova:once/ctl2 state maint", "set server nova:once/ctl2:last state maint",
			"set server nova:even/ctl2 state maint",
			"disable agent nova:accepts/ctl2", "quiet nova:accepts/ctl2", "set server nova:accepts/ctl2 state maint",
		}},
		{"a weight", func(s *spec.Spec) {
			s.Services[0].Hosts[0].Weight, s.Services[1].Hosts[0].Weight = 32, 32
		}, "gave host ctl1 weight 32 in nova and glance", []string{
			"set server nova/ctl1 weight 32", "set server nova/ctl1:last weight 32",
			"set server nova:once/ctl1 weight 32", "set server nova:once/ctl1:last weight 32",
			"set server nova:even/ctl1 weight 32",
			"set server glance/ctl1 weight 32", "set server glance/ctl1:last weight 32",
			"set server glance:once/ctl1 weight 32", "set server glance:once/ctl1:last weight 32",
			"set server glance:even/ctl1 weight 32",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := render(changeable())
			s := changeable()
			c.change(s)
			got := haproxy.PlanChange(from, render(s), workerOf(t, from))
			if got.Reload != "" || got.Done != c.done {
				t.Errorf("reload %q, done %q; want %q", got.Reload, got.Done, c.done)
			}
			var steps []string
			for _, step := range got.Steps {
				switch {
				case step.Quiet != nil:
					steps = append(steps, "quiet "+step.Quiet.Backend+"/"+step.Quiet.Name)
				default:
					steps = append(steps, step.Command)
				}
			}
			if d := cmp.Diff(c.steps, steps); d != "" {
				t.Error(d)
			}
		})
	}
}

// What needs a reload, and what is said of why.
func TestPlanChangeReloads(t *testing.T) {
	add := func(i int, h spec.Host) func(*spec.Spec) {
		return func(s *spec.Spec) { s.Services[i].Hosts = append(s.Services[i].Hosts, h) }
	}
	asWith := func(s *spec.Spec) *spec.Spec { s.Services[1].Mode = spec.TCP; return s }
	cookie := func(s *spec.Spec) *spec.Spec { s.Services[0].Affinity = spec.AffinityCookie; return s }
	tls := func(s *spec.Spec) *spec.Spec { s.Services[0].TLS.Mode = spec.InsecureHosts; return s }
	least := func(s *spec.Spec) *spec.Spec { s.Services[0].Affinity = spec.AffinityNone; return s }
	same := func(s *spec.Spec) *spec.Spec { return s }
	for _, c := range []struct {
		name    string
		from    func(*spec.Spec) *spec.Spec
		change  func(*spec.Spec)
		version string
		want    string
	}{
		{
			"a timeout", same, func(s *spec.Spec) { s.Services[0].Timeout.Server = time.Minute }, "",
			"timeout server of backend nova is new, timeout server of backend nova:once is new and timeout server of backend nova:even is new",
		},
		{
			"another timeout", func(s *spec.Spec) *spec.Spec { s.Services[0].Timeout.Connect = time.Second; return s },
			func(s *spec.Spec) { s.Services[0].Timeout.Connect = 2 * time.Second }, "",
			"timeout connect of backend nova changed, timeout connect of backend nova:once changed and timeout connect of backend nova:even changed",
		},
		{"a service", same, func(s *spec.Spec) {
			one := s.Services[0]
			one.Name, one.Port = "heat", 8004
			s.Services = append(s.Services, one)
		}, "", "a new frontend for 10.0.0.9:8004 and a new backend heat"},
		{"no service", same, func(s *spec.Spec) { s.Services = s.Services[:1] }, "", "no frontend for 10.0.0.9:9292 any more and no backend glance any more"},
		{"the mode", same, func(s *spec.Spec) { s.Services[1].Mode = spec.TCP }, "", "no backend glance:once any more, no backend glance:even any more and no backend glance:accepts any more"},
		{"services in another order", same, func(s *spec.Spec) { s.Services[0], s.Services[1] = s.Services[1], s.Services[0] }, "", "another order of services or VIPs"},
		{
			"the VIP", same, func(s *spec.Spec) { s.VIPs[0].Addresses[0] = netip.MustParsePrefix("10.0.0.10/24") }, "",
			"bind of frontend api-v4-nova changed and bind of frontend api-v4-glance changed",
		},
		{"a host becomes a controller", same, func(s *spec.Spec) {
			s.Controllers[2].Address = netip.MustParseAddr("10.0.0.4")
		}, "", "the line of server store1 of glance changed"},
		{"a host with a cookie", cookie, add(0, host("ctl3", "10.0.0.3", 0)), "", `host ctl3 is new in nova, and HAProxy takes "cookie" of a server in a reload only`},
		{"a host with TLS", tls, add(0, host("ctl3", "10.0.0.3", 0)), "", `host ctl3 is new in nova, and HAProxy takes "ssl" of a server in a reload only`},
		{"an old HAProxy", same, add(0, host("ctl3", "10.0.0.3", 0)), "2.4.22", "host ctl3 is new in nova, and HAProxy 2.4.22 takes a new host in a reload only"},
		{"an HAProxy of no version", same, add(0, host("ctl3", "10.0.0.3", 0)), "x", "host ctl3 is new in nova, and HAProxy x takes a new host in a reload only"},
		{"fewest connections", least, add(0, host("ctl3", "10.0.0.3", 0)), "3.2.7", "host ctl3 is new in nova, which balances by connections"},
		{
			"a TCP host goes", asWith, func(s *spec.Spec) { s.Services[1].Hosts = s.Services[1].Hosts[:1] }, "",
			"host store1 of glance is gone, and its connections are to go on (on-marked-down shutdown-sessions)",
		},
		{"the last host goes", same, func(s *spec.Spec) { s.Services[1].Hosts = nil }, "", "host ctl1 of glance is gone, and there is no other"},
		{
			"a host moves", same, func(s *spec.Spec) { s.Services[1].Hosts[1].Address = netip.MustParseAddr("fd00::1") }, "",
			"host store1 of glance moved from 10.0.0.4:9292 to [fd00::1]:9292",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := render(c.from(changeable()))
			s := c.from(changeable())
			c.change(s)
			w := workerOf(t, from)
			if c.version != "" {
				w.Version = c.version
			}
			if got := haproxy.PlanChange(from, render(s), w); got.Reload != c.want || len(got.Steps) > 0 {
				t.Errorf("%d steps, reload %q; want %q", len(got.Steps), got.Reload, c.want)
			}
		})
	}
	// A host that was added asks its agent in both backends.
	from, s := render(changeable()), changeable()
	s.Services[0].Hosts = s.Services[0].Hosts[:1]
	w := workerOf(t, from)
	for i, one := range w.Servers {
		if one.Backend == "nova:once" {
			w.Servers[i].AgentAddress = one.Address.Addr()
		}
	}
	if got := haproxy.PlanChange(from, render(s), w); got.Reload != "" || len(got.Steps) != 14 {
		t.Errorf("a host goes that was added: %+v", got)
	}
	// Only what HAProxy does not do well is refused: an old one has weights.
	s = changeable()
	s.Services[0].Hosts[0].Weight = 1
	w = workerOf(t, from)
	w.Version = "2.4.0"
	if got := haproxy.PlanChange(from, render(s), w); got.Reload != "" || len(got.Steps) != 5 {
		t.Errorf("a weight in 2.4: %+v", got)
	}
}

// A worker that is not what its configuration says is reloaded.
func TestPlanChangeDoubts(t *testing.T) {
	from, s := render(changeable()), changeable()
	s.Services[0].Hosts = append(s.Services[0].Hosts, host("ctl3", "10.0.0.3", 0))
	to := render(s)
	for _, c := range []struct {
		name  string
		spoil func(w *haproxy.Worker)
		want  string
	}{
		{"a weight by hand", func(w *haproxy.Worker) { w.Servers[0].Weight = 3 }, "HAProxy's servers are not as they were configured: nova/ctl1 has weight 3, and not 16"},
		{"a server is missing", func(w *haproxy.Worker) { w.Servers = w.Servers[1:] }, "HAProxy's servers are not as they were configured: nova/ctl1 is not there"},
		{"a server more", func(w *haproxy.Worker) {
			w.Servers = append(w.Servers, haproxy.ServerState{Backend: "nova", Name: "x", ID: 7})
		}, "HAProxy's servers are not as they were configured: nova/x is in use"},
		{"an agent could bring it back", func(w *haproxy.Worker) {
			w.Servers = append(w.Servers, haproxy.ServerState{Backend: "nova", Name: "x", ID: 7, Admin: 1, Agent: 6})
		}, "HAProxy's servers are not as they were configured: nova/x is in use"},
		{
			"another agent", func(w *haproxy.Worker) { w.Servers[0].AgentAddress = netip.MustParseAddr("10.9.9.9") },
			"HAProxy's servers are not as they were configured: nova/ctl1 asks the agent at 10.9.9.9, and not at 10.0.0.1",
		},
		{"the host is left over", func(w *haproxy.Worker) {
			w.Servers = append(w.Servers, haproxy.ServerState{Backend: "nova", Name: "ctl3", ID: 136802, Admin: 1})
		}, "host ctl3 was removed from nova since the last reload, and comes back"},
		{"its id is left over", func(w *haproxy.Worker) {
			w.Servers = append(w.Servers, haproxy.ServerState{Backend: "nova:once", Name: "x", ID: 136802, Admin: 3})
		}, "host ctl3 of nova has the id of x, which was removed since the last reload"},
		{"another host is left over", func(w *haproxy.Worker) {
			w.Servers = append(w.Servers, haproxy.ServerState{Backend: "nova", Name: "x", ID: 7, Admin: 1, Agent: 2})
		}, ""},
	} {
		w := workerOf(t, from)
		c.spoil(&w)
		if got := haproxy.PlanChange(from, to, w); got.Reload != c.want {
			t.Errorf("%s: %q, want %q", c.name, got.Reload, c.want)
		}
	}
	for _, bad := range []*haproxy.Config{nil, haproxy.ReadConfig(from.Bytes(), nil)} {
		if got := haproxy.PlanChange(bad, to, workerOf(t, from)); got.Reload != haproxy.Unknown {
			t.Errorf("from what is not known: %q", got.Reload)
		}
	}
}

// What is new must be in use, and what is gone must not.
func TestWorkerDiffers(t *testing.T) {
	cfg := render(changeable())
	fresh := []string{"nova/ctl2", "nova:once/ctl2"}
	w := workerOf(t, cfg)
	if why := w.Differs(cfg, fresh...); why != "" {
		t.Error(why)
	}
	for i, s := range w.Servers {
		if s.Name != "ctl2" || s.Backend != "nova" && s.Backend != "nova:once" {
			continue
		}
		for _, c := range []struct {
			as   haproxy.ServerState
			want string
		}{{haproxy.ServerState{Admin: 1}, " is in maintenance"}, {haproxy.ServerState{Check: 2}, " is not checked"}, {haproxy.ServerState{Check: 14}, " is not checked"}} {
			w := workerOf(t, cfg)
			w.Servers[i].Admin = c.as.Admin
			if c.as.Check != 0 {
				w.Servers[i].Check = c.as.Check
			}
			if got := w.Differs(cfg, fresh...); got != s.Backend+"/"+s.Name+c.want {
				t.Errorf("%+v: %q", c.as, got)
			}
			if got := w.Differs(cfg); got != "" {
				t.Errorf("%+v of a server that is not new: %q", c.as, got)
			}
		}
	}
	if w.Servers[0].Agent |= 1; w.Quiet("nova", "ctl1") || !w.Quiet("nova", "ctl2") || !w.Quiet("nova", "none") {
		t.Error("quiet")
	}
}

func TestParseServerStates(t *testing.T) {
	for version, reply := range replies(t, "state") {
		got, err := haproxy.ParseServerStates(reply)
		if err != nil || len(got) < 2 || got[0].Backend != "nova" || got[0].ID != 1 || got[0].Weight != 16 || got[0].Address != netip.MustParseAddrPort("127.0.0.11:18774") {
			t.Errorf("%s: %+v, %v", version, got, err)
		}
	}
	for _, bad := range []string{"", "2\n", "1", "1\n3 nova x ctl1 127.0.0.11 2 0 16 16 3 15 3 4 6 0 0 1 - 1 -\n", "1\n3 nova\n"} {
		if got, err := haproxy.ParseServerStates([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

// No pair of configurations, however broken, makes a command of more than one
// line, or one that is anything but about a server.
func FuzzPlanChange(f *testing.F) {
	from, s := render(changeable()), changeable()
	s.Services[0].Hosts = append(s.Services[0].Hosts[1:], host("ctl3", "10.0.0.3", 5))
	f.Add(modelOf(f, from), modelOf(f, render(s)))
	f.Add(modelOf(f, render(s)), modelOf(f, from))
	backend := func(server string) []byte {
		return []byte(`{"sections":[{"kind":"backend","name":"b","servers":[{"at":"1.2.3.4:5",` + server + `}]}]}`)
	}
	f.Add(backend(`"name":"a","settings":[{"name":"id","value":"1"},{"name":"agent-check"},{"name":"agent-send","value":"x\\"}]`),
		backend(`"name":"b\nx","settings":[{"name":"agent-send","value":"\n;\n"}]`))
	command := regexp.MustCompile(`^(add server|set server|enable health|enable agent|disable agent) [^\n]*$`)
	f.Fuzz(func(t *testing.T, from, to []byte) {
		var old, now haproxy.Config
		if json.Unmarshal(from, &old) != nil || json.Unmarshal(to, &now) != nil {
			return
		}
		w := haproxy.Worker{Version: "2.6.12"}
		if bytes.Contains(from, []byte(`"nova"`)) {
			w = workerOf(t, render(changeable()))
		}
		c := haproxy.PlanChange(&old, &now, w)
		if c.Reload != "" && len(c.Steps) > 0 {
			t.Errorf("both: %+v", c)
		}
		for _, step := range c.Steps {
			if step.Quiet == nil && !command.MatchString(step.Command) {
				t.Errorf("%q", step.Command)
			}
		}
	})
}

func FuzzParseServerStates(f *testing.F) {
	for _, r := range replies(f, "state") {
		f.Add(r)
	}
	cfg := render(changeable())
	f.Fuzz(func(_ *testing.T, reply []byte) {
		servers, err := haproxy.ParseServerStates(reply)
		if err == nil {
			haproxy.Worker{Servers: servers}.Differs(cfg)
		}
	})
}

// A large cloud is planned at once: it holds up a reload otherwise.
func BenchmarkPlanChange100x50(b *testing.B) {
	s := large(100, 50)
	from := render(s)
	s.Services[0].Hosts = append(s.Services[0].Hosts[:49:49], host("new", "10.0.2.1", 0))
	to, w := render(s), workerOf(b, from)
	for b.Loop() {
		if c := haproxy.PlanChange(from, to, w); c.Reload != "" {
			b.Fatal(c.Reload)
		}
	}
}
