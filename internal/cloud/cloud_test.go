package cloud

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/status"
)

var now = time.Date(2026, 11, 22, 10, 42, 7, 0, time.UTC)

// cloudOf gives the answers of n controllers, ctl1 to ctln, of a cloud in which
// all is well: ctl1 holds the VIP, two services run on every controller.
func cloudOf(n int) []Answer {
	var answers []Answer
	for i := range n {
		answers = append(answers, answerOf(i+1, n))
	}
	return answers
}

func answerOf(i, n int) Answer {
	name := fmt.Sprintf("ctl%d", i)
	vip := status.VIP{
		Name: "api", Addresses: []string{"10.0.0.10/24"}, Hostname: "openstack.example.org", Interface: "eno1",
		State: status.Backup, Since: now.Add(-time.Hour), Holder: "ctl1", Priority: 254 - 24*(i-1),
	}
	if i == 1 {
		vip.State, vip.Present, vip.Reason = status.Active, true, "no adverts from ctl2 for 3 intervals"
	}
	s := &status.Snapshot{
		Schema: 1, Time: now, Version: "1.0.0", Cloud: "eqiad1", Controller: name, Started: now.Add(-2 * time.Hour),
		Config:  status.Config{File: "/etc/holdfast/holdfast.yaml", Digest: "3f2a91bc04de", Loaded: now.Add(-2 * time.Hour)},
		HAProxy: status.HAProxy{State: status.HAProxyRunning, Version: "2.6.12", Since: now.Add(-2 * time.Hour)},
		VIPs:    []status.VIP{vip},
	}
	for _, service := range []status.Service{{Name: "keystone", Type: "identity", Port: 5000}, {Name: "nova", Type: "compute", Port: 8774}} {
		for h := range n {
			service.Hosts = append(service.Hosts, status.Host{
				Name: fmt.Sprintf("ctl%d", h+1), Address: fmt.Sprintf("10.0.0.%d:%d", h+1, service.Port), State: status.Up, Since: now.Add(-time.Hour),
			})
		}
		service.State = status.Up
		s.Services = append(s.Services, service)
	}
	return Answer{Name: name, Address: fmt.Sprintf("10.0.0.%d:9470", i), Snapshot: s, Received: now, Took: 2 * time.Millisecond, Clock: now}
}

// lose takes a controller's answer away.
func lose(a *Answer, why string) { a.Snapshot, a.Error, a.Clock = nil, why, time.Time{} }

// check sets what one agent's HAProxy sees of a host.
func check(a Answer, service, host string, state status.ServiceState, words string) {
	for i := range a.Snapshot.Services {
		for j := range a.Snapshot.Services[i].Hosts {
			if h := &a.Snapshot.Services[i].Hosts[j]; a.Snapshot.Services[i].Name == service && h.Name == host {
				h.State, h.Check, h.Since = state, words, now.Add(-10*time.Minute)
			}
		}
	}
}

func checkAll(answers []Answer, service, host string, state status.ServiceState, words string) {
	for _, a := range answers {
		if a.Snapshot != nil {
			check(a, service, host, state, words)
		}
	}
}

func TestMergeFindings(t *testing.T) {
	tests := []struct {
		name    string
		change  func([]Answer)
		healthy bool
		want    []string
	}{
		{"all is well", func([]Answer) {}, true, nil},
		{
			"a backup is unreachable", func(a []Answer) { lose(&a[2], "connection refused"); a[2].Reached = true }, false,
			[]string{"controller ctl3: warning: its agent does not answer: connection refused; see systemctl status holdfast there, if the host can be reached"},
		},
		{
			"a host is lost: one finding, not one for each service", func(a []Answer) {
				lose(&a[2], "no answer within 1s")
				checkAll(a, "keystone", "ctl3", status.Down, "connect timed out")
				checkAll(a, "nova", "ctl3", status.Down, "connect timed out")
			}, false,
			[]string{"controller ctl3: warning: its agent does not answer: no answer within 1s; if it runs and is only cut off, it may hold VIP api too; no service answers there: keystone, nova; see systemctl status holdfast there, if the host can be reached"},
		},
		{
			"the holder's agent is unreachable, its adverts are not", func(a []Answer) { lose(&a[0], "connection refused") }, false,
			[]string{"controller ctl1: warning: its agent does not answer: connection refused; by its adverts it still holds VIP api; see systemctl status holdfast there, if the host can be reached"},
		},
		{
			"nobody answers", func(a []Answer) {
				for i := range a {
					lose(&a[i], "no route to host")
				}
			}, false,
			[]string{
				"cloud: no controller answers, so nothing is known; check that this host reaches the controllers' addresses, and that an agent runs there",
				"controller ctl1: warning: its agent does not answer: no route to host; see systemctl status holdfast there, if the host can be reached",
				"controller ctl2: warning: its agent does not answer: no route to host; see systemctl status holdfast there, if the host can be reached",
				"controller ctl3: warning: its agent does not answer: no route to host; see systemctl status holdfast there, if the host can be reached",
			},
		},
		{
			"the VIP is held by nobody", func(a []Answer) {
				v := &a[0].Snapshot.VIPs[0]
				v.State, v.Present, v.Reason = status.Initialize, false, "haproxy cannot start"
			}, false,
			[]string{"vip api: no controller holds it: ctl1 is initialize (haproxy cannot start); holdfast events on each controller says why"},
		},
		{
			"the VIP is held by two", func(a []Answer) {
				v := &a[1].Snapshot.VIPs[0]
				v.State, v.Present, v.Since = status.Active, true, now.Add(-time.Minute)
			}, false,
			[]string{"vip api: held by ctl1, ctl2 at once; they do not hear each other's adverts: let IP protocol 112 pass between them"},
		},
		{
			"a takeover between two answers is no split", func(a []Answer) {
				a[0].Snapshot.Time = now.Add(-50 * time.Millisecond)
				v := &a[1].Snapshot.VIPs[0]
				v.State, v.Present, v.Since = status.Active, true, now.Add(-20*time.Millisecond)
			}, true, nil,
		},
		{
			"nor is one between controllers whose clocks differ", func(a []Answer) {
				const ahead = 1500 * time.Millisecond
				a[0].Snapshot.Time, a[0].Clock = now.Add(ahead-50*time.Millisecond), now.Add(ahead)
				v := &a[1].Snapshot.VIPs[0]
				v.State, v.Present, v.Since = status.Active, true, now.Add(-20*time.Millisecond)
			}, true, nil,
		},
		{
			"a split is one though clocks differ", func(a []Answer) {
				a[0].Snapshot.Time, a[0].Clock = now.Add(-1500*time.Millisecond), now.Add(-1500*time.Millisecond)
				v := &a[1].Snapshot.VIPs[0]
				v.State, v.Present, v.Since = status.Active, true, now.Add(-time.Second)
			}, false,
			[]string{"vip api: held by ctl1, ctl2 at once; they do not hear each other's adverts: let IP protocol 112 pass between them"},
		},
		{
			"the kernel does not have the address", func(a []Answer) { a[0].Snapshot.VIPs[0].Present = false }, false,
			[]string{"vip api: ctl1 holds it, but eno1 does not have 10.0.0.10/24; is eno1 up on ctl1? see journalctl -u holdfast there"},
		},
		{
			"different specs", func(a []Answer) { a[1].Snapshot.Config.Digest = "9bc100000000" }, false,
			[]string{"spec: warning: controllers run different specs: 3f2a91bc04de on ctl1, ctl3; 9bc100000000 on ctl2; put the same file on all, then systemctl reload holdfast on each that differs"},
		},
		{
			"a file is refused", func(a []Answer) {
				a[1].Snapshot.Config.Rejected = []status.Finding{
					{Severity: status.Error, Where: status.Position{File: "/etc/holdfast/holdfast.yaml", Line: 7, Column: 3}, Text: `unknown key "vip"`, Remedy: `write "vips"`},
					{Severity: status.Error, Text: "another"},
				}
			}, false,
			[]string{`spec on ctl2: warning: the file is refused and the spec before it stays in use: /etc/holdfast/holdfast.yaml:7:3: unknown key "vip" (and 1 more); write "vips"`},
		},
		{
			"haproxy hangs on the holder", func(a []Answer) {
				a[0].Snapshot.HAProxy = status.HAProxy{State: status.HAProxyHung, Since: now.Add(-time.Minute), Version: "2.6.12", Reason: "no answer on 10.0.0.10:5000 for 300ms"}
			}, false,
			[]string{"haproxy on ctl1: runs but does not answer: no answer on 10.0.0.10:5000 for 300ms; it holds VIP api; the agent tries again by itself; see journalctl -u holdfast there"},
		},
		{
			"haproxy is down on a backup", func(a []Answer) {
				a[1].Snapshot.HAProxy = status.HAProxy{State: status.HAProxyFailed, Reason: "port 5000 of 10.0.0.10 is taken by process 812 (uwsgi)"}
			}, false,
			[]string{"haproxy on ctl2: warning: cannot start: port 5000 of 10.0.0.10 is taken by process 812 (uwsgi); the agent tries again by itself; see journalctl -u holdfast there"},
		},
		{
			"a service is down on one host", func(a []Answer) {
				checkAll(a, "nova", "ctl2", status.Down, "GET / answered 503, want 200")
			}, false,
			[]string{"service nova on ctl2: warning: down: GET / answered 503, want 200; see its log there; it comes back by itself once its check passes"},
		},
		{
			"a host hangs for those who have clients", func(a []Answer) {
				check(a[0], "nova", "ctl2", status.Down, "HAProxy could not make the check")
				for i := range a[0].Snapshot.Services[1].Hosts {
					if h := &a[0].Snapshot.Services[1].Hosts[i]; h.Name == "ctl2" {
						h.Condition, h.Evidence = status.Hung, "nothing came for 13s, while others answer"
					}
				}
			}, false,
			[]string{"service nova on ctl2: warning: down: hung, nothing came for 13s, while others answer; see its log there; it comes back by itself once its check passes"},
		},
		{
			"a host with all its services is down", func(a []Answer) {
				checkAll(a, "keystone", "ctl2", status.Down, "connection refused")
				checkAll(a, "nova", "ctl2", status.Down, "connection refused")
			}, false,
			[]string{"host ctl2: warning: none of its 2 services answers: connection refused (keystone, nova); is the host up, and does ctl1 reach 10.0.0.2:5000?"},
		},
		{
			"a service is down everywhere, for one reason", func(a []Answer) {
				for _, h := range []string{"ctl1", "ctl2", "ctl3"} {
					checkAll(a, "nova", h, status.Down, "GET / answered 500, want 200")
				}
			}, false,
			[]string{"service nova: no host answers: GET / answered 500, want 200 on ctl1, ctl2, ctl3; see its log on each host; it comes back by itself once a check passes"},
		},
		{
			"a service is down everywhere, for several reasons", func(a []Answer) {
				checkAll(a, "nova", "ctl1", status.Down, "GET / answered 500, want 200")
				checkAll(a, "nova", "ctl2", status.Down, "")
				checkAll(a, "nova", "ctl3", status.Drain, "")
			}, false,
			[]string{
				"service nova: no host answers: ctl1: GET / answered 500, want 200, ctl2: its check fails, ctl3: drained; see its log on each host; it comes back by itself once a check passes",
				"service nova on ctl3: info: drained on purpose; holdfast undrain ctl3 --service nova puts it back",
			},
		},
		{
			"everything drained", func(a []Answer) {
				for _, h := range []string{"ctl1", "ctl2", "ctl3"} {
					checkAll(a, "nova", h, status.Drain, "")
				}
			}, false,
			[]string{
				"service nova: every host is drained: ctl1, ctl2, ctl3; holdfast undrain one of them",
				"service nova on ctl1: info: drained on purpose; holdfast undrain ctl1 --service nova puts it back",
				"service nova on ctl2: info: drained on purpose; holdfast undrain ctl2 --service nova puts it back",
				"service nova on ctl3: info: drained on purpose; holdfast undrain ctl3 --service nova puts it back",
			},
		},
		{
			"a controller drained on purpose is healthy", func(a []Answer) {
				checkAll(a, "keystone", "ctl2", status.Drain, "")
				checkAll(a, "nova", "ctl2", status.Drain, "")
			}, true,
			[]string{"host ctl2: info: drained on purpose; holdfast undrain ctl2 puts it back"},
		},
		{
			"a handover not yet at its end", func(a []Answer) {
				a[1].Snapshot.VIPs[0].Giving = &status.Giving{To: "ctl1", Since: now.Add(-time.Minute), Until: now.Add(59 * time.Minute), Connections: 3}
				a[2].Snapshot.VIPs[0].Giving = &status.Giving{To: "ctl1", Since: now.Add(-time.Minute), Until: now.Add(59 * time.Minute)}
			}, true,
			[]string{"vip api: info: 3 connections go on at ctl2, which handed it over to ctl1 at 10:41:07 UTC; wait until they have ended before you stop HAProxy there; they are cut at 11:41:07 UTC"},
		},
		{
			"no check has ended yet", func(a []Answer) {
				for _, h := range []string{"ctl1", "ctl2", "ctl3"} {
					checkAll(a, "nova", h, status.Unknown, "")
				}
			}, false,
			[]string{"service nova: warning: no health check has ended yet; wait for the first; if it stays so, see whether HAProxy runs"},
		},
		{
			"two HAProxys disagree", func(a []Answer) {
				check(a[2], "nova", "ctl2", status.Down, "connect timed out")
				check(a[2], "keystone", "ctl2", status.Down, "connect timed out")
			}, false,
			[]string{"services keystone, nova on ctl2: warning: up for ctl1, ctl2, down for ctl3 (connect timed out); check the network between ctl2 and the controllers that find it down"},
		},
		{
			"a change too young to disagree about", func(a []Answer) {
				check(a[2], "nova", "ctl2", status.Down, "connect timed out")
				a[2].Snapshot.Services[1].Hosts[1].Since = now.Add(-time.Second)
			}, true, nil,
		},
		{
			"a hung HAProxy's word on hosts is not believed", func(a []Answer) {
				a[2].Snapshot.HAProxy.State = status.HAProxyHung
				a[2].Snapshot.HAProxy.Since = time.Time{}
				check(a[2], "nova", "ctl2", status.Down, "connect timed out")
			}, false,
			[]string{"haproxy on ctl3: warning: runs but does not answer; the agent tries again by itself; see journalctl -u holdfast there"},
		},
		{
			"a clock is wrong", func(a []Answer) { a[2].Clock = now.Add(7 * time.Second); a[2].Snapshot.Time = a[2].Clock }, false,
			[]string{"controller ctl3: warning: its clock is 7s ahead of that of ctl2; let NTP set both (chronyc tracking): Keystone tokens and the journal go by it"},
		},
		{
			"the asker's clock is wrong", func(a []Answer) {
				for i := range a {
					a[i].Received = now.Add(time.Hour)
				}
			}, true, nil,
		},
		{
			"an agent stands still", func(a []Answer) { a[1].Snapshot.Time = now.Add(-30 * time.Second) }, false,
			[]string{"controller ctl2: its agent stands still: what it says is 30s old; systemctl restart holdfast there; HAProxy goes on serving meanwhile"},
		},
		{
			"the wrong controller at an address", func(a []Answer) { a[1].Snapshot.Controller = "ctl1" }, false,
			[]string{`controller ctl2: the agent at 10.0.0.2:9470 says that it is controller "ctl1"; start it with --controller ctl2, or correct the address in the spec`},
		},
		{
			"the agent of another cloud at an address, which holds a VIP of the same name and lacks a service", func(a []Answer) {
				other := a[1].Snapshot
				other.Controller, other.Cloud, other.Config.Digest = "ctl1", "codfw1", "other"
				other.VIPs[0].State, other.VIPs[0].Present, other.VIPs[0].Since = status.Active, true, now.Add(-time.Second)
				other.HAProxy.State = status.HAProxyDown
				for _, host := range []string{"ctl1", "ctl2", "ctl3"} {
					check(a[1], "nova", host, status.Down, "connect timed out")
				}
			}, false,
			[]string{
				`controller ctl2: the agent at 10.0.0.2:9470 belongs to cloud "codfw1", not "eqiad1"; correct the address in the spec, or the spec on that controller`,
			},
		},
		{
			"adverts of others and an upgrade are worth knowing", func(a []Answer) {
				a[0].Snapshot.VIPs[0].Rejected = map[string]uint64{"source": 12, "checksum": 1, "ttl": 0, "vrid": 99, "length": 3}
				a[2].Snapshot.Version = "1.1.0"
				a[2].Snapshot.HAProxy.Version = "2.8.5"
			}, true,
			[]string{
				"vip api on ctl1: info: adverts dropped since the agent started: 1 with a wrong checksum, 3 refused for their length, 12 from an address that is no controller's; tcpdump -ni eno1 vrrp shows who sends them; two clouds on one network need two router_ids",
				"holdfast: info: controllers run different versions: 1.0.0 on ctl1, ctl2; 1.1.0 on ctl3; finish the upgrade, one controller after the other",
				"haproxy: info: controllers run different versions: 2.6.12 on ctl1, ctl2; 2.8.5 on ctl3; finish the upgrade, one controller after the other",
			},
		},
		{
			"what agents report is told once", func(a []Answer) {
				for i := range a {
					a[i].Snapshot.Findings = []status.Finding{
						{Severity: status.Warning, Code: "single-host", Where: status.Position{File: "h.yaml", Line: 3, Column: 1}, Text: "one host only", Subject: "service nova"},
						{Severity: status.Warning, Code: status.CodeHostDown, Text: "Merge says this itself"},
					}
				}
				a[1].Snapshot.Findings = append(a[1].Snapshot.Findings, status.Finding{Severity: status.Info, Code: "x", Subject: "certificate", Text: "ends\x1b[2J soon"}, status.Finding{Severity: status.Info, Code: "y", Text: "low on memory"})
			}, true,
			[]string{
				"h.yaml:3:1: warning: one host only",
				"certificate on ctl2: info: ends [2J soon",
				"controller ctl2: info: low on memory",
			},
		},
		{
			"what an agent warns of degrades", func(a []Answer) {
				a[1].Snapshot.Findings = []status.Finding{{Severity: status.Warning, Code: "x", Subject: "certificate", Text: "has ended"}}
			}, false,
			[]string{"certificate on ctl2: warning: has ended"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := cloudOf(3)
			tt.change(answers)
			got := Merge(now, "eqiad1", answers)
			var lines []string
			for _, f := range got.Findings {
				lines = append(lines, f.String())
			}
			if diff := cmp.Diff(tt.want, lines); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if got.Healthy != tt.healthy {
				t.Errorf("healthy is %t", got.Healthy)
			}
			if _, err := json.Marshal(got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMergeVIP(t *testing.T) {
	answers := cloudOf(3)
	want := VIP{
		Name: "api", Addresses: []string{"10.0.0.10/24"}, Hostname: "openstack.example.org",
		Holder: "ctl1", Holders: []string{"ctl1"}, Since: now.Add(-time.Hour), Reason: "no adverts from ctl2 for 3 intervals",
	}
	if diff := cmp.Diff([]VIP{want}, Merge(now, "", answers).VIPs); diff != "" {
		t.Errorf("VIPs (-want +got):\n%s", diff)
	}
	lose(&answers[0], "refused")
	want.Holders, want.Since, want.Reason = []string{}, time.Time{}, ""
	if diff := cmp.Diff([]VIP{want}, Merge(now, "", answers).VIPs); diff != "" {
		t.Errorf("VIPs with an unreachable holder (-want +got):\n%s", diff)
	}
}

// TestMergePrefersTheHolder proves that clients' own HAProxy is the one believed.
func TestMergePrefersTheHolder(t *testing.T) {
	answers := cloudOf(3)
	answers[0], answers[2] = answers[2], answers[0] // the holder answers last
	check(answers[2], "nova", "ctl2", status.Down, "connect timed out")
	got := Merge(now, "", answers)
	host := got.Services[1].Hosts[1]
	if host.State != status.Down || got.Services[1].State != status.Degraded {
		t.Errorf("nova on ctl2 is %s, nova is %s; the holder finds it down", host.State, got.Services[1].State)
	}
	var views []string
	for _, v := range host.Views {
		views = append(views, v.Controller+" "+string(v.State))
	}
	if want := []string{"ctl1 down", "ctl3 up", "ctl2 up"}; !slices.Equal(views, want) {
		t.Errorf("views are %s, want %s", views, want)
	}
	if v := got.Services[0].Hosts[0].Views; v != nil {
		t.Errorf("views of a host that all see alike: %v", v)
	}
}

// TestMergeOfAnotherCloud proves that an agent of another cloud is no holder, whoever asks.
func TestMergeOfAnotherCloud(t *testing.T) {
	for _, asked := range []string{"", "eqiad1"} {
		answers := cloudOf(3)
		answers[0].Snapshot.Cloud = "codfw1" // the first, and it holds the VIP
		answers[1].Snapshot.VIPs[0].Holder, answers[2].Snapshot.VIPs[0].Holder = "", ""
		got := Merge(now, asked, answers)
		if got.Cloud != "eqiad1" || len(got.VIPs[0].Holders) != 0 || got.VIPs[0].Holder != "" || got.Controllers[0].Reachable || got.Controllers[0].Snapshot != nil ||
			got.Controllers[0].Error != `the agent there belongs to cloud "codfw1", not "eqiad1"` {
			t.Errorf("asked for %q: cloud %q, VIP %+v, controller %+v", asked, got.Cloud, got.VIPs[0], got.Controllers[0])
		}
		if answers[0].Snapshot == nil {
			t.Error("Merge has changed what it was given")
		}
	}
	answers := cloudOf(2)
	answers[1].Snapshot.Cloud = "" // it has no spec yet
	if got := Merge(now, "", answers); !got.Controllers[1].Reachable {
		t.Errorf("one without a spec is %+v", got.Controllers[1])
	}
}

// TestMergePrefersTheHolderOfItsVIP: with several VIPs a service is as the holder of one that it
// listens on sees it, for that is whom its clients reach.
func TestMergePrefersTheHolderOfItsVIP(t *testing.T) {
	for vip, want := range map[string]status.ServiceState{"api": status.Down, "inside": status.Up} {
		answers := cloudOf(3)
		for i, a := range answers {
			second := a.Snapshot.VIPs[0]
			second.Name, second.State, second.Holder = "inside", status.Backup, "ctl2"
			if i == 1 {
				second.State, second.Present = status.Active, true
			}
			a.Snapshot.VIPs = append(a.Snapshot.VIPs, second)
			a.Snapshot.Services[1].VIPs = []string{vip}
		}
		for _, host := range []string{"ctl1", "ctl2", "ctl3"} {
			check(answers[0], "nova", host, status.Down, "connect timed out")
		}
		if got := Merge(now, "", answers).Services[1].State; got != want {
			t.Errorf("of nova on VIP %s it is said that it is %s, want %s", vip, got, want)
		}
	}
}

// TestMergeUnion proves that nothing of a controller with another spec is lost.
func TestMergeUnion(t *testing.T) {
	answers := cloudOf(3)
	extra := answers[2].Snapshot
	extra.Services = append(extra.Services, status.Service{Name: "glance", Port: 9292, Hosts: []status.Host{{Name: "img1", Address: "10.0.0.50:9292", State: status.Up}}})
	extra.VIPs = append(extra.VIPs, status.VIP{Name: "internal", State: status.Active, Present: true})
	got := Merge(now, "", answers)
	if n := len(got.Services); n != 3 || got.Services[2].State != status.Up {
		t.Errorf("%d services: %v", n, got.Services)
	}
	if n := len(got.VIPs); n != 2 || got.VIPs[1].Holder != "ctl3" {
		t.Errorf("%d VIPs: %v", n, got.VIPs)
	}
}

func TestMergeLeavesItsInputAlone(t *testing.T) {
	answers, same := cloudOf(3), cloudOf(3)
	for _, a := range [][]Answer{answers, same} {
		a[1].Snapshot.Controller = "other"
		a[0].Snapshot.HAProxy.State = status.HAProxyHung
	}
	Merge(now, "", answers)
	if diff := cmp.Diff(same, answers); diff != "" {
		t.Errorf("Merge changed its input (-before +after):\n%s", diff)
	}
}
func TestListOfManyIsShort(t *testing.T) {
	got := Merge(now, "", cloudOf(12))
	if len(got.Findings) != 0 {
		t.Fatalf("findings: %v", got.Findings)
	}
	answers := cloudOf(12)
	for i := range answers[1:] {
		answers[i+1].Snapshot.Config.Digest = "9bc100000000"
	}
	text := Merge(now, "", answers).Findings[0].Text
	if want := "controllers run different specs: 9bc100000000 on ctl2, ctl3, ctl4, ctl5, ctl6, ctl7, ctl8, ctl9 and 3 more; 3f2a91bc04de on ctl1"; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
