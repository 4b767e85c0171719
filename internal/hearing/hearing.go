// Package hearing finds out which controllers hear each other. One in Backup sends no
// adverts, so nobody would know that its adverts do not arrive before it takes over,
// and then two hold the VIP. So this controller's VRRP loops send hellos to those whose
// agents know them, and the agents ask each other what has come.
//
// It says who is not heard by whom. What that means for a VIP it does not decide.
package hearing

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/vrrp/link"
)

const (
	// LetThrough is the remedy where adverts do not arrive.
	LetThrough = "let IP protocol 112 (VRRP) through both ways, in the hosts' own filters (nft list ruleset) and between them"
	// interval is how often each agent asks the others whom they hear.
	interval = 2 * time.Second
	// deafAfter is the silence after which a controller is not heard: four hellos.
	deafAfter = 4500 * time.Millisecond
	// deafLooks are how many looks in a row must find that.
	deafLooks = 2
)

// Options is what a Hearing is made of. None of the functions is nil, but Word may be.
type Options struct {
	Controller string // this one's name in the spec
	// Spec gives the spec in force; nil while there is none.
	Spec func() *spec.Spec
	// VIPs gives this controller's part in each VIP, in the order of the spec.
	VIPs func() []VIP
	// Ask has the agent of another controller carry out a command, and decodes its
	// answer into resp. Where that agent could not be asked, the error is a *peer.Error.
	Ask func(ctx context.Context, controller, command string, req, resp any) error
	// SetFinding is told the finding under a key, nil when there is none. Report is told
	// it when beginning and end are events of its code, too.
	SetFinding func(key string, f *status.Finding)
	Report     func(code, key string, f *status.Finding)
	// Word gives what else is told to those who ask, and are asked; nil for nothing. Told
	// is told what another one has told so.
	Word func() any
	Told func(from string, word json.RawMessage)
	// Clock gives the wall clock of this controller, and Clocked is told that of another
	// one, read within an answer that took that long; 0: it does not tell. Both may be nil.
	Clock   func() int64
	Clocked func(controller string, reading int64, took time.Duration)
}

// A VIP is this controller's part in one.
type VIP struct {
	Name string
	Loop Loop
}

// A Loop is the VRRP loop of one VIP: see link.Loop.
type Loop interface {
	Hearing() map[netip.Addr]link.Hearing
	SetHearers(all []netip.Addr)
	Hello(to netip.Addr) bool
	Signed() link.Signed
	Proven(controller netip.Addr) uint64
	Told(was uint64, is link.Signed)
}

// A Hearing knows which of the other controllers know what a hello is, and since when
// they get them. Whoever runs another agent, or keepalived, gets none. Its methods may
// be called by any goroutine.
type Hearing struct {
	opt Options

	mu    sync.Mutex // guards following
	know  map[string]time.Time
	looks map[string]int    // in a row that found somebody deaf, by what is told of it
	told  map[string]string // the controllers that findings are about, by the keys of these
}

// New makes a Hearing. Nobody is sent hellos until one asks, or Watch has asked it.
func New(opt Options) *Hearing {
	return &Hearing{opt: opt, know: map[string]time.Time{}, looks: map[string]int{}, told: map[string]string{}}
}

// lasts reports whether what f says was so at the last look too: a VIP that has
// just come, on one of two, is not heard yet.
func (h *Hearing) lasts(key string, f *status.Finding) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f == nil {
		delete(h.looks, key)
		return true
	}
	h.looks[key]++
	return h.looks[key] >= deafLooks
}

// knows notes that a controller does, or does not, and gives the others that do.
func (h *Hearing) knows(controller string, does bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.know[controller]; does && !known {
		h.know[controller] = time.Now()
	} else if !does {
		delete(h.know, controller)
	}
	return slices.Sorted(maps.Keys(h.know))
}

// since gives for how long a controller has got hellos; 0 if it gets none.
func (h *Hearing) since(controller string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at, known := h.know[controller]; known {
		return time.Since(at)
	}
	return 0
}

// A question asks whether who asks is heard.
type question struct {
	Word json.RawMessage `json:"word,omitempty"` // see Options
}

// A reply says what of the one who asks arrives here.
type reply struct {
	// Greeting is for how long this controller has sent it hellos, in nanoseconds.
	Greeting time.Duration `json:"greeting_ns"`
	// Heard has for each VIP how long ago this controller has heard it, in
	// nanoseconds; negative for never.
	Heard map[string]time.Duration `json:"heard_ns"`
	// Signed has for each VIP what this controller has signed last, where it signs: what
	// comes with an earlier sequence was recorded.
	Signed map[string]link.Signed `json:"signed,omitempty"`
	Word   json.RawMessage        `json:"word,omitempty"` // see Options
	// Clock is the wall clock, for people who read the events of both.
	Clock int64 `json:"clock_unix_ns,omitempty"`
}

// word gives what is told beside.
func (h *Hearing) word() json.RawMessage {
	if h.opt.Word == nil {
		return nil
	}
	text, err := json.Marshal(h.opt.Word())
	if err != nil {
		return nil // it is of our own making, and always can be
	}
	return text
}

// pass passes on what another controller told beside; an older one tells nothing.
func (h *Hearing) pass(from string, word json.RawMessage) {
	if h.opt.Word != nil && len(word) > 0 {
		h.opt.Told(from, word)
	}
}

// Hears is the command "hears" of another agent, which wants to know whether it is
// heard. One that asks knows what a hello is.
func (h *Hearing) Hears(_ context.Context, from string, asks question) (any, error) {
	h.greet(from, true)
	h.pass(from, asks.Word)
	answer := reply{Greeting: h.since(from), Heard: map[string]time.Duration{}, Word: h.word()}
	c, _ := h.opt.Spec().Controller(from)
	for _, v := range h.opt.VIPs() {
		if is, known := v.Loop.Hearing()[c.Address]; known {
			answer.Heard[v.Name] = is.Ago
		}
		if signed := v.Loop.Signed(); signed.Sequence != 0 {
			if answer.Signed == nil {
				answer.Signed = map[string]link.Signed{}
			}
			answer.Signed[v.Name] = signed
		}
	}
	if h.opt.Clock != nil {
		answer.Clock = h.opt.Clock()
	}
	return answer, nil
}

// greet has the loops send hellos to a controller, or no more.
func (h *Hearing) greet(controller string, knows bool) {
	s := h.opt.Spec()
	var hearers []netip.Addr
	for _, name := range h.knows(controller, knows) {
		if c, ok := s.Controller(name); ok {
			hearers = append(hearers, c.Address)
		}
	}
	for _, v := range h.opt.VIPs() {
		v.Loop.SetHearers(hearers)
	}
}

// Greet has the loop of a VIP send hellos to a controller, at once and from then on,
// and reports whether it does.
func (h *Hearing) Greet(vip, controller string) bool {
	h.greet(controller, true)
	c, _ := h.opt.Spec().Controller(controller)
	vips := h.opt.VIPs()
	i := slices.IndexFunc(vips, func(v VIP) bool { return v.Name == vip })
	return i >= 0 && vips[i].Loop.Hello(c.Address)
}

// Watch asks the others, again and again, whether they hear this controller, and tells
// of those who do not, or are not heard here, until ctx ends.
func (h *Hearing) Watch(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		s := h.opt.Spec()
		if s == nil {
			continue
		}
		var asked sync.WaitGroup
		for _, c := range s.Others(h.opt.Controller) {
			asked.Go(func() { h.ask(ctx, c) })
		}
		asked.Wait()
		h.forget(s)
	}
}

// ask asks one of the others, and tells what is wrong. One whose agent does not
// answer is not known to live.
func (h *Hearing) ask(ctx context.Context, c spec.Controller) {
	ctx, cancel := context.WithTimeout(ctx, interval)
	defer cancel()
	var answer reply
	proven := map[string]uint64{}
	for _, v := range h.opt.VIPs() {
		proven[v.Name] = v.Loop.Proven(c.Address)
	}
	begun := time.Now()
	err := h.opt.Ask(ctx, c.Name, "hears", question{h.word()}, &answer)
	took := time.Since(begun)
	if err != nil {
		if !peer.Unanswered(err) {
			h.greet(c.Name, false)
		}
		h.tell(c.Name, nil, nil)
		return
	}
	for _, v := range h.opt.VIPs() {
		if is := answer.Signed[v.Name]; is.Sequence != 0 && (is.From == c.Address || is.From.IsLinkLocalUnicast()) {
			v.Loop.Told(proven[v.Name], is)
		}
	}
	h.pass(c.Name, answer.Word)
	if h.opt.Clocked != nil {
		h.opt.Clocked(c.Name, answer.Clock, took)
	}
	greeting := h.since(c.Name)
	h.greet(c.Name, true)
	var here, there []string // VIPs whose adverts do not arrive
	refused := ""
	for _, v := range h.opt.VIPs() {
		is, known := v.Loop.Hearing()[c.Address]
		ago, both := answer.Heard[v.Name]
		if !known || !both || min(greeting, answer.Greeting) < deafAfter {
			continue // not on both, or not for long enough
		}
		if !is.Hears(deafAfter) {
			here = append(here, v.Name)
		}
		if !(link.Hearing{Ago: ago}).Hears(deafAfter) {
			there = append(there, v.Name)
			refused = is.Refused
		}
	}
	h.tell(c.Name, notHeardHere(c.Name, here), notHeardThere(h.opt.Controller, c.Name, there, refused))
}

// tell reports what is wrong with a controller's hearing; nil for nothing.
func (h *Hearing) tell(controller string, here, there *status.Finding) {
	for key, f := range map[string]*status.Finding{" from ": here, " to ": there} {
		if key = status.CodeAdvertsBlocked + key + controller; !h.lasts(key, f) {
			continue
		}
		h.mu.Lock()
		h.told[key] = controller
		h.mu.Unlock()
		h.opt.Report(status.CodeAdvertsBlocked, key, f)
	}
}

// forget ends what was said of controllers that s does not have.
func (h *Hearing) forget(s *spec.Spec) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, name := range h.told {
		if _, known := s.Controller(name); !known {
			delete(h.told, key)
			h.opt.SetFinding(key, nil)
		}
	}
}

// The words of these two are taken apart by package cloud (blockageOf), which tells once what
// several agents find of one filter.

func notHeardHere(from string, vips []string) *status.Finding {
	if len(vips) == 0 {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodeAdvertsBlocked, Subject: "controller " + from,
		Text:   fmt.Sprintf("adverts of %s for %s do not arrive here, and its agent answers: were it to hold the address, both would", from, theVIPs(vips)),
		Remedy: LetThrough,
	}
}

func notHeardThere(self, to string, vips []string, refused string) *status.Finding {
	if len(vips) == 0 {
		return nil
	}
	f := &status.Finding{
		Severity: status.Warning, Code: status.CodeAdvertsBlocked, Subject: "controller " + self,
		Text:   fmt.Sprintf("adverts of %s for %s do not arrive at %s, whose agent answers: were %s to hold the address, both would", self, theVIPs(vips), to, self),
		Remedy: LetThrough,
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
