package cli

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/status"
)

var updateStatus = flag.Bool("update-status", false, "write the golden files of holdfast status anew")

var statusNow = time.Date(2026, 11, 22, 10, 42, 7, 0, time.UTC)

func past(d time.Duration) time.Time { return statusNow.Add(-d) }

// cloudAnswers gives the answers of n controllers of a healthy cloud, the first
// of which holds the VIP.
func cloudAnswers(n int) []cloud.Answer {
	var answers []cloud.Answer
	for i := range n {
		name := fmt.Sprintf("cloudcontrol%d", 1003+i)
		s := &status.Snapshot{
			Schema: 1, Time: statusNow, Version: "0.3.1", Cloud: "eqiad1", Controller: name, Started: past(76 * time.Hour),
			Config:  status.Config{Digest: "3f2a91bc04de"},
			HAProxy: status.HAProxy{State: status.HAProxyRunning, Version: "2.6.12", Since: past(75 * time.Hour)},
			VIPs: []status.VIP{{
				Name: "api", Addresses: []string{"10.64.20.10/24", "2001:db8::10/64"}, Hostname: "openstack.eqiad1.wikimediacloud.org",
				State: status.Backup, Since: past(26 * time.Hour), Holder: "cloudcontrol1003",
			}},
		}
		if i == 0 {
			s.HAProxy.Connections, s.VIPs[0].State, s.VIPs[0].Present = 187, status.Active, true
		}
		for _, service := range []status.Service{{Name: "keystone", Port: 5000}, {Name: "glance", Port: 9292}, {Name: "nova", Port: 8774}} {
			for j := range n {
				service.Hosts = append(service.Hosts, status.Host{
					Name: fmt.Sprintf("cloudcontrol%d", 1003+j), Address: fmt.Sprintf("10.64.20.%d:%d", 13+j, service.Port), State: status.Up, Since: past(50 * time.Hour),
				})
			}
			s.Services = append(s.Services, service)
		}
		s.Services = append(s.Services, status.Service{Name: "designate", Port: 9001, Hosts: []status.Host{
			{Name: "cloudservices1003", Address: "10.64.20.23:9001", State: status.Up, Since: past(50 * time.Hour)},
			{Name: "cloudservices1004", Address: "10.64.20.24:9001", State: status.Up, Since: past(50 * time.Hour)},
		}})
		answers = append(answers, cloud.Answer{Name: name, Address: fmt.Sprintf("10.64.20.%d:9470", 13+i), Snapshot: s})
	}
	return answers
}

// setHost sets what the HAProxys of answers see of one host.
func setHost(answers []cloud.Answer, service, host string, state status.ServiceState, since time.Duration, check string) {
	for _, a := range answers {
		for i := range a.Snapshot.Services {
			for j := range a.Snapshot.Services[i].Hosts {
				if h := &a.Snapshot.Services[i].Hosts[j]; a.Snapshot.Services[i].Name == service && h.Name == host {
					h.State, h.Since, h.Check = state, past(since), check
				}
			}
		}
	}
}

func merged(answers []cloud.Answer) cloud.Cloud { return cloud.Merge(statusNow, "eqiad1", answers) }

func degradedCloud(n int) cloud.Cloud {
	a := cloudAnswers(n)
	setHost(a, "nova", "cloudcontrol1004", status.Down, 3*time.Minute, "GET / answered 503, want 200")
	setHost(a[2:], "glance", "cloudcontrol1004", status.Down, 2*time.Minute, "GET /healthcheck timed out after 2s")
	setHost(a, "designate", "cloudservices1004", status.Drain, 20*time.Minute, "")
	a[1].Snapshot.Config.Rejected = []status.Finding{{Severity: status.Error, Where: status.Position{File: "/etc/holdfast/holdfast.yaml", Line: 31, Column: 5}, Text: `unknown key "affinty"`, Remedy: `did you mean "affinity"?`}}
	a[n-1].Snapshot.HAProxy = status.HAProxy{State: status.HAProxyHung, Version: "2.6.12", Since: past(4 * time.Second), Reason: "no answer for 300ms"}
	return merged(a)
}

func lostCloud() cloud.Cloud {
	a := cloudAnswers(3)
	a[1].Snapshot.VIPs[0].State, a[1].Snapshot.VIPs[0].Present, a[1].Snapshot.VIPs[0].Since = status.Active, true, past(40*time.Second)
	for _, service := range []string{"keystone", "glance", "nova"} {
		setHost(a[1:], service, "cloudcontrol1003", status.Down, 39*time.Second, "connect timed out")
	}
	a[0].Snapshot, a[0].Error = nil, "no answer within 1s"
	return merged(a)
}

// clientsOf has the first controller of a have clients of its services.
func clientsOf(a []cloud.Answer) []cloud.Answer {
	for i, s := range a[0].Snapshot.Services[1:] {
		a[0].Snapshot.Clients = append(a[0].Snapshot.Clients, status.Client{
			Service: s.Name, VIP: "api", Requests: 72_000 >> (i * 6), Failed: uint64(i), PerSecond: 1200 / float64(int(1)<<(i*6)), P99: 38 * time.Millisecond, Span: time.Minute,
		})
	}
	return a
}

func TestStatusText(t *testing.T) {
	nobody := cloudAnswers(2)
	for i := range nobody {
		nobody[i].Snapshot, nobody[i].Error = nil, "no route to 10.64.20.13"
	}
	split := cloudAnswers(3)
	split[2].Snapshot.VIPs[0].State, split[2].Snapshot.VIPs[0].Since = status.Active, past(time.Second)
	isolated := cloudAnswers(2)
	isolated[0].Snapshot.Findings = []status.Finding{{
		Severity: status.Error, Code: status.CodeIsolated, Subject: "controller cloudcontrol1003",
		Text: "this controller reaches no other (cloudcontrol1004)", Remedy: "look at its link",
	}}
	isolated[1].Snapshot, isolated[1].Error = nil, "no answer within 1s"
	for name, tt := range map[string]struct {
		cloud cloud.Cloud
		view  viewport
	}{
		"healthy":   {merged(cloudAnswers(3)), viewport{}},
		"degraded":  {degradedCloud(3), viewport{}},
		"lost":      {lostCloud(), viewport{}},
		"nobody":    {merged(nobody), viewport{}},
		"split":     {merged(split), viewport{}},
		"isolated":  {merged(isolated), viewport{}},
		"ten":       {degradedCloud(10), viewport{}},
		"forty":     {degradedCloud(40), viewport{}},
		"wide":      {degradedCloud(10), viewport{width: 260}},
		"colour":    {degradedCloud(3), viewport{colour: true}},
		"brief":     {degradedCloud(3), viewport{less: remedies}},
		"clients":   {merged(clientsOf(cloudAnswers(3))), viewport{}},
		"one-alone": {merged(cloudAnswers(1)), viewport{}},
	} {
		t.Run(name, func(t *testing.T) {
			goldenStatus(t, name+".txt", statusText(sight{Cloud: tt.cloud}, tt.view))
		})
	}
}

func goldenStatus(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "status", name)
	if *updateStatus {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); go test -update-status writes it anew:\n%s", path, diff)
	}
}

// nasty gives a cloud whose names, versions and addresses are as long as they get.
func nasty(n int, change func(i int, s *status.Snapshot)) cloud.Cloud {
	answers := clientsOf(cloudAnswers(n))
	domain := ".rack-17.availability-zone-2.cloud.example.org"
	for i, a := range answers {
		s := a.Snapshot
		s.Version, s.HAProxy.Version = "v0.0.0-20261130105049-87b6d165f2a4", "2.6.12-1+deb12u3~bpo11+1-for-eqiad"
		s.VIPs[0].Name = "api-for-customers-of-the-public-cloud"
		s.VIPs[0].Addresses = []string{"2001:db8:1111:2222:3333:4444:5555:6666/64", "10.64.20.10/24"}
		s.VIPs[0].Hostname = "openstack" + domain
		s.Services[0].Name = "a-service-with-quite-a-long-name-of-its-own"
		change(i, s)
		for _, service := range s.Services {
			for j := range service.Hosts {
				service.Hosts[j].Name += domain
				service.Hosts[j].Address = fmt.Sprintf("[2001:db8:1111:2222:3333:4444:5555:%d]:%d", 6660+j, service.Port)
			}
		}
		answers[i].Name += domain
		s.Controller = answers[i].Name
		answers[i].Address = fmt.Sprintf("[2001:db8:1111:2222:3333:4444:5555:%d]:9470", 6660+i)
	}
	return merged(answers)
}

// TestStatusFits80Columns proves that no line is wider than a terminal, whatever the names, in
// ASCII; but for a word of a command, which would be another one in two.
func TestStatusFits80Columns(t *testing.T) {
	lately := []incident.Incident{{State: incident.Over, Begin: past(time.Minute), End: past(0), Text: strings.Repeat("controller x was lost, ", 20), Cost: &status.Cost{Requests: 800}}}
	clouds := map[string]cloud.Cloud{
		"all differ": nasty(5, func(i int, s *status.Snapshot) {
			s.Version, s.Config.Digest = fmt.Sprintf("v0.0.%d-rc1+a-build-of-somebody-else", i), fmt.Sprintf("3f2a91bc04d%d", i)
			s.HAProxy.Version += fmt.Sprint(i)
			s.VIPs = append(s.VIPs, s.VIPs[0])
			s.VIPs[1].Name = "another-vip"
		}),
		"lost": nasty(3, func(i int, s *status.Snapshot) {
			s.Config.Rejected = []status.Finding{{Text: strings.Repeat("x", 200), Since: past(time.Hour)}}
			s.HAProxy.State = status.HAProxyHung
		}),
	}
	for n := 1; n <= 12; n++ {
		clouds[fmt.Sprint(n)] = nasty(n, func(int, *status.Snapshot) {})
		if n > 2 {
			clouds[fmt.Sprint(n, " degraded")] = degradedCloud(n)
		}
	}
	clouds["clients"], clouds["clients of forty"] = merged(clientsOf(cloudAnswers(5))), merged(clientsOf(cloudAnswers(40)))
	no := lostCloud()
	no.Controllers[0].Error = strings.Repeat("no answer ", 30)
	clouds["a long error"] = no
	for name, c := range clouds {
		for _, v := range []viewport{{}, {less: well}, {less: remedies}, {less: counted}, {less: texts}, {width: 60}} {
			width := cmp.Or(v.width, 80)
			for line := range strings.Lines(statusText(sight{c, lately}, v)) {
				line = strings.TrimSuffix(line, "\n")
				if tui.Visible(line) > width && strings.Contains(strings.TrimSuffix(strings.TrimSpace(line), " \\"), " ") {
					t.Errorf("%s, %+v: %d columns: %s", name, v, tui.Visible(line), line)
				}
				if i := strings.IndexFunc(line, func(r rune) bool { return r > 126 }); i >= 0 {
					t.Errorf("%s: not ASCII: %q", name, line[i:])
				}
			}
		}
	}
}

// TestStatusIsSafe proves that no word of another machine reaches the terminal
// as a command.
func TestStatusIsSafe(t *testing.T) {
	const hostile = "\x1b[2J\r\n\x9b0m"
	a := cloudAnswers(2)
	s := a[0].Snapshot
	s.Cloud, s.Version, s.Config.Digest, s.HAProxy.Version, s.HAProxy.State = hostile, hostile, hostile, hostile, hostile
	s.VIPs[0].Name, s.VIPs[0].Hostname, s.VIPs[0].Addresses[0] = hostile, hostile, hostile
	s.Services[0].Name, s.Services[0].Hosts[0].Name, s.Services[0].Hosts[0].State = hostile, hostile, hostile
	s.Findings = []status.Finding{{Severity: hostile, Text: hostile, Subject: hostile}}
	a[1].Snapshot, a[1].Error, a[1].Name = nil, hostile, hostile
	for _, width := range []int{40, 100} {
		text := statusText(sight{Cloud: cloud.Merge(statusNow, "", a)}, viewport{width: width})
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < 32 || r > 126) }); i >= 0 {
			t.Errorf("width %d: %q", width, text[i:min(len(text), i+40)])
		}
	}
	if line := eventLine(status.Event{Subject: hostile, Text: hostile, Cause: hostile, By: hostile}, hostile, 3); strings.ContainsAny(line[:len(line)-1], "\x1b\r\n\u009b") {
		t.Errorf("event: %q", line)
	}
}

func TestScreenFitsTheTerminal(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {80, 50}, {100, 30}, {40, 10}, {20, 5}, {10, 2}, {300, 100}} {
		v := viewport{width: size[0], height: size[1], colour: true}
		lines := screen(sight{Cloud: degradedCloud(3)}, v)
		if len(lines) > v.height {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			if n := tui.Visible(line); n > v.width && v.width > 2*foldIndent && strings.Contains(strings.TrimSuffix(strings.TrimSpace(line), " \\"), " ") {
				t.Errorf("%v: %d columns: %q", size, n, line)
			}
		}
	}
}

func TestStatusExitCodes(t *testing.T) {
	for want, all := range map[int]cloud.Cloud{app.ExitDone: merged(cloudAnswers(3)), app.ExitFailed: degradedCloud(3)} {
		for _, output := range []string{"", "json"} {
			var out bytes.Buffer
			a := commands{&app.App{Stdio: Stdio{Out: &out, Err: &out}, Output: output}}
			err := a.status(t.Context(), source{look: func(context.Context) (cloud.Cloud, error) { return all, nil }})
			if got := a.exitCode(err); got != want {
				t.Errorf("exit code %d, want %d; output:\n%s", got, want, out.String())
			}
		}
	}
}

// TestWatchAppends proves that a watch into a pipe is one block a second, and
// that its end is no failure, however the cloud is.
func TestWatchAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for output, want := range map[string]string{"": "\n\nserving; ", "json": "}\n{\"schema\":1"} {
			var out bytes.Buffer
			a := commands{&app.App{Stdio: Stdio{Out: &out}, Output: output}}
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			if err := a.watchStatus(ctx, source{look: func(context.Context) (cloud.Cloud, error) { return degradedCloud(3), nil }}); err != nil {
				t.Errorf("watch: %v", err)
			}
			if n := strings.Count(out.String(), want); n != 2 {
				t.Errorf("%d blocks after the first, want 2:\n%s", n, out.String())
			}
		}
	})
}

// The version of a build between two tags is as wide as half a terminal; its
// commit says as much.
func TestShortVersion(t *testing.T) {
	for v, want := range map[string]string{
		"0.3.1": "0.3.1", "v0.3.1": "v0.3.1", "v1.0.0-rc.1": "v1.0.0-rc.1", "(unknown)": "(unknown)",
		"v0.0.0-20261130105049-87b6d165f2a4":         "87b6d165f2a4",
		"v0.3.2-0.20261130105049-87b6d165f2a4+dirty": "87b6d165f2a4+dirty",
	} {
		if got := shortVersion(v); got != want {
			t.Errorf("%s: %s, want %s", v, got, want)
		}
	}
}

// A build between two tags and a HAProxy of a distribution have long versions: a
// terminal of 80 by 24 has room for every service all the same.
func TestScreenHasRoomForServices(t *testing.T) {
	answers := cloudAnswers(3)
	for _, a := range answers {
		a.Snapshot.Version, a.Snapshot.HAProxy.Version = "v0.0.0-20261130105049-87b6d165f2a4", "2.6.12-1+deb12u3"
	}
	got := strings.Join(screen(sight{Cloud: merged(answers)}, viewport{width: 80, height: 24}), "\n")
	for _, want := range []string{"cloudcontrol1005  10.64.20.15", "running 3d3h", "keystone"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
}
