package lab

import (
	"errors"
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
		// wrong says that the request is to blame, and not how the lab is.
		wrong bool
	}{
		{"unknown op", request{Op: "dance"}, "another version of holdfast", false},
		{"fault of nothing", request{Op: "fault"}, "without one", false},
		{"unknown fault", request{Op: "fault", Fault: &Fault{Kind: "meteor"}}, "lab fault --list", true},
		{"no node", request{Op: "fault", Fault: &Fault{Kind: "power-off"}}, "name a node; there are cloudcontrol1003, ", true},
		{"unknown node", request{Op: "fault", Fault: &Fault{Kind: "power-off", Node: "ctl9"}}, `no node is called "ctl9"; there are cloudcontrol1003, `, true},
		{"no holder", request{Op: "fault", Fault: &Fault{Kind: "haproxy-kill", Node: Holder}}, "nobody holds 10.64.20.10", false},
		{"node that is off", request{Op: "fault", Fault: &Fault{Kind: "agent-kill", Node: "cloudcontrol1003"}}, "lab fault back cloudcontrol1003", false},
		{"one set", request{Op: "fault", Fault: &Fault{Kind: "partition", Sets: [][]string{{"client"}}}}, "two sets of nodes or more", true},
		{"node in two sets", request{Op: "fault", Fault: &Fault{Kind: "partition", Sets: [][]string{{"client"}, {"client"}}}}, "stands twice", true},
		{"no percentage", request{Op: "fault", Fault: &Fault{Kind: "loss", Node: "client", Value: "300"}}, "is not a percentage", true},
		{"no delay", request{Op: "fault", Fault: &Fault{Kind: "delay", Node: "client", Value: "5"}}, "write one such as 200ms", true},
		{"no period", request{Op: "fault", Fault: &Fault{Kind: "flap", Node: "client", Value: "x"}}, "write one such as 2s", true},
		{"not late", request{Op: "fault", Fault: &Fault{Kind: "late", Node: "client", Value: "5"}}, "write one such as 300ms", true},
		{"not busy", request{Op: "fault", Fault: &Fault{Kind: "busy", Node: "client", Value: "8"}}, "write 8x100ms", true},
		{"no rate", request{Op: "fault", Fault: &Fault{Kind: "push-back", Node: "client", Value: "x"}}, "is not a rate", true},
		{"no stall", request{Op: "fault", Fault: &Fault{Kind: "stall", Value: "5"}}, "write one such as 3s", true},
		{"no service to stall", request{Op: "fault", Fault: &Fault{Kind: "stall", Value: "5s", Service: "nope"}}, `no service "nope"`, true},
		{"no side", request{Op: "fault", Fault: &Fault{Kind: "adverts-blocked", Node: "cloudcontrol1003", Value: "up"}}, "write out, in or both", true},
		{"command of nothing", request{Op: "exec"}, "without one", false},
		{"command without streams", request{Op: "exec", Exec: &execRequest{Node: "client", Args: []string{"true"}}}, "without the command or its streams", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.handle(t.Context(), tt.req, &wire{})
			if !strings.Contains(got.Error, tt.want) {
				t.Errorf("answered %q, want %q in it", got.Error, tt.want)
			}
			if _, wrong := errors.AsType[*OptionsError](got.refusal()); wrong != tt.wrong {
				t.Errorf("answered %q: wrong use is %t, want %t", got.Error, wrong, tt.wrong)
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
