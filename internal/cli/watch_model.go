package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// The full screen of "holdfast status --watch". A library has the terminal (raw keys, sizes, the other
// screen, what is to be drawn anew): what terminals and multiplexers differ in is not for us to know.

// incidentsInterval is how often the watch asks what has happened.
const incidentsInterval = 5 * time.Second

// A watched is what the screen asks, and has done. Each may take a second or more.
type watched struct {
	look      func(context.Context) (cloud.Cloud, error)
	incidents func(context.Context) []incident.Incident
	// drain, undrain and handover say in one line what was done.
	drain, undrain func(context.Context, string) (string, error)
	handover       func(context.Context, web.HandoverRequest) (string, error)
}

// A page is what is shown.
type page int

const (
	pageStatus page = iota
	pageEvents
	pageHelp
)

// A choice asks the operator for one of several, or yes or no: nothing is done without that.
type choice struct {
	text    string
	options []option
}

// An option is one answer to a choice: by which key, and what follows.
type option struct {
	key, name string
	then      func(watchModel) (watchModel, tea.Cmd)
}

// A watchModel is the state of the screen. Its Update and View touch nothing.
type watchModel struct {
	ctx  context.Context //nolint:containedctx // of the program, for what it asks: an Update has none
	do   watched
	view viewport
	page page

	cloud     cloud.Cloud
	seen      bool  // cloud is there
	trouble   error // why the last look failed
	happened  []incident.Incident
	scrolled  int
	filter    string
	filtering bool
	choice    *choice
	note      string // what became of the last key
}

// What the screen is told.
type (
	lookedMsg struct {
		cloud cloud.Cloud
		err   error
	}
	happenedMsg []incident.Incident
	doneMsg     struct {
		text string
		err  error
	}
	lookMsg   struct{}
	happenMsg struct{}
)

func (m watchModel) Init() tea.Cmd { return tea.Batch(m.look(), m.ask()) }

func (m watchModel) look() tea.Cmd {
	return func() tea.Msg {
		c, err := m.do.look(m.ctx)
		return lookedMsg{c, err}
	}
}

func (m watchModel) ask() tea.Cmd {
	return func() tea.Msg { return happenedMsg(m.do.incidents(m.ctx)) }
}

// Update takes a message. A page that has become shorter, or a screen larger, is not scrolled
// beyond its end.
func (m watchModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	next, cmd := m.updated(msg)
	next.scrolled = next.within(next.scrolled)
	return next, cmd
}

func (m watchModel) updated(msg tea.Msg) (watchModel, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.view.width, m.view.height = msg.Width, msg.Height
	case lookedMsg:
		if m.trouble = msg.err; msg.err == nil {
			m.cloud, m.seen = msg.cloud, true
		}
		return m, tea.Tick(watchInterval, func(time.Time) tea.Msg { return lookMsg{} })
	case happenedMsg:
		m.happened = msg
		return m, tea.Tick(incidentsInterval, func(time.Time) tea.Msg { return happenMsg{} })
	case lookMsg:
		return m, m.look()
	case happenMsg:
		return m, m.ask()
	case doneMsg:
		if m.note = msg.text; msg.err != nil {
			m.note = "FAILED: " + msg.err.Error()
		}
	case tea.KeyPressMsg:
		return m.pressed(msg)
	}
	return m, nil
}

// pressed does what a key says.
func (m watchModel) pressed(msg tea.KeyPressMsg) (watchModel, tea.Cmd) {
	key := msg.String()
	switch {
	case key == "ctrl+c":
		return m, tea.Quit
	case key == "ctrl+z":
		return m, tea.Suspend
	case m.filtering:
		return m.typed(msg), nil
	case m.choice != nil:
		return m.chosen(key)
	}
	m.note = ""
	switch key {
	case "q":
		return m, tea.Quit
	case "esc":
		m.back()
	case "?":
		m.page, m.scrolled = other(m.page, pageHelp), 0
	case "e":
		m.page, m.scrolled = other(m.page, pageEvents), 0
	case "/":
		m.filtering, m.filter, m.scrolled = true, "", 0
		if m.page == pageHelp {
			m.page = pageStatus
		}
	case "d":
		m.askDrain()
	case "h":
		m.askVIP()
	default:
		m.scroll(key)
	}
	return m, nil
}

// back ends the filter or, where there is none, goes to the status.
func (m *watchModel) back() {
	if m.filter == "" {
		m.page = pageStatus
	}
	m.filter, m.scrolled = "", 0
}

// other gives to, or, where that is shown, the status.
func other(is, to page) page {
	if is == to {
		return pageStatus
	}
	return to
}

func (m *watchModel) scroll(key string) {
	by := map[string]int{"down": 1, "j": 1, "up": -1, "k": -1, "pgdown": m.view.height - 2, "space": m.view.height - 2, "pgup": 2 - m.view.height}[key]
	m.scrolled = m.within(m.scrolled + by)
}

// within gives the line nearest to line that the page can be scrolled to.
func (m watchModel) within(line int) int {
	v := m.view
	v.height = m.room()
	return max(0, min(line, len(m.long(v))-v.height))
}

// room is how many lines a page has.
func (m watchModel) room() int { return max(1, m.view.height-len(m.foot())) }

// long gives all lines of a page that may be longer than the screen; none of the status, which
// leaves out what has no room.
func (m watchModel) long(v viewport) []string {
	switch m.page {
	case pageHelp:
		return strings.Split(watchHelp, "\n")
	case pageEvents:
		return m.events(v)
	case pageStatus:
	}
	return nil
}

// typed takes a key of the filter.
func (m watchModel) typed(msg tea.KeyPressMsg) watchModel {
	switch key := msg.String(); {
	case key == "enter":
		m.filtering = false
	case key == "esc":
		m.filtering, m.filter = false, ""
	case key == "backspace":
		if runes := []rune(m.filter); len(runes) > 0 {
			m.filter = string(runes[:len(runes)-1])
		}
	case msg.Text != "":
		m.filter += msg.Text
	}
	return m
}

// chosen takes the answer to a choice; any other key is no.
func (m watchModel) chosen(key string) (watchModel, tea.Cmd) {
	options := m.choice.options
	m.choice = nil
	for _, o := range options {
		if o.key == key {
			return o.then(m)
		}
	}
	m.note = "nothing was done"
	return m, nil
}

// confirm asks whether to do what text says.
func (m watchModel) confirm(text string, do tea.Cmd) (watchModel, tea.Cmd) {
	m.choice = &choice{text + " y/n", []option{{key: "y", then: func(m watchModel) (watchModel, tea.Cmd) {
		m.note = "asked; waiting for the answer ..."
		return m, do
	}}}}
	return m, nil
}

// askDrain asks which controller to drain, or to put back.
func (m *watchModel) askDrain() {
	c := choice{text: "drain or undrain which?"}
	for i, controller := range m.cloud.Controllers {
		name, drained := controller.Name, controller.Snapshot != nil && status.DrainedWhole(controller.Snapshot.Drains)
		label, text, do := name, "drain "+name+"? new requests go elsewhere, and VIPs that it holds are handed over", m.do.drain
		if drained {
			label, text, do = name+"(drained)", "put "+name+" back? requests go there again", m.do.undrain
		}
		c.options = append(c.options, option{numberKey(i), label, func(m watchModel) (watchModel, tea.Cmd) {
			return m.confirm(text, m.doing(func(ctx context.Context) (string, error) { return do(ctx, name) }))
		}})
	}
	m.put(c)
}

// askVIP asks which VIP to hand over, where there are several. One that is announced by BGP has
// no holder.
func (m *watchModel) askVIP() {
	vips := slices.DeleteFunc(slices.Clone(m.cloud.VIPs), func(v cloud.VIP) bool { return v.Announce != "" })
	if len(vips) == 0 && len(m.cloud.VIPs) > 0 {
		m.note = "every VIP is announced by BGP, so there is nothing to hand over: drain a controller to send its clients away"
		return
	}
	if len(vips) == 1 {
		m.askTaker(vips[0])
		return
	}
	c := choice{text: "hand over which VIP?"}
	for i, v := range vips {
		c.options = append(c.options, option{numberKey(i), v.Name, func(m watchModel) (watchModel, tea.Cmd) {
			m.askTaker(v)
			return m, nil
		}})
	}
	m.put(c)
}

func (m *watchModel) askTaker(v cloud.VIP) {
	c := choice{text: "hand VIP " + v.Name + " to whom?"}
	add := func(key, label, to string) {
		text := "hand VIP " + v.Name + " over to " + label + "? no connection is lost"
		c.options = append(c.options, option{key, label, func(m watchModel) (watchModel, tea.Cmd) {
			return m.confirm(text, m.doing(func(ctx context.Context) (string, error) {
				return m.do.handover(ctx, web.HandoverRequest{VIP: v.Name, To: to})
			}))
		}})
	}
	add("0", "the best", "")
	for i, controller := range m.cloud.Controllers {
		if controller.Name != v.Holder {
			add(numberKey(i), controller.Name, controller.Name)
		}
	}
	m.put(c)
}

// put asks c; of nothing there is no choice.
func (m *watchModel) put(c choice) {
	if len(c.options) == 0 {
		m.note = "nothing is known yet to choose from"
		return
	}
	m.choice = &c
}

// doing gives what does something and tells of it.
func (m watchModel) doing(do func(context.Context) (string, error)) tea.Cmd {
	return func() tea.Msg {
		text, err := do(m.ctx)
		return doneMsg{text, err}
	}
}

// numberKey is the key for the i-th of several: 1 to 9, then letters.
func numberKey(i int) string { return string("123456789abcdefgijklmoprstuvwxz"[min(i, 30)]) }

func (m watchModel) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	return v
}

// lines gives what is on the screen: the page, and at the bottom what the keys do, what is asked, or
// what became of it.
func (m watchModel) lines() []string {
	v := m.view
	if v.width == 0 || v.height == 0 {
		return nil
	}
	foot := m.foot()
	v.height = m.room()
	lines := m.body(v)
	lines = lines[:min(len(lines), v.height)]
	for len(lines) < v.height {
		lines = append(lines, "")
	}
	return append(lines, foot...)
}

func (m watchModel) body(v viewport) []string {
	switch {
	case m.page != pageStatus:
		return m.shown(m.long(v), v)
	case !m.seen && m.trouble != nil:
		return tui.Fold(tui.Printable(m.trouble.Error()), v.width, 0)
	case !m.seen:
		return []string{"asking the controllers ..."}
	}
	return screen(sight{filtered(m.cloud, m.filter), ofLate(m.happened, m.cloud.Time)}, v)
}

// shown gives the part of lines that is scrolled to.
func (m watchModel) shown(lines []string, v viewport) []string {
	lines = lines[min(m.scrolled, len(lines)):]
	for i, line := range lines {
		lines[i] = tui.Cut(line, v.width)
	}
	return lines
}

// events gives the incidents, the newest first.
func (m watchModel) events(v viewport) []string {
	newest := filter(m.happened, func(i incident.Incident) bool { return tells(i, m.filter) })
	slices.Reverse(newest)
	if len(newest) == 0 && m.filter != "" {
		return tui.Fold("no incident has "+tui.Printable(fmt.Sprintf("%q", m.filter))+" in it", v.width, 6)
	}
	var lines []string
	for line := range strings.Lines(incidentsText(newest)) {
		lines = append(lines, tui.Fold(strings.TrimSuffix(line, "\n"), v.width, 6)...)
	}
	return lines
}

const watchHelp = `Keys

  d  drain a controller, or put it back; asks before it does
  h  hand a VIP over to another controller; asks before it does
  e  what happened: incidents, the newest first, and back
  /  only what has a word in it, of the status or of what happened; Esc
     ends that
  ?  this, and back
  q  end; so does Ctrl-C

  Up, Down, Page Up, Page Down move what is longer than the screen.

Drain and hand over ask the agent of this host by its control socket, as
"holdfast drain" and "holdfast handover" do, so they need root, and an
agent here.`

// foot gives the lines below the page.
func (m watchModel) foot() []string {
	w := m.view.width
	switch {
	case m.filtering:
		return []string{tui.Cut("/"+tui.Printable(m.filter)+"_   Enter: keep it, Esc: all", w)}
	case m.choice != nil:
		parts := []string{m.choice.text}
		for _, o := range m.choice.options {
			if o.name != "" {
				parts = append(parts, o.key+":"+o.name) // no space, so that it stays on one line
			}
		}
		return tui.Fold(tui.Printable(strings.Join(parts, "  ")), w, 2)
	case m.note != "":
		return tui.Fold(tui.Printable(strings.TrimSpace(m.note)), w, 2)
	case m.seen && m.trouble != nil:
		return []string{tui.Cut("this is of "+m.cloud.Time.UTC().Format("15:04:05")+": "+tui.Printable(m.trouble.Error()), w)}
	}
	keys := "d drain  h hand over  e events  / filter  ? help  q quit"
	if m.filter != "" {
		keys = fmt.Sprintf("only what has %q, Esc: all  ", m.filter) + keys
	}
	return []string{tui.Paint(tui.Cut(tui.Printable(keys), w), tui.Dim, m.view.colour)}
}

// hasWord reports whether one of texts has word in it, in capitals or not.
func hasWord(word string, texts ...string) bool {
	return strings.Contains(strings.ToLower(strings.Join(texts, "\n")), strings.ToLower(word))
}

// tells reports whether an incident, or a line of it, has a word in it.
func tells(i incident.Incident, word string) bool {
	return hasWord(word, i.ID, string(i.Kind), string(i.State), i.By, i.Subject, i.Text, i.Cause) || slices.ContainsFunc(i.Events, func(e status.Event) bool {
		return hasWord(word, e.Controller, string(e.Kind), e.Subject, e.Text, e.Cause, e.By)
	})
}

// filtered gives c with only the findings, controllers, VIPs and services that have a word in them.
func filtered(c cloud.Cloud, word string) cloud.Cloud {
	if word == "" {
		return c
	}
	has := func(texts ...string) bool { return hasWord(word, texts...) }
	c.Findings = filter(c.Findings, func(f status.Finding) bool { return has(f.Subject, f.Text, f.Code, string(f.Severity)) })
	c.Controllers = filter(c.Controllers, func(c cloud.Controller) bool { return has(c.Name, c.Address) })
	c.Services = filter(c.Services, func(s cloud.Service) bool {
		return has(s.Name, string(s.State)) || slices.ContainsFunc(s.Hosts, func(h cloud.Host) bool { return has(h.Name) })
	})
	return c
}
