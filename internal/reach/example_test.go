package reach_test

import (
	"fmt"
	"time"

	"holdfast/internal/reach"
)

// A holder that has lost a service which another controller reaches ought to give
// its VIP away, once that was so for long enough.
func ExampleJudge() {
	now := time.Now()
	own := reach.View{Controller: "ctl1", Services: map[string]bool{"keystone": true, "nova": false}}
	other := reach.View{Controller: "ctl2", Services: map[string]bool{"keystone": true, "nova": true}}
	fmt.Println(reach.Lost(other, own), reach.Lost(own, other))

	j := reach.NewJudge()
	for range 8 {
		own.At, other.At = now, now
		if move := j.Step(now, true, reach.Arrival{}, own, []reach.View{other}); move.To != "" {
			fmt.Println(move.To, move.Services)
			j.Moved(now)
		}
		now = now.Add(time.Second)
	}
	// Output:
	// [nova] []
	// ctl2 [nova]
}

// Who is to have a VIP of which it was not said where to.
func ExampleBest() {
	own := reach.View{Controller: "ctl1", Services: map[string]bool{"keystone": true, "nova": true}}
	fmt.Println(reach.Best(own, []string{"ctl2", "ctl3"}, map[string]reach.View{
		"ctl2": {Controller: "ctl2", Services: map[string]bool{"keystone": true, "nova": false}},
		"ctl3": {Controller: "ctl3", Services: map[string]bool{"keystone": true, "nova": true}},
	}))
	// Output:
	// [ctl3 ctl2]
}
