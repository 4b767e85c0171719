package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/internal/incident"
	"holdfast/internal/status"
)

var begun = time.Date(2026, 12, 1, 2, 14, 0, 0, time.UTC)

// trouble is an incident of these events, that began after some time and, if it is over, ended.
func trouble(begin, end time.Duration, seqs ...uint64) incident.Incident {
	in := incident.Incident{State: incident.Open, Begin: begun.Add(begin)}
	for _, seq := range seqs {
		in.Events = append(in.Events, status.Event{Controller: "ctl2", Seq: seq, Time: begun.Add(time.Duration(seq) * time.Millisecond)})
	}
	in.ID = fmt.Sprintf("ctl2-%d", seqs[0])
	if end > 0 {
		in.State, in.End = incident.Over, begun.Add(end)
	}
	return in
}

const after = 10 * time.Second

// told plans at a time and says what is told: "ctl2-5 open".
func told(b *Marks, self string, at time.Duration, silent []string, all ...incident.Incident) string {
	text := ""
	for _, in := range b.Plan(self, all, begun.Add(at), Settings{After: after}, silent).Tell {
		text += in.ID + " " + string(in.State) + ";"
	}
	return text
}

// late is later than all that is told.
var late = begun.Add(24 * time.Hour)

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

func TestOneMessageEach(t *testing.T) {
	var b Marks
	open, over := trouble(0, 0, 5, 6), trouble(0, 40*time.Second, 5, 6, 7)
	expect(t, "before it has lasted", told(&b, "ctl1", 9*time.Second, nil, open), "")
	expect(t, "when it has", told(&b, "ctl1", 10*time.Second, nil, open), "ctl2-5 open;")
	expect(t, "again", told(&b, "ctl1", 20*time.Second, nil, open), "")
	expect(t, "just over", told(&b, "ctl1", 41*time.Second, nil, over), "")
	expect(t, "over, within the pause", told(&b, "ctl1", 60*time.Second, nil, over), "")
	expect(t, "over", told(&b, "ctl1", 71*time.Second, nil, over), "ctl2-5 over;")
	expect(t, "over for long", told(&b, "ctl1", time.Hour, nil, over), "")
}

func TestShortOnesOnceAndPastOnesNever(t *testing.T) {
	var b Marks
	expect(t, "a second long", told(&b, "ctl1", 11*time.Second, nil, trouble(0, time.Second, 5)), "ctl2-5 over;")
	expect(t, "of yesterday", told(&b, "ctl1", 24*time.Hour, nil, trouble(0, time.Second, 9)), "")
	planned := trouble(0, 0, 12)
	planned.Planned = true
	expect(t, "planned", told(&b, "ctl1", time.Minute, nil, planned), "")
	got := b.Plan("ctl1", []incident.Incident{planned}, begun.Add(time.Minute), Settings{After: after, Planned: true}, nil)
	if len(got.Tell) != 1 {
		t.Errorf("planned, where that is wanted: %+v", got)
	}
}

// TestLateIsToldLate has a host be late: nobody is woken for what serves.
func TestLateIsToldLate(t *testing.T) {
	var b Marks
	late := trouble(0, 0, 5)
	late.Kind = incident.ServiceLate
	expect(t, "a minute", told(&b, "ctl1", time.Minute, nil, late), "")
	over := trouble(0, time.Minute, 9)
	over.Kind, over.Duration = incident.ServiceLate, time.Minute
	expect(t, "that is over", told(&b, "ctl1", 2*time.Minute, nil, over), "")
	expect(t, "five minutes", told(&b, "ctl1", 5*time.Minute, nil, late), "ctl2-5 open;")
	expect(t, "its end", told(&b, "ctl1", 7*time.Minute, nil, func() incident.Incident {
		in := trouble(0, 6*time.Minute, 5)
		in.Kind, in.Duration = incident.ServiceLate, 6*time.Minute
		return in
	}()), "ctl2-5 over;")
}

func TestPlanSaysWhenToLookAgain(t *testing.T) {
	var b Marks
	p := b.Plan("ctl1", []incident.Incident{trouble(3*time.Second, 0, 5), trouble(time.Second, 0, 8)}, begun.Add(4*time.Second), Settings{After: after}, nil)
	if want := begun.Add(11 * time.Second); !p.Next.Equal(want) || len(p.Tell) != 0 {
		t.Errorf("%+v, want a look at %v", p, want)
	}
}

// TestAnotherControllerTellsNothingTwice has ctl1, which tells, be lost and come back.
func TestAnotherControllerTellsNothingTwice(t *testing.T) {
	var first, second Marks
	expect(t, "ctl1", told(&first, "ctl1", 10*time.Second, nil, trouble(0, 0, 5, 6)), "ctl2-5 open;")
	first.Done("ctl2-5", incident.Open)
	if !second.Learn(first.List(), late) || second.Learn(first.List(), late) {
		t.Error("what is new is not news, or what is old is")
	}
	// With an earlier event of a journal that could not be read before.
	earlier := trouble(-time.Second, 0, 4, 5, 6)
	expect(t, "ctl2", told(&second, "ctl2", 20*time.Second, []string{"ctl1"}, earlier), "")
	over := trouble(-time.Second, 30*time.Second, 4, 5, 6)
	expect(t, "ctl2, when it is over", told(&second, "ctl2", 80*time.Second, []string{"ctl1"}, over), "ctl2-5 over;")
	second.Done("ctl2-5", incident.Over)
	first.Learn(second.List(), late)
	expect(t, "ctl1, which is back", told(&first, "ctl1", 90*time.Second, nil, over), "")
}

// TestTwoAtOnceAgree has two controllers decide in the same moment: after they have told
// each other, one of them tells.
func TestTwoAtOnceAgree(t *testing.T) {
	var one, two Marks
	in := trouble(0, 0, 5)
	told(&one, "ctl1", 10*time.Second, nil, in)
	told(&two, "ctl2", 10*time.Second+time.Millisecond, nil, in)
	ofOne := one.List()
	one.Learn(two.List(), late)
	two.Learn(ofOne, late)
	if !one.Mine("ctl1", in) || two.Mine("ctl2", in) {
		t.Errorf("ctl1 tells it: %v; ctl2 does: %v", one.Mine("ctl1", in), two.Mine("ctl2", in))
	}
}

// TestWhatIsAbandonedIsTold has the one that was about to tell be gone.
func TestWhatIsAbandonedIsTold(t *testing.T) {
	var first, second Marks
	in := trouble(0, 0, 5)
	told(&first, "ctl1", 10*time.Second, nil, in)
	second.Learn(first.List(), late)
	expect(t, "while it may still", told(&second, "ctl2", 20*time.Second, []string{"ctl1"}, in), "")
	expect(t, "where it answers", told(&second, "ctl2", 41*time.Second, nil, in), "")
	expect(t, "later", told(&second, "ctl2", 41*time.Second, []string{"ctl1"}, in), "ctl2-5 open;")
}

func TestMarksAreBounded(t *testing.T) {
	var b Marks
	for i := range uint64(2 * kept) {
		b.Learn([]Mark{{ID: fmt.Sprint(i), State: incident.Open, At: begun.Add(time.Duration(i))}}, late)
	}
	b.Learn([]Mark{{ID: "much", Events: make([]string, knownEvents+1)}, {}}, late)
	if all := b.List(); len(all) != kept || all[0].ID != fmt.Sprint(kept) {
		t.Errorf("%d marks are kept, from %s", len(all), all[0].ID)
	}
}

// TestOpenMarksStay forgets what is over before what goes on, and tells that to others first.
func TestOpenMarksStay(t *testing.T) {
	var b Marks
	b.Learn([]Mark{{ID: "open", State: incident.Open, At: begun}}, late)
	for i := range 2 * kept {
		b.Learn([]Mark{{ID: fmt.Sprint(i), State: incident.Over, At: begun.Add(time.Duration(i + 1))}}, late)
	}
	if all := b.List(); len(all) != kept || all[0].ID != "open" {
		t.Errorf("%d marks are kept, the first %s", len(all), all[0].ID)
	}
	if few := b.Foremost(2); len(few) != 2 || few[0].ID != fmt.Sprint(2*kept-1) || few[1].ID != "open" {
		t.Errorf("the foremost are %+v", few)
	}
}

// TestManyAtOnce tells as many as there is room for, and looks again for the others.
func TestManyAtOnce(t *testing.T) {
	var b Marks
	all := []incident.Incident{trouble(0, 0, 1), trouble(0, 0, 2), trouble(0, 0, 3)}
	now := begun.Add(time.Minute)
	p := b.Plan("ctl1", all, now, Settings{After: after, Most: 2}, nil)
	if len(p.Tell) != 2 || !p.Next.After(now) {
		t.Errorf("%d are told, and the next look is %v later", len(p.Tell), p.Next.Sub(now))
	}
	if rest := b.Plan("ctl1", all, p.Next, Settings{After: after, Most: 2}, nil); len(rest.Tell) != 1 || rest.Tell[0].ID != "ctl2-3" {
		t.Errorf("later %+v", rest.Tell)
	}
}

// TestClockAhead has a controller whose clock was wrong say that it told in the future.
func TestClockAhead(t *testing.T) {
	var b Marks
	in := trouble(0, 30*time.Second, 5)
	b.Learn([]Mark{{ID: in.ID, State: incident.Open, By: "ctl2", Told: true, At: begun.Add(10 * time.Hour)}}, begun.Add(20*time.Second))
	expect(t, "its end", told(&b, "ctl1", 2*time.Minute, nil, in), "ctl2-5 over;")
}

// TestJoinedAreBothOver has two incidents be told, and be one then: who was told of both is
// told that both are over.
func TestJoinedAreBothOver(t *testing.T) {
	var b Marks
	expect(t, "two", told(&b, "ctl1", 10*time.Second, nil, trouble(0, 0, 5, 6), trouble(0, 0, 9)), "ctl2-5 open;ctl2-9 open;")
	b.Done("ctl2-5", incident.Open)
	b.Done("ctl2-9", incident.Open)
	expect(t, "that are one", told(&b, "ctl1", 2*time.Minute, nil, trouble(0, 0, 5, 6, 9)), "")
	over := trouble(0, 3*time.Minute, 5, 6, 9, 12)
	expect(t, "and over", told(&b, "ctl1", 4*time.Minute, nil, over), "ctl2-5 over;ctl2-9 over;")
	b.Done("ctl2-5", incident.Over)
	b.Done("ctl2-9", incident.Over)
	expect(t, "once", told(&b, "ctl1", time.Hour, nil, over), "")
	expect(t, "and again", told(&b, "ctl1", 2*time.Hour, nil, trouble(0, 0, 5, 6, 9, 12, 13)), "ctl2-5 open;")
}

// TestTheFirstOfTwoIsKnownByItsEvents has many events come to light before those that the
// second was told by.
func TestTheFirstOfTwoIsKnownByItsEvents(t *testing.T) {
	var b Marks
	expect(t, "one", told(&b, "ctl1", 10*time.Second, nil, trouble(0, 0, 50)), "ctl2-50 open;")
	many := trouble(0, 0, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 50)
	expect(t, "with many before", told(&b, "ctl1", 2*time.Minute, nil, many), "")
	many.State, many.End = incident.Over, begun.Add(3*time.Minute)
	expect(t, "and over", told(&b, "ctl1", 4*time.Minute, nil, many), "ctl2-50 over;")
	many.State, many.End = incident.Open, time.Time{}
	expect(t, "and not", told(&b, "ctl1", time.Hour, nil, many), "ctl2-50 open;")
}

// TestAnIDThatIsUsedAgain has a controller lose its journal and count anew: what happens then
// is another incident.
func TestAnIDThatIsUsedAgain(t *testing.T) {
	var b Marks
	expect(t, "the first", told(&b, "ctl1", 10*time.Second, nil, trouble(0, 0, 5)), "ctl2-5 open;")
	expect(t, "its end", told(&b, "ctl1", 5*time.Minute, nil, trouble(0, time.Minute, 5, 6)), "ctl2-5 over;")
	another := trouble(time.Hour, 2*time.Hour, 5)
	another.Events[0].Time = begun.Add(time.Hour)
	expect(t, "another", told(&b, "ctl1", 2*time.Hour+time.Minute, nil, another), "ctl2-5 over;")
}

// TestTheMessageHasTheCost says what clients felt.
func TestTheMessageHasTheCost(t *testing.T) {
	in := trouble(0, time.Second, 5)
	in.Cost = &status.Cost{Requests: 800, Failed: 7}
	data, err := json.Marshal(NewMessage("test", "ctl1", in))
	if err != nil || !strings.Contains(string(data), `"requests":800,"failed":7`) {
		t.Errorf("%s, %v", data, err)
	}
}
