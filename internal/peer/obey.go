package peer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"holdfast/internal/auth"
)

// A caller is who asks.
type caller struct {
	name string // of the controller with that address; "" for none
	port uint16
	ttl  int // that its connection arrived with; 0: not known
}

// inside gives the connection that is bounded in conn.
func inside(conn net.Conn) net.Conn {
	if limited, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return limited.NetConn()
	}
	return conn
}

// nearer gives the TTL with which conn arrived and has the kernel drop, from now on, what
// comes from farther away than that, where it came from this network.
func (s *Server) nearer(conn net.Conn) int {
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil || from.Port() > lastPrivileged {
		return 0 // an HAProxy's, which sends as it likes
	}
	inner := inside(conn)
	// Made before this agent had the listener, by systemd or an agent before this one, it
	// has the TTL that the kernel likes, and who asks would hear nothing.
	if err := onSocket(inner, sendFar); err != nil {
		s.opt.Log.Debug("what another agent is answered is not kept to this network", "error", err)
	}
	ttl := arrived(inner)
	if ttl == farthest {
		if err := onSocket(inner, hearNear); err != nil {
			s.opt.Log.Debug("a connection of another agent is not kept to this network", "error", err)
		}
	}
	return ttl
}

// control has one conversation of the channel; r has what follows controlPrefix.
func (s *Server) control(ctx context.Context, conn net.Conn, ttl int, r io.Reader) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // then it ends by itself
	defer stop()
	say := func(answer reply) error {
		if err := conn.SetDeadline(time.Now().Add(checkTimeout)); err != nil {
			return err
		}
		if s.far.Load() {
			answer.TTL = farthest
		}
		return json.NewEncoder(conn).Encode(answer)
	}
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return
	}
	defer onSocket(inside(conn), hearAll) //nolint:errcheck // it only ends sooner
	answer := s.obey(ctx, s.caller(from, ttl), json.NewDecoder(io.LimitReader(r, 2*maxControl)), say)
	if err := say(answer); err != nil {
		s.opt.Log.Warn("another agent was not answered", "remote", conn.RemoteAddr(), "error", err)
	}
}

func (s *Server) caller(from netip.AddrPort, ttl int) caller {
	return caller{s.controller(from.Addr().Unmap().WithZone("")), from.Port(), ttl}
}

// obey carries out one request of another agent, and asks it with say to repeat it
// where it may be one that was recorded.
func (s *Server) obey(ctx context.Context, from caller, requests *json.Decoder, say func(reply) error) reply {
	if from.port > lastPrivileged {
		return reply{Error: "asked from a port that anybody can have"}
	}
	var req request
	if err := requests.Decode(&req); err != nil {
		return reply{Error: "the request is not understood: " + err.Error()}
	}
	do, known := s.opt.Handlers[req.Command]
	if from.name == "" || !known {
		return s.signed(req, reply{Error: fmt.Sprintf("holdfast %s has no command %q for other controllers; upgrade it", s.opt.Version, req.Command)})
	}
	asked, err := s.believe(ctx, from, req, requests, say)
	if err != nil {
		s.refuse(from, err)
		return reply{Error: err.Error()}
	}
	return s.signed(asked, carryOut(ctx, from.name, do, asked))
}

// carryOut does what is asked for.
func carryOut(ctx context.Context, from string, do Handler, req request) reply {
	answer, err := do(ctx, from, req.Body)
	if err != nil {
		refused := reply{Error: strings.ToValidUTF8(err.Error(), "?")}
		if errors.Is(err, ErrLater) {
			refused.Body = json.RawMessage(`{"later":true}`)
		}
		return refused
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return reply{Error: "the answer cannot be told: " + err.Error()}
	}
	return reply{Body: body}
}

// signed gives the answer with a claim, where the request has one that is good: who signs
// has a key.
func (s *Server) signed(req request, answer reply) reply {
	keys := s.policy().Keys
	if keys == nil || req.Auth == nil || keys.Verify(auth.Request, *req.Auth, req.Auth.From, s.opt.Peers.Controller, req.parts()...) != nil {
		return answer
	}
	claim := keys.Sign(auth.Answer, req.Auth.Reply(), answer.parts()...)
	answer.Auth = &claim
	return answer
}

func (s *Server) policy() auth.Policy {
	if s.opt.Peers == nil {
		return auth.Policy{}
	}
	return s.opt.Peers.policy()
}

// believe says why a request is not to be carried out; nil: it is, as it is given back.
func (s *Server) believe(ctx context.Context, from caller, req request, requests *json.Decoder, say func(reply) error) (request, error) {
	if err := s.isNear(ctx, from); err != nil {
		return req, err
	}
	policy := s.policy()
	switch {
	case policy.Keys == nil:
		return req, nil
	case req.Auth == nil && policy.Demands():
		return req, errors.New("it takes only what is signed with the key of the controllers (authentication: strict), and this is not: see that both have the same file of keys and the same spec")
	case req.Auth == nil:
		return req, nil
	}
	verify := func(req request) error {
		return policy.Keys.Verify(auth.Request, *req.Auth, from.name, s.opt.Peers.Controller, req.parts()...)
	}
	if err := verify(req); err != nil {
		return req, fmt.Errorf("the request is refused: %w", err)
	}
	if s.lives.Fresh(*req.Auth) {
		return req, nil
	}
	challenge, err := auth.NewToken(rand.Reader)
	if err != nil {
		return req, err
	}
	doubt := req.Auth.Reply()
	doubt.Challenge = challenge
	doubt = policy.Keys.Sign(auth.Doubt, doubt)
	if err := say(reply{Doubt: true, Auth: &doubt}); err != nil {
		return req, err
	}
	var again request
	if err := requests.Decode(&again); err != nil {
		return req, errors.New("the request is refused: it was sent before, or its agent has ended")
	}
	if again.Auth == nil || again.Auth.Challenge != challenge || again.Command != req.Command || verify(again) != nil {
		return req, errors.New("the request is refused: it was not sent again as it was to be")
	}
	s.lives.Show(*again.Auth)
	return again, nil
}

// isNear says why a request is not taken for one from this network; nil: it is. An agent
// of an earlier release sends with the TTL that its kernel likes: whether the one of that
// controller is such a one, it is asked itself, where nobody else answers.
func (s *Server) isNear(ctx context.Context, from caller) error {
	if from.ttl == farthest || from.ttl == 0 || s.opt.Peers == nil {
		return nil
	}
	near, known := s.opt.Peers.near.look(from.name)
	if !known {
		// What comes of it is noted there.
		_ = s.opt.Peers.Ask(ctx, from.name, "alive", struct{}{}, nil)
		near, known = s.opt.Peers.near.look(from.name)
	}
	if known && !near {
		return nil
	}
	return fmt.Errorf("the request is refused: it came with a TTL of %d, so it is not of the agent of %s, which sends with %d: something sends in its name, such as a container behind masquerading", from.ttl, from.name, farthest)
}

// Refusals tells of requests that were not carried out because they may not be of the
// controller that they came from.
type Refusals struct {
	Count uint64
	// Last is when the last one came, from the controller From, and Why it was refused;
	// zero for none.
	Last time.Time
	From string
	Why  string
}

// Refusals tells of those since the agent began.
func (s *Server) Refusals() Refusals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *Server) refuse(from caller, why error) {
	now := time.Now()
	s.mu.Lock()
	first := now.Sub(s.refused.Last) > time.Minute || s.refused.Why != why.Error()
	s.refused = Refusals{s.refused.Count + 1, now, from.name, why.Error()}
	s.mu.Unlock()
	if first {
		s.opt.Log.Warn("a request of another agent is not carried out", "controller", from.name, "reason", why)
	}
}
