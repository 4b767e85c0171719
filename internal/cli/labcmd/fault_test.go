package labcmd

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/lab"
)

func TestParseFault(t *testing.T) {
	tests := []struct {
		args []string
		want lab.Fault
	}{
		{[]string{"heal"}, lab.Fault{Kind: "heal"}},
		{[]string{"power-off", "holder"}, lab.Fault{Kind: "power-off", Node: "holder"}},
		{[]string{"service-kill", "ctl1"}, lab.Fault{Kind: "service-kill", Node: "ctl1"}},
		{[]string{"service-kill", "ctl1", "nova"}, lab.Fault{Kind: "service-kill", Node: "ctl1", Service: "nova"}},
		{[]string{"loss", "30", "ctl1"}, lab.Fault{Kind: "loss", Value: "30", Node: "ctl1"}},
		{[]string{"blind", "holder"}, lab.Fault{Kind: "blind", Node: "holder"}},
		{[]string{"one-way", "ctl1", "ctl2"}, lab.Fault{Kind: "one-way", Node: "ctl1", To: "ctl2"}},
		{[]string{"flap", "ctl1"}, lab.Fault{Kind: "flap", Node: "ctl1"}},
		{[]string{"flap", "ctl1", "1s"}, lab.Fault{Kind: "flap", Node: "ctl1", Value: "1s"}},
		{[]string{"adverts-blocked", "ctl1"}, lab.Fault{Kind: "adverts-blocked", Node: "ctl1"}},
		{[]string{"adverts-blocked", "ctl1", "in"}, lab.Fault{Kind: "adverts-blocked", Node: "ctl1", Value: "in"}},
		{[]string{"source-guard", "ctl1"}, lab.Fault{Kind: "source-guard", Node: "ctl1"}},
		{[]string{"flush-rules", "ctl1"}, lab.Fault{Kind: "flush-rules", Node: "ctl1"}},
		{[]string{"late", "300ms", "ctl1"}, lab.Fault{Kind: "late", Value: "300ms", Node: "ctl1"}},
		{[]string{"busy", "8x100ms", "ctl1", "nova"}, lab.Fault{Kind: "busy", Value: "8x100ms", Node: "ctl1", Service: "nova"}},
		{[]string{"stall", "3s"}, lab.Fault{Kind: "stall", Value: "3s"}},
		{[]string{"stall", "3s", "nova"}, lab.Fault{Kind: "stall", Value: "3s", Service: "nova"}},
		{[]string{"service-stall", "3s", "ctl1"}, lab.Fault{Kind: "service-stall", Value: "3s", Node: "ctl1"}},
		{[]string{"push-back", "20", "ctl1"}, lab.Fault{Kind: "push-back", Value: "20", Node: "ctl1"}},
		{[]string{"closes", "ctl1"}, lab.Fault{Kind: "closes", Node: "ctl1"}},
		{[]string{"graceful-restart", "ctl1", "nova"}, lab.Fault{Kind: "graceful-restart", Node: "ctl1", Service: "nova"}},
		{[]string{"partition", "a,b", "c"}, lab.Fault{Kind: "partition", Sets: [][]string{{"a", "b"}, {"c"}}}},
		{[]string{"partition", "a|b,c|d"}, lab.Fault{Kind: "partition", Sets: [][]string{{"a"}, {"b", "c"}, {"d"}}}},
	}
	for _, tt := range tests {
		got, err := parseFault(tt.args)
		if err != nil {
			t.Errorf("%v: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
	for _, args := range [][]string{
		nil,
		{"meteor"},
		{"heal", "x"},
		{"power-off"},
		{"power-off", "a", "b"},
		{"service-kill"},
		{"service-kill", "a", "b", "c"},
		{"loss", "30"},
		{"busy", "8x100ms"},
		{"stall"},
		{"stall", "3s", "nova", "ctl1"},
		{"one-way", "a"},
		{"one-way", "a", "b", "c"},
		{"partition"},
		{"partition", "a,b"},
	} {
		if got, err := parseFault(args); err == nil {
			t.Errorf("%v gave %+v, want an error", args, got)
		}
	}
}

func TestCommandOf(t *testing.T) {
	t.Setenv("SHELL", "/bin/zsh")
	tests := []struct{ args, want []string }{
		{nil, []string{"/bin/zsh"}},
		{[]string{"--"}, []string{"/bin/zsh"}},
		{[]string{"--", "ls", "--", "-l"}, []string{"ls", "--", "-l"}},
		{[]string{"ls", "-l"}, []string{"ls", "-l"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, commandOf(tt.args)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
}
