package zone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"holdfast/internal/changelog"
	"holdfast/internal/dns"
)

const (
	// DefaultWait is for how long the name servers may take to have a change.
	DefaultWait = time.Minute
	verifyPause = 500 * time.Millisecond
)

// Journals has the journals of all applies.
type Journals = changelog.Folder[dns.Entry]

// A Journal is that of one apply.
type Journal = changelog.Journal[dns.Entry]

// JournalsIn gives those of the state directory dir.
func JournalsIn(dir string) Journals {
	return Journals{Dir: filepath.Join(dir, "dns"), Command: "holdfast dns"}
}

// An Applier changes the records of hostnames, and changes them back.
type Applier struct {
	Looker   Looker // asks the name servers afterwards
	Editor   Editor
	Journals Journals
	Cloud    string // for the journal
	KeyFile  string // likewise, with RFC 2136
	URL      string // likewise, with Designate
	// Wait bounds how long all name servers may take to have a change. 0 is
	// DefaultWait.
	Wait time.Duration
	// Now gives the time, for until when caches may be stale.
	Now func() time.Time
	// Tell is told what is being done, a line at a time.
	Tell func(line string)

	step  func(name string) // for tests: called at every step, to die there
	pause time.Duration     // for tests: between two looks at the servers; 0 is verifyPause
}

// An ApplyResult says what an apply did.
type ApplyResult struct {
	Journal  string `json:"journal"`  // its name
	Changed  int    `json:"changed"`  // hostnames
	Verified int    `json:"verified"` // of them, at every name server
	// Stale is until when a cache may give an old answer; zero when none can.
	Stale time.Time `json:"stale_until,omitzero"`
	// Notes are worth knowing: a server that was left out, a TTL that a server
	// has made another.
	Notes []string `json:"notes"`
}

// at is called at every step.
func (a *Applier) at(step string) {
	if a.step != nil {
		a.step(step)
	}
}

// Apply makes the changes of plan, one hostname at a time. It changes nothing
// when the records are not as the plan found them. An error after the journal
// was begun is a *changelog.StoppedError.
func (a *Applier) Apply(ctx context.Context, plan dns.Plan) (out ApplyResult, err error) {
	out = ApplyResult{Notes: []string{}}
	held, err := a.Journals.Lock()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	changes := plan.Changes()
	for _, n := range changes {
		if err := a.unchanged(ctx, n); err != nil {
			return out, err
		}
	}
	w, err := held.Create()
	if err != nil {
		return out, err
	}
	out.Journal = w.Name
	defer func() { err = errors.Join(err, w.Close()) }()
	a.at("created")
	if err := w.Begin(plan.ID, a.Cloud, len(changes), a.begin()); err != nil {
		return out, err
	}
	a.at("begun")
	if w.Continues != "" {
		a.Tell("an apply was broken off; this one goes on with what it left, and a rollback undoes both: " + w.Continues)
	}
	return out, a.applyAll(ctx, changes, w, &out)
}

// begin gives what a rollback has to know.
func (a *Applier) begin() dns.Entry {
	e := dns.Entry{By: a.Editor.By(), KeyFile: a.KeyFile, URL: a.URL}
	if a.Looker.Key != nil {
		e.Key = a.Looker.Key.Name
	}
	return e
}

// unchanged refuses to change what is not as the plan found it.
func (a *Applier) unchanged(ctx context.Context, n dns.NamePlan) error {
	now, err := a.Editor.Read(ctx, n.Place())
	if err == nil && !now.Same(n.Before) {
		err = dns.ErrChanged
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n.Hostname, err)
	}
	return nil
}

// applyAll makes changes.
func (a *Applier) applyAll(ctx context.Context, changes []dns.NamePlan, w *changelog.Writer[dns.Entry], out *ApplyResult) error {
	for i, n := range changes {
		a.Tell(fmt.Sprintf("%d/%d %s: %s", i+1, len(changes), n.Hostname, summary(n)))
		if err := a.change(ctx, i+1, n, w, out); err != nil {
			err = fmt.Errorf("%s: %w", n.Hostname, err)
			return w.Stop(i, err, err.Error())
		}
	}
	err := w.Applied()
	a.at("applied")
	return err
}

// summary says in one line what n changes.
func summary(n dns.NamePlan) string {
	return dns.ShownRecords(n.Before) + " -> " + dns.ShownRecords(n.After)
}

// change makes one change: the journal first, then the change, then the proof.
func (a *Applier) change(ctx context.Context, number int, n dns.NamePlan, w *changelog.Writer[dns.Entry], out *ApplyResult) error {
	at := n.Place()
	if err := w.Intend(number, dns.Entry{Place: at, Before: n.Before, After: n.After}); err != nil {
		return err
	}
	a.at("intended")
	if err := a.Editor.Replace(ctx, at, n.Before, n.After); err != nil {
		return err
	}
	a.at("replaced")
	out.Changed++
	if stale := a.Now().Add(n.StaleFor); n.StaleFor > 0 && stale.After(out.Stale) {
		out.Stale = stale
	}
	now, err := a.Editor.Read(ctx, at)
	if err != nil {
		return fmt.Errorf("the change was made, but: %w", err)
	}
	if !now.SameValues(n.After) {
		return fmt.Errorf("the change was accepted, but it has other records now: %s", strings.Join(now.Lines(n.Hostname), "; "))
	}
	if err := w.Made(number, dns.Entry{Records: now}); err != nil {
		return err
	}
	a.at("changed")
	if !now.Same(n.After) {
		out.Notes = append(out.Notes, n.Hostname+": the server has chosen another TTL: "+strings.Join(now.Lines(n.Hostname), "; "))
	}
	if err := a.verify(ctx, at, now); err != nil {
		return fmt.Errorf("the change was made, but %w", err)
	}
	a.at("verified")
	out.Verified++
	return w.Verified(number)
}

// verify waits until every name server of at has want.
func (a *Applier) verify(ctx context.Context, at dns.Place, want dns.Records) error {
	if len(at.Servers) == 0 {
		return fmt.Errorf("no name server of the zone %s could be asked; once they serve it: holdfast dns plan", at.Zone)
	}
	wait := cmp.Or(a.Wait, DefaultWait)
	limit, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for first := true; ; first = false {
		behind := a.behind(ctx, at, want)
		if behind == nil {
			return nil
		}
		if first {
			a.Tell(fmt.Sprintf("waiting up to %s for %s", wait, strings.Join(behind, "; ")))
		}
		select {
		case <-limit.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("after %s, %s", wait, strings.Join(behind, "; "))
		case <-time.After(cmp.Or(a.pause, verifyPause)):
		}
	}
}

// behind gives what the servers say that have not yet want.
func (a *Applier) behind(ctx context.Context, at dns.Place, want dns.Records) []string {
	said := make([]string, len(at.Servers))
	var wg sync.WaitGroup
	for i, addr := range at.Servers {
		wg.Go(func() { said[i] = a.isBehind(ctx, addr, at, want) })
	}
	wg.Wait()
	var behind []string
	for _, s := range said {
		if s != "" {
			behind = append(behind, s)
		}
	}
	return behind
}

// isBehind says what the server at addr has instead of want, "" if it has want.
func (a *Applier) isBehind(ctx context.Context, addr netip.AddrPort, at dns.Place, want dns.Records) string {
	s := dns.Server{Address: addr, Primary: addr == at.Server}
	a.Looker.askServer(ctx, &s, at.Zone, at.Hostname)
	switch {
	case s.Condition() != dns.Good:
		return fmt.Sprintf("%s %s", s, s.Trouble())
	case s.Records().Same(effective(want)):
		return ""
	case s.Records().SameValues(want):
		return fmt.Sprintf("%s has another TTL (serial %s)", s, dns.ShownSerial(s))
	}
	return fmt.Sprintf("%s still has %s (serial %s)", s, dns.ShownAnswers(s.A, s.AAAA), dns.ShownSerial(s))
}

// effective gives r as a name server has it, which knows no TTL of the zone.
func effective(r dns.Records) dns.Records {
	out := make(dns.Records, len(r))
	copy(out, r)
	for i := range out {
		out[i].ZoneTTL = false
	}
	return out
}
