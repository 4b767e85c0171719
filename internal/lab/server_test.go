package lab

import (
	"log/slog"
	"strings"
	"testing"

	"holdfast/internal/spec"
)

// testServer gives a server of the sample whose nodes are all powered off.
func testServer(t testing.TB) *server {
	t.Helper()
	parsed, findings := spec.Parse("sample.yaml", Sample())
	if parsed == nil {
		t.Fatalf("the sample: %v", findings)
	}
	p, err := newPlan(parsed)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := &server{dir: Dir(t.TempDir()), plan: p, log: log, stop: func() {}}
	if s.holder, err = newHolderLog(parsed, s.dir.addressesFile(), log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.holder.file.Close() })
	for i, n := range p.nodes {
		s.nodes = append(s.nodes, &node{plan: n, index: i + 1, dir: s.dir, log: log, holder: s.holder})
	}
	return s
}

// TestRefusals asks for what cannot be done; each answer says what to do.
func TestRefusals(t *testing.T) {
	s := testServer(t)
	tests := []struct {
		name string
		req  request
		want string
	}{
		{"unknown op", request{Op: "dance"}, "another version of holdfast"},
		{"fault of nothing", request{Op: "fault"}, "without one"},
		{"unknown fault", request{Op: "fault", Fault: &Fault{Kind: "meteor"}}, "lab fault --list"},
		{"no node", request{Op: "fault", Fault: &Fault{Kind: "power-off"}}, "name a node; there are cloudcontrol1003, "},
		{"unknown node", request{Op: "fault", Fault: &Fault{Kind: "power-off", Node: "ctl9"}}, `no node is called "ctl9"; there are cloudcontrol1003, `},
		{"no holder", request{Op: "fault", Fault: &Fault{Kind: "haproxy-kill", Node: Holder}}, "nobody holds 10.64.20.10"},
		{"node that is off", request{Op: "fault", Fault: &Fault{Kind: "agent-kill", Node: "cloudcontrol1003"}}, "lab fault back cloudcontrol1003"},
		{"one set", request{Op: "fault", Fault: &Fault{Kind: "partition", Sets: [][]string{{"client"}}}}, "two sets of nodes or more"},
		{"node in two sets", request{Op: "fault", Fault: &Fault{Kind: "partition", Sets: [][]string{{"client"}, {"client"}}}}, "stands twice"},
		{"command of nothing", request{Op: "exec"}, "without one"},
		{"command without streams", request{Op: "exec", Exec: &execRequest{Node: "client", Args: []string{"true"}}}, "without the command or its streams"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.handle(t.Context(), tt.req, &wire{})
			if !strings.Contains(got.Error, tt.want) {
				t.Errorf("answered %q, want %q in it", got.Error, tt.want)
			}
		})
	}
}

// TestStatusOfNothing tells of a lab in which nothing is on.
func TestStatusOfNothing(t *testing.T) {
	s := testServer(t).status()
	if len(s.Nodes) != 8 || s.Nodes[0].On || len(s.VIPs) != 1 || len(s.VIPs[0].Holders) != 0 || s.Ready {
		t.Errorf("status %+v", s)
	}
	if len(s.Endpoints) != 6 || s.Endpoints[5].URL != "http://openstack.lab.example.org:5668/dynamicproxy-api/v1/lab" {
		t.Errorf("endpoints %+v", s.Endpoints)
	}
}
