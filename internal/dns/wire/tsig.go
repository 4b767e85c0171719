package wire

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 8945 section 6: HMAC with it must be there
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
)

// fudge is by how many seconds the clocks of both sides may differ (RFC 8945
// section 10).
const fudge = 300

// Packed gives m as it goes over the wire, and its MAC in hex if it is signed.
func Packed(m *mdns.Msg, key *dns.Key, now time.Time) (wire []byte, mac string, err error) {
	if key == nil {
		wire, err = m.Pack()
		return wire, "", err
	}
	m.SetTsig(mdns.Fqdn(key.Name), mdns.Fqdn(key.Algorithm), fudge, now.Unix())
	return mdns.TsigGenerate(m, key.Secret, "", false)
}

// CheckSigned says why the reply r, of which data is the wire form, to a message
// of opcode with the MAC requestMAC is not to be believed, or what it says of
// the key. The error is a *keyError.
func CheckSigned(data []byte, r *mdns.Msg, key dns.Key, requestMAC string, opcode int) error {
	fail := func(reason keyReason) error {
		return &KeyError{key: key.String(), reason: reason, code: RcodeName(r.Rcode), update: opcode == mdns.OpcodeUpdate}
	}
	t := r.IsTsig()
	switch {
	case t == nil && r.Rcode == mdns.RcodeSuccess, t == nil && r.Rcode == mdns.RcodeNameError:
		return fail(keyUnsigned)
	case t == nil && r.Rcode == mdns.RcodeNotAuth && opcode == mdns.OpcodeQuery:
		return fail(keyRejected) // RFC 8945 section 5.2 has a TSIG record in it; not all obey
	case t == nil:
		return nil // errors of servers that know no TSIG; nobody gains by forging them
	case t.Error == mdns.RcodeBadKey:
		return fail(keyUnknown) // not signed: with what key?
	case t.Error == mdns.RcodeBadSig:
		return fail(keyOtherSecret) // likewise
	}
	err := verify(data, r, key, requestMAC)
	switch {
	case t.Error == mdns.RcodeBadTime && (err == nil || errors.Is(err, mdns.ErrTime) || t.MACSize == 0): // NSD does not sign it
		return fail(keyClock)
	case err != nil:
		return fail(keyForged)
	case t.Error != mdns.RcodeSuccess:
		return fail(keyRejected)
	}
	return nil
}

// verify checks the signature of a reply, that of NOTAUTH too: the library refuses
// these before it looks at their signature. It is shown NOERROR in its place, and
// the true code goes back into what the MAC is of.
func verify(data []byte, r *mdns.Msg, key dns.Key, requestMAC string) error {
	shown := slices.Clone(data)
	if len(shown) < headerSize {
		return mdns.ErrShortRead
	}
	shown[rcodeAt] &^= rcodeBits
	provider := tsigProvider{key.Secret, 2 + len(requestMAC)/2 + rcodeAt, byte(r.Rcode) & rcodeBits}
	if len(requestMAC) == 0 {
		return mdns.ErrSig
	}
	return mdns.TsigVerifyWithProvider(shown, provider, requestMAC, false)
}

const (
	headerSize = 12   // of a DNS message (RFC 1035 section 4.1.1)
	rcodeAt    = 3    // the byte of the header that has the response code,
	rcodeBits  = 0x0f // in these bits
)

// tsigProvider makes and checks MACs for the library, of messages whose response
// code at the offset at is code.
type tsigProvider struct {
	secret string // base64
	at     int
	code   byte
}

func (p tsigProvider) Generate(msg []byte, t *mdns.TSIG) ([]byte, error) {
	secret, err := base64.StdEncoding.DecodeString(p.secret)
	if err != nil {
		return nil, err
	}
	sum, ok := hashes()[dns.Canonical(t.Algorithm)]
	if !ok {
		return nil, mdns.ErrKeyAlg
	}
	if p.at >= len(msg) {
		return nil, mdns.ErrSig
	}
	whole := slices.Clone(msg)
	whole[p.at] |= p.code
	h := hmac.New(sum, secret)
	h.Write(whole)
	return h.Sum(nil), nil
}

func (p tsigProvider) Verify(msg []byte, t *mdns.TSIG) error {
	want, err := p.Generate(msg, t)
	if err != nil {
		return err
	}
	got, err := hex.DecodeString(t.MAC)
	if err != nil || !hmac.Equal(want, got) {
		return mdns.ErrSig
	}
	return nil
}

// hashes are those of algorithms.
func hashes() map[string]func() hash.Hash {
	return map[string]func() hash.Hash{
		"hmac-sha1": sha1.New, "hmac-sha224": sha256.New224, "hmac-sha256": sha256.New,
		"hmac-sha384": sha512.New384, "hmac-sha512": sha512.New,
	}
}

// A keyReason is what is wrong between a server and a key.
type keyReason int

const (
	keyUnsigned    keyReason = iota // an answer without a signature
	keyForged                       // an answer with a wrong one
	keyUnknown                      // BADKEY
	keyOtherSecret                  // BADSIG
	keyClock                        // BADTIME
	keyRejected                     // refused, and not said why
)

// A KeyError says that server and key do not go together; trying again is of no use.
type KeyError struct {
	key    string // its name and algorithm
	reason keyReason
	code   string // response code by its name
	update bool   // it was said to an update
	Make   ServerMake
}

func (e *KeyError) Error() string {
	switch e.reason {
	case keyUnsigned:
		return fmt.Sprintf("its reply is not signed with the key %s", e.key)
	case keyForged:
		return fmt.Sprintf("the signature of its reply is not that of the key %s", e.key)
	case keyUnknown:
		return e.unknown()
	case keyOtherSecret:
		return fmt.Sprintf("it has another secret for the key %s (BADSIG)", e.key)
	case keyClock:
		return "its clock and this machine's differ by more than 5 minutes (BADTIME)"
	default:
		return fmt.Sprintf("it does not accept the key %s and does not say why (%s): it has none of this name and algorithm, or another secret for it, or its clock and this machine's differ by more than 5 minutes; its log has which", e.key, e.code)
	}
}

// unknown says what BADKEY means. Knot looks for a rule first, and has this one
// answer for "no rule" and "no key".
func (e *KeyError) unknown() string {
	may := "query or update the zone"
	if e.update {
		may = "update this name"
	}
	switch e.Make {
	case makeBIND, makeNSD:
		return fmt.Sprintf("it does not know the key %s, by this name and algorithm (BADKEY)", e.key)
	case makeKnot:
		return fmt.Sprintf("no rule of the zone's acl lets the key %s %s from this machine, or Knot does not know the key, by this name and algorithm (BADKEY)", e.key, may)
	default:
		return fmt.Sprintf("it does not know the key %s, by this name and algorithm, or, if it is Knot, no rule of the zone's acl lets the key %s from this machine (BADKEY)", e.key, may)
	}
}
