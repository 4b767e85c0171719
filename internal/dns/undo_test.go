package dns_test

import (
	"net/netip"
	"strings"
	"testing"

	"holdfast/internal/changelog"
	"holdfast/internal/dns"
)

// line is one of a journal of DNS changes.
type line = changelog.Line[dns.Entry]

func entry(kind changelog.Kind, n int) line {
	e := line{Kind: kind, N: n, Time: lookedAt}
	switch kind {
	case changelog.Begin:
		e.Version, e.Detail.By, e.Total = 1, dns.RFC2136, 2
	case changelog.Intend:
		e.Detail.Place = dns.Place{Hostname: "api.example.org", Zone: "example.org", Server: netip.MustParseAddrPort("192.0.2.1:53")}
		e.Detail.Before, e.Detail.After = aRecord("10.0.0.13", 600), aRecord("10.0.0.10", 600)
	case changelog.Changed:
		e.Detail.Records = aRecord("10.0.0.10", 300)
	default:
	}
	return e
}

func aRecord(value string, ttl uint32) dns.Records {
	return dns.Records{{Type: "A", TTL: ttl, Values: []string{value}}}
}

func encode(t testing.TB, entries ...line) string {
	t.Helper()
	var b strings.Builder
	for _, e := range entries {
		line, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
	}
	return b.String()
}

func TestParseJournal(t *testing.T) {
	text := encode(t, entry(changelog.Begin, 0), entry(changelog.Intend, 1), entry(changelog.Changed, 1), entry(changelog.Verified, 1))
	j, err := changelog.Parse[dns.Entry]("j", []byte(text+`{"kind":"chan`))
	if err != nil || !j.Torn || len(j.Changes) != 1 || !j.Unfinished() || !j.Undoable() {
		t.Fatalf("cut short: %+v, %v", j, err)
	}
	c := j.Changes[0]
	if !c.Made || !c.IsVerified || c.Undone || c.Detail.After[0].TTL != 300 {
		t.Errorf("the change: %+v", c)
	}
	j, err = changelog.Parse[dns.Entry]("j", []byte(text+encode(t, entry(changelog.Applied, 0))))
	if err != nil || j.Torn || j.Unfinished() || !j.Undoable() {
		t.Errorf("applied: %+v, %v", j, err)
	}
	j, err = changelog.Parse[dns.Entry]("j", []byte(text+encode(t, entry(changelog.Restored, 1), entry(changelog.Back, 0))))
	if err != nil || j.Undoable() || !j.RolledBack || !j.Changes[0].Undone {
		t.Errorf("rolled back: %+v, %v", j, err)
	}
	for _, nothing := range []string{"", `{"kind":"beg`} {
		if j, err := changelog.Parse[dns.Entry]("j", []byte(nothing)); err != nil || j.Undoable() || j.Unfinished() {
			t.Errorf("%q: %+v, %v", nothing, j, err)
		}
	}
}

func TestParseJournalRefuses(t *testing.T) {
	begin := encode(t, entry(changelog.Begin, 0))
	change := func(spoil func(*dns.Entry)) string {
		e := entry(changelog.Intend, 1)
		spoil(&e.Detail)
		return begin + encode(t, e)
	}
	newer := entry(changelog.Begin, 0)
	newer.Version = 2
	unknown := entry(changelog.Begin, 0)
	unknown.Detail.By = "magic"
	for want, text := range map[string]string{
		"j:1: not a journal of DNS changes":             "hello\n",
		`j:1: not a journal of DNS changes: a line of`:  encode(t, entry(changelog.Intend, 1)),
		"its version is 2":                              encode(t, newer),
		`made by "magic"`:                               encode(t, unknown),
		`j:2: not a journal of DNS changes: a line of`:  begin + begin,
		"change 1 was never intended":                   begin + encode(t, entry(changelog.Changed, 1)),
		"change 1 is there twice":                       begin + encode(t, entry(changelog.Intend, 1), entry(changelog.Intend, 1)),
		`unknown kind "x"`:                              begin + encode(t, entry("x", 1)),
		`"" is no name`:                                 change(func(e *dns.Entry) { e.Zone = "" }),
		"api.example.org is not in the zone example.ne": change(func(e *dns.Entry) { e.Zone = "example.net" }),
		`unknown type "TXT"`:                            change(func(e *dns.Entry) { e.Before[0].Type = "TXT" }),
		`"2001:db8::1" is no value of a record of ty`:   change(func(e *dns.Entry) { e.After[0].Values = []string{"2001:db8::1"} }),
		"the A record set has 0 values":                 change(func(e *dns.Entry) { e.After[0].Values = nil }),
		"the TTL 2147483648 is out of range":            change(func(e *dns.Entry) { e.After[0].TTL = 1 << 31 }),
		"there are two A record sets":                   change(func(e *dns.Entry) { e.After = append(e.After, e.After[0]) }),
		"there is a CNAME record beside others":         change(func(e *dns.Entry) { e.After = append(e.After, dns.RRset{Type: "CNAME", Values: []string{"x.org"}}) }),
	} {
		if _, err := changelog.Parse[dns.Entry]("j", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestUndoStep(t *testing.T) {
	alias := dns.Records{{Type: "CNAME", TTL: 60, Values: []string{"ctl1.example.org"}}}
	both := dns.Records{{Type: "A", TTL: 60, Values: []string{"10.0.0.10"}}, {Type: "AAAA", TTL: 60, Values: []string{"2001:db8::10"}}}
	for _, c := range []struct {
		name               string
		before, after, now dns.Records
		want               dns.Step
	}{
		{"not made", alias, both, alias, dns.StepNone},
		{"made", alias, both, both, dns.StepPut},
		{"half made: the alias is gone", alias, both, nil, dns.StepPut},
		{"half made: the first is there", alias, both, both[:1], dns.StepPut},
		{"the value is another", alias, both, aRecord("10.0.0.99", 60), dns.StepConflict},
		{"the TTL only is another", aRecord("10.0.0.10", 9), aRecord("10.0.0.10", 5), aRecord("10.0.0.10", 7), dns.StepConflict},
		{"the server has chosen the TTL", alias, both, append(aRecord("10.0.0.10", 61), both[1]), dns.StepPut},
		{"from nothing, not made", nil, both, nil, dns.StepNone},
		{"from nothing, gone since", nil, both, nil, dns.StepNone},
		{"the TTL only, not made", aRecord("10.0.0.1", 9), aRecord("10.0.0.1", 5), aRecord("10.0.0.1", 9), dns.StepNone},
		{"the TTL only, made", aRecord("10.0.0.1", 9), aRecord("10.0.0.1", 5), aRecord("10.0.0.1", 5), dns.StepPut},
	} {
		e := entry(changelog.Intend, 1)
		e.Detail.Before, e.Detail.After = c.before, c.after
		if got, err := e.Detail.UndoStep(c.now, false); err != nil || got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	if got, err := entry(changelog.Intend, 1).Detail.UndoStep(aRecord("10.0.0.10", 61), true); err != nil || got != dns.StepConflict {
		t.Errorf("another TTL than was confirmed: %v, %v", got, err)
	}
	if _, err := (dns.Entry{}).UndoStep(nil, false); err == nil {
		t.Error("no change: no error")
	}
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(encode(f, entry(changelog.Begin, 0), entry(changelog.Intend, 1), entry(changelog.Changed, 1), entry(changelog.Verified, 1), entry(changelog.Applied, 0))))
	f.Add([]byte(encode(f, entry(changelog.Begin, 0), entry(changelog.Intend, 1), entry(changelog.Stopped, 1), entry(changelog.Restored, 1), entry(changelog.Back, 0)) + "{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := changelog.Parse[dns.Entry]("j", data)
		if err != nil {
			return
		}
		for _, c := range j.Changes {
			if _, err := c.Detail.UndoStep(c.Detail.Before, c.Made); err != nil {
				t.Error(err)
			}
			if step, err := c.Detail.UndoStep(c.Detail.Before, c.Made); err != nil || step != dns.StepNone {
				t.Errorf("as it was before: %v, %v", step, err)
			}
		}
		if len(j.Changes) > 0 {
			entries := []line{j.Begin, j.Changes[0].Line}
			if again, err := changelog.Parse[dns.Entry]("j", []byte(encode(t, entries...))); err != nil || len(again.Changes) != 1 {
				t.Errorf("does not survive being written again: %+v, %v", again, err)
			}
		}
	})
}
