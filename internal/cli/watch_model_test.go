package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// A watchTest is a screen without a terminal, and what it has asked to be done.
type watchTest struct {
	t     *testing.T
	m     watchModel
	did   []string
	quits bool
	fails error
}

func newWatchTest(t *testing.T) *watchTest {
	w := &watchTest{t: t}
	do := func(what string) func(context.Context, string) (string, error) {
		return func(_ context.Context, name string) (string, error) {
			w.did = append(w.did, what+" "+name)
			return name + " is " + what + "ed\n", w.fails
		}
	}
	w.m = watchModel{ctx: t.Context(), do: watched{
		look:      func(context.Context) (cloud.Cloud, error) { return degradedCloud(3), nil },
		incidents: func(context.Context) []incident.Incident { return nil },
		drain:     do("drain"), undrain: do("undrain"),
		handover: func(_ context.Context, req web.HandoverRequest) (string, error) {
			w.did = append(w.did, "handover "+req.VIP+" "+req.To)
			return "vip api moved", w.fails
		},
	}}
	w.tell(tea.WindowSizeMsg{Width: 80, Height: 24})
	w.tell(w.m.look()())
	return w
}

// tell gives the model a message, and does what it then wants done, but for what takes time.
func (w *watchTest) tell(msg tea.Msg) tea.Cmd {
	next, cmd := w.m.Update(msg)
	w.m = next.(watchModel)
	return cmd
}

// press presses keys, one word each; what is then to be done is done.
func (w *watchTest) press(keys string) {
	for key := range strings.FieldsSeq(keys) {
		msg := tea.KeyPressMsg{Text: key, Code: []rune(key)[0]}
		switch key {
		case "enter":
			msg = tea.KeyPressMsg{Code: tea.KeyEnter}
		case "esc":
			msg = tea.KeyPressMsg{Code: tea.KeyEscape}
		case "backspace":
			msg = tea.KeyPressMsg{Code: tea.KeyBackspace}
		case "down":
			msg = tea.KeyPressMsg{Code: tea.KeyDown}
		case "ctrl+c":
			msg = tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
		}
		if cmd := w.tell(msg); cmd != nil {
			switch done := cmd().(type) {
			case tea.QuitMsg:
				w.quits = true
			default:
				w.tell(done)
			}
		}
	}
}

func (w *watchTest) text() string { return w.m.View().Content }

func (w *watchTest) wants(words ...string) {
	w.t.Helper()
	for _, want := range words {
		if !strings.Contains(w.text(), want) {
			w.t.Errorf("there is no %q in\n%s", want, w.text())
		}
	}
}

// TestWatchAnnounced offers no VIP that is announced by BGP to be handed over.
func TestWatchAnnounced(t *testing.T) {
	w := newWatchTest(t)
	for i := range w.m.cloud.VIPs {
		w.m.cloud.VIPs[i].Announce = "bgp"
	}
	w.press("h")
	if w.wants("nothing to hand over"); w.m.choice != nil {
		t.Errorf("it asks %+v", w.m.choice)
	}
}

// TestWatchKeys presses what an operator would.
func TestWatchKeys(t *testing.T) {
	w := newWatchTest(t)
	w.wants("DEGRADED", "d drain  h hand over  e events  / filter  ? help  q quit")

	w.press("d")
	w.wants("drain or undrain which?  1:cloudcontrol1003  2:cloudcontrol1004")
	w.press("2")
	w.wants("drain cloudcontrol1004? new requests go elsewhere", "y/n")
	w.press("n")
	if w.wants("nothing was done"); len(w.did) > 0 {
		t.Fatalf("did %v, and nobody said yes", w.did)
	}
	w.press("d 2 y")
	w.wants("cloudcontrol1004 is drained")
	w.press("h")
	w.wants("hand VIP api to whom?  0:the best  2:cloudcontrol1004")
	w.press("3 y")
	w.wants("vip api moved")
	w.press("h 0 y")
	w.fails = errors.New("the agent at /run/holdfast/agent.sock answers to its owner only; run this as root")
	w.press("d 1 y")
	w.wants("FAILED: the agent at /run/holdfast/agent.sock answers to its owner only; run\n  this as root")
	if got, want := strings.Join(w.did, ", "), "drain cloudcontrol1004, handover api cloudcontrol1005, handover api , drain cloudcontrol1003"; got != want {
		t.Errorf("did %s; want %s", got, want)
	}

	w.press("?")
	w.wants("Keys", "they need root")
	w.press("? /")
	w.wants("/_")
	w.press("n o b o d y backspace backspace")
	w.wants("/nobo_")
	w.press("esc / n o v a enter")
	w.wants(`only what has "nova", Esc: all`, "service nova on cloudcontrol1004")
	if strings.Contains(w.text(), "haproxy on cloudcontrol1005") {
		t.Errorf("what has no nova in it is still there:\n%s", w.text())
	}
	w.press("esc")
	w.wants("haproxy on cloudcontrol1005")
	w.press("q")
	if !w.quits {
		t.Error("q does not end it")
	}
	w = newWatchTest(t)
	if w.press("d ctrl+c"); !w.quits {
		t.Error("Ctrl-C does not end it, while something is asked")
	}
}

// TestWatchDrained offers to put back what is drained.
func TestWatchDrained(t *testing.T) {
	w := newWatchTest(t)
	answers := cloudAnswers(3)
	answers[1].Snapshot.Drains = []status.Drained{{Since: past(time.Hour)}}
	w.tell(lookedMsg{cloud: merged(answers)})
	w.press("d")
	w.wants("2:cloudcontrol1004(drained)")
	w.press("2 y")
	w.wants("cloudcontrol1004 is undrained")
}

// TestWatchFits draws each page at many sizes: never wider nor higher than the terminal.
func TestWatchFits(t *testing.T) {
	var many []incident.Incident
	for i := range 50 {
		many = append(many, incident.Incident{State: incident.Over, Begin: past(time.Hour), End: past(time.Hour - time.Duration(i)), Text: strings.Repeat("controller x was lost; ", 8)})
	}
	for _, keys := range []string{"", "d", "h", "?", "e", "e down down", "/ a b c", "d 1 y"} {
		w := newWatchTest(t)
		w.tell(happenedMsg(many))
		w.press(keys)
		for _, size := range [][2]int{{80, 24}, {120, 50}, {40, 12}, {20, 6}, {1, 1}, {0, 0}} {
			w.tell(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			lines := strings.Split(w.text(), "\n")
			if len(lines) > max(1, size[1]) && size[1] > 6 {
				t.Errorf("%q at %v: %d lines", keys, size, len(lines))
			}
			for _, line := range lines {
				if n := tui.Visible(line); n > size[0] && size[0] >= 80 {
					t.Errorf("%q at %v: %d columns: %s", keys, size, n, line)
				}
			}
		}
	}
}

// TestWatchSaysWhenItIsOld has a look fail: what is shown says of when it is.
func TestWatchSaysWhenItIsOld(t *testing.T) {
	w := newWatchTest(t)
	w.tell(lookedMsg{err: errors.New("the agent is gone")})
	w.wants("DEGRADED", "this is of 10:42:07: the agent is gone")
}

// incidentsOf gives n incidents of a line each.
func incidentsOf(n int) []incident.Incident {
	var all []incident.Incident
	for i := range n {
		all = append(all, incident.Incident{State: incident.Over, Begin: past(time.Hour), End: past(time.Hour - time.Second), Text: fmt.Sprintf("incident %03d", i)})
	}
	return all
}

// TestWatchScrollsToTheEnd: keys pressed beyond the end need not be taken back one by one.
func TestWatchScrollsToTheEnd(t *testing.T) {
	w := newWatchTest(t)
	w.tell(happenedMsg(incidentsOf(60)))
	w.press("e" + strings.Repeat(" down", 200))
	w.wants("incident 000")
	at := w.text()
	w.press("down")
	if w.text() != at {
		t.Error("it scrolls beyond the end")
	}
	w.press("k")
	if strings.Contains(w.text(), "incident 000") {
		t.Errorf("one up does not move it:\n%s", w.text())
	}
	w.tell(happenedMsg(incidentsOf(30))) // less is left to show
	w.tell(tea.WindowSizeMsg{Width: 80, Height: 70})
	w.wants("incident 029", "incident 000")
	w.press("j j ? j j j j j ?") // neither the status nor the help is scrolled by what others were
	w.press("?")
	w.wants("Keys")
	if w.m.scrolled != 0 {
		t.Errorf("scrolled to %d, and all of it fits", w.m.scrolled)
	}
}

// TestWatchFiltersEvents shows only incidents that have a word in them.
func TestWatchFiltersEvents(t *testing.T) {
	w := newWatchTest(t)
	all := incidentsOf(40)
	all[3].Events = []status.Event{{Controller: "cloudcontrol1009", Text: "HAProxy is down"}}
	w.tell(happenedMsg(all))
	w.press("e down down / C O N T R O L 1 0 0 9 enter")
	w.wants("incident 003", `only what has "CONTROL1009", Esc: all`)
	if strings.Contains(w.text(), "incident 004") {
		t.Errorf("it shows what does not have the word:\n%s", w.text())
	}
	w.press("/ n o t h i n g enter")
	w.wants(`no incident has "nothing" in it`)
	w.press("esc")
	w.wants("incident 039")
	w.press("esc")
	w.wants("DEGRADED")
}
