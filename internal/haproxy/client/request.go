package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

const (
	// askTimeout is how long one request may take. One that takes longer shows
	// nothing: a service that is busy is not one that is broken.
	askTimeout = 2 * time.Second
	// quietTime is how long a connection that carries no HTTP must stay open.
	quietTime = 200 * time.Millisecond
)

// A Request is one that a client could make of a service, at an address of a VIP.
type Request struct {
	At   netip.AddrPort
	TLS  bool
	Host string // name of the VIP
	HTTP bool   // otherwise nothing is sent
	Text []byte // the request as it is sent
}

// Ask sends the request, and says what it was answered with that a service in order
// does not answer its own check with: nothing at all, that what came to a host was no
// request to it (400), or that what came from it was no answer (502). HAProxy is
// asked about hosts that are down in other ways, so a 503 shows nothing new.
func (r Request) Ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, stop, err := dialUntil(ctx, r.At)
	if err == nil {
		defer stop()
		err = errors.Join(r.talk(conn), conn.Close())
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// talk does the request on conn.
func (r Request) talk(conn net.Conn) error {
	if !r.HTTP {
		return staysOpen(conn)
	}
	if r.TLS {
		conn = tlsToOurselves(conn, r.Host)
	}
	if _, err := conn.Write(r.Text); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // the connection ends with it
	if c := response.StatusCode; c == http.StatusBadRequest || c == http.StatusBadGateway {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

// staysOpen says that the other end closed conn at once, as HAProxy does where it
// has nobody to hand it to.
func staysOpen(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(quietTime)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	switch {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("it was closed at once")
	}
	return err
}
