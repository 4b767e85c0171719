package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/handover"
	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vrrp/link"
)

const (
	// hearInterval is how often each agent asks the others whom they hear.
	hearInterval = 2 * time.Second
	// deafAfter is the silence after which a controller is not heard: four hellos.
	deafAfter = 4500 * time.Millisecond
	// deafLooks are how many looks in a row must find that.
	deafLooks = 2
)

// hearing is which of the others know what a hello is, and since when they get
// them. Whoever runs another agent, or keepalived, gets none.
type hearing struct {
	mu    sync.Mutex
	know  map[string]time.Time
	looks map[string]int // in a row that found somebody deaf, by what is told of it
}

// lasts reports whether what f says was so at the last look too: a VIP that has
// just come, on one of two, is not heard yet.
func (h *hearing) lasts(key string, f *status.Finding) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.looks == nil {
		h.looks = map[string]int{}
	}
	if f == nil {
		delete(h.looks, key)
		return true
	}
	h.looks[key]++
	return h.looks[key] >= deafLooks
}

// knows notes that a controller does, or does not, and gives the others that do.
func (h *hearing) knows(controller string, does bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.know == nil {
		h.know = map[string]time.Time{}
	}
	if _, known := h.know[controller]; does && !known {
		h.know[controller] = time.Now()
	} else if !does {
		delete(h.know, controller)
	}
	return slices.Sorted(maps.Keys(h.know))
}

// since gives for how long a controller has got hellos; 0 if it gets none.
func (h *hearing) since(controller string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at, known := h.know[controller]; known {
		return time.Since(at)
	}
	return 0
}

// A hearsReply says what of the one who asks arrives here.
type hearsReply struct {
	// Greeting is for how long this controller has sent it hellos, in nanoseconds.
	Greeting time.Duration `json:"greeting_ns"`
	// Heard has for each VIP how long ago this controller has heard it, in
	// nanoseconds; negative for never.
	Heard map[string]time.Duration `json:"heard_ns"`
}

// hears is the command of another agent, which wants to know whether it is heard.
// One that asks knows what a hello is.
func (a *Agent) hears(_ context.Context, from string, _ struct{}) (any, error) {
	a.greetedBy(from, true)
	reply := hearsReply{Greeting: a.hearing.since(from), Heard: map[string]time.Duration{}}
	c, _ := a.currentSpec().Controller(from)
	for _, o := range a.owners() {
		if h, known := o.loop.Hearing()[c.Address]; known {
			reply.Heard[o.view.Load().vip.Name] = h.Ago
		}
	}
	return reply, nil
}

// greetedBy has the loops send hellos to a controller, or no more.
func (a *Agent) greetedBy(controller string, knows bool) {
	s := a.currentSpec()
	var hearers []netip.Addr
	for _, name := range a.hearing.knows(controller, knows) {
		if c, ok := s.Controller(name); ok {
			hearers = append(hearers, c.Address)
		}
	}
	for _, o := range a.owners() {
		o.loop.SetHearers(hearers)
	}
}

// watchHearing asks the others, again and again, whether they hear this
// controller, and tells of those who do not, or are not heard here.
func (a *Agent) watchHearing(ctx context.Context) {
	ticker := time.NewTicker(hearInterval)
	defer ticker.Stop()
	for ticked(ctx, ticker) {
		s := a.currentSpec()
		if s == nil {
			continue
		}
		var asked sync.WaitGroup
		for _, c := range s.Controllers {
			if c.Name != a.opt.Controller {
				asked.Go(func() { a.askHears(ctx, c) })
			}
		}
		asked.Wait()
		a.forgetHearing(s)
	}
}

// askHears asks one of the others, and tells what is wrong. One whose agent does
// not answer is not known to live.
func (a *Agent) askHears(ctx context.Context, c spec.Controller) {
	ctx, cancel := context.WithTimeout(ctx, hearInterval)
	defer cancel()
	var reply hearsReply
	err := a.peers.Ask(ctx, c.Name, "hears", struct{}{}, &reply)
	if err != nil {
		if !peer.Unanswered(err) {
			a.greetedBy(c.Name, false)
		}
		a.tellHearing(c.Name, nil, nil)
		return
	}
	greeting := a.hearing.since(c.Name)
	a.greetedBy(c.Name, true)
	var here, there []string // VIPs whose adverts do not arrive
	refused := ""
	for _, o := range a.owners() {
		name := o.view.Load().vip.Name
		h, known := o.loop.Hearing()[c.Address]
		ago, both := reply.Heard[name]
		if !known || !both || min(greeting, reply.Greeting) < deafAfter {
			continue // not on both, or not for long enough
		}
		if !h.Hears(deafAfter) {
			here = append(here, name)
		}
		if !(link.Hearing{Ago: ago}).Hears(deafAfter) {
			there = append(there, name)
			refused = h.Refused
		}
	}
	a.tellHearing(c.Name, notHeardHere(c.Name, here), notHeardThere(a.opt.Controller, c.Name, there, refused))
}

// tellHearing reports what is wrong with a controller's hearing; nil for nothing.
func (a *Agent) tellHearing(controller string, here, there *status.Finding) {
	for key, f := range map[string]*status.Finding{" from ": here, " to ": there} {
		if key = status.CodeAdvertsBlocked + key + controller; a.hearing.lasts(key, f) {
			a.reportOne(status.CodeAdvertsBlocked, key, f)
		}
	}
}

// forgetHearing ends what was said of controllers that the spec has no more.
func (a *Agent) forgetHearing(s *spec.Spec) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.findings, func(key string, f status.Finding) bool {
		if f.Code != status.CodeAdvertsBlocked {
			return false
		}
		_, name, _ := strings.Cut(strings.TrimPrefix(key, status.CodeAdvertsBlocked+" "), " ")
		_, known := s.Controller(name)
		return !known
	})
}

func notHeardHere(from string, vips []string) *status.Finding {
	if len(vips) == 0 {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodeAdvertsBlocked, Subject: "controller " + from,
		Text:   fmt.Sprintf("adverts of %s for %s do not arrive here, and its agent answers: were it to hold the address, both would", from, theVIPs(vips)),
		Remedy: handover.LetVRRPThrough,
	}
}

func notHeardThere(self, to string, vips []string, refused string) *status.Finding {
	if len(vips) == 0 {
		return nil
	}
	f := &status.Finding{
		Severity: status.Warning, Code: status.CodeAdvertsBlocked, Subject: "controller " + self,
		Text:   fmt.Sprintf("adverts of %s for %s do not arrive at %s, whose agent answers: were %s to hold the address, both would", self, theVIPs(vips), to, self),
		Remedy: handover.LetVRRPThrough,
	}
	if refused != "" {
		f.Text += fmt.Sprintf("; the kernel here does not send them (%s), so a filter of this host drops them", refused)
	}
	return f
}

func theVIPs(names []string) string {
	word := "vip "
	if len(names) > 1 {
		word = "vips "
	}
	return word + strings.Join(names, ", ")
}

// greet has the loop of a VIP send hellos to a controller, at once and from then on,
// and reports whether it does.
func (a *Agent) greet(vip, controller string) bool {
	a.greetedBy(controller, true)
	c, _ := a.currentSpec().Controller(controller)
	o := a.ownerOf(vip)
	return o != nil && o.loop.Hello(c.Address)
}
