package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// pingTimeout bounds one ping. HAProxy answers in well under a millisecond, so
// what takes longer counts as no answer.
const pingTimeout = 250 * time.Millisecond

// A pinger asks HAProxy for a sign of life through the VIP's own listener: the
// way of a client, as far as HAProxy itself goes.
type pinger struct {
	url    string // empty: the VIP has no listener that speaks HTTP
	client *http.Client
}

// newPinger makes the pinger of v. Each ping is a connection of its own: a
// HAProxy that still serves old connections, but accepts no more, is hung.
func newPinger(v spec.VIP, services []spec.Service) pinger {
	for _, s := range services {
		if s.Mode != spec.HTTP {
			continue
		}
		scheme := "http"
		if v.TLS != nil {
			scheme = "https"
		}
		at := netip.AddrPortFrom(v.Addresses[0].Addr(), uint16(s.Port))
		return pinger{
			url: fmt.Sprintf("%s://%s%s", scheme, at, haproxy.PingPath),
			client: &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true,
				Proxy:             nil,
				DialContext:       (&net.Dialer{Timeout: pingTimeout}).DialContext,
				// It is our own process on our own address, and nothing
				// secret is sent: an expired certificate is not a hang.
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
			}},
		}
	}
	return pinger{}
}

// ping gives an error unless HAProxy answers.
func (p pinger) ping(ctx context.Context) error {
	if p.url == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return fmt.Errorf("ping HAProxy: %w", err)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return fmt.Errorf("ping HAProxy: %w", err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 4096))
	err = errors.Join(err, response.Body.Close())
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", p.url, response.Status)
	}
	if err != nil {
		return fmt.Errorf("ping HAProxy: %w", err)
	}
	return nil
}

// probeVIPs asks HAProxy for a sign of life through each VIP that is held here.
func (a *Agent) probeVIPs(ctx context.Context) error {
	var errs []error
	for _, o := range a.owners() {
		if o.holds() {
			errs = append(errs, o.view.Load().ping.ping(ctx))
		}
	}
	return errors.Join(errs...)
}
