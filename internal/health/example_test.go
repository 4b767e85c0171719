package health_test

import (
	"fmt"
	"time"

	"holdfast/internal/health"
)

// One host of three accepts requests and answers none, while the others do: it is
// taken out, and what waits there is cut, so that it goes to another host.
func ExampleJudge() {
	const every = 200 * time.Millisecond
	judge, now := health.NewJudge(), time.Now()
	begin := now
	a := health.Reading{Key: health.Key{Service: "nova", Host: "ctl1"}, InUse: true, Check: health.Passed, CheckTime: 2 * time.Second}
	b := a
	b.Host = "ctl2"
	hung := 10 * time.Second
	said := "well"
	for ; now.Sub(begin) < 20*time.Second; now = now.Add(every) {
		b.Answers += 10
		if now.Sub(begin) < hung {
			a.Answers += 10
		} else {
			a.InFlight = 20
			a.Sockets = &health.Sockets{Waiting: 20, Longest: now.Sub(begin) - hung, Heard: now.Sub(begin) - hung}
			a.Probe = &health.Probe{Begun: begin.Add(hung), Connected: true}
		}
		out := judge.Step(now, every, []health.Reading{a, b})
		if v := out.Verdicts[a.Key]; string(v.Condition) != said {
			said = string(v.Condition)
			fmt.Println(now.Sub(begin), v.Condition, v.Evidence)
		}
		for _, k := range out.TakeOut {
			fmt.Println(now.Sub(begin), "take out", k.Host)
			a.InUse, a.Down = false, true
		}
	}
	// Output:
	// 12s hung it accepts connections, and nothing came for 2s, while others answer
	// 12s take out ctl1
}
