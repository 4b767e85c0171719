package cloud

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

// cutOff has the HAProxy of answer i find hosts down that all others find up.
func cutOff(a []Answer, i int, hosts ...string) {
	for _, host := range hosts {
		for _, service := range a[i].Snapshot.Services {
			check(a[i], service.Name, host, status.Down, "no connection within 1.5s")
		}
	}
}

// withDNS adds a service on two hosts of its own.
func withDNS(a []Answer) []Answer {
	for _, answer := range a {
		s := status.Service{Name: "designate", Type: "dns", Port: 9001, State: status.Up}
		for i, host := range []string{"dns1", "dns2"} {
			s.Hosts = append(s.Hosts, status.Host{Name: host, Address: "10.0.0." + string(rune('1'+i)) + "0:9001", State: status.Up, Since: now.Add(-time.Hour)})
		}
		answer.Snapshot.Services = append(answer.Snapshot.Services, s)
	}
	return a
}

// TestBlind names the controller, and not each host that it does not reach, as
// what is wrong; and tells it first, whatever else there is.
func TestBlind(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func([]Answer)
		first  string
		codes  string // of all findings
	}{
		{
			"the holder has no host of a service", func(a []Answer) {
				cutOff(a, 0, "ctl2", "ctl3", "dns1", "dns2")
				a[1].Snapshot.HAProxy.State = status.HAProxyFailed
			},
			"controller ctl1: its HAProxy reaches no host of designate, and ctl3 does; out of its reach: ctl2, ctl3, dns1, dns2; it holds VIP api, so clients get errors; " +
				"holdfast handover --to ctl3 ends that, if the agent does not within some seconds; then look at the link, the filters and the routes of ctl1",
			"controller-blind service-down haproxy-not-running",
		},
		{
			"the holder has its own host of each", func(a []Answer) { cutOff(a, 0, "ctl2", "ctl3") },
			"controller ctl1: warning: its HAProxy does not reach ctl2, ctl3, and ctl2, ctl3 do; it holds VIP api; look at its link, its filters and its routes",
			"controller-blind",
		},
		{
			"one that does not hold it", func(a []Answer) { cutOff(a, 1, "ctl1", "ctl3", "dns1", "dns2") },
			"controller ctl2: warning: its HAProxy reaches no host of designate, and ctl1, ctl3 do; out of its reach: ctl1, ctl3, dns1, dns2; " +
				"look at its link, its filters and its routes; a handover to it is refused meanwhile",
			"controller-blind",
		},
		{
			"two of three lack a service: no handover that ends it is left out", func(a []Answer) {
				cutOff(a, 0, "dns1", "dns2")
				cutOff(a, 1, "dns1", "dns2")
			},
			"controller ctl1: its HAProxy reaches no host of designate, and ctl3 does; it holds VIP api, so clients get errors; " +
				"holdfast handover --to ctl3 ends that, if the agent does not within some seconds; then look at the link, the filters and the routes of ctl1",
			"controller-blind controller-blind service-down host-disagreement host-disagreement",
		},
		{
			"a drained controller is no remedy", func(a []Answer) {
				cutOff(a, 0, "dns1", "dns2")
				a[1].Snapshot.Drains = []status.Drained{{Since: now}}
			},
			"controller ctl1: its HAProxy reaches no host of designate, and ctl2, ctl3 do; out of its reach: dns1, dns2; it holds VIP api, so clients get errors; " +
				"holdfast handover --to ctl3 ends that, if the agent does not within some seconds; then look at the link, the filters and the routes of ctl1",
			"controller-blind service-down drained",
		},
		{
			"one host that one does not reach may be the host's fault", func(a []Answer) { cutOff(a, 0, "ctl2") },
			"services keystone, nova on ctl2: warning: up for ctl2, ctl3, down for ctl1 (no connection within 1.5s); check the network between ctl2 and the controllers that find it down",
			"host-disagreement",
		},
		{
			"one is drained for one HAProxy only, which is another matter", func(a []Answer) {
				cutOff(a, 0, "ctl2", "ctl3")
				check(a[1], "designate", "dns1", status.Drain, "")
			},
			"controller ctl1: warning: its HAProxy does not reach ctl2, ctl3, and ctl2, ctl3 do; it holds VIP api; look at its link, its filters and its routes",
			"controller-blind host-disagreement",
		},
		{
			"what is down for everybody", func(a []Answer) {
				for i := range a {
					cutOff(a, i, "dns1", "dns2")
				}
			},
			"service designate: no host answers: no connection within 1.5s on dns1, dns2; see its log on each host; it comes back by itself once a check passes",
			"service-down",
		},
		{
			"a change too young", func(a []Answer) {
				cutOff(a, 0, "dns1", "dns2")
				hosts := a[0].Snapshot.Services[2].Hosts
				hosts[0].Since, hosts[1].Since = now.Add(-time.Second), now.Add(-time.Second)
			},
			"service designate: no host answers: no connection within 1.5s on dns1, dns2; see its log on each host; it comes back by itself once a check passes",
			"service-down",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := withDNS(cloudOf(3))
			tt.change(a)
			found := Merge(now, "", a).Findings
			var codes []string
			for _, f := range found {
				codes = append(codes, f.Code)
			}
			if got := strings.Join(codes, " "); got != tt.codes {
				t.Errorf("findings %s, want %s\n%v", got, tt.codes, found)
			}
			if got := found[0].String(); got != tt.first {
				t.Errorf("first\n%s\nwant\n%s", got, tt.first)
			}
		})
	}
}

// TestPartition reads the status on both sides of a partition: each says that
// the other may hold the address too, and the one that is alone says that first.
func TestPartition(t *testing.T) {
	a := cloudOf(3)
	a[0].Snapshot.Findings = []status.Finding{{Severity: status.Error, Code: status.CodeIsolated, Subject: "controller ctl1", Text: "reaches no other"}}
	cutOff(a, 0, "ctl2", "ctl3")
	for i := range a[1:] {
		lose(&a[i+1], "no answer within 1s")
	}
	alone := Merge(now, "", a).Findings
	if alone[0].Code != status.CodeIsolated {
		t.Errorf("first is %v", alone[0])
	}
	const may = "if it runs and is only cut off, it may hold VIP api too"
	if !slices.ContainsFunc(alone, func(f status.Finding) bool { return f.Subject == "controller ctl2" && strings.Contains(f.Text, may) }) {
		t.Errorf("nothing says that ctl2 may hold it: %v", alone)
	}

	a[0].Snapshot.VIPs[0].State, a[0].Snapshot.VIPs[0].Reason = status.Initialize, "eno1 is down"
	unheld := Merge(now, "", a).Findings
	if i := slices.IndexFunc(unheld, func(f status.Finding) bool { return f.Code == status.CodeVIPUnheld }); i < 0 ||
		unheld[i].Text != "no controller that answers holds it, and ctl2, ctl3 may: ctl1 is initialize (eno1 is down)" {
		t.Errorf("of the VIP it is said: %v", unheld)
	}

	b := cloudOf(3)
	lose(&b[0], "no answer within 1s")
	v := &b[1].Snapshot.VIPs[0]
	v.State, v.Present, v.Holder, b[2].Snapshot.VIPs[0].Holder = status.Active, true, "ctl2", "ctl2"
	others := Merge(now, "", b).Findings
	if !strings.Contains(others[0].Text, may) {
		t.Errorf("of ctl1 it is said: %v", others)
	}
	b[0].Reached = true // its host refuses: it is not cut off, and its adverts would be heard
	if others = Merge(now, "", b).Findings; strings.Contains(others[0].Text, "may hold") {
		t.Errorf("of ctl1, whose host refuses, it is said: %v", others)
	}
}

// TestBadLink names the controller, and what ends it.
func TestBadLink(t *testing.T) {
	path := func(host string, rtt time.Duration, lost float64) status.Path {
		return status.Path{Host: host, Address: host, Sent: status.PathWindow, RTT: rtt, Lost: int(lost * status.PathWindow), Lasting: lost}
	}
	const ms = time.Millisecond
	bad := [][]status.Path{
		{path("ctl2", ms, 0.5), path("ctl3", ms, 0.4)},
		{path("ctl1", ms, 0.5), path("ctl3", ms, 0)},
		{path("ctl1", ms, 0.4), path("ctl2", ms, 0)},
	}
	for _, tt := range []struct {
		name   string
		paths  [][]status.Path // of ctl1, ctl2 and ctl3
		change func([]Answer)
		want   string
	}{
		{
			"the holder", bad, nil,
			"controller ctl1: warning: up to 50 % of the connections from ctl1 to ctl2, ctl3 get no answer at first, and from ctl2, ctl3 all do; it holds VIP api; " +
				"holdfast handover --to ctl2 ends that for clients, if the agent does not within a minute; then look at the link, the switch port and the routes of ctl1",
		},
		{
			"a drained controller is no remedy", bad, func(a []Answer) { a[1].Snapshot.Drains = []status.Drained{{Since: now}} },
			"controller ctl1: warning: up to 50 % of the connections from ctl1 to ctl2, ctl3 get no answer at first, and from ctl2, ctl3 all do; it holds VIP api; " +
				"holdfast handover --to ctl3 ends that for clients, if the agent does not within a minute; then look at the link, the switch port and the routes of ctl1",
		},
		{
			"another one", [][]status.Path{
				{path("ctl2", 400*ms, 0), path("ctl3", ms, 0)},
				{path("ctl1", 400*ms, 0), path("ctl3", 400*ms, 0)},
				{path("ctl1", ms, 0), path("ctl2", 400*ms, 0)},
			}, nil,
			"controller ctl2: warning: connections from ctl2 to ctl1, ctl3 take up to 399ms longer than from ctl1, ctl3; look at its link, its switch port and its routes",
		},
	} {
		a := cloudOf(3)
		for i := range a {
			a[i].Snapshot.Paths = tt.paths[i]
		}
		if tt.change != nil {
			tt.change(a)
		}
		found := Merge(now, "", a).Findings
		if len(found) == 0 || found[0].Code != status.CodeBadLink || found[0].String() != tt.want {
			t.Errorf("%s: %v, want first\n%s", tt.name, found, tt.want)
		}
	}
	// It is told once where it is blind, too.
	a := cloudOf(3)
	cutOff(a, 0, "ctl2", "ctl3")
	for i := range a {
		a[i].Snapshot.Paths = bad[i]
	}
	for _, f := range Merge(now, "", a).Findings {
		if f.Code == status.CodeBadLink {
			t.Errorf("beside that it is blind: %v", f)
		}
	}
}
