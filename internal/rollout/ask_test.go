package rollout

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/spec"
)

// A service that did not answer before is not asked whether it does after.
func TestServiceThatDidNotAnswerIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone", "glance")
		defer b.ended()
		b.r.answers = func(_ context.Context, _ *spec.Spec, names []string) []string {
			if !slices.Equal(names, []string{"keystone"}) {
				t.Errorf("asked before: %v, want the one that changes", names)
			}
			return nil
		}
		b.r.asks = func(_ context.Context, _ *spec.Spec, names []string, _ chan<- broken) {
			if len(names) > 0 {
				t.Errorf("asked after: %v, want none", names)
			}
		}
		if err := b.change(with("/v3")); err != nil {
			t.Fatal(err)
		}
	})
}

// A service whose hosts pass their checks, and that no request reaches through
// HAProxy any more, has the spec taken back.
func TestSpecThatRequestsDoNotPassIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir(), twoServices, "keystone", "glance")
		defer b.ended()
		var asked [][]string
		var found chan<- broken
		b.r.answers = func(_ context.Context, s *spec.Spec, names []string) []string {
			if s.Digest != digestOf(t, twoServices) {
				t.Errorf("asked before the reload with spec %s in force", s.Digest)
			}
			return names
		}
		b.r.asks = func(_ context.Context, _ *spec.Spec, names []string, f chan<- broken) {
			asked, found = append(asked, names), f
		}
		good := digestOf(t, twoServices)
		if err := b.change(with("/v3")); err != nil {
			t.Fatal(err)
		}
		b.saw(well)
		if want := [][]string{{"keystone"}}; len(asked) != 1 || !slices.Equal(asked[0], want[0]) {
			t.Fatalf("asked %v, want %v", asked, want)
		}
		found <- broken{"keystone", "a request through 192.0.2.10:5000: answered 502 Bad Gateway"}
		synctest.Wait()
		got := b.config()
		if got.Digest != good || len(got.Rejected) != 1 || !strings.Contains(got.Rejected[0].Text, "service keystone answered through HAProxy before") || !strings.Contains(got.Rejected[0].Text, "502") {
			t.Errorf("config %+v, want %s again, and why", got, good)
		}
		b.saw(well)
		time.Sleep(time.Minute)
		if want := []string{"reload", "reload-rolled-back"}; !slices.Equal(b.kinds(), want) {
			t.Errorf("events %v, want %v", b.kinds(), want)
		}
	})
}
