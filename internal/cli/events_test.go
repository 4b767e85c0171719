package cli

import (
	"fmt"
	"slices"
	"testing"

	"holdfast/internal/status"
	"holdfast/internal/web"
)

// TestFollowAnotherSpec has a reload add a controller, and put the others into another
// order, while somebody follows what the local agent is told.
func TestFollowAnotherSpec(t *testing.T) {
	f := follower{after: map[string]uint64{}, silent: map[string]bool{}}
	journal := func(name string, events ...uint64) web.Journal {
		j := web.Journal{Controller: name}
		for _, seq := range events {
			j.Events = append(j.Events, status.Event{Controller: name, Seq: seq})
		}
		return j
	}
	f.take([]web.Journal{journal("ctl1", 1, 2), journal("ctl2", 1)})
	f.begun = true
	if fresh := f.take([]web.Journal{journal("ctl2", 2), journal("ctl3", 1), journal("ctl1")}); len(fresh) != 2 {
		t.Errorf("new is %+v", fresh)
	}
	var got []string
	for _, j := range f.all {
		for _, e := range j.Events {
			got = append(got, fmt.Sprintf("%s has %s-%d", j.Controller, e.Controller, e.Seq))
		}
	}
	if want := []string{"ctl1 has ctl1-1", "ctl1 has ctl1-2", "ctl2 has ctl2-1", "ctl2 has ctl2-2", "ctl3 has ctl3-1"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
