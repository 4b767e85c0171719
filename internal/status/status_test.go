package status

import (
	"strings"
	"testing"
)

func TestCombineStates(t *testing.T) {
	for in, want := range map[string]ServiceState{
		"": Unknown, "up": Up, "up up": Up, "up down": Degraded, "down": Down, "down down": Down,
		"up drain": Up, "drain": Down, "drain down": Down, "up unknown": Up, "unknown down": Unknown,
		"unknown": Unknown, "up drain down": Degraded,
	} {
		var states []ServiceState
		for s := range strings.FieldsSeq(in) {
			states = append(states, ServiceState(s))
		}
		if got := CombineStates(states); got != want {
			t.Errorf("CombineStates(%s) is %s, want %s", in, got, want)
		}
	}
}
