// Package speaker speaks BGP with routers, by an embedded GoBGP: it tells them the routes that
// it is given, and nothing else, and takes none of theirs. It does not decide what is
// announced; package bgp does.
//
// GoBGP's BFD (RFC 5880, RFC 5881) is asynchronous, over one hop and without authentication. It
// shares the fate of this process: when the agent ends, routers that have BFD see the session
// go down, whatever graceful restart (RFC 4724) says. ADR 18 has what they make of that.
package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"holdfast/internal/bgp"
	"holdfast/internal/spec"
)

// Options says who speaks with whom.
type Options struct {
	ASN      uint32
	RouterID netip.Addr // IPv4
	Peers    []Peer
	BFD      *spec.BFD // nil: none
	// GracefulRestart is for how long routers keep the routes of a session that ended
	// without a word; whole seconds.
	GracefulRestart time.Duration
	HoldTime        time.Duration // whole seconds
	Listen          bool          // on port 179, of every address
	// Restarting has routers keep what a speaker before this one told them, until this
	// one has told its routes.
	Restarting bool
	Log        *slog.Logger
}

// A Peer is a router, with its password.
type Peer struct {
	spec.BGPPeer
	Password string // of TCP's MD5 signature (RFC 2385); empty: none
}

// Like reports whether a speaker with o need not be started again to be one with other.
func (o Options) Like(other Options) bool {
	o.Log, other.Log = nil, nil
	o.Restarting, other.Restarting = false, false
	return reflect.DeepEqual(o, other)
}

// A Session is how the session with a peer fares.
type Session struct {
	Peer        netip.Addr
	Established bool
	State       string    // in the words of RFC 4271 section 8.2.2: "active", "openconfirm"
	Since       time.Time // when it was established, or ended; zero: it never was
	Told        int       // how many routes the peer was told
	BFD         bool      // whether it has BFD
	BFDUp       bool
	Reason      string // why it ended last; may be empty
}

// A Speaker is one that runs. Its methods may be called by any goroutine.
type Speaker struct {
	opt    Options
	server *server.BgpServer
	level  *slog.LevelVar
	deaf   context.CancelFunc // ends who follows the sessions

	mu     sync.Mutex // guards following
	routes []bgp.Route
	ended  map[netip.Addr]string
}

// Start starts one that announces routes. It does not wait for a session.
func Start(ctx context.Context, opt Options, routes []bgp.Route) (*Speaker, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	level := &slog.LevelVar{} // the least that the engine logs
	level.Set(slog.LevelWarn)
	engine := server.NewBgpServer(server.LoggerOption(slog.New(gate{opt.Log.Handler(), level}), level))
	s := &Speaker{opt: opt, ended: map[netip.Addr]string{}, server: engine, level: level, deaf: func() {}}
	go s.server.Serve()
	if err := s.begin(ctx, routes); err != nil {
		s.deaf()
		s.level.Set(quiet)
		s.server.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Speaker) begin(ctx context.Context, routes []bgp.Route) error {
	port := int32(-1)
	if s.opt.Listen {
		port = gobgp.BGP_PORT
	}
	if err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: s.opt.ASN, RouterId: s.opt.RouterID.String(), ListenPort: port,
		ListenAddresses: []string{"0.0.0.0", "::"},
	}}); err != nil {
		return fmt.Errorf("start to speak BGP: %w", err)
	}
	if err := s.refuseOthers(ctx); err != nil {
		return err
	}
	watching, deaf := context.WithCancel(context.WithoutCancel(ctx))
	s.deaf = deaf
	if err := s.server.WatchEvent(watching, server.WatchEventMessageCallbacks{OnPeerUpdate: s.heard}, server.WatchPeer()); err != nil {
		return fmt.Errorf("follow the sessions of BGP: %w", err)
	}
	if err := s.Announce(routes); err != nil { // before the first session, so that it begins with them
		return err
	}
	for _, p := range s.opt.Peers {
		if err := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: s.peer(p)}); err != nil {
			return fmt.Errorf("have %s as a peer: %w", p.Address, err)
		}
	}
	return nil
}

// refuseOthers has only what is announced here come into the table. What routers tell is of
// no use, as the kernel has the way to them, and would be told to the other routers.
func (s *Speaker) refuseOthers(ctx context.Context) error {
	const own = "own"
	policy := &api.Policy{Name: own, Statements: []*api.Statement{{
		Name:       own,
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}
	err := s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: policy})
	if err == nil {
		err = s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT, Policies: []*api.Policy{{Name: own}}, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
		}})
	}
	if err != nil {
		return fmt.Errorf("refuse what routers tell: %w", err)
	}
	return nil
}

// peer gives p in the words of the engine.
func (s *Speaker) peer(p Peer) *api.Peer {
	seconds := func(d time.Duration) uint64 { return uint64(d / time.Second) }
	out := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.ASN, AuthPassword: p.Password},
		Transport: &api.Transport{RemotePort: uint32(p.Port), PassiveMode: false},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: connectRetry, IdleHoldTimeAfterReset: idleHold, HoldTime: seconds(s.opt.HoldTime), KeepaliveInterval: seconds(s.opt.HoldTime) / 3,
		}},
		GracefulRestart: &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(seconds(s.opt.GracefulRestart)), DeferralTime: deferral, LocalRestarting: s.opt.Restarting,
		},
	}
	families := []*api.Family{{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}}
	if p.Address.Is6() { // IPv4 routes too, with an IPv6 next hop (RFC 8950)
		families = append(families, &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST})
	}
	for _, f := range families {
		out.AfiSafis = append(out.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: f, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
		})
	}
	if p.TTLSecurity {
		out.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if p.Multihop > 0 {
		out.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.Multihop)}
	}
	if b := s.opt.BFD; b != nil {
		every := uint32(b.Interval / time.Microsecond)
		out.Bfd = &api.BfdPeerConfig{Enabled: true, DesiredMinimumTxInterval: every, RequiredMinimumReceive: every, DetectionMultiplier: uint32(b.Multiplier)}
	}
	return out
}

// In seconds: how long until a connection is tried again, how long a session rests after
// it was reset, and how long a restarted speaker waits for what routers have to tell. All
// as short as they may be: a session here is a few packets, and has nothing to calm down.
const (
	connectRetry = 2
	idleHold     = 1
	deferral     = 1
)

// heard keeps why a session ended.
func (s *Speaker) heard(e *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
	if e.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := e.Peer.State.NeighborAddress
	switch {
	case e.Peer.State.SessionState == gobgp.BGP_FSM_ESTABLISHED:
		delete(s.ended, at)
	case e.Peer.State.DisconnectMessage != "":
		s.ended[at] = e.Peer.State.DisconnectMessage
	}
}

// Announce has routers know routes, and no others of before.
func (s *Speaker) Announce(routes []bgp.Route) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	announce, withdraw := bgp.Change(s.routes, routes)
	for _, r := range announce {
		path, err := s.path(r)
		if err != nil {
			return err
		}
		added, err := s.server.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{path}})
		for _, a := range added {
			err = errors.Join(err, a.Error)
		}
		if err != nil {
			return fmt.Errorf("announce %s: %w", r.Prefix, err)
		}
		s.routes = append(slices.DeleteFunc(s.routes, func(o bgp.Route) bool { return o.Prefix == r.Prefix }), r)
	}
	for _, p := range withdraw {
		path, err := s.path(bgp.Route{Prefix: p})
		if err == nil {
			err = s.server.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{path}})
		}
		if err != nil {
			return fmt.Errorf("withdraw %s: %w", p, err)
		}
		s.routes = slices.DeleteFunc(s.routes, func(o bgp.Route) bool { return o.Prefix == p })
	}
	return nil
}

// path gives r in the words of the engine. The next hop is this host on each session: that
// is what one without an address means.
func (s *Speaker) path(r bgp.Route) (*apiutil.Path, error) {
	nlri, err := gobgp.NewIPAddrPrefix(r.Prefix)
	if err != nil {
		return nil, fmt.Errorf("announce %s: %w", r.Prefix, err)
	}
	p := &apiutil.Path{Family: gobgp.RF_IPv4_UC, Nlri: nlri, Attrs: []gobgp.PathAttributeInterface{gobgp.NewPathAttributeOrigin(gobgp.BGP_ORIGIN_ATTR_TYPE_IGP)}}
	var hop gobgp.PathAttributeInterface
	if r.Prefix.Addr().Is4() {
		hop, err = gobgp.NewPathAttributeNextHop(netip.IPv4Unspecified())
	} else {
		p.Family = gobgp.RF_IPv6_UC
		hop, err = gobgp.NewPathAttributeMpReachNLRI(gobgp.RF_IPv6_UC, []gobgp.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
	}
	if err != nil {
		return nil, fmt.Errorf("announce %s: %w", r.Prefix, err)
	}
	p.Attrs = append(p.Attrs, hop, gobgp.NewPathAttributeMultiExitDisc(r.MED))
	if r.Prepend > 0 {
		own := slices.Repeat([]uint32{s.opt.ASN}, r.Prepend)
		p.Attrs = append(p.Attrs, gobgp.NewPathAttributeAsPath([]gobgp.AsPathParamInterface{gobgp.NewAs4PathParam(gobgp.BGP_ASPATH_ATTR_TYPE_SEQ, own)}))
	}
	if len(r.Communities) > 0 {
		p.Attrs = append(p.Attrs, gobgp.NewPathAttributeCommunities(r.Communities))
	}
	return p, nil
}

// Sessions gives those with all peers, in the order of the options.
func (s *Speaker) Sessions(ctx context.Context) ([]Session, error) {
	found := map[netip.Addr]*api.Peer{}
	err := s.server.ListPeer(ctx, &api.ListPeerRequest{EnableAdvertised: true}, func(p *api.Peer) {
		if at, err := netip.ParseAddr(p.GetState().GetNeighborAddress()); err == nil {
			found[at] = p
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list the sessions of BGP: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Session
	for _, p := range s.opt.Peers {
		one := Session{Peer: p.Address, State: "idle", BFD: s.opt.BFD != nil, Reason: s.ended[p.Address]}
		if is := found[p.Address]; is != nil {
			fill(&one, is)
		}
		all = append(all, one)
	}
	return all, nil
}

// fill has out say how is fares.
func fill(out *Session, is *api.Peer) {
	state := is.GetState()
	out.Established = state.GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED
	out.State = sessionWord(state.GetSessionState())
	since := is.GetTimers().GetState().GetDowntime()
	if out.Established {
		since = is.GetTimers().GetState().GetUptime()
	}
	if since.GetSeconds() > 0 {
		out.Since = since.AsTime()
	}
	for _, f := range is.GetAfiSafis() {
		out.Told += int(f.GetState().GetAdvertised())
	}
	out.BFDUp = state.GetBfdState().GetSessionState() == api.BfdSessionState_BFD_SESSION_STATE_UP
}

func sessionWord(s api.PeerState_SessionState) string {
	switch s {
	case api.PeerState_SESSION_STATE_CONNECT:
		return "connect"
	case api.PeerState_SESSION_STATE_ACTIVE:
		return "active"
	case api.PeerState_SESSION_STATE_OPENSENT:
		return "opensent"
	case api.PeerState_SESSION_STATE_OPENCONFIRM:
		return "openconfirm"
	case api.PeerState_SESSION_STATE_ESTABLISHED:
		return "established"
	case api.PeerState_SESSION_STATE_IDLE, api.PeerState_SESSION_STATE_UNSPECIFIED:
	}
	return "idle"
}

// Stop ends all sessions. With keep it says no word to routers that have agreed to graceful
// restart, and they go on with its routes for that long; otherwise they drop them at once.
func (s *Speaker) Stop(ctx context.Context, keep bool) error {
	s.deaf()
	err := s.server.StopBgp(ctx, &api.StopBgpRequest{AllowGracefulRestart: keep})
	s.level.Set(quiet) // it would say that it has stopped already
	s.server.Stop()
	if err != nil {
		return fmt.Errorf("stop to speak BGP: %w", err)
	}
	return nil
}

// quiet is above all that the engine logs.
const quiet = slog.LevelError + 1

// A gate lets through what is of its level or above. GoBGP asks a handler only whether it is
// there.
type gate struct {
	slog.Handler
	level *slog.LevelVar
}

func (g gate) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= g.level.Level() && g.Handler.Enabled(ctx, l)
}

func (g gate) Handle(ctx context.Context, r slog.Record) error {
	if !g.Enabled(ctx, r.Level) {
		return nil
	}
	return g.Handler.Handle(ctx, r) //nolint:wrapcheck // it is the other's
}

func (g gate) WithAttrs(attrs []slog.Attr) slog.Handler {
	return gate{g.Handler.WithAttrs(attrs), g.level}
}

func (g gate) WithGroup(name string) slog.Handler { return gate{g.Handler.WithGroup(name), g.level} }
