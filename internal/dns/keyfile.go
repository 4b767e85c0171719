package dns

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A Key is a TSIG key (RFC 8945). Whatever prints it hides the secret.
type Key struct {
	Name      string // without final dot, lower case
	Algorithm string // "hmac-sha256"
	Secret    string // base64
}

// String names k without its secret.
func (k Key) String() string {
	if k.Name == "" {
		return ""
	}
	return fmt.Sprintf("%s (%s)", k.Name, k.Algorithm)
}

// GoString is String: for %#v.
func (k Key) GoString() string { return k.String() }

// Format is String for every verb.
func (k Key) Format(f fmt.State, _ rune) {
	fmt.Fprint(f, k.String()) //nolint:errcheck // fmt has nobody to tell
}

// MarshalText is String: for JSON and the like.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// algorithms are those of RFC 8945 section 6 that are still to be used, and
// that the DNS library here has.
func algorithms() []string {
	return []string{"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}
}

// maxKeyFile bounds the size of a key file, in bytes.
const maxKeyFile = 1 << 20

// ParseKeys reads the key statements of a file as BIND has them (named.conf(5);
// what tsig-keygen and rndc-confgen write):
//
//	key "name" { algorithm hmac-sha256; secret "base64"; };
//
// Other statements are passed over. File is for the errors, which have no secret.
func ParseKeys(file string, data []byte) ([]Key, error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%s: larger than any key file", file)
	}
	if strings.HasPrefix(string(data), "Private-key-format:") {
		return nil, fmt.Errorf("%s: this is dnssec-keygen's form; write the key as tsig-keygen does: key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; };", file)
	}
	l := &lexer{text: string(data), line: 1}
	var keys []Key
	for {
		word, err := l.next()
		switch {
		case err != nil:
			return nil, l.fail(file, err)
		case word.kind == tokenEnd && len(keys) == 0:
			return nil, fmt.Errorf(`%s: no TSIG key in it; write it as 'key "NAME" { algorithm hmac-sha256; secret "BASE64"; };', as tsig-keygen does`, file)
		case word.kind == tokenEnd:
			return keys, nil
		case word.kind == tokenWord && word.text == "key":
			key, err := l.key()
			if err != nil {
				return nil, l.fail(file, err)
			}
			if slices.ContainsFunc(keys, func(k Key) bool { return k.Name == key.Name }) {
				return nil, l.fail(file, fmt.Errorf("the key %s is there twice", key.Name))
			}
			keys = append(keys, key)
		default:
			if err := l.skip(word); err != nil {
				return nil, l.fail(file, err)
			}
		}
	}
}

// ChooseKey gives the key called name, or the only one for "".
func ChooseKey(file string, keys []Key, name string) (Key, error) {
	var names []string
	for _, k := range keys {
		if k.Name == Canonical(name) || name == "" && len(keys) == 1 {
			return k, nil
		}
		names = append(names, k.Name)
	}
	if name == "" {
		return Key{}, fmt.Errorf("%s has several keys: %s; choose one by --key NAME", file, strings.Join(names, ", "))
	}
	return Key{}, fmt.Errorf("%s has no key %q; it has %s", file, name, strings.Join(names, ", "))
}

// key reads what follows the word "key".
func (l *lexer) key() (Key, error) {
	name, err := l.expect(tokenWord, "the name of the key")
	if err != nil {
		return Key{}, err
	}
	key := Key{Name: Canonical(name.text)}
	if _, ok := dns.IsDomainName(name.text); !ok || key.Name == "" {
		return Key{}, errors.New("the name of the key is no domain name")
	}
	if _, err := l.expect(tokenOpen, `"{" after the name of the key`); err != nil {
		return Key{}, err
	}
	for {
		word, err := l.next()
		switch {
		case err != nil:
			return Key{}, err
		case word.kind == tokenClose:
			if _, err := l.expect(tokenSemicolon, `";" after "}"`); err != nil {
				return Key{}, err
			}
			return key, key.check()
		case word.kind != tokenWord:
			return Key{}, errors.New(`the key has neither "algorithm" nor "secret" where one should be`)
		}
		if err := l.setting(&key, word.text); err != nil {
			return Key{}, err
		}
	}
}

// setting reads one of the two settings of a key.
func (l *lexer) setting(key *Key, name string) error {
	if name != "algorithm" && name != "secret" {
		return errors.New(`a key has "algorithm" and "secret" only`) // the word may be the secret
	}
	value, err := l.expect(tokenWord, "the "+name)
	if err != nil {
		return err
	}
	if _, err := l.expect(tokenSemicolon, `";" after the `+name); err != nil {
		return err
	}
	if name == "algorithm" && key.Algorithm == "" {
		key.Algorithm = strings.TrimSuffix(strings.ToLower(value.text), ".")
		return nil
	}
	if name == "secret" && key.Secret == "" {
		key.Secret = strings.Join(strings.Fields(value.text), "")
		return nil
	}
	return fmt.Errorf("the key %s has two of %q", key.Name, name)
}

// check says what k lacks. It never says what is in the secret.
func (k Key) check() error {
	raw, err := base64.StdEncoding.DecodeString(k.Secret)
	switch {
	case k.Algorithm == "":
		return fmt.Errorf("the key %s has no algorithm", k.Name)
	case strings.HasPrefix(k.Algorithm, "hmac-md5"):
		return fmt.Errorf("the key %s is for HMAC-MD5, which is broken; make a new one: tsig-keygen -a hmac-sha256 %s", k.Name, k.Name)
	case !slices.Contains(algorithms(), k.Algorithm):
		return fmt.Errorf("the key %s has an algorithm that is not known here; known are %s", k.Name, strings.Join(algorithms(), ", "))
	case k.Secret == "":
		return fmt.Errorf("the key %s has no secret", k.Name)
	case err != nil || len(raw) == 0:
		return fmt.Errorf("the secret of the key %s is not base64", k.Name)
	}
	return nil
}
