package auth

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func newVoice(t testing.TB, name string) *Voice {
	t.Helper()
	v, err := NewVoice(name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func claim(t testing.TB, v *Voice, to string) Claim {
	t.Helper()
	c, err := v.Claim(to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClaim alters everything that a request and its answer have, one at a time.
func TestClaim(t *testing.T) {
	keys := mustParse(t, "key 1 hex:"+digits+"\nkey 2 hex:"+strings.Repeat("42", 32))
	other := mustParse(t, "key 1 hex:"+strings.Repeat("43", 32)+"\nkey 9 hex:"+digits+"\nactive_key 9")
	v := newVoice(t, "ctl1")
	command, body := []byte("handover"), []byte(`{"vip":"api"}`)
	asked := keys.Sign(Request, claim(t, v, "ctl2"), command, body)
	if err := keys.Verify(Request, asked, "ctl1", "ctl2", command, body); err != nil {
		t.Fatal(err)
	}
	for name, alter := range map[string]func(*Claim){
		"key": func(c *Claim) { c.Key = 2 }, "from": func(c *Claim) { c.From = "ctl3" }, "to": func(c *Claim) { c.To = "ctl3" },
		"life": func(c *Claim) { c.Life[0]++ }, "sequence": func(c *Claim) { c.Sequence++ }, "nonce": func(c *Claim) { c.Nonce[15]++ },
		"challenge": func(c *Claim) { c.Challenge[0]++ }, "mac": func(c *Claim) { c.MAC = c.MAC[2:] + "00" },
		"half a mac": func(c *Claim) { c.MAC = c.MAC[:32] }, "no mac": func(c *Claim) { c.MAC = "" }, "what is no mac": func(c *Claim) { c.MAC = "x" },
	} {
		c := asked
		alter(&c)
		if err := keys.Verify(Request, c, c.From, c.To, command, body); !errors.Is(err, errForged) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"another kind":          keys.Verify(Look, asked, "ctl1", "ctl2", command, body),
		"another command":       keys.Verify(Request, asked, "ctl1", "ctl2", []byte("drain"), body),
		"another body":          keys.Verify(Request, asked, "ctl1", "ctl2", command, []byte(`{"vip":"apj"}`)),
		"parts that lean over":  keys.Verify(Request, asked, "ctl1", "ctl2", append(command, body[0]), body[1:]),
		"another key of the id": other.Verify(Request, asked, "ctl1", "ctl2", command, body),
	} {
		if !errors.Is(err, errForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := keys.Verify(Request, other.Sign(Request, asked, command, body), "ctl1", "ctl2", command, body); !errors.Is(err, errUnknownKey) {
		t.Errorf("a key that is not here: %v", err)
	}
	// It is the address that says who speaks: a signed one of another is not for here.
	if err := keys.Verify(Request, asked, "ctl3", "ctl2", command, body); !errors.Is(err, errOther) {
		t.Errorf("it came from another controller: %v", err)
	}
	if err := keys.Verify(Request, asked, "ctl1", "ctl3", command, body); !errors.Is(err, errOther) {
		t.Errorf("it came to another controller: %v", err)
	}

	result := []byte(`{"done":true}`)
	answer := keys.Sign(Answer, asked.Reply(), result)
	if err := keys.VerifyAnswer(Answer, answer, asked, result); err != nil {
		t.Error(err)
	}
	if err := keys.VerifyAnswer(Answer, answer, asked, []byte(`{"done":false}`)); !errors.Is(err, errForged) {
		t.Errorf("another answer: %v", err)
	}
	next := keys.Sign(Request, claim(t, v, "ctl2"), command, body)
	if err := keys.VerifyAnswer(Answer, answer, next, result); !errors.Is(err, errOther) {
		t.Errorf("the answer to another request: %v", err)
	}
	if err := keys.VerifyAnswer(Answer, asked, asked, command, body); !errors.Is(err, errForged) {
		t.Errorf("the request, sent back: %v", err)
	}
}

// TestKeysApart proves that what is signed for adverts proves nothing to agents.
func TestKeysApart(t *testing.T) {
	keys := mustParse(t, "hex:"+digits)
	advert, agents := keys.mac(1, ""), keys.mac(1, purpose)
	advert.Write([]byte("x"))
	agents.Write([]byte("x"))
	if string(advert.Sum(nil)) == string(agents.Sum(nil)) {
		t.Error("both use one key")
	}
}

func TestLives(t *testing.T) {
	var l Lives
	first, second := newVoice(t, "ctl1"), newVoice(t, "ctl1")
	a, b, c := claim(t, first, "ctl2"), claim(t, first, "ctl2"), claim(t, first, "ctl2")
	if l.Fresh(b) {
		t.Error("a life that nobody knows is believed")
	}
	l.Show(b)
	for _, step := range []struct {
		what string
		c    Claim
		want bool
	}{
		{"the one that it showed itself with", b, false},
		{"one from before that", a, false},
		{"the next", c, true},
		{"that again", c, false},
	} {
		if got := l.Fresh(step.c); got != step.want {
			t.Errorf("%s: %v", step.what, got)
		}
	}
	// Two at once, before either has shown itself, are one life.
	l.Show(a)
	if d := claim(t, first, "ctl2"); !l.Fresh(d) || l.Fresh(c) {
		t.Error("the earlier of two that show themselves has undone the later")
	}
	// The agent is started anew: its former life counts no more.
	l.Show(claim(t, second, "ctl2"))
	if l.Fresh(claim(t, first, "ctl2")) || !l.Fresh(claim(t, second, "ctl2")) {
		t.Error("a former life is believed, or the new one is not")
	}
	if l.Fresh(claim(t, newVoice(t, "ctl3"), "ctl2")) {
		t.Error("the life of another controller is believed")
	}
}

func TestWindow(t *testing.T) {
	var w window
	w.from(100)
	for _, step := range []struct {
		sequence uint64
		want     bool
	}{
		{0, false}, {99, false}, {100, true}, {100, false}, {102, true}, {101, true}, {101, false},
		{101 + windowLen, true}, {102, false}, {103, true}, {101, false},
		{1 << 40, true}, {1<<40 - 1, true}, {1<<40 - windowLen, false}, {1<<40 - windowLen + 1, true}, {104, false},
		{1<<64 - 1, true}, {1<<64 - 1, false},
	} {
		if got := w.take(step.sequence); got != step.want {
			t.Errorf("%d: %v", step.sequence, got)
		}
	}
	// Each of many in a row once, whatever their order within the window.
	w.from(1)
	for s := uint64(1); s < 5*windowLen; s += 2 {
		if !w.take(s+1) || !w.take(s) || w.take(s) || w.take(s+1) {
			t.Fatalf("at %d", s)
		}
	}
}

// FuzzClaim proves that no claim in JSON ends an agent, and that none is verified that
// was not signed.
func FuzzClaim(f *testing.F) {
	keys := mustParse(f, "hex:"+digits)
	for _, c := range []Claim{{}, keys.Sign(Request, claim(f, newVoice(f, "a"), "b"), []byte("x"))} {
		text, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"key":1,"from":"a","life":"zz","sequence":-1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c Claim
		if json.Unmarshal(text, &c) != nil {
			return
		}
		if keys.Verify(Answer, c, c.From, c.To, []byte("y")) == nil {
			t.Errorf("verified %s", text)
		}
		var l Lives
		l.Show(c)
		l.Fresh(c)
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var d Claim
		if err := json.Unmarshal(again, &d); err != nil || d != c && strings.ToValidUTF8(c.From, "") == c.From {
			t.Errorf("%+v is read as %+v, %v", c, d, err)
		}
	})
}

// BenchmarkClaim is what a key adds to one request: signed, verified, and answered so.
func BenchmarkClaim(b *testing.B) {
	keys, v := mustParse(b, "hex:"+digits), newVoice(b, "ctl1")
	command, body := []byte("alive"), []byte("{}")
	b.ReportAllocs()
	for b.Loop() {
		asked := keys.Sign(Request, claim(b, v, "ctl2"), command, body)
		if err := keys.Verify(Request, asked, "ctl1", "ctl2", command, body); err != nil {
			b.Fatal(err)
		}
		answer := keys.Sign(Answer, asked.Reply(), body)
		if err := keys.VerifyAnswer(Answer, answer, asked, body); err != nil {
			b.Fatal(err)
		}
	}
}
