package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/catalog"
	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/incident"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/web"
)

const (
	// mostEvents is how many events of each controller are asked for at most.
	mostEvents = 4000
	// followInterval is how often controllers are asked what is new.
	followInterval = time.Second
)

// eventsFlags are those of "holdfast events".
type eventsFlags struct {
	follow, incidents  bool
	n                  int
	since              string
	controllers, kinds []string
}

// eventsCommand is "holdfast events".
func (a commands) eventsCommand() *cobra.Command {
	var flags eventsFlags
	cmd := &cobra.Command{
		Use:   "events [--incidents] [-f]",
		Short: "Show what happened: each transition with its cause, or whole incidents",
		Long: `events asks every controller of the spec for its journal, and shows the newest events,
the oldest first: each change of a virtual IP, of HAProxy, of a service or of the
spec, with its cause and how long it took. They are in the order in which they came
about, although clocks differ. Times are UTC, by the clock of the controller named.

With --incidents what belongs together is one: a host is lost, its virtual IP moves,
its services fail, and all of it comes back. Each has its cause, how long it lasted,
what it cost clients where that is known, and its lines below.

Without a readable spec it shows what the local agent is told by all of them. -f
follows; a spec is named with --file.

With -o json it prints one event or incident a line when it follows, and one object
otherwise.`,
		Example: `  holdfast events --since 2h
  holdfast events --incidents --since 30d
  holdfast events -f --controller ctl2 --kind vip-active,haproxy-down`,
		Args: followsNoFile,
		RunE: func(cmd *cobra.Command, _ []string) error {
			which, err := a.whichEvents(cmd, flags, time.Now())
			if err != nil {
				return err
			}
			source, err := a.journalSource(cmd)
			if err != nil {
				return err
			}
			if err := which.known(source.names); err != nil {
				return err
			}
			if flags.follow {
				return a.followEvents(cmd.Context(), source, which)
			}
			return a.events(cmd.Context(), source, which)
		},
	}
	set := cmd.Flags()
	// Its own, without the letter that all others have: here that one follows, as everywhere.
	set.StringVar(&a.File, "file", app.EnvOr(app.EnvFile, app.DefaultFile), "spec file, else that of $"+app.EnvFile)
	set.BoolVarP(&flags.follow, "follow", "f", false, "go on with each as it happens, until Ctrl-C")
	set.BoolVarP(&flags.follow, "follow-too", "F", false, "as -f") // its letter until 0.9
	set.BoolVar(&flags.incidents, "incidents", false, "show incidents, each with its events")
	set.IntVarP(&flags.n, "lines", "n", 50, "how many of the newest; with --since all, unless it is said")
	set.StringVar(&flags.since, "since", "", `not before this time: 90m, 7d, "2026-12-01 02:10" (UTC)`)
	set.StringSliceVar(&flags.controllers, "controller", nil, "only those of this controller; may be repeated")
	set.StringSliceVar(&flags.kinds, "kind", nil, `only of this kind, as "vip-active" or "vip-*"; may be repeated`)
	set.Lookup("follow-too").Hidden = true
	return a.offers(a.WithRunDir(cmd), map[string]names{"controller": controllerNames, "kind": eventKinds})
}

// followsNoFile is app.NoArgs for the one command where -f takes no file.
func followsNoFile(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && cmd.Flags().Changed("follow") {
		return app.Usagef("-f follows here, and takes no argument; name the spec with --file %s", args[0])
	}
	return app.NoArgs(cmd, args)
}

// A wanted says which events or incidents are to be shown.
type wanted struct {
	n                  int // of the newest; negative: all
	since              time.Time
	controllers, kinds []string
	incidents          bool
}

func (a commands) whichEvents(cmd *cobra.Command, flags eventsFlags, now time.Time) (wanted, error) {
	w := wanted{n: flags.n, controllers: flags.controllers, kinds: flags.kinds, incidents: flags.incidents}
	if flags.n < 0 {
		return w, app.Usagef("-n is %d; how many of the newest events are wanted?", flags.n)
	}
	if flags.since == "" {
		return w, nil
	}
	if !cmd.Flags().Changed("lines") {
		w.n = -1
	}
	var err error
	w.since, err = parseSince(flags.since, now)
	return w, err
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	ago := text
	var days int
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if _, err := fmt.Sscanf(number, "%d", &days); err == nil && fmt.Sprint(days) == number {
			ago = fmt.Sprintf("%dh", 24*days)
		}
	}
	if d, err := time.ParseDuration(ago); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} { // the last time that it was so late
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		y, m, d := now.UTC().Date()
		if t = t.AddDate(y, int(m)-1, d-1); t.After(now) {
			t = t.AddDate(0, 0, -1)
		}
		return t, nil
	}
	return time.Time{}, app.Usagef(`--since is %q; write how long ago, as 90m or 7d, or a time in UTC, as "2026-12-01 02:10" or 02:10`, text)
}

// known refuses names of controllers that there are not, where it is known which there are.
func (w wanted) known(names []string) error {
	for _, name := range w.controllers {
		if len(names) == 0 || slices.Contains(names, name) {
			continue
		}
		if near, ok := catalog.Nearest(name, names); ok {
			return app.Usagef("no controller is called %q; did you mean %q?", name, near)
		}
		return app.Usagef("no controller is called %q; there are %s", name, strings.Join(names, ", "))
	}
	return nil
}

// ofKind reports whether a kind is one of those wanted.
func (w wanted) ofKind(kind string) bool {
	return len(w.kinds) == 0 || slices.ContainsFunc(w.kinds, func(want string) bool {
		prefix, open := strings.CutSuffix(want, "*")
		return want == kind || open && strings.HasPrefix(kind, prefix)
	})
}

func (w wanted) event(e status.Event) bool {
	return !e.When().Before(w.since) && w.ofKind(e.Kind) && (len(w.controllers) == 0 || slices.Contains(w.controllers, e.Controller))
}

// incident reports whether in is wanted: one that goes on, or ended since, of the kind, or
// with an event of it, and that is about the controller, or told by nobody else.
func (w wanted) incident(in incident.Incident) bool {
	if in.State == incident.Over && in.End.Before(w.since) {
		return false
	}
	ofKind := w.ofKind(string(in.Kind)) || slices.ContainsFunc(in.Events, func(e status.Event) bool { return w.ofKind(e.Kind) })
	return ofKind && (len(w.controllers) == 0 || slices.ContainsFunc(w.controllers, func(name string) bool {
		return in.Subject == "controller "+name || strings.HasSuffix(in.Subject, " on "+name) ||
			!slices.ContainsFunc(in.Events, func(e status.Event) bool { return e.Controller != name })
	}))
}

// A journalSource asks for the journals of all controllers.
type journalSource struct {
	names []string // of the controllers, where they are known
	// ask gives the newest n events of each that came after those that are known, by
	// their numbers.
	ask func(ctx context.Context, n int, after map[string]uint64) ([]web.Journal, error)
}

// journalSource gives whom to ask, as source does.
func (a commands) journalSource(cmd *cobra.Command) (journalSource, error) {
	s, agent, err := a.specOrAgent(cmd, "is told")
	if err != nil {
		return journalSource{}, err
	}
	return a.journalsOf(s, agent), nil
}

// journalsOf is of the controllers of s or, without that, of those that the local agent knows.
func (a commands) journalsOf(s *spec.Spec, agent *web.Control) journalSource {
	if s != nil {
		targets := targetsOf(s)
		var names []string
		for _, t := range targets {
			names = append(names, t.Name)
		}
		return journalSource{names, func(ctx context.Context, n int, after map[string]uint64) ([]web.Journal, error) {
			return a.withLocal(ctx, web.OfCloud(web.Journals(ctx, targets, n, after), s.Cloud), n, after), ctx.Err()
		}}
	}
	return journalSource{ask: func(ctx context.Context, n int, after map[string]uint64) ([]web.Journal, error) {
		all, err := agent.Journals(ctx, n)
		for i, j := range all {
			all[i].Events = web.Newer(j.Events, after[j.Controller])
		}
		return all, err
	}}
}

// withLocal has the local agent tell what it could not be asked at its address: where
// that is cut off, or taken.
func (a commands) withLocal(ctx context.Context, all []web.Journal, n int, after map[string]uint64) []web.Journal {
	if !slices.ContainsFunc(all, func(j web.Journal) bool { return j.Error != "" }) {
		return all
	}
	local, err := a.Control().Events(ctx, n)
	for i, j := range all {
		if err == nil && j.Error != "" && j.Controller == local.Controller {
			all[i] = web.Journal{Controller: j.Controller, Events: web.Newer(local.Events, after[j.Controller])}
		}
	}
	return all
}

// eventsAnswer is the answer of "holdfast events -o json".
type eventsAnswer struct {
	Schema     int            `json:"schema"`
	Controller string         `json:"controller"` // whose events these are; empty where they are of several
	Events     []status.Event `json:"events"`
	// Controllers are those that were asked, with the reason where one did not tell.
	Controllers []toldBy `json:"controllers"`
}

type incidentsAnswer struct {
	Schema      int                 `json:"schema"`
	Incidents   []incident.Incident `json:"incidents"`
	Controllers []toldBy            `json:"controllers"`
}

type toldBy struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

func (a commands) events(ctx context.Context, source journalSource, which wanted) error {
	journals, err := source.ask(ctx, which.ask(), nil)
	if err != nil {
		return err
	}
	told, err := a.whoTold(journals)
	if err != nil {
		return err
	}
	if which.incidents {
		all := newest(filter(web.Group(journals, time.Now()), which.incident), which.n)
		return a.Answer(incidentsAnswer{1, all, told}, incidentsText(all))
	}
	all := newest(filter(web.Merge(journals), which.event), which.n)
	answer := eventsAnswer{Schema: 1, Events: all, Controllers: told}
	if len(journals) == 1 {
		answer.Controller = journals[0].Controller
	} else if len(which.controllers) == 1 {
		answer.Controller = which.controllers[0]
	}
	return a.Answer(answer, eventLines(all, nameWidth(journals)))
}

// ask gives how many events of each controller are needed.
func (w wanted) ask() int {
	if w.n < 0 || w.incidents || len(w.kinds) > 0 {
		return mostEvents
	}
	return w.n
}

// whoTold says on stderr which controllers did not tell; where none did that is an error.
func (a commands) whoTold(journals []web.Journal) ([]toldBy, error) {
	var all []toldBy
	var silent []string
	for _, j := range journals {
		all = append(all, toldBy{j.Controller, j.Error})
		if j.Error != "" {
			silent = append(silent, fmt.Sprintf("%s: %s", j.Controller, j.Error))
		}
	}
	if len(silent) == len(journals) {
		return all, errors.New("no controller tells what happened: " + strings.Join(silent, "; ") + "; are the agents running?")
	}
	for _, s := range silent {
		a.Logf("%s; its events are not here", s)
	}
	return all, nil
}

func filter[T any](all []T, wanted func(T) bool) []T {
	out := []T{}
	for _, one := range all {
		if wanted(one) {
			out = append(out, one)
		}
	}
	return out
}

// newest gives the last n; all where n is negative.
func newest[T any](all []T, n int) []T {
	if n < 0 {
		return all
	}
	return all[max(0, len(all)-n):]
}

// A follower has what was told so far.
type follower struct {
	commands
	which  wanted
	all    []web.Journal
	after  map[string]uint64
	silent map[string]bool
	said   map[string]string // of each incident, by its id
	begun  bool
}

func (a commands) followEvents(ctx context.Context, source journalSource, which wanted) error {
	f := follower{commands: a, which: which, after: map[string]uint64{}, silent: map[string]bool{}, said: map[string]string{}}
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	for n := mostEvents; ; n = 1000 {
		journals, err := source.ask(ctx, n, f.after)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = f.show(journals)
		}
		if err != nil {
			return err
		}
		if !tick.Next(ctx, ticker) {
			return nil
		}
	}
}

// show prints what is new in journals.
func (f *follower) show(journals []web.Journal) error {
	if !f.begun {
		if _, err := f.whoTold(journals); err != nil {
			return err
		}
	}
	fresh := f.take(journals)
	if f.which.incidents {
		return f.showIncidents()
	}
	events := filter(web.Merge(fresh), f.which.event)
	if !f.begun {
		events = newest(events, f.which.n)
	}
	f.begun = true
	if !f.AsJSON() {
		return f.Print(eventLines(events, nameWidth(journals)))
	}
	for _, e := range events {
		if err := f.PrintLine(e); err != nil {
			return err
		}
	}
	return nil
}

// take notes what is new in journals, and gives that. Of a controller whose agent does
// not count its events, all after the last one that is known are new. Another spec may have
// more controllers, or others.
func (f *follower) take(journals []web.Journal) []web.Journal {
	var fresh []web.Journal
	for _, j := range journals {
		if f.begun && (j.Error != "") != f.silent[j.Controller] {
			f.Logf("%s", saysAgain(j))
		}
		f.silent[j.Controller] = j.Error != ""
		i := slices.IndexFunc(f.all, func(o web.Journal) bool { return o.Controller == j.Controller })
		if i < 0 {
			i = len(f.all)
			f.all = append(f.all, web.Journal{})
		}
		had := f.all[i].Events
		if len(had) > 0 && had[len(had)-1].Seq == 0 {
			if at := slices.IndexFunc(j.Events, func(e status.Event) bool { return sameEvent(e, had[len(had)-1]) }); at >= 0 {
				j.Events = j.Events[at+1:]
			}
		}
		f.all[i] = web.Journal{Controller: j.Controller, Error: j.Error, ClockAhead: j.ClockAhead, Events: newest(append(had, j.Events...), mostEvents)}
		if n := len(j.Events); n > 0 {
			f.after[j.Controller] = j.Events[n-1].Seq
			fresh = append(fresh, j)
		}
	}
	return fresh
}

func sameEvent(a, b status.Event) bool {
	return a.Time.Equal(b.Time) && a.Kind == b.Kind && a.Subject == b.Subject && a.Text == b.Text
}

func saysAgain(j web.Journal) string {
	if j.Error != "" {
		return j.Controller + " tells nothing now: " + j.Error
	}
	return j.Controller + " tells again what happens"
}

// showIncidents prints each incident that is new, or over, or another than it was said to be.
func (f *follower) showIncidents() error {
	all := filter(web.Group(f.all, time.Now()), f.which.incident)
	if !f.begun {
		for _, in := range all[:len(all)-len(newest(all, f.which.n))] {
			f.said[in.ID] = saidOf(in)
		}
	}
	f.begun = true
	for _, in := range all {
		if f.said[in.ID] == saidOf(in) {
			continue
		}
		f.said[in.ID] = saidOf(in)
		err := error(nil)
		if f.AsJSON() {
			err = f.PrintLine(in)
		} else {
			err = f.Print(incidentHead(in))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func saidOf(in incident.Incident) string { return string(in.State) + " " + in.Text }

func nameWidth(journals []web.Journal) int {
	width := 0
	for _, j := range journals {
		width = max(width, len(j.Controller))
	}
	return width
}

func eventLines(events []status.Event, width int) string {
	var out strings.Builder
	for _, e := range events {
		out.WriteString(e.Time.UTC().Format("2006-01-02 15:04:05.000") + "  " + eventLine(e, e.Controller, width))
	}
	return out.String()
}

// eventLine writes an event on one line: on which controllers, what, how long it took, and why.
func eventLine(e status.Event, controllers string, width int) string {
	line := fmt.Sprintf("%-*s  %s", width, controllers, e.Text)
	if e.Took >= 100*time.Microsecond {
		line += ", took " + status.Brief(e.Took)
	}
	if e.Cause != "" {
		line += "; cause: " + e.Cause
	}
	if e.By != "" {
		line += "; by " + e.By
	}
	if e.Cost != nil && e.Kind != status.EventCost { // whose text says it
		line += "; cost: " + e.Cost.Words()
	}
	return tui.Printable(line) + "\n"
}
