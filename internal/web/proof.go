package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"holdfast/internal/auth"
)

// authHeader has the claim of an agent that asks, and of the answer to it, as JSON. Who
// asks without one is answered as ever: what the page tells is no secret.
const authHeader = "Holdfast-Auth"

// An Asker asks other agents in the name of this one, and believes answers accordingly.
// The nil Asker signs nothing, and believes all.
type Asker struct {
	Voice *auth.Voice
	// Policy gives the keys, and what is done with them.
	Policy func() auth.Policy
}

func (a *Asker) policy() auth.Policy {
	if a == nil || a.Policy == nil || a.Voice == nil {
		return auth.Policy{}
	}
	return a.Policy()
}

// A question is one that was signed; its keys are nil where it was not.
type question struct {
	policy auth.Policy
	claim  auth.Claim
	path   string
}

// sign gives req the claim that it is from this agent to a controller.
func (a *Asker) sign(req *http.Request, to string) (question, error) {
	q := question{policy: a.policy(), path: req.URL.RequestURI()}
	if !q.policy.Signs() {
		return question{}, nil
	}
	claim, err := a.Voice.Claim(to)
	if err != nil {
		return question{}, err
	}
	q.claim = q.policy.Keys.Sign(auth.Look, claim, []byte(q.path))
	text, err := json.Marshal(q.claim)
	if err != nil {
		return question{}, fmt.Errorf("encode a claim: %w", err)
	}
	req.Header.Set(authHeader, string(text))
	return q, nil
}

// proven says why an answer to q is not to be believed; nil: it is.
func (q question) proven(header http.Header, body []byte) error {
	if q.policy.Keys == nil {
		return nil
	}
	text := header.Get(authHeader)
	if text == "" {
		if q.policy.Demands() {
			return errors.New("answered without a signature, and authentication is strict here: see that it has the same file of keys and the same spec")
		}
		return nil
	}
	var claim auth.Claim
	if err := json.Unmarshal([]byte(text), &claim); err != nil {
		return errors.New("answered with a signature that is none")
	}
	if err := q.policy.Keys.VerifyAnswer(auth.LookShown, claim, q.claim, []byte(q.path), []byte(header.Get(clockHeader)), body); err != nil {
		return fmt.Errorf("answered, and that is not believed: %w", err)
	}
	return nil
}

// signed has handler sign its answers to agents that sign their questions.
func (s *Server) signed(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		keys, text := s.opt.Asker.policy().Keys, r.Header.Get(authHeader)
		var asked auth.Claim
		if keys == nil || text == "" || json.Unmarshal([]byte(text), &asked) != nil ||
			keys.Verify(auth.Look, asked, asked.From, s.opt.Self, []byte(r.URL.RequestURI())) != nil {
			handler(w, r)
			return
		}
		whole := &keptAnswer{ResponseWriter: w, code: http.StatusOK}
		handler(whole, r)
		claim := keys.Sign(auth.LookShown, asked.Reply(), []byte(r.URL.RequestURI()), []byte(w.Header().Get(clockHeader)), whole.body.Bytes())
		if text, err := json.Marshal(claim); err == nil {
			w.Header().Set(authHeader, string(text))
		}
		w.WriteHeader(whole.code)
		w.Write(whole.body.Bytes()) //nolint:errcheck // the client is gone
	}
}

// A keptAnswer keeps an answer until all of it is known.
type keptAnswer struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

// WriteHeader keeps the code.
func (k *keptAnswer) WriteHeader(code int) { k.code = code }

// Write keeps what is written.
func (k *keptAnswer) Write(b []byte) (int, error) { return k.body.Write(b) }
