package admin

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// A way says at which addresses a host is asked, whatever its name leads to.
type way struct {
	host  string
	addrs []netip.Addr
}

type wayKey struct{}

// withWay has what is asked of host with the context it gives go to one of addrs.
func withWay(ctx context.Context, host string, addrs []netip.Addr) context.Context {
	return context.WithValue(ctx, wayKey{}, way{host, addrs})
}

// dialer connects, as that of a net.Dialer does.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// along has dial go where the context's way says: to the first of its addresses that answers.
func along(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		w, set := ctx.Value(wayKey{}).(way)
		host, port, err := net.SplitHostPort(address)
		if !set || err != nil || !strings.EqualFold(host, w.host) || len(w.addrs) == 0 {
			return dial(ctx, network, address)
		}
		var conn net.Conn
		for _, a := range w.addrs {
			if conn, err = dial(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
}
