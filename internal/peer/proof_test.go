package peer

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"holdfast/internal/auth"
)

func keys(t testing.TB, text string) *auth.Keys {
	t.Helper()
	k, err := auth.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func withKeys(t testing.TB, c *Client, policy auth.Policy) *Client {
	t.Helper()
	voice, err := auth.NewVoice(c.Controller, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.Policy, c.Voice = func() auth.Policy { return policy }, voice
	return c
}

// ctl2 is what the agent of ctl2 is, with a policy.
func ctl2(t testing.TB, policy auth.Policy) *Client {
	return withKeys(t, &Client{Controller: "ctl2", Spec: asker(netip.AddrPort{}).Spec}, policy)
}

func count(n *int) map[string]Handler {
	var mu sync.Mutex
	return map[string]Handler{"count": Handle(func(_ context.Context, from string, by int) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		*n += by
		return *n, nil
	}), "refuse": func(context.Context, string, json.RawMessage) (any, error) { return nil, errors.New("not <now>") }}
}

const (
	oneKey   = "key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	otherKey = "key 1 hex:ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	newKey   = "key 2 hex:220102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
)

// TestProof has agents with every key and mode ask each other.
func TestProof(t *testing.T) {
	none := auth.Policy{}
	policy := func(text string, m auth.Mode) auth.Policy { return auth.Policy{Keys: keys(t, text), Mode: m} }
	const demands = "it takes only what is signed with the key of the controllers"
	for name, test := range map[string]struct {
		asks, answers auth.Policy
		want          string // in the error; empty: it is done
	}{
		"no key":                     {none, none, ""},
		"strict":                     {policy(oneKey, auth.Strict), policy(oneKey, auth.Strict), ""},
		"permissive":                 {policy(oneKey, auth.Permissive), policy(oneKey, auth.Permissive), ""},
		"the first step":             {policy(oneKey, auth.ReceiveOnly), none, ""},
		"the first, from the other":  {none, policy(oneKey, auth.ReceiveOnly), ""},
		"the second":                 {policy(oneKey, auth.Permissive), policy(oneKey, auth.ReceiveOnly), ""},
		"the second, from the other": {policy(oneKey, auth.ReceiveOnly), policy(oneKey, auth.Permissive), ""},
		"the third":                  {policy(oneKey, auth.Strict), policy(oneKey, auth.Permissive), ""},
		"the third, from the other":  {policy(oneKey, auth.Permissive), policy(oneKey, auth.Strict), ""},
		"permissive, and no key":     {policy(oneKey, auth.Permissive), none, ""},
		"a new key is known":         {policy(oneKey, auth.Strict), policy(oneKey+newKey, auth.Strict), ""},
		"a new key signs":            {policy(oneKey+newKey+"active_key 2", auth.Strict), policy(oneKey+newKey, auth.Strict), ""},
		"the former key is gone":     {policy(newKey, auth.Strict), policy(oneKey+newKey+"active_key 2", auth.Strict), ""},

		"strict is asked without a key":     {none, policy(oneKey, auth.Strict), "ctl2: " + demands},
		"strict is asked by a step too few": {policy(oneKey, auth.ReceiveOnly), policy(oneKey, auth.Strict), "ctl2: " + demands},
		"strict asks one without a key":     {policy(oneKey, auth.Strict), none, "its answer is not signed"},
		"another key":                       {policy(otherKey, auth.Strict), policy(oneKey, auth.Strict), "it refuses, and does not sign that: the request is refused: the signature is wrong"},
		"another key, permissive":           {policy(otherKey, auth.Permissive), policy(oneKey, auth.Permissive), "ctl2: the request is refused: the signature is wrong"},
		"a key that the other lacks":        {policy(newKey, auth.Permissive), policy(oneKey, auth.ReceiveOnly), "signed with a key that is not in the file of keys here (key 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			done := 0
			to, server := serveWith(t, Options{Handlers: count(&done), Peers: ctl2(t, test.answers)})
			c := withKeys(t, asker(to), test.asks)
			for want := 1; want < 4; want++ { // at first it is doubted, then it is known
				got := 0
				err := c.Ask(t.Context(), "ctl2", "count", 1, &got)
				if test.want == "" && (err != nil || got != want) {
					t.Fatalf("%d, %v; want %d", got, err, want)
				}
				if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Fatalf("%v, want %s", err, test.want)
				}
			}
			err := c.Ask(t.Context(), "ctl2", "refuse", nil, nil)
			if test.want == "" && (err == nil || err.Error() != "ctl2: not <now>") {
				t.Errorf("a refusal is %v", err)
			}
			if is := server.Refusals(); (is.Count > 0) != (done == 0) {
				t.Errorf("done %d times, and refused %+v", done, is)
			}
			if test.answers.Demands() && test.want != "" && done > 0 {
				t.Error("it was done all the same")
			}
		})
	}
}

// TestRecordedRequests records what an agent says, and says it again.
func TestRecordedRequests(t *testing.T) {
	policy := auth.Policy{Keys: keys(t, oneKey), Mode: auth.Strict}
	done := 0
	to, server := serveWith(t, Options{Handlers: count(&done), Peers: ctl2(t, policy)})
	c := withKeys(t, asker(to), policy)

	// What goes over the line is heard by who is between.
	between, err := listen("127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer between.Close() //nolint:errcheck // it is only read
	if err := onSocket(between, sendFar); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var said [][]byte
	relay := func(from net.Conn) {
		defer from.Close() //nolint:errcheck // the test has what it wants
		out, err := dialPrivileged(t.Context(), netip.MustParseAddr("127.0.0.1"), to)
		if err != nil {
			t.Error(err)
			return
		}
		defer out.Close() //nolint:errcheck // likewise
		go func() {
			lines := bufio.NewReader(from)
			for {
				line, err := lines.ReadBytes('\n')
				if err != nil {
					return
				}
				mu.Lock()
				said = append(said, line)
				mu.Unlock()
				if _, err := out.Write(line); err != nil {
					return
				}
			}
		}()
		_, _ = io.Copy(from, out) // ends with either
	}
	go func() {
		for {
			conn, err := between.Accept()
			if err != nil {
				return
			}
			go relay(conn)
		}
	}()
	through := withKeys(t, asker(netip.MustParseAddrPort(between.Addr().String())), policy)
	through.Voice = c.Voice
	for range 2 {
		if err := through.Ask(t.Context(), "ctl2", "count", 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if done != 2 || len(said) != 3 { // the first is doubted, and said again
		t.Fatalf("done %d times, after %d lines", done, len(said))
	}
	again := func(lines ...[]byte) string {
		conn, err := dialPrivileged(t.Context(), netip.MustParseAddr("127.0.0.1"), to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // it is only read
		for _, line := range lines {
			if _, err := conn.Write(line); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn) // however it ends
		return string(answer)
	}
	for i, lines := range [][][]byte{{said[0]}, {said[2]}, {said[0], said[1]}, {said[2], said[2]}, {said[2], said[1]}, {[]byte(controlPrefix + string(said[1]))}} {
		if answer := again(lines...); !strings.Contains(answer, `"doubt":true`) || !strings.Contains(answer, "the request is refused") {
			t.Errorf("%d: what was recorded is answered %s", i, answer)
		}
	}
	if done != 2 {
		t.Errorf("what was recorded was done: %d times", done)
	}
	if is := server.Refusals(); is.Count == 0 || is.From != "ctl1" || is.Last.IsZero() {
		t.Errorf("refusals: %+v", is)
	}
	if err := c.Ask(t.Context(), "ctl2", "count", 1, nil); err != nil || done != 3 {
		t.Errorf("the agent itself is refused then: %d, %v", done, err)
	}
	// An agent that was started anew shows itself, and the former one's requests count no more.
	anew := withKeys(t, asker(to), policy)
	if err := anew.Ask(t.Context(), "ctl2", "count", 1, nil); err != nil || done != 4 {
		t.Errorf("an agent that is started anew is refused: %v", err)
	}
}

// TestManyRequests has an agent ask many things at once, from its start on.
func TestManyRequests(t *testing.T) {
	policy := auth.Policy{Keys: keys(t, oneKey), Mode: auth.Strict}
	done := 0
	to, _ := serveWith(t, Options{Handlers: count(&done), Peers: ctl2(t, policy)})
	c := withKeys(t, asker(to), policy)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				if err := c.Ask(t.Context(), "ctl2", "count", 1, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if done != 80 {
		t.Errorf("done %d times, want 80", done)
	}
}
