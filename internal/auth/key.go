package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The bounds of a key, in octets, which are keepalived's: 32 leave 128 bits against a
// search by a quantum computer, and 64 are what SHA-256 takes without shortening it.
const (
	MinKey = 32
	MaxKey = 64
)

// MaxFile is the longest file of keys that is read, in octets: 255 of the longest keys,
// with room for comments.
const MaxFile = 64 << 10

// A Mode says whether what this controller says is signed, and whether what is not
// signed is believed. The steps of a roll-out are the modes in their order; what is
// signed wrongly is believed in none.
type Mode uint8

// The modes, which keepalived calls receive-only, permissive and enforce.
const (
	// ReceiveOnly signs nothing, checks what is signed, and believes what is not.
	ReceiveOnly Mode = iota
	// Permissive signs, and believes what is not signed.
	Permissive
	// Strict signs, and believes only what is signed.
	Strict
)

// String gives the mode as the spec has it.
func (m Mode) String() string {
	switch m {
	case Permissive:
		return "permissive"
	case Strict:
		return "strict"
	default:
		return "receive-only"
	}
}

// ParseMode gives the mode that the spec calls name; false for none.
func ParseMode(name string) (Mode, bool) {
	for _, m := range []Mode{ReceiveOnly, Permissive, Strict} {
		if m.String() == name {
			return m, true
		}
	}
	return 0, false
}

// A Policy is the keys that a controller has, and what it does with them. The zero
// Policy has none: nothing is signed, and all is believed.
type Policy struct {
	Keys *Keys
	Mode Mode
}

// Signs reports whether what this controller says is signed.
func (p Policy) Signs() bool { return p.Keys != nil && p.Mode != ReceiveOnly }

// Demands reports whether what is not signed is not believed.
func (p Policy) Demands() bool { return p.Keys != nil && p.Mode == Strict }

// Keys are the keys of a file, of which one signs and all are good for checking.
// They are not changed, and may be used by any goroutine.
type Keys struct {
	active uint8
	all    []key // in the order of the file
}

type key struct {
	id     uint8
	secret []byte
}

// Active gives the id of the key that signs.
func (k *Keys) Active() uint8 { return k.active }

// IDs gives the ids of all keys, in the order of the file.
func (k *Keys) IDs() []uint8 {
	all := make([]uint8, len(k.all))
	for i, one := range k.all {
		all[i] = one.id
	}
	return all
}

// Equal reports whether k and o are the same keys, of which the same one signs; either
// may be nil.
func (k *Keys) Equal(o *Keys) bool {
	if k == nil || o == nil {
		return k == o
	}
	return k.active == o.active && slices.EqualFunc(k.all, o.all, func(a, b key) bool {
		return a.id == b.id && bytes.Equal(a.secret, b.secret)
	})
}

// String gives what of k is no secret: "keys 1, 2, of which 2 signs".
func (k *Keys) String() string {
	if k == nil {
		return "no key"
	}
	if len(k.all) == 1 {
		return fmt.Sprintf("key %d", k.active)
	}
	var ids []string
	for _, one := range k.all {
		ids = append(ids, strconv.Itoa(int(one.id)))
	}
	return fmt.Sprintf("keys %s, of which %d signs", strings.Join(ids, ", "), k.active)
}

// secret gives the key with an id; nil for none.
func (k *Keys) secret(id uint8) []byte {
	for _, one := range k.all {
		if one.id == id {
			return one.secret
		}
	}
	return nil
}

// mac gives a hash by the key with an id, for one purpose; nil for no such key. Agents
// do not use the key itself, which adverts do, but one that is derived from it: what is
// signed for the one proves nothing to the other.
func (k *Keys) mac(id uint8, purpose string) hash.Hash {
	secret := k.secret(id)
	if secret == nil {
		return nil
	}
	if purpose != "" {
		derive := hmac.New(sha256.New, secret)
		derive.Write([]byte(purpose))
		secret = derive.Sum(nil)
	}
	return hmac.New(sha256.New, secret)
}

// Generate makes a key of 32 octets out of random, as the line of a file that gives it
// the id, which is 1 to 255.
func Generate(random io.Reader, id uint8) (string, error) {
	secret := make([]byte, MinKey)
	if _, err := io.ReadFull(random, secret); err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return fmt.Sprintf("key %d hex:%s\n", id, hex.EncodeToString(secret)), nil
}

// Parse reads a file of keys. Its lines are those of keepalived's auth_hmac block:
// "key ID VALUE" and "active_key ID"; what signs is the first key, where no line says
// which. A VALUE is "hex:" with the digits of 32 to 64 octets, or as many printable
// characters without a blank. Empty lines, and those that begin with "#", count for nothing. A file that
// is one VALUE, as the one that keepalived reads for one key, is the key 1. The error
// names the line, and has nothing of a key.
func Parse(data []byte) (*Keys, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("it has more than %d KiB", MaxFile>>10)
	}
	k := &Keys{}
	active := ""
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := k.line(strings.Fields(line), &active); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if len(k.all) == 0 {
		return nil, errors.New("it has no key; make one with holdfast key")
	}
	k.active = k.all[0].id
	if active == "" {
		return k, nil
	}
	id, err := parseID(active)
	if err == nil && k.secret(id) == nil {
		err = fmt.Errorf("active_key is %d, and there is no such key", id)
	}
	if err != nil {
		return nil, err
	}
	k.active = id
	return k, nil
}

// line takes in the words of one line.
func (k *Keys) line(words []string, active *string) error {
	switch {
	case words[0] == "active_key" && len(words) == 2:
		if *active != "" {
			return errors.New("a second active_key; one key signs")
		}
		*active = words[1]
		_, err := parseID(words[1])
		return err
	case words[0] == "key" && len(words) == 3:
		id, err := parseID(words[1])
		if err != nil {
			return err
		}
		return k.add(id, words[2])
	case len(words) == 1:
		return k.add(1, words[0])
	}
	return errors.New(`write "key ID hex:DIGITS", as holdfast key does, or "active_key ID"`)
}

func parseID(text string) (uint8, error) {
	id, err := strconv.ParseUint(text, 10, 8)
	if err != nil || id == 0 {
		return 0, errors.New("the id of a key is 1 to 255")
	}
	return uint8(id), nil
}

func (k *Keys) add(id uint8, value string) error {
	if k.secret(id) != nil {
		return fmt.Errorf("a second key %d; give each an id of its own", id)
	}
	secret := []byte(value)
	if digits, is := strings.CutPrefix(value, "hex:"); is {
		var err error
		if secret, err = hex.DecodeString(digits); err != nil {
			return fmt.Errorf(`key %d: after "hex:" come pairs of hexadecimal digits only`, id)
		}
	} else if bytes.ContainsFunc(secret, func(r rune) bool { return r < '!' || r > '~' }) {
		return fmt.Errorf("key %d: a key that is not written in hexadecimal digits has printable ASCII only", id)
	}
	if len(secret) < MinKey || len(secret) > MaxKey {
		return fmt.Errorf("key %d: %d octets, and a key has %d to %d; make one with holdfast key", id, len(secret), MinKey, MaxKey)
	}
	k.all = append(k.all, key{id, secret})
	return nil
}
