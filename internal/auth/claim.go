package auth

import (
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
)

// A Token is 16 octets that are never the same twice. As text it is in hexadecimal digits.
type Token [16]byte

// MarshalText gives the digits; none for a Token of zeros.
func (t Token) MarshalText() ([]byte, error) {
	if t == (Token{}) {
		return nil, nil
	}
	return hex.AppendEncode(nil, t[:]), nil
}

// UnmarshalText takes what MarshalText gives.
func (t *Token) UnmarshalText(text []byte) error {
	*t = Token{}
	if len(text) == 0 {
		return nil
	}
	if len(text) != hex.EncodedLen(len(t)) {
		return errors.New("it does not have 32 hexadecimal digits")
	}
	_, err := hex.Decode(t[:], text)
	return err
}

// A Kind is what a Claim is for. One for the one proves nothing of the other.
type Kind uint8

// The kinds.
const (
	Request   Kind = iota + 1 // a command of one agent for another
	Answer                    // to a Request
	Doubt                     // the answer to a Request of a life that is not known
	Look                      // asks for an HTTP answer
	LookShown                 // is the HTTP answer
)

// A Claim says who speaks to whom, and proves it of what is said with it.
type Claim struct {
	// Key is the id of the key that signs.
	Key uint8 `json:"key"`
	// From and To are the controllers, by their names.
	From string `json:"from"`
	To   string `json:"to"`
	// Life is that of the asking agent, and Sequence counts what it asks in it, from 1.
	Life     Token  `json:"life"`
	Sequence uint64 `json:"sequence"`
	// Nonce is of the one who asks, and Challenge of the one who is asked. An
	// answer has both as they were; there is a Challenge only after a Doubt.
	Nonce     Token  `json:"nonce"`
	Challenge Token  `json:"challenge,omitzero"`
	MAC       string `json:"mac"` // of SHA-256, in hexadecimal digits
}

// purpose is what the key of agents is derived from the key of adverts for.
const purpose = "holdfast: what agents say to each other, 1"

// sign gives the HMAC of c for what parts say; nil for a key that k does not have.
func (k *Keys) sign(kind Kind, c Claim, parts [][]byte) []byte {
	h := k.mac(c.Key, purpose)
	if h == nil {
		return nil
	}
	h.Write([]byte{byte(kind)})
	writePart(h, []byte(c.From))
	writePart(h, []byte(c.To))
	h.Write(c.Life[:])
	h.Write(c.Nonce[:])
	h.Write(c.Challenge[:])
	h.Write(binary.BigEndian.AppendUint64(nil, c.Sequence))
	for _, p := range parts {
		writePart(h, p)
	}
	return h.Sum(nil)
}

// writePart writes p so that no two lists of parts are the same octets.
func writePart(h hash.Hash, p []byte) {
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
	h.Write(p)
}

// Sign gives c with the id and the MAC of the key that signs.
func (k *Keys) Sign(kind Kind, c Claim, parts ...[]byte) Claim {
	c.Key = k.active
	c.MAC = hex.EncodeToString(k.sign(kind, c, parts))
	return c
}

// What is wrong with a Claim.
var (
	errUnknownKey = errors.New("it is signed with a key that is not in the file of keys here")
	errForged     = errors.New("the signature is wrong: the file of keys there is another one, or somebody has forged or changed it")
	errOther      = errors.New("it is signed, but not for this")
)

// Verify says what is wrong with c, which came with parts, and is to be from one
// controller to another; nil for nothing. Whether it was said before it does not know.
func (k *Keys) Verify(kind Kind, c Claim, from, to string, parts ...[]byte) error {
	want := k.sign(kind, c, parts)
	if want == nil {
		return fmt.Errorf("%w (key %d)", errUnknownKey, c.Key)
	}
	got, err := hex.DecodeString(c.MAC)
	if err != nil || !hmac.Equal(got, want) {
		return errForged
	}
	if c.From != from || c.To != to {
		return fmt.Errorf("%w: it is from %q to %q, and came from %q to %q", errOther, c.From, c.To, from, to)
	}
	return nil
}

// VerifyAnswer says what is wrong with the claim of an answer to what asked says; nil
// for nothing.
func (k *Keys) VerifyAnswer(kind Kind, c, asked Claim, parts ...[]byte) error {
	if c.Life != asked.Life || c.Sequence != asked.Sequence || c.Nonce != asked.Nonce || kind != Doubt && c.Challenge != asked.Challenge {
		return errOther
	}
	return k.Verify(kind, c, asked.To, asked.From, parts...)
}

// Reply gives what an answer to c claims, before it is signed.
func (c Claim) Reply() Claim {
	c.From, c.To, c.MAC = c.To, c.From, ""
	return c
}

// A Voice is one life of an agent, which asks others. It may be used by any goroutine.
type Voice struct {
	name   string
	random io.Reader
	life   Token
	asked  atomic.Uint64
}

// NewVoice makes that of the agent of a controller, out of random, which never ends.
func NewVoice(controller string, random io.Reader) (*Voice, error) {
	v := &Voice{name: controller, random: random}
	var err error
	v.life, err = NewToken(random)
	return v, err
}

// Name gives the controller.
func (v *Voice) Name() string { return v.name }

// Claim gives what a request to another controller claims, before it is signed.
func (v *Voice) Claim(to string) (Claim, error) {
	nonce, err := NewToken(v.random)
	return Claim{From: v.name, To: to, Life: v.life, Sequence: v.asked.Add(1), Nonce: nonce}, err
}

// NewToken makes one out of random.
func NewToken(random io.Reader) (Token, error) {
	var t Token
	_, err := io.ReadFull(random, t[:])
	if err != nil {
		return t, fmt.Errorf("make a nonce: %w", err)
	}
	return t, nil
}

// Lives knows the agents that ask, so that nothing counts that was said before: of each
// controller the life of its agent that has shown itself last, and what that has asked.
// It may be used by any goroutine.
type Lives struct {
	mu sync.Mutex // guards following
	of map[string]*life
}

type life struct {
	token  Token
	window window
}

// Fresh reports whether the request that c claims is of the known life of its sender,
// and none that was taken before; c was verified. A request of another life is to be
// doubted, and repeated with a challenge.
func (l *Lives) Fresh(c Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.of[c.From]
	return known != nil && known.token == c.Life && known.window.take(c.Sequence)
}

// Show takes in that the life which c claims is now: c was verified, and has a challenge
// that was made for this conversation, and for no other.
func (l *Lives) Show(c Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]*life{}
	}
	known := l.of[c.From]
	if known == nil || known.token != c.Life {
		known = &life{token: c.Life}
		l.of[c.From] = known
		// What this life has asked before is not known, and so none of it counts.
		known.window.from(c.Sequence)
	}
	known.window.take(c.Sequence)
}

// windowLen is how many requests back one may come late: more than an agent has
// under way at once.
const windowLen = 1024

// A window knows which of the last sequences were taken (RFC 4303 section 3.4.3 has
// the same for IPsec).
type window struct {
	highest uint64
	least   uint64 // those before it are never taken
	taken   [windowLen / 64]uint64
}

// from begins anew with a sequence that is not taken yet.
func (w *window) from(sequence uint64) { *w = window{highest: sequence - 1, least: sequence} }

// take reports whether the sequence is one that was not taken before, and takes it.
func (w *window) take(sequence uint64) bool {
	if sequence == 0 || sequence < w.least {
		return false
	}
	if sequence > w.highest {
		for s := w.highest + 1; s <= sequence && s-w.highest <= windowLen; s++ {
			w.taken[s%windowLen/64] &^= 1 << (s % 64)
		}
		w.highest = sequence
	}
	if w.highest-sequence >= windowLen {
		return false
	}
	word, bit := &w.taken[sequence%windowLen/64], uint64(1)<<(sequence%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
