package labcmd

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/lab"
)

// TestLabStatusTable shows a lab in which most of what can be broken is.
func TestLabStatusTable(t *testing.T) {
	s := &lab.Status{
		Name: "lab", Dir: "/run/holdfast-lab/lab", Started: time.Now(),
		VIPs: []lab.VIPStatus{
			{Name: "api", Hostname: "api.example.org", Address: "10.0.0.10/24", Holders: []string{"ctl1", "ctl2"}},
			{Name: "in", Hostname: "in.example.org", Address: "10.1.0.10/24"},
		},
		Partition: [][]string{{"ctl1"}, {"ctl2", "client"}},
		Nodes: []lab.Node{
			{
				Name: "ctl1", On: true, Plugged: true, Agent: &lab.Agent{State: "ready", Restarts: 2}, HAProxy: []int{7, 9},
				Interfaces: []lab.Interface{{Name: "eno1", Addresses: []string{"10.0.0.11/24", "10.0.0.10/32"}}},
				Services:   []lab.Service{{Name: "nova", State: "up"}, {Name: "glance", State: "hung"}},
			},
			{Name: "ctl2", On: true, Agent: &lab.Agent{State: "hung"}, HAProxy: []int{8}, HAProxyHung: true},
			{Name: "ctl3"},
			{Name: "client", On: true, Plugged: true},
		},
	}
	got, err := statusTable(s)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimLeft(`
lab "lab"  up 0s  /run/holdfast-lab/lab
vip api  10.0.0.10/24  api.example.org  held by ctl1 and ctl2
vip in  10.1.0.10/24  in.example.org  held by nobody
partition  ctl1 | ctl2,client

NODE    STATE      ADDRESSES                       AGENT              HAPROXY  SERVICES
ctl1    on         eno1 10.0.0.11/24 10.0.0.10/32  ready, 2 restarts  running  nova glance (hung)
ctl2    unplugged  -                               hung               hung     -
ctl3    off        -                               -                  -        -
client  on         -                               -                  -        -
`, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
