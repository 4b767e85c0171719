package auth

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func mustParse(t testing.TB, text string) *Keys {
	t.Helper()
	k, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParse(t *testing.T) {
	plain := strings.Repeat("p", MinKey)
	for _, test := range []struct {
		text   string
		active uint8
		ids    []uint8
	}{
		{"key 1 hex:" + digits, 1, []uint8{1}},
		{"# of the cloud\n\n key  7\thex:" + digits + "\r\nkey 2 " + plain + "\n", 7, []uint8{7, 2}},
		{"key 1 hex:" + digits + "\nactive_key 2\nkey 2 hex:" + digits + digits, 2, []uint8{1, 2}},
		{"hex:" + digits + "\n", 1, []uint8{1}}, // as keepalived reads it
		{plain, 1, []uint8{1}},
	} {
		k, err := Parse([]byte(test.text))
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if k.Active() != test.active || !slices.Equal(k.IDs(), test.ids) {
			t.Errorf("%q: key %d of %v signs, want %d of %v", test.text, k.Active(), k.IDs(), test.active, test.ids)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "it has no key; make one with holdfast key",
		"# nothing\n":                        "it has no key; make one with holdfast key",
		"key 1 hex:" + digits[2:]:            "line 1: key 1: 31 octets, and a key has 32 to 64; make one with holdfast key",
		"\nkey 1 " + strings.Repeat("x", 65): "line 2: key 1: 65 octets, and a key has 32 to 64; make one with holdfast key",
		"key 1 hex:" + digits + "g0":         `line 1: key 1: after "hex:" come pairs of hexadecimal digits only`,
		"key 0 hex:" + digits:                "line 1: the id of a key is 1 to 255",
		"key 256 hex:" + digits:              "line 1: the id of a key is 1 to 255",
		"key 1 hex:" + digits + "\nkey 1 hex:" + digits:        "line 2: a second key 1; give each an id of its own",
		"key 1 hex:" + digits + "\nactive_key 2":               "active_key is 2, and there is no such key",
		"key 1 hex:" + digits + "\nactive_key 1\nactive_key 1": "line 3: a second active_key; one key signs",
		"key 1 " + strings.Repeat("é", 20):                     "line 1: key 1: a key that is not written in hexadecimal digits has printable ASCII only",
		"kez 1 hex:" + digits:                                  `line 1: write "key ID hex:DIGITS", as holdfast key does, or "active_key ID"`,
		"key 1":                                                `line 1: write "key ID hex:DIGITS", as holdfast key does, or "active_key ID"`,
		strings.Repeat("#", MaxFile+1):                         "it has more than 64 KiB",
	} {
		k, err := Parse([]byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
		if k != nil && err != nil {
			t.Errorf("%.60q: keys with an error", text)
		}
	}
}

func TestGenerate(t *testing.T) {
	line, err := Generate(bytes.NewReader(bytes.Repeat([]byte{0xab}, MinKey)), 3)
	if want := "key 3 hex:" + strings.Repeat("ab", MinKey) + "\n"; err != nil || line != want {
		t.Errorf("%q, %v; want %q", line, err, want)
	}
	if _, err := Generate(bytes.NewReader(make([]byte, MinKey-1)), 3); err == nil {
		t.Error("a key of less chance than it needs was made")
	}
	if k := mustParse(t, line); k.Active() != 3 {
		t.Errorf("key %d signs", k.Active())
	}
}

func TestModes(t *testing.T) {
	k := mustParse(t, "hex:"+digits)
	for _, test := range []struct {
		p              Policy
		name           string
		signs, demands bool
	}{
		{Policy{}, "receive-only", false, false},
		{Policy{Mode: Strict}, "strict", false, false}, // without a key it cannot
		{Policy{k, ReceiveOnly}, "receive-only", false, false},
		{Policy{k, Permissive}, "permissive", true, false},
		{Policy{k, Strict}, "strict", true, true},
	} {
		if test.p.Signs() != test.signs || test.p.Demands() != test.demands || test.p.Mode.String() != test.name {
			t.Errorf("%v: signs %v, demands %v", test.p, test.p.Signs(), test.p.Demands())
		}
		if m, ok := ParseMode(test.name); !ok || m != test.p.Mode && test.p.Keys != nil {
			t.Errorf("%s is read as %v, %v", test.name, m, ok)
		}
	}
	if _, ok := ParseMode("enforce"); ok {
		t.Error("a mode of keepalived's was read")
	}
}

// FuzzParse proves that no file of keys ends the agent, that what is read can sign,
// and that no error has something of a key.
func FuzzParse(f *testing.F) {
	f.Add([]byte("key 1 hex:" + digits + "\nactive_key 1\n# end"))
	f.Add([]byte("hex:" + digits))
	f.Add([]byte("key 1 hex:0x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := Parse(data)
		if err != nil {
			for word := range strings.FieldsSeq(string(data)) {
				if len(word) >= MinKey && strings.Contains(err.Error(), word) {
					t.Errorf("%v has %s", err, word)
				}
			}
			return
		}
		if k.secret(k.Active()) == nil {
			t.Errorf("no key %d among %v", k.Active(), k.IDs())
		}
		if c := k.Sign(Request, Claim{From: "a", To: "b"}); k.Verify(Request, c, "a", "b") != nil {
			t.Error("what is signed is not verified")
		}
	})
}

func ExampleParse() {
	keys, err := Parse([]byte("key 1 hex:" + digits + "\nkey 2 hex:" + strings.Repeat("5a", 32) + "\nactive_key 2\n"))
	fmt.Println(keys.IDs(), keys.Active(), err)
	// Output: [1 2] 2 <nil>
}

func TestEqual(t *testing.T) {
	const two = "key 1 hex:" + digits + "\nkey 2 hex:" + digits + "\n"
	all := []*Keys{
		nil, mustParse(t, "hex:"+digits), mustParse(t, "key 2 hex:"+digits), mustParse(t, "hex:"+digits+"20"),
		mustParse(t, two), mustParse(t, two+"active_key 2"),
	}
	for i, k := range all {
		for j, o := range all {
			if k.Equal(o) != (i == j) {
				t.Errorf("%v and %v are equal: %v", k, o, k.Equal(o))
			}
		}
	}
	if !mustParse(t, two).Equal(mustParse(t, "# the same\n"+two+"active_key 1")) {
		t.Error("the same keys are others")
	}
	for want, k := range map[string]*Keys{"no key": all[0], "key 1": all[1], "keys 1, 2, of which 2 signs": all[5]} {
		if got := fmt.Sprint(k); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
