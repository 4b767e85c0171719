package web

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
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
		s.Clients = []status.Client{
			{Service: "keystone", VIP: "api", Span: time.Minute, Requests: 73200, Failed: 4, PerSecond: 1220, P50: 9 * time.Millisecond, P99: 38 * time.Millisecond, P999: 120 * time.Millisecond},
			{Service: "nova", VIP: "api", Span: time.Minute, Requests: 5400, PerSecond: 90, P50: 40 * time.Millisecond, P99: 310 * time.Millisecond, P999: 900 * time.Millisecond},
			{Service: "glance", VIP: "api", Span: time.Minute, Requests: 60, PerSecond: 1, P50: 4 * time.Millisecond, P99: 12 * time.Millisecond, P999: 13 * time.Millisecond},
		}
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
		"healthy":     viewOf(demoAnswers(3), demoQuiet()),
		"degraded":    demoDegraded(),
		"unreachable": demoUnreachable(),
		"ten":         demoTen(),
		"nothing":     demoNothing(),
		"two-holders": demoTwoHolders(),
		"nobody":      demoNobody(),
		"drained":     demoDrained(),
		"vips":        demoVIPs(),
	}
}

func viewOf(answers []cloud.Answer, events []status.Event) view {
	v := view{cloud: cloud.Merge(demoNow, "eqiad1", answers), events: events}
	if events != nil {
		v.pasts = demoPasts()
	}
	if events != nil {
		v.incidents = Group(journalsOf(events), demoNow)
	}
	return v
}

// journalsOf gives events, newest first, as the journals of their controllers.
func journalsOf(events []status.Event) []Journal {
	var all []Journal
	for _, e := range slices.Backward(events) {
		i := slices.IndexFunc(all, func(j Journal) bool { return j.Controller == e.Controller })
		if i < 0 {
			i, all = len(all), append(all, Journal{Controller: e.Controller})
		}
		e.Seq = uint64(len(all[i].Events) + 1)
		all[i].Events = append(all[i].Events, e)
	}
	return all
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
	v.State, v.Present, v.Holder, v.Since, v.Reason = status.Active, true, demoName(1), ago(40*time.Second), "no advert from cloudcontrol1003 for 62ms"
	a[2].Snapshot.VIPs[0].Holder = demoName(1)
	demoHost(a, "", demoName(0), status.Down, 39*time.Second, "connect timed out after 1s")
	a[1].Snapshot.HAProxy.Connections = 203
	return viewOf(a, demoLost())
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

// demoTwoHolders is the cloud 2 s after a partition that two controllers are on both sides of.
func demoTwoHolders() view {
	a := demoAnswers(3)
	v := &a[1].Snapshot.VIPs[0]
	v.State, v.Present, v.Holder, v.Since, v.Reason = status.Active, true, demoName(1), ago(2*time.Second), "no advert from cloudcontrol1003 for 62ms"
	return viewOf(a, demoQuiet())
}

// demoNobody is the cloud whose HAProxys all fail.
func demoNobody() view {
	a := demoAnswers(3)
	for i := range a {
		h, v := &a[i].Snapshot.HAProxy, &a[i].Snapshot.VIPs[0]
		h.State, h.Since, h.Reason, h.Connections = status.HAProxyFailed, ago(12*time.Second), "cannot bind 10.64.20.10:5000: address in use by process 4711 (apache2)", 0
		v.State, v.Present, v.Holder, v.Since, v.Reason = status.Initialize, false, "", ago(12*time.Second), "HAProxy cannot start"
		for j := range a[i].Snapshot.Services {
			s := &a[i].Snapshot.Services[j]
			s.State = status.Unknown
			for k := range s.Hosts {
				s.Hosts[k].State, s.Hosts[k].Check = status.Unknown, ""
			}
		}
	}
	return viewOf(a, demoQuiet())
}

// demoDrained is the cloud of which one controller, and a service on another, are taken out,
// while a VIP that was handed over still has connections where it was.
func demoDrained() view {
	a := demoAnswers(3)
	a[0].Snapshot.Drains = []status.Drained{{Since: ago(4 * time.Minute), Until: ago(-2 * time.Hour), Reason: "new memory", By: "root for alice on cloudcontrol1003"}}
	a[2].Snapshot.Drains = []status.Drained{{Service: "glance", Since: ago(26 * time.Hour), By: "root for bob on cloudcontrol1004"}}
	demoHost(a, "", demoName(0), status.Drain, 4*time.Minute, "")
	demoHost(a, "glance", demoName(2), status.Drain, 26*time.Hour, "")
	from, to := &a[0].Snapshot.VIPs[0], &a[1].Snapshot.VIPs[0]
	from.State, from.Present, from.Holder, from.Since, from.Reason = status.Backup, false, demoName(1), ago(4*time.Minute), "handed over to cloudcontrol1004"
	from.Giving = &status.Giving{To: demoName(1), Since: ago(4 * time.Minute), Until: ago(-6 * time.Minute), Connections: 3}
	to.State, to.Present, to.Holder, to.Since, to.Reason = status.Active, true, demoName(1), ago(4*time.Minute), "planned handover from cloudcontrol1003"
	a[2].Snapshot.VIPs[0].Holder = demoName(1)
	a[0].Snapshot.HAProxy.Connections, a[1].Snapshot.HAProxy.Connections = 3, 179
	events := []status.Event{
		{Time: ago(4*time.Minute - 212*time.Millisecond), Controller: demoName(1), Kind: status.EventVIPActive, Subject: "vip api", Text: "vip api is active here, was backup", Cause: "planned handover from cloudcontrol1003", Took: 212 * time.Millisecond},
		{Time: ago(4 * time.Minute), Controller: demoName(0), Kind: status.EventDrainBegun, Subject: "controller cloudcontrol1003", Text: "cloudcontrol1003 is drained", Cause: "new memory", By: "root for alice on cloudcontrol1003"},
		{Time: ago(26 * time.Hour), Controller: demoName(2), Kind: status.EventDrainBegun, Subject: "service glance on cloudcontrol1005", Text: "glance on cloudcontrol1005 is drained", By: "root for bob on cloudcontrol1004"},
	}
	return viewOf(a, events)
}

// demoVIPs is a cloud with several VIPs, certificates, and long names.
func demoVIPs() view {
	a := demoAnswers(3)
	for i := range a {
		s := a[i].Snapshot
		v := s.VIPs[0]
		v.Certificate = &status.Certificate{File: "/etc/holdfast/tls/api.pem", Names: []string{v.Hostname}, Issuer: "Example CA", NotBefore: ago(80 * 24 * time.Hour), NotAfter: ago(-10*24*time.Hour - time.Hour)}
		internal := v
		internal.Name, internal.Addresses, internal.Hostname = "internal", []string{"10.64.148.10/24", "2001:db8:861:203:10:64:148:10/64"}, "openstack-internal.svc.eqiad1.wikimedia.cloud"
		internal.State, internal.Present, internal.Holder, internal.Since, internal.Reason = status.Backup, false, demoName(1), ago(30*time.Hour), "adverts from cloudcontrol1004"
		internal.Certificate = &status.Certificate{File: "/etc/holdfast/tls/internal.pem", NotBefore: ago(time.Hour), NotAfter: ago(-200 * 24 * time.Hour)}
		if i == 1 {
			internal.State, internal.Present, internal.Reason = status.Active, true, "planned handover from cloudcontrol1003"
		}
		admin := v
		admin.Name, admin.Addresses, admin.Hostname, admin.Certificate = "admin", []string{"10.64.20.11/24"}, "openstack-admin.eqiad1.wikimediacloud.org", nil
		s.VIPs = []status.VIP{v, internal, admin}
		if i > 0 {
			s.HAProxy.Version = "2.6.12-1+deb12u2"
		}
	}
	demoHost(a, "neutron", demoName(2), status.Down, 90*time.Second, "GET /healthcheck timed out after 2s")
	return viewOf(a, demoQuiet())
}

func demoEvents() []status.Event {
	return append([]status.Event{
		{Time: ago(3 * time.Minute), Controller: demoName(0), Kind: status.EventHostDown, Subject: "service nova on cloudcontrol1004", Text: "nova on cloudcontrol1004 went from up to down", Cause: "GET / answered 503 Service Unavailable, want 200", Took: 1240 * time.Millisecond},
	}, demoQuiet()...)
}

// demoLost are the events of a host that lost power, and held the VIP.
func demoLost() []status.Event {
	var events []status.Event
	for i, service := range []string{"nova", "neutron", "keystone", "glance"} {
		for j := range 2 {
			events = append(events, status.Event{
				Time: ago(39*time.Second + time.Duration(2*i+j)*time.Millisecond), Controller: demoName(2 - j), Kind: status.EventHostDown, Subject: status.HostSubject(service, demoName(0)),
				Text: service + " on cloudcontrol1003 went from up to down", Cause: "connect timed out after 1s", Took: 1000 * time.Millisecond,
			})
		}
	}
	events = append(events, status.Event{
		Time: ago(40*time.Second - 61*time.Millisecond), Controller: demoName(1), Kind: status.EventVIPActive, Subject: "vip api", Text: "vip api is active here, was backup",
		Cause: "no advert from cloudcontrol1003 for 62ms", Took: 61 * time.Millisecond,
	})
	cost := status.Cost{From: ago(41 * time.Second), To: ago(39 * time.Second), Requests: 812, Failed: 2, Cut: 2, Retried: 7, Gap: 62 * time.Millisecond}
	return append([]status.Event{demoCost(38*time.Second, 1, "vip api", cost)}, append(events, demoQuiet()...)...)
}

// demoCost is what something cost clients, in the word of the i-th controller.
func demoCost(since time.Duration, i int, subject string, cost status.Cost) status.Event {
	return status.Event{Time: ago(since), Controller: demoName(i), Kind: "cost", Subject: subject, Text: cost.Words(), Cost: &cost}
}

// demoQuiet are the events of days without a fault, the newest first.
func demoQuiet() []status.Event {
	return []status.Event{
		{Time: ago(26 * time.Hour), Controller: demoName(0), Kind: status.EventVIPActive, Subject: "vip api", Text: "vip api is active here, was backup", Cause: "planned handover from cloudcontrol1004", Took: 212 * time.Millisecond},
		{Time: ago(26*time.Hour + 200*time.Millisecond), Controller: demoName(1), Kind: status.EventHandover, Subject: "vip api", Text: "vip api handed over to cloudcontrol1003", Cause: "holdfast handover", By: "root for alice on cloudcontrol1004", Took: 212 * time.Millisecond},
		{Time: ago(49 * time.Hour), Controller: demoName(0), Kind: status.EventReload, Subject: "spec", Text: "HAProxy reloaded without a lost connection", Cause: "the spec has changed: 3f2a91bc04de", By: "root for bob on cloudcontrol1003", Took: 94 * time.Millisecond},
		demoCost(53*time.Hour-45*time.Second, 0, "service glance on cloudcontrol1005", status.Cost{From: ago(53 * time.Hour), To: ago(53*time.Hour - 3*time.Second), Requests: 2410, Retried: 3}),
		{Time: ago(53*time.Hour - 44*time.Second), Controller: demoName(0), Kind: status.EventHostUp, Subject: "service glance on cloudcontrol1005", Text: "glance on cloudcontrol1005 went from down to up"},
		{Time: ago(53 * time.Hour), Controller: demoName(0), Kind: status.EventHostDown, Subject: "service glance on cloudcontrol1005", Text: "glance on cloudcontrol1005 went from up to down", Cause: "connection refused", Took: 310 * time.Millisecond},
	}
}

// demoPasts is what clients got of two services: less by night, with a minute of failures
// half an hour ago, and an agent that did not count for two hours.
func demoPasts() pasts {
	history := func(n int, step time.Duration) traffic.History {
		h := traffic.History{Step: step, From: demoNow.Add(-step * time.Duration(n))}
		keystone := traffic.ServiceHistory{Service: "keystone", Requests: make([]uint64, n), Failed: make([]uint64, n)}
		nova := traffic.ServiceHistory{Service: "nova", Requests: make([]uint64, n), Failed: make([]uint64, n)}
		for i := range n {
			at := h.From.Add(step * time.Duration(i))
			h.Known = append(h.Known, at.Hour() < 2 || at.Hour() > 3)
			if !h.Known[i] {
				continue
			}
			load := 1.3 + math.Sin(float64(at.Unix()%86400)/86400*2*math.Pi-2) + 0.1*math.Sin(float64(i))
			keystone.Requests[i], nova.Requests[i] = uint64(600*load*step.Seconds()), uint64(45*load*step.Seconds())
			if since := demoNow.Sub(at); since > 29*time.Minute && since < 31*time.Minute {
				nova.Failed[i] = nova.Requests[i] / 3
			}
		}
		h.Services = []traffic.ServiceHistory{keystone, nova}
		return h
	}
	return pasts{[]traffic.History{history(360, 10*time.Second)}, []traffic.History{history(288, 5*time.Minute)}}
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
	s.live.look = s.views.load
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
