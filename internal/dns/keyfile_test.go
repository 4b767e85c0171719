package dns_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"holdfast/internal/dns"
	"holdfast/internal/dns/zone"
)

const secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0IQ=="

func TestParseKeys(t *testing.T) {
	for _, c := range []struct{ name, text, key, err string }{
		{"tsig-keygen", "key \"holdfast\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + secret + "\";\n};\n", "holdfast (hmac-sha256)", ""},
		{"bare words, other order", "key Hold.Fast. { secret " + secret + "; algorithm HMAC-SHA512; };", "hold.fast (hmac-sha512)", ""},
		{"comments", "# a\n// b\n/* c\n d */ key k /**/{algorithm hmac-sha1;// e\nsecret \"" + secret + "\";};#", "k (hmac-sha1)", ""},
		{"among other statements", "options { directory \"/x\"; inner { a; }; };\nkey k { algorithm hmac-sha256; secret " + secret + "; };\nserver 10.0.0.1 { keys { k; }; };\n", "k (hmac-sha256)", ""},
		{"wrapped secret", "key k { algorithm hmac-sha256; secret \"c2VjcmV0c2VjcmV0\n  c2VjcmV0\"; };", "k (hmac-sha256)", ""},
		{"empty", "", "", "f: no TSIG key in it"},
		{"other statements only", "options { };", "", "f: no TSIG key in it"},
		{"no algorithm", "key k { secret " + secret + "; };", "", "f:1: the key k has no algorithm"},
		{"no secret", "key k { algorithm hmac-sha256; };", "", "f:1: the key k has no secret"},
		{"MD5", "key k { algorithm hmac-md5.sig-alg.reg.int; secret " + secret + "; };", "", "HMAC-MD5, which is broken; make a new one: tsig-keygen -a hmac-sha256 k"},
		{"unknown algorithm", "key k { algorithm hmac-sha256-128; secret " + secret + "; };", "", "known are hmac-sha1, "},
		{"not base64", "key k {\n algorithm hmac-sha256;\n secret \"" + secret + "!\";\n};", "", "f:4: the secret of the key k is not base64"},
		{"two secrets", "key k { secret a; secret b; };", "", `f:1: the key k has two of "secret"`},
		{"unknown setting", "key k { " + secret + " x; };", "", `f:1: a key has "algorithm" and "secret" only`},
		{"no semicolon", "key k { algorithm hmac-sha256 secret " + secret + "; };", "", `f:1: missing is ";" after the algorithm`},
		{"open quote", "key \"k { secret " + secret, "", "f:1: a quote is not closed"},
		{"open comment", "/* " + secret, "", "f:1: a comment is not closed"},
		{"open brace", "options { " + secret + ";\n", "", `f:2: a statement does not end with ";"`},
		{"closed twice", "};", "", `f:1: a "}" closes nothing`},
		{"no name", "key { algorithm hmac-sha256; };", "", "f:1: missing is the name of the key"},
		{"bad name", "key \"a..b\" { algorithm hmac-sha256; secret " + secret + "; };", "", "f:1: the name of the key is no domain name"},
		{"twice", strings.Repeat("key k { algorithm hmac-sha256; secret "+secret+"; };\n", 2), "", "f:2: the key k is there twice"},
		{"dnssec-keygen", "Private-key-format: v1.3\nAlgorithm: 163 (HMAC_SHA256)\nKey: " + secret + "\n", "", "f: this is dnssec-keygen's form"},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys, err := dns.ParseKeys("f", []byte(c.text))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error has the secret: %v", err)
				}
				return
			}
			if err != nil || len(keys) != 1 || keys[0].String() != c.key {
				t.Errorf("keys %v, error %v, want %s", keys, err, c.key)
			}
		})
	}
}

func TestKeyHidesItsSecret(t *testing.T) {
	keys, err := dns.ParseKeys("f", []byte(`key k { algorithm hmac-sha256; secret "`+secret+`"; };`))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(map[string]any{"key": keys[0], "looker": zone.Looker{Key: &keys[0]}.Key})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %q %x %d", keys, keys, keys, keys, keys, keys, keys) + string(asJSON) + fmt.Sprintf("%+v", zone.Looker{Key: &keys[0]})
	hex := fmt.Sprintf("%x", secret)
	if strings.Contains(all, secret) || strings.Contains(all, hex) {
		t.Errorf("the secret is shown: %s", all)
	}
}

func TestChooseKey(t *testing.T) {
	text := "key a { algorithm hmac-sha256; secret " + secret + "; };\nkey b.example. { algorithm hmac-sha256; secret " + secret + "; };\n"
	keys, err := dns.ParseKeys("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if k, err := dns.ChooseKey("f", keys, "B.example"); err != nil || k.Name != "b.example" {
		t.Errorf("by name: %v, %v", k, err)
	}
	if k, err := dns.ChooseKey("f", keys[:1], ""); err != nil || k.Name != "a" {
		t.Errorf("the only one: %v, %v", k, err)
	}
	if _, err := dns.ChooseKey("f", keys, ""); err == nil || !strings.Contains(err.Error(), "f has several keys: a, b.example; choose one by --key NAME") {
		t.Errorf("of several: %v", err)
	}
	if _, err := dns.ChooseKey("f", keys, "c"); err == nil || !strings.Contains(err.Error(), `f has no key "c"; it has a, b.example`) {
		t.Errorf("unknown: %v", err)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("key \"k\" { algorithm hmac-sha256; secret \"" + secret + "\"; };"))
	f.Add([]byte("/* */ # \n // \n options { a { b; }; }; key k{secret x;algorithm y;};"))
	f.Add([]byte("key k { algorithm hmac-sha256; secret \"AAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := dns.ParseKeys("f", data)
		if err != nil && (keys != nil || strings.ContainsAny(err.Error(), "\n\x00")) {
			t.Errorf("keys %v with the error %q", keys, err)
		}
		for _, k := range keys {
			if k.Name == "" || !strings.HasPrefix(k.Algorithm, "hmac-sha") {
				t.Errorf("accepted %s", k)
			}
		}
	})
}
