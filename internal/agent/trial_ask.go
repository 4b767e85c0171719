package agent

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
	"slices"
	"sync"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

const (
	// askTimeout is how long one request of a trial may take. One that takes
	// longer shows nothing: a service that is busy is not one that is broken.
	askTimeout = 2 * time.Second
	// askPause is between two requests, and before the first one after a reload.
	askPause = 300 * time.Millisecond
	// askTries is how many requests in a row must go wrong.
	askTries = 3
	// quietTime is how long a connection that carries no HTTP must stay open.
	quietTime = 200 * time.Millisecond
)

// A broken tells that requests through HAProxy no longer reach a service.
type broken struct{ service, why string }

// A way is one by which clients come to a service: an address of a VIP.
type way struct {
	at      netip.AddrPort
	tls     bool
	host    string // name of the VIP
	http    bool
	request []byte
}

// waysTo gives, by service, the ways to those of names through the VIPs that this
// controller holds. HAProxy listens on the others too, and nothing leads there.
func (a *Agent) waysTo(s *spec.Spec, names []string) map[string][]way {
	held := map[string]bool{}
	for _, v := range a.held() {
		held[v.Name] = true
	}
	ways := map[string][]way{}
	for _, svc := range s.Services {
		if !slices.Contains(names, svc.Name) {
			continue
		}
		request := haproxy.CheckRequest(s, svc)
		if request == nil {
			request = fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: holdfast\r\nConnection: close\r\n\r\n", haproxy.CheckHost(s))
		}
		isHTTP := svc.Mode == spec.HTTP
		for _, v := range s.VIPs {
			if !held[v.Name] || !svc.On(v) {
				continue
			}
			for _, at := range v.Addrs() {
				ways[svc.Name] = append(ways[svc.Name], way{netip.AddrPortFrom(at, uint16(svc.Port)), isHTTP && v.TLS != nil, v.Hostname, isHTTP, request})
			}
		}
	}
	return ways
}

// answering gives those of names that answer through every VIP held here, with s
// in force: what they do with the next spec, they can be held to.
func (a *Agent) answering(ctx context.Context, s *spec.Spec, names []string) []string {
	if s == nil {
		return nil
	}
	var mu sync.Mutex
	var well []string
	var wg sync.WaitGroup
	for name, ways := range a.waysTo(s, names) {
		wg.Go(func() {
			for _, w := range ways {
				if w.ask(ctx) != nil {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			well = append(well, name)
		})
	}
	wg.Wait()
	slices.Sort(well)
	return well
}

// askThrough asks each service of names through each VIP held here, now that s is in
// force, and hands on the first that does not answer any more.
func (a *Agent) askThrough(ctx context.Context, s *spec.Spec, names []string, found chan<- broken) {
	for name, ways := range a.waysTo(s, names) {
		for _, w := range ways {
			go func() {
				why := w.askOften(ctx)
				if why == nil || ctx.Err() != nil || !a.holdsAddress(w.at.Addr()) {
					return // or it was another controller that did not answer
				}
				select {
				case found <- broken{name, fmt.Sprintf("a request through %v: %v", w.at, why)}:
				default: // another one was faster
				}
			}()
		}
	}
}

// holdsAddress reports whether this controller holds the VIP with that address.
func (a *Agent) holdsAddress(at netip.Addr) bool {
	return slices.ContainsFunc(a.held(), func(v spec.VIP) bool { return slices.Contains(v.Addrs(), at) })
}

// askOften gives what was wrong with all of a row of requests; nil when one of
// them was answered, or showed nothing.
func (w way) askOften(ctx context.Context) error {
	var why error
	for range askTries {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(askPause):
		}
		if why = w.ask(ctx); why == nil {
			return nil
		}
	}
	return why
}

// ask sends one request, and says what it was answered with that a service in order
// does not answer its own check with: nothing at all, that what came to a host was no
// request to it (400), or that what came from it was no answer (502). HAProxy is
// asked about hosts that are down in other ways, so a 503 shows nothing new.
func (w way) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, stop, err := dialUntil(ctx, w.at)
	if err == nil {
		defer stop()
		err = errors.Join(w.talk(conn), conn.Close())
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// talk does one request on conn.
func (w way) talk(conn net.Conn) error {
	if !w.http {
		return staysOpen(conn)
	}
	if w.tls {
		conn = tlsToOurselves(conn, w.host)
	}
	if _, err := conn.Write(w.request); err != nil {
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
