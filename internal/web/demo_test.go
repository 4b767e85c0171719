package web

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// demoNow is the moment at which the demonstration clouds are looked at.
var demoNow = time.Date(2026, 11, 22, 10, 42, 7, 0, time.UTC)

func ago(d time.Duration) time.Time { return demoNow.Add(-d) }

// demoController makes the Snapshot of the i-th of n controllers of a healthy
// cloud like that of the proposal; the first holds the VIP.
func demoController(i, n int) status.Snapshot {
	name := demoName(i)
	s := status.Snapshot{
		Schema: 1, Time: demoNow, Version: "0.3.1", Cloud: "eqiad1", Controller: name, PID: 812 + i, Started: ago(76*time.Hour + time.Duration(i)*7*time.Minute),
		Config: status.Config{File: "/etc/holdfast/holdfast.yaml", Digest: "3f2a91bc04de", Loaded: ago(49 * time.Hour)},
		HAProxy: status.HAProxy{
			State: status.HAProxyRunning, Version: "2.6.12", PID: 790 + i, Since: ago(76 * time.Hour), Reloads: 3,
		},
		VIPs: []status.VIP{{
			Name: "api", Addresses: []string{"10.64.20.10/24"}, Hostname: "openstack.eqiad1.wikimediacloud.org", Interface: "eno1",
			State: status.Backup, Since: ago(26 * time.Hour), Reason: "adverts from cloudcontrol1003", Holder: demoName(0),
			Priority: 254 - 24*i, Transitions: 2, AdvertsSeen: 936000,
		}},
	}
	if i == 0 {
		s.HAProxy.Connections = 187
		v := &s.VIPs[0]
		v.State, v.Present, v.Reason = status.Active, true, "planned handover from cloudcontrol1004"
		v.AdvertsSent, v.AdvertsSeen = 936000, 12
	}
	var controllers []status.Host
	for j := range n {
		controllers = append(controllers, status.Host{Name: demoName(j), Address: fmt.Sprintf("10.64.20.%d", 13+j)})
	}
	designate := []status.Host{{Name: "cloudservices1003", Address: "10.64.20.23"}, {Name: "cloudservices1004", Address: "10.64.20.24"}}
	proxy := []status.Host{{Name: "proxy-eqiad1", Address: "10.64.20.40"}}
	for _, k := range []struct {
		name, kind string
		port       int
		hosts      []status.Host
		check      string
	}{
		{"keystone", "identity", 5000, controllers, "GET /healthcheck answered 200"},
		{"glance", "image", 9292, controllers, "GET /healthcheck answered 200"},
		{"neutron", "network", 9696, controllers, "GET /healthcheck answered 200"},
		{"nova", "compute", 8774, controllers, "GET / answered 200"},
		{"designate", "dns", 9001, designate, "GET /healthcheck answered 200"},
		{"proxy", "proxy", 5668, proxy, "GET /dynamicproxy-api/ answered 404"},
	} {
		service := status.Service{Name: k.name, Type: k.kind, Port: k.port, State: status.Up}
		for _, h := range k.hosts {
			h.Address = fmt.Sprintf("%s:%d", h.Address, k.port)
			h.State, h.Since, h.Check, h.Weight, h.Sessions = status.Up, ago(50*time.Hour), k.check, 100, 3
			service.Hosts = append(service.Hosts, h)
		}
		s.Services = append(s.Services, service)
	}
	return s
}

func demoName(i int) string { return fmt.Sprintf("cloudcontrol%d", 1003+i) }

func demoAnswers(n int) []cloud.Answer {
	var answers []cloud.Answer
	for i := range n {
		s := demoController(i, n)
		answers = append(answers, cloud.Answer{
			Name: s.Controller, Address: fmt.Sprintf("10.64.20.%d:9470", 13+i), Snapshot: &s, Received: demoNow, Took: time.Millisecond, Clock: demoNow,
		})
	}
	return answers
}

// demoHost sets what all HAProxys see of one host of a service; "" is every service.
func demoHost(answers []cloud.Answer, service, host string, state status.ServiceState, since time.Duration, check string) {
	for _, a := range answers {
		if a.Snapshot == nil {
			continue
		}
		for i := range a.Snapshot.Services {
			s := &a.Snapshot.Services[i]
			for j := range s.Hosts {
				if h := &s.Hosts[j]; (service == "" || s.Name == service) && h.Name == host {
					h.State, h.Since, h.Check = state, ago(since), check
				}
			}
		}
	}
}

// demoViews are clouds in each condition that the page must show well.
func demoViews() map[string]view {
	return map[string]view{
		"healthy":     viewOf(demoAnswers(3), demoEvents()[2:]),
		"degraded":    demoDegraded(),
		"unreachable": demoUnreachable(),
		"ten":         demoTen(),
		"nothing":     demoNothing(),
	}
}

func viewOf(answers []cloud.Answer, events []status.Event) view {
	return view{cloud: cloud.Merge(demoNow, "eqiad1", answers), events: events, fragments: &fragments{}}
}

func demoDegraded() view {
	a := demoAnswers(3)
	demoHost(a, "nova", demoName(1), status.Down, 3*time.Minute, "GET / answered 503 Service Unavailable, want 200")
	demoHost(a, "designate", "cloudservices1004", status.Drain, 20*time.Minute, "")
	demoHost(a[2:], "glance", demoName(1), status.Down, 2*time.Minute, "GET /healthcheck timed out after 2s")
	a[2].Snapshot.Config.Digest = "9bc1004f7712"
	a[1].Snapshot.Config.Rejected = []status.Finding{{Severity: status.Error, Where: status.Position{File: "/etc/holdfast/holdfast.yaml", Line: 31, Column: 5}, Text: `unknown key "affinty"`, Remedy: `did you mean "affinity"?`}}
	a[0].Snapshot.VIPs[0].Rejected = map[string]uint64{"source": 48121}
	a[1].Snapshot.HAProxy.Restarts = 1
	return viewOf(a, demoEvents())
}

// demoUnreachable is the cloud 40 s after its first controller has lost power.
func demoUnreachable() view {
	a := demoAnswers(3)
	a[0].Snapshot, a[0].Clock, a[0].Error = nil, time.Time{}, "no answer within 1s"
	v := &a[1].Snapshot.VIPs[0]
	v.State, v.Present, v.Holder, v.Since, v.Reason = status.Active, true, demoName(1), ago(40*time.Second), "no adverts from cloudcontrol1003 for 3 intervals"
	a[2].Snapshot.VIPs[0].Holder = demoName(1)
	demoHost(a, "", demoName(0), status.Down, 39*time.Second, "connect timed out after 1s")
	a[1].Snapshot.HAProxy.Connections = 203
	return viewOf(a, demoEvents())
}

func demoTen() view {
	a := demoAnswers(10)
	demoHost(a, "keystone", demoName(7), status.Down, 3*time.Hour, "connection refused")
	demoHost(a, "", demoName(4), status.Drain, time.Hour, "")
	return viewOf(a, demoEvents())
}

func demoNothing() view {
	a := demoAnswers(2)
	for i := range a {
		a[i].Snapshot, a[i].Clock, a[i].Error = nil, time.Time{}, "no route to 10.64.20.13"
	}
	return viewOf(a, nil)
}

func demoEvents() []status.Event {
	return []status.Event{
		{Time: ago(40*time.Second - 61*time.Millisecond), Controller: demoName(1), Kind: "vip-active", Subject: "vip api", Text: "vip api is active here, was backup", Cause: "no adverts from cloudcontrol1003 for 3 intervals", Took: 61 * time.Millisecond},
		{Time: ago(3 * time.Minute), Controller: demoName(1), Kind: "service-down", Subject: "service nova on cloudcontrol1004", Text: "nova on cloudcontrol1004 went from up to down", Cause: "GET / answered 503 Service Unavailable, want 200", Took: 1240 * time.Millisecond},
		{Time: ago(26 * time.Hour), Controller: demoName(0), Kind: "vip-active", Subject: "vip api", Text: "vip api is active here, was backup", Cause: "planned handover from cloudcontrol1004", Took: 212 * time.Millisecond},
		{Time: ago(49 * time.Hour), Controller: demoName(0), Kind: "reload", Subject: "haproxy", Text: "HAProxy reloaded without a lost connection", Cause: "the spec has changed: 3f2a91bc04de", Took: 94 * time.Millisecond},
		{Time: ago(76 * time.Hour), Controller: demoName(0), Kind: "haproxy-started", Subject: "haproxy", Text: "HAProxy started, version 2.6.12", Took: 310 * time.Millisecond},
	}
}

// demoServer makes a Server of the first controller that shows v.
func demoServer(v view) *Server {
	s := New(Options{
		Self:        demoName(0),
		Snapshot:    func() status.Snapshot { return demoController(0, 3) },
		Events:      func(n int) []status.Event { e := demoEvents(); return e[max(0, len(e)-n):] },
		Controllers: func() []Target { return []Target{{demoName(0), "127.0.0.1:9"}} },
		Log:         slog.New(slog.DiscardHandler),
		Now:         func() time.Time { return demoNow },
	})
	s.views.load = func(context.Context) view { return v }
	return s
}

var preview = flag.String("preview", "", "address to show the demonstration clouds on, at /NAME/, until interrupted")

// TestPreview shows the page to the one who works on it, with the arguments
// -run Preview -preview 127.0.0.1:8080 -timeout 0.
func TestPreview(t *testing.T) {
	if *preview == "" {
		t.Skip("for a person, with -preview ADDRESS")
	}
	mux := http.NewServeMux()
	for name, v := range demoViews() {
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, demoServer(v).Handler()))
	}
	t.Logf("showing at http://%s/healthy/", *preview)
	t.Error(http.ListenAndServe(*preview, mux))
}
