package cloud

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/status"
)

// Serving says how far a cloud serves its clients.
type Serving string

// How far a cloud serves.
const (
	Serves       Serving = "yes"
	ServesPartly Serving = "partly" // not all VIPs, or not all services
	ServesNot    Serving = "no"
	ServesMaybe  Serving = "unknown"
)

// A Verdict is what to know first of a cloud, for a person who is woken: whether it serves, what
// is wrong and since when, and whether somebody must act.
type Verdict struct {
	Serving Serving       `json:"serving"`
	Action  status.Action `json:"action"`
	// Since is when the oldest of what is wrong began; unset when all is well, or where it is unknown.
	Since time.Time `json:"since,omitzero"`
	// Text says it: "serving; cloudcontrol1004 lost since 02:14; no action needed now".
	Text string `json:"text"`
}

// told is how many findings a Verdict names.
const told = 2

// Judge gives the verdict on c, whose findings are in order and complete.
func Judge(c Cloud) Verdict {
	v := Verdict{Serving: c.serving(), Action: status.ActNone}
	var parts []string
	wrong := slices.DeleteFunc(slices.Clone(c.Findings), incidental)
	for i, f := range wrong {
		if v.Since.IsZero() || !f.Since.IsZero() && f.Since.Before(v.Since) {
			v.Since = f.Since
		}
		if urgency(f.Action) < urgency(v.Action) {
			v.Action = f.Action
		}
		if i < told {
			parts = append(parts, f.Brief+sinceShort(c.Time, f.Since))
		}
	}
	all := len(wrong)
	if all == 0 {
		parts = c.unsettled()
		all, parts = len(parts), parts[:min(len(parts), told)]
	}
	what := strings.Join(parts, ", ")
	if more := all - told; more > 0 {
		what += fmt.Sprintf(" and %d more", more)
	}
	v.Text = v.words(what)
	return v
}

// unsettled says what is not as it should be, and has not been so for long enough to be a finding.
func (c Cloud) unsettled() []string {
	var all []string
	for _, s := range c.Services {
		for _, h := range s.Hosts {
			switch {
			case h.State == status.Down:
				all = append(all, s.Name+" down on "+h.Name)
			case h.State == status.Up && h.Condition == status.Late:
				all = append(all, s.Name+" late on "+h.Name)
			}
		}
	}
	return all
}

// incidental reports whether f is not for a verdict: advice, and what went by without harm.
func incidental(f status.Finding) bool {
	return !Degrades(f) && f.Code != status.CodeDrained && f.Code != status.CodeHandover && f.Action == status.ActNone
}

func (v Verdict) words(what string) string {
	head := map[Serving]string{
		Serves: "serving", ServesPartly: "serving in part", ServesNot: "NOT serving", ServesMaybe: "unknown whether it serves",
	}[v.Serving]
	if what == "" && v.Serving == Serves {
		return head + "; all is well"
	}
	if what != "" {
		sep := ": "
		if v.Serving == Serves {
			sep = "; "
		}
		head += sep + what
	}
	return head + "; " + map[status.Action]string{
		status.ActNow: "act now", status.ActSoon: "no action needed now", status.ActNone: "no action needed",
	}[v.Action]
}

// sinceShort gives " since 02:14", of another day with the date; "" for what is not known.
func sinceShort(now, t time.Time) string {
	switch t = t.UTC(); {
	case t.IsZero():
		return ""
	case t.Format(time.DateOnly) == now.UTC().Format(time.DateOnly):
		return t.Format(" since 15:04")
	}
	return t.Format(" since 01-02 15:04")
}

// serving gives how far clients are served.
func (c Cloud) serving() Serving {
	up, down := 0, 0
	for _, v := range c.VIPs {
		if c.answers(v) {
			up++
		} else {
			down++
		}
	}
	dead, alive, unknown := 0, 0, 0
	for _, s := range c.Services {
		switch s.State {
		case status.Down:
			dead++
		case status.Unknown:
			unknown++
		default:
			alive++
		}
	}
	switch {
	case c.unsure() || len(c.VIPs) == 0:
		return ServesMaybe
	case up == 0 || dead > 0 && alive == 0 && unknown == 0:
		return ServesNot
	case unknown > 0 && alive == 0:
		return ServesMaybe
	case down > 0 || dead > 0 || c.doubtful():
		return ServesPartly
	}
	return Serves
}

// unsure reports whether too little is known: nobody answers, or what answers is cut off itself.
func (c Cloud) unsure() bool {
	silent := slices.ContainsFunc(c.Controllers, func(c Controller) bool { return !c.Reachable })
	return !slices.ContainsFunc(c.Controllers, func(c Controller) bool { return c.Reachable }) ||
		silent && slices.ContainsFunc(c.Findings, func(f status.Finding) bool { return f.Code == status.CodeIsolated })
}

// answers reports whether a VIP is held where an HAProxy runs, as far as is known.
func (c Cloud) answers(v VIP) bool {
	if v.Holder == "" {
		return false
	}
	if slices.ContainsFunc(c.Findings, func(f status.Finding) bool { return f.Code == status.CodeVIPNotPresent && f.Subject == "vip "+v.Name }) {
		return false
	}
	for _, controller := range c.Controllers {
		if controller.Name == v.Holder && controller.Snapshot != nil {
			return controller.Snapshot.HAProxy.State == status.HAProxyRunning
		}
	}
	return true
}

// doubtful reports whether some clients get no service though VIPs and services are up.
func (c Cloud) doubtful() bool {
	return slices.ContainsFunc(c.Findings, func(f status.Finding) bool {
		return f.Severity == status.Error && (f.Code == status.CodeVIPHeldTwice || f.Code == status.CodeVIPConflict || f.Code == status.CodeBlind ||
			f.Action == status.ActNow && strings.HasPrefix(f.Code, "certificate-"))
	})
}

// urgency gives the place of an action: the soonest first.
func urgency(a status.Action) int {
	i := slices.Index([]status.Action{status.ActNow, status.ActSoon}, a)
	if i < 0 {
		return 2
	}
	return i
}

// troubleshooting is where each code has an entry; see docs_test.go.
const troubleshooting = "docs/troubleshooting.md#"

// partsWithin is for how long two controllers may both have a VIP's address by themselves: the
// lease of one that is held up, and time to settle. Longer than that somebody must act.
const partsWithin = 30 * time.Second

// complete adds to each finding what its code says, and puts them into the order in which to see to
// them: what explains others, then by how soon, and how grave they are.
func (m *merger) complete() {
	for i := range m.out.Findings {
		f := &m.out.Findings[i]
		f.Brief = cmp.Or(f.Brief, strings.ReplaceAll(f.Code, "-", " ")+of(f.Subject))
		known := status.ActionFor(*f)
		if f.Action = cmp.Or(f.Action, known); known != "" {
			f.See = troubleshooting + f.Code
			if _, controller := m.claimedBy(*f); controller && f.Code == status.CodeVIPConflict && (f.Since.IsZero() || m.out.Time.Sub(f.Since) < partsWithin) {
				f.Action = status.ActSoon
			}
		} else if f.Action = status.ActNone; Degrades(*f) {
			f.Action = status.ActSoon
		}
	}
	slices.SortStableFunc(m.out.Findings, func(a, b status.Finding) int {
		return cmp.Or(cmp.Compare(leading(a), leading(b)), cmp.Compare(urgency(a.Action), urgency(b.Action)), cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(stands(a), stands(b)))
	})
	m.out.Healthy = !slices.ContainsFunc(m.out.Findings, Degrades)
	m.out.Verdict = Judge(m.out)
}

// stands gives the place of what has stopped, or is slow, before that of what is only not as it should be.
func stands(f status.Finding) int {
	if slices.Contains([]string{
		status.CodeControllerUnreachable, status.CodeAgentStalled, status.CodeHAProxyNotRunning, status.CodeHostDown, status.CodeServiceLate,
		status.CodeHostDisagreement,
	}, f.Code) {
		return 0
	}
	return 1
}

func of(subject string) string {
	if subject == "" {
		return ""
	}
	return " (" + subject + ")"
}
