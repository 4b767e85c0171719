package handover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/vrrp"
	"holdfast/internal/web"
)

const (
	// reachInterval is how often a holder looks whether another controller
	// would serve clients better.
	reachInterval = time.Second
	// restInterval is how often controllers that see nothing wrong ask the
	// others, to notice that they reach none.
	restInterval = 3 * time.Second
	// reachTimeout is how long a controller may take to say what it reaches.
	reachTimeout = time.Second
	// patientTimeout is the same for a holder that looks whether it is worse than
	// others: over a link that loses or delays, an answer takes longer.
	patientTimeout = 2 * time.Second
	// isolatedAfter is how many times in a row no other controller may answer
	// before this one says that it is cut off.
	isolatedAfter = 2
)

// arrived notes the last planned move of a VIP to this controller.
func (m *Moves) arrived(vip string, came reach.Arrival) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.arrivals[vip] = came
}

// arrival gives it.
func (m *Moves) arrival(vip string) reach.Arrival {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.arrivals[vip]
}

// A reachReply tells what the HAProxy of a controller reaches.
type reachReply struct {
	// Age is how long ago HAProxy told that, in nanoseconds.
	Age      time.Duration   `json:"age_ns"`
	Unfit    string          `json:"unfit,omitempty"`
	Spec     string          `json:"spec"`
	Services map[string]bool `json:"services"`
	// Paths and Needs an older agent does not tell.
	Paths []status.Path       `json:"paths,omitempty"`
	Needs map[string][]string `json:"needs,omitempty"`
}

// tellReach is the command of another agent that wants to know what is reached from here.
func (m *Moves) tellReach(context.Context, string, struct{}) (any, error) {
	v := m.opt.Reach()
	if v.At.IsZero() {
		return nil, errors.New("HAProxy has not told yet how the services are")
	}
	return reachReply{Age: time.Since(v.At), Unfit: v.Unfit, Spec: v.Spec, Services: v.Services, Paths: v.Paths, Needs: v.Needs}, nil
}

// askReach asks controllers what they reach, all at once, and waits no longer than
// timeout. It gives the Views of those that say so, and how many answer anything.
func (m *Moves) askReach(ctx context.Context, controllers []spec.Controller, timeout time.Duration) (views map[string]reach.View, answered int) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	views = map[string]reach.View{}
	var mu sync.Mutex // guards views and answered
	var all sync.WaitGroup
	for _, c := range controllers {
		all.Go(func() {
			var reply reachReply
			asked := time.Now()
			err := m.opt.Ask(ctx, c.Name, "reach", struct{}{}, &reply)
			mu.Lock()
			defer mu.Unlock()
			if !peer.Unanswered(err) || peer.NoAgent(err) {
				answered++
			}
			if err == nil {
				views[c.Name] = reach.View{
					Controller: c.Name, At: asked.Add(-max(0, reply.Age)), Unfit: reply.Unfit, Spec: reply.Spec, Services: reply.Services,
					Paths: reply.Paths, Needs: reply.Needs,
				}
			}
		})
	}
	all.Wait()
	return views, answered
}

// lostBy says what clients would lose by a move of a VIP from own to another
// controller, as the refusal of that one; nil for nothing.
func lostBy(own, to reach.View) error {
	lost := reach.Lost(own, to)
	if len(lost) == 0 {
		return nil
	}
	return &peer.Error{Controller: to.Controller, Refusal: fmt.Sprintf(
		"its HAProxy reaches no host of %s, and that of %s does; with --force it takes the vip all the same", status.AndOthers(lost), own.Controller)}
}

// reachWatch is what watchReach remembers.
type reachWatch struct {
	moves  *Moves
	judges map[string]*reach.Judge // by VIP
	views  map[string]reach.View   // the last word of each other controller, which may be old
	asked  time.Time
	silent int        // times in a row that nobody answered
	link   reach.Limp // this controller's own
}

// watchReach has the holder of a VIP give it to a controller that reaches clearly
// more, and says when this one reaches no other.
func (m *Moves) watchReach(ctx context.Context) {
	w := &reachWatch{moves: m, judges: map[string]*reach.Judge{}, views: map[string]reach.View{}}
	ticker := time.NewTicker(reachInterval)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		if s := m.opt.Spec(); s != nil {
			w.look(ctx, s)
		}
	}
}

// look asks the others if there is reason to, and acts on what they say.
func (w *reachWatch) look(ctx context.Context, s *spec.Spec) {
	others, own := s.Others(w.moves.opt.Controller), w.moves.opt.Reach()
	holds, hears := w.held()
	if hears && !holds {
		w.noteHeard()
	}
	if w.shouldAsk(others, own, holds, hears) {
		views, answered := w.moves.askReach(ctx, others, patientTimeout)
		maps.Copy(w.views, views)
		w.asked = time.Now()
		if holds || !hears {
			w.noteAnswers(s, others, answered)
		}
	}
	if bad := w.link.Step(time.Now(), own, w.viewsOf(others)); w.moves.limps.Swap(bad) != bad {
		w.moves.opt.Settle()
	}
	for _, v := range w.moves.opt.VIPs() {
		w.judge(ctx, v, own, w.viewsOf(s.Prefers(v.VIP, others)))
	}
}

// viewsOf gives what is known of controllers, in their order.
func (w *reachWatch) viewsOf(controllers []spec.Controller) []reach.View {
	var views []reach.View
	for _, c := range controllers {
		if v, ok := w.views[c.Name]; ok {
			views = append(views, v)
		}
	}
	return views
}

// held reports whether this controller holds a VIP, and whether it hears of one
// that another one does.
func (w *reachWatch) held() (holds, hears bool) {
	for _, v := range w.moves.opt.VIPs() {
		s := v.Loop.Stats()
		holds = holds || s.State == vrrp.Active
		hears = hears || s.State != vrrp.Active && s.Holder != ""
	}
	return holds, hears
}

// shouldAsk reports whether others are to be asked now: at once, if this
// controller holds a VIP and misses a service or has a path that may be bad, or
// may be cut off; seldom if it is well. One that hears adverts is not cut off, and
// asks only, and seldom, while its own link may be bad.
func (w *reachWatch) shouldAsk(others []spec.Controller, own reach.View, holds, hears bool) bool {
	misses, suspect := false, slices.ContainsFunc(own.Paths, reach.Suspect)
	for _, has := range own.Services {
		misses = misses || !has
	}
	switch {
	case len(others) == 0:
		return false
	case hears && !holds && !suspect && !w.moves.limps.Load():
		return false
	case holds && (misses || suspect), w.silent > 0:
		return true
	}
	return time.Since(w.asked) >= restInterval
}

// judge gives v away if it is time.
func (w *reachWatch) judge(ctx context.Context, v VIP, own reach.View, others []reach.View) {
	name := v.Name
	j := w.judges[name]
	if j == nil {
		j = reach.NewJudge()
		w.judges[name] = j
	}
	if own.Unfit != "" { // it mends that by itself, or gives the VIP away for it
		own.At = time.Time{}
	}
	m := j.Step(time.Now(), v.Holds(), w.moves.arrival(name), own, others)
	if m.To == "" {
		return
	}
	_, err := w.moves.give(ctx, v, web.HandoverRequest{
		VIP: name, To: m.To, Unasked: true,
		Cause: whyMove(w.moves.opt.Controller, m),
	})
	if err != nil {
		j.Failed(time.Now())
		w.moves.opt.Log.Warn("the vip stays, though another controller reaches more", "vip", name, "to", m.To, "cause", whyMove(w.moves.opt.Controller, m), "error", err)
		return
	}
	j.Moved(time.Now())
	w.moves.arrived(name, reach.Arrival{At: time.Now(), Unasked: true})
}

// whyMove says why self does m.
func whyMove(self string, m reach.Move) string {
	if len(m.Services) == 0 {
		return m.Lag.String()
	}
	return fmt.Sprintf("HAProxy of %s reaches no host of %s, and that of %s does", self, status.AndOthers(m.Services), m.To)
}

// noteHeard notes that this controller is not cut off.
func (w *reachWatch) noteHeard() {
	w.silent = 0
	w.moves.opt.Report(status.CodeIsolated, status.CodeIsolated, nil)
}

// meets reports whether the host of another controller has answered a handshake
// of late: over a link that loses a third an agent's answers may all be missing.
func (w *reachWatch) meets(others []spec.Controller) bool {
	return slices.ContainsFunc(w.moves.opt.Reach().Paths, func(p status.Path) bool {
		return p.Sent > 0 && p.Silent < isolatedAfter && slices.ContainsFunc(others, func(c spec.Controller) bool { return c.Name == p.Host })
	})
}

// noteAnswers notes how many of the others have answered anything.
func (w *reachWatch) noteAnswers(s *spec.Spec, others []spec.Controller, answered int) {
	if answered > 0 || w.meets(others) {
		w.noteHeard()
		return
	}
	if w.silent++; w.silent < isolatedAfter {
		return
	}
	var names, vips []string
	for _, c := range others {
		names = append(names, c.Name)
	}
	for _, v := range s.VIPs {
		vips = append(vips, v.Name)
	}
	it := "each of them"
	if len(names) == 1 {
		it = names[0]
	}
	w.moves.opt.Report(status.CodeIsolated, status.CodeIsolated, &status.Finding{
		Severity: status.Error, Code: status.CodeIsolated, Subject: "controller " + w.moves.opt.Controller,
		Text: fmt.Sprintf("this controller reaches no other (%s): it is cut off, or they are down; what is said here is what it alone sees, and %s may hold VIP %s too",
			strings.Join(names, ", "), it, strings.Join(vips, ", ")),
		Remedy: "look at its link, its switch port and its filters; holdfast status on another controller tells how they see it",
	})
}
