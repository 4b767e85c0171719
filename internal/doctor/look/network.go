package look

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/conflict/watch"
	"holdfast/internal/dns/zone"
	"holdfast/internal/doctor"
	"holdfast/internal/spec"
	"holdfast/internal/web"
)

// neighbours asks who has the addresses, and hears who speaks VRRP, on each interface of a VIP.
func (l *looker) neighbours(ctx context.Context) {
	done := map[string]bool{}
	for _, v := range l.opt.Spec.VIPs {
		name := l.opt.Spec.Interface(v, l.opt.Controller)
		if done[name] {
			continue
		}
		done[name] = true
		ask := l.toAsk(name)
		heard, err := watch.Once(ctx, name, ask, l.opt.Hear)
		if err != nil {
			continue // no such interface, or not root: that is said elsewhere
		}
		for _, c := range heard.Claims {
			if slices.Contains(ask, c.Address) && c.MAC != heard.Interface.MAC() {
				l.facts.Answers = append(l.facts.Answers, doctor.Answer{Address: c.Address, MAC: c.MAC.String(), Link: name})
			}
		}
		for _, f := range heard.Adverts {
			l.facts.Routers = append(l.facts.Routers, doctor.Router{
				Source: f.Source, MAC: f.MAC.String(), Version: int(f.Version), RouterID: int(f.RouterID), Priority: int(f.Priority), Addresses: f.Addresses, Link: name,
			})
		}
	}
}

// peers asks the other controllers, and the agent here.
func (l *looker) peers(ctx context.Context) {
	others := l.opt.Spec.Others(l.opt.Controller.Name)
	asked := make([]doctor.Peer, len(others))
	var all sync.WaitGroup
	for i, c := range others {
		all.Go(func() { asked[i] = l.peer(ctx, c) })
	}
	all.Wait()
	if own, there := l.itself(ctx); there {
		asked = append(asked, own)
	}
	l.facts.Peers = asked
}

// itself asks the agent here.
func (l *looker) itself(ctx context.Context) (doctor.Peer, bool) {
	if l.opt.Local == nil {
		return doctor.Peer{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	s, err := l.opt.Local(ctx)
	if err != nil {
		return doctor.Peer{}, false
	}
	return doctor.Peer{Name: l.opt.Controller.Name, Address: l.opt.Controller.Address, Snapshot: &s}, true
}

func (l *looker) peer(ctx context.Context, c spec.Controller) doctor.Peer {
	p := doctor.Peer{Name: c.Name, Address: c.Address, Ports: map[int]doctor.Reach{}}
	for _, port := range []int{l.opt.Spec.Agent.Port, l.opt.Spec.Agent.CheckPort} {
		p.Ports[port] = reach(ctx, netip.AddrPortFrom(c.Address, uint16(port)))
	}
	if p.Ports[l.opt.Spec.Agent.Port] == doctor.Open {
		page := netip.AddrPortFrom(c.Address, uint16(l.opt.Spec.Agent.Port))
		answer := web.Gather(ctx, []web.Target{{Name: c.Name, Addr: page.String()}})[0]
		p.Snapshot, p.Clock, p.GotAt, p.SentAt = answer.Snapshot, answer.Clock, answer.Received, answer.Received.Add(-answer.Took)
	}
	if p.SmallFrames = l.frame(ctx, c.Address, smallFrame); p.SmallFrames == doctor.Yes {
		p.BigFrames = l.frame(ctx, c.Address, l.mtu())
	}
	return p
}

// reach tries to connect.
func reach(ctx context.Context, at netip.AddrPort) doctor.Reach {
	d := net.Dialer{Timeout: answerTime}
	conn, err := d.DialContext(ctx, "tcp", at.String())
	switch {
	case err == nil:
		_ = conn.Close() //nolint:errcheck // nothing was said on it
		return doctor.Open
	case errors.Is(err, syscall.ECONNREFUSED):
		return doctor.Refused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return doctor.NoRoute
	}
	return doctor.Silent
}

const smallFrame = 64

// mtu gives that of the interface that has this controller's address.
func (l *looker) mtu() int {
	i := slices.IndexFunc(l.facts.Links, func(k doctor.Link) bool { return slices.Contains(k.Addresses, l.opt.Controller.Address) })
	if i < 0 {
		return 0
	}
	return l.facts.Links[i].MTU
}

// frame sends a datagram that makes an IP packet of so many octets, which nobody may take
// apart, to a port of UDP where nobody listens: that the host says so shows that it came. A
// host, or a filter, that never says so leaves the question open.
func (l *looker) frame(ctx context.Context, to netip.Addr, size int) doctor.Known {
	const header4, header6 = 20 + 8, 40 + 8
	payload, level, option := size-header4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	if to.Is6() {
		payload, level, option = size-header6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	if payload <= 0 {
		return ""
	}
	var d net.Dialer
	d.Control = func(_, _ string, c syscall.RawConn) error {
		var err error
		closed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, unix.IP_PMTUDISC_PROBE) })
		return errors.Join(closed, err)
	}
	conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(to, uint16(l.opt.Spec.Agent.Port)).String())
	if err != nil {
		return ""
	}
	defer conn.Close() //nolint:errcheck // nobody is there to lose anything
	const tries, patience = 3, 400 * time.Millisecond
	for range tries {
		_, err := conn.Write(make([]byte, payload))
		if err == nil {
			if err = conn.SetReadDeadline(time.Now().Add(patience)); err == nil {
				_, err = conn.Read(make([]byte, 1))
			}
		}
		switch {
		case err == nil, errors.Is(err, syscall.ECONNREFUSED):
			return doctor.Yes
		case !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err):
			return ""
		}
	}
	return doctor.No
}

func isTimeout(err error) bool {
	t, is := errors.AsType[net.Error](err)
	return is && t.Timeout()
}

// keystone asks each host of it for its version, which needs no token.
func (l *looker) keystone(ctx context.Context) {
	i := slices.IndexFunc(l.opt.Spec.Services, func(s spec.Service) bool { return s.Type == "identity" })
	if i < 0 {
		return
	}
	s := l.opt.Spec.Services[i]
	scheme := "http"
	if s.TLS.Mode != spec.PlainHosts {
		scheme = "https"
	}
	hosts := make([]doctor.KeystoneHost, len(s.Hosts))
	var all sync.WaitGroup
	for i, h := range s.Hosts {
		all.Go(func() { hosts[i] = askKeystone(ctx, h.Name, fmt.Sprintf("%s://%s/v3", scheme, s.At(h))) })
	}
	all.Wait()
	// Whether its certificate is good HAProxy judges, with the names that the spec has.
	l.facts.Keystone = slices.DeleteFunc(hosts, func(k doctor.KeystoneHost) bool { return strings.Contains(k.Err, "x509") })
}

func askKeystone(ctx context.Context, name, url string) doctor.KeystoneHost {
	k := doctor.KeystoneHost{Name: name, URL: url}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		k.Err = err.Error()
		return k
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		k.Err = err.Error()
		return k
	}
	_ = answer.Body.Close() //nolint:errcheck // its head was enough
	k.Code, k.At = answer.StatusCode, time.Now()
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		k.Date = date
	}
	return k
}

func (l *looker) names(ctx context.Context) {
	for _, v := range l.opt.Spec.VIPs {
		if v.Hostname == "" || slices.ContainsFunc(l.facts.Names, func(n doctor.Name) bool { return n.Hostname == v.Hostname }) {
			continue
		}
		n := doctor.Name{VIP: v.Name, Hostname: v.Hostname, Want: v.Addrs()}
		if n.Addresses = l.fromHosts(v.Hostname); n.Addresses == nil {
			askNames(ctx, l.path("etc/resolv.conf"), &n)
		}
		l.facts.Names = append(l.facts.Names, n)
	}
}

// fromHosts gives what /etc/hosts says of a name.
func (l *looker) fromHosts(name string) []netip.Addr {
	var all []netip.Addr
	for line := range strings.Lines(l.read("etc/hosts")) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 || !slices.Contains(f[1:], name) {
			continue
		}
		if a, err := netip.ParseAddr(f[0]); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// askNames asks the resolvers that file names.
func askNames(ctx context.Context, file string, n *doctor.Name) {
	resolvers, err := zone.ReadResolvers(file)
	if err != nil {
		n.Err = err.Error()
		return
	}
	answered := false
	for _, r := range (zone.Looker{Resolvers: resolvers, Timeout: answerTime, Now: time.Now}).AskResolvers(ctx, n.Hostname) {
		switch {
		case r.A.Error != "" && r.AAAA.Error != "":
			n.SilentResolvers = append(n.SilentResolvers, r.Address.Addr().String())
		case !answered: // one is enough to know the name
			answered = true
			n.Addresses = append(slices.Clone(r.A.Addresses), r.AAAA.Addresses...)
			n.TTL = time.Duration(max(r.A.TTL, r.AAAA.TTL)) * time.Second
		}
	}
	if len(n.Addresses) == 0 {
		n.TTL, n.Err = 0, "no resolver of /etc/resolv.conf knows an address of it"
	}
}
