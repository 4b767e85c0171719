package web

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"net/netip"
	"time"
)

// Adverts leave from a thread that has priority over all others, but has to wait for one of
// the few that the Go runtime lets run Go code at once (internal/vrrp/link). So what many ask
// for is made one after the other.
const (
	// turns is how many requests of all but controllers are worked on at once, and how many
	// streams are written to.
	turns = 1
	// turnTimeout is how long one waits for its turn.
	turnTimeout = 5 * time.Second
)

// inTurn has next wait for its turn, unless a controller asks. What it answers is written
// after that: who reads slowly keeps nobody waiting.
func (s *Server) inTurn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.isController(r.RemoteAddr) {
			next(w, r)
			return
		}
		a := buffered{header: http.Header{}, code: http.StatusOK}
		if !s.takeTurn(r.Context(), func() { next(&a, r) }) {
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many ask at the moment", http.StatusServiceUnavailable)
			return
		}
		maps.Copy(w.Header(), a.header)
		w.WriteHeader(a.code)
		w.Write(a.body.Bytes()) //nolint:errcheck // the client is gone
	}
}

// takeTurn does work when it is its turn, and reports false when that does not come.
func (s *Server) takeTurn(ctx context.Context, work func()) bool {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
		work()
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) isController(remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	class, _ := s.class(netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()))
	return class.Name == controllersClass
}

// afterLook has next wait for a look at the cloud before its turn, not in it.
func (s *Server) afterLook(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.views.get(r.Context())
		next(w, r)
	}
}

// buffered is an answer that is not written yet.
type buffered struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (b *buffered) Header() http.Header         { return b.header }
func (b *buffered) WriteHeader(code int)        { b.code = code }
func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }
