package watch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/conflict"
	"holdfast/internal/ether"
	"holdfast/internal/rtnl"
)

// Heard is what was heard on one interface in some time.
type Heard struct {
	Claims    []conflict.Claim   // who said that some address is theirs, each once
	Adverts   []conflict.Foreign // of every router, this host's apart, each once
	Interface rtnl.Link
}

const (
	askTimes = 3
	askApart = 100 * time.Millisecond
)

// Once asks on the interface who has each of ask, and hears for so long who answers, and
// which routers send adverts of VRRP there. It changes nothing, and needs CAP_NET_RAW.
func Once(ctx context.Context, name string, ask []netip.Addr, during time.Duration) (heard Heard, err error) {
	var conn rtnl.Conn
	defer func() { err = errors.Join(err, conn.Close()) }()
	if heard.Interface, err = conn.LinkByName(name); err != nil {
		return heard, fmt.Errorf("look at the interface %s: %w", name, err)
	}
	s, err := open(heard.Interface, sieve{everybody: true})
	if err != nil {
		return heard, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.file.SetReadDeadline(time.Now().Add(during)); err != nil {
		return heard, fmt.Errorf("bound the hearing: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for range askTimes {
			for _, a := range ask {
				_ = s.probe(a) // a family that is switched off has nobody who answers
			}
			select {
			case <-time.After(askApart):
			case <-ctx.Done():
				return
			}
		}
	}()
	err = heard.hear(s)
	<-asked
	return heard, errors.Join(err, ctx.Err())
}

// hear keeps what comes until the socket's deadline.
func (h *Heard) hear(s *socket) error {
	type router struct {
		mac     ether.MAC
		source  netip.Addr
		version uint8
		id      uint8
	}
	claims, adverts := map[conflict.Claim]bool{}, map[router]bool{}
	buf := make([]byte, unix.Getpagesize())
	for {
		frame, err := s.receive(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if c, ok := conflict.ParseClaim(frame); ok && !claims[c] {
			claims[c] = true
			h.Claims = append(h.Claims, c)
		}
		if f, ok := conflict.ParseForeign(frame); ok && !adverts[router{f.MAC, f.Source, f.Version, f.RouterID}] {
			adverts[router{f.MAC, f.Source, f.Version, f.RouterID}] = true
			h.Adverts = append(h.Adverts, f)
		}
	}
}
