package move

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
	"holdfast/internal/sockdiag"
	"holdfast/internal/vip"
	"holdfast/internal/vip/conntrack"
)

// DetourOptions says what a Detour is.
type DetourOptions struct {
	// Name is that of the VIP.
	Name string
	// Addresses are those of the VIP; at least one.
	Addresses []netip.Addr
	// Givers are addresses of the giver, none of them the VIP's, the better
	// first: of those of one family the first that this host reaches directly
	// is taken. GiverAddresses gives them, on the giver.
	Givers []netip.Addr
	// Interface is the one that the VIP is activated on, or above, here:
	// link-local addresses of Givers are reached through it.
	Interface string
	// Settings are what Install changes in the kernel, for the caller to restore
	// when no Detour is left; nil for the Detour's own, which Remove restores.
	Settings *vip.Settings
	Log      *slog.Logger // may be nil
}

// A Detour is the second chance of connections that the giver of a VIP keeps,
// on the taker: TCP segments to the VIP of connections that this host does not
// know go to the giver, those of this host's own clients too. Connections that
// begin here stay here. Its methods may be called from several goroutines.
type Detour struct {
	options DetourOptions
	log     *slog.Logger
	own     *vip.Settings // nil if they are the caller's
	mu      sync.Mutex    // one change at a time
}

// ErrNoDetour says that the rules are not there: nobody has installed them, or
// somebody has flushed all nftables.
var ErrNoDetour = errors.New("the rules are not there")

// NewDetour gives the Detour that options describe, without touching the
// machine.
func NewDetour(options DetourOptions) (*Detour, error) {
	var errs []error
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("detour of vip %s: "+format, append([]any{options.Name}, args...)...))
	}
	if len(tableName(options.Name)) > longestName {
		add("the name is too long")
	}
	if len(options.Addresses) == 0 {
		add("has no address")
	}
	for _, a := range options.Addresses {
		if !vip.IsOfHost(a) {
			add("%s cannot be a virtual address", a)
		}
	}
	for _, g := range options.Givers {
		if !vip.IsOfHost(g) {
			add("%s cannot be an address of the giver", g)
		}
		if slices.Contains(options.Addresses, g) {
			add("the giver's address %s is the VIP's, too", g)
		}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	options.Addresses, options.Givers = slices.Clone(options.Addresses), slices.Clone(options.Givers)
	d := &Detour{options: options, log: options.Log.With("vip", options.Name)}
	if options.Settings == nil {
		d.own = vip.NewSettings(nil, nil)
		d.options.Settings = d.own
	}
	return d, errors.Join(errs...)
}

// Install puts the rules in place, before the taker has the addresses; it
// replaces earlier ones of the same VIP at once. An error means that there are
// no new rules: segments of the giver's connections get a reset here.
func (d *Detour) Install(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := ctx.Err()
	if err == nil {
		err = d.install(ctx)
	}
	if err != nil {
		return fmt.Errorf("send on what belongs to the giver of vip %s: %w", d.options.Name, err)
	}
	return nil
}

func (d *Detour) install(ctx context.Context) error {
	var ways []way
	for _, addresses := range byFamily(d.options.Addresses) {
		w, err := d.way(addresses)
		if err != nil {
			return err
		}
		ways = append(ways, w)
	}
	before, err := knownAt(d.options.Addresses)
	if err != nil {
		return err
	}
	tables, err := ourTables()
	if err != nil {
		return err
	}
	narrow, err := d.mayNarrow(len(tables) == 0)
	if err != nil {
		d.log.Warn("every connection of this host is tracked while the vip's go on at the giver", "error", err)
	}
	name := tableName(d.options.Name)
	if err := replaceTables(name, ways, before, narrow); err != nil {
		return err
	}
	// Those that began meanwhile.
	now, err := knownAt(d.options.Addresses)
	if err == nil {
		err = addKnown(name, ways, now)
	}
	if err != nil {
		return errors.Join(err, d.remove())
	}
	d.acceptReplies()
	n, err := conntrack.Forget(ctx, d.options.Addresses, func() (map[conntrack.Ends]bool, error) {
		then, err := knownAt(d.options.Addresses) // some may be new
		return liveOf(before, now, then), err
	})
	if err != nil {
		d.log.Warn("a connection of the giver may be taken for one that ended here", "error", err)
	}
	d.log.Debug("segments of unknown connections go to the giver", "ways", fmt.Sprint(ways),
		"had", len(now.had), "away", len(now.away), "forgotten", n)
	return nil
}

// acceptReplies has the interface take what the giver sends from the VIP to
// this host's own clients, although the VIP is this host's then.
func (d *Detour) acceptReplies() {
	if d.options.Interface == "" || !slices.ContainsFunc(d.options.Addresses, netip.Addr.Is4) {
		return
	}
	if err := d.options.Settings.AcceptLocal(d.options.Interface); err != nil {
		d.log.Warn("connections that this host's own clients have to the giver may hang", "error", err)
	}
}

// A way is how the segments of a family go to the giver.
type way struct {
	addresses []netip.Addr // the VIP's
	giver     netip.Addr
	device    int
	name      string // of the device
}

func (w way) String() string { return fmt.Sprintf("%v by %s on %s", w.addresses, w.giver, w.name) }

// byFamily gives the IPv4 addresses and the IPv6 ones, without empty lists.
func byFamily(addresses []netip.Addr) [][]netip.Addr {
	var v4, v6 []netip.Addr
	for _, a := range addresses {
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	return slices.DeleteFunc([][]netip.Addr{v4, v6}, func(s []netip.Addr) bool { return s == nil })
}

// way finds the first of the giver's addresses that can be used for those of
// the VIP, which are of one family.
func (d *Detour) way(addresses []netip.Addr) (way, error) {
	var k rtnl.Conn
	defer k.Close() //nolint:errcheck // nothing is lost
	var errs []error
	for _, g := range d.options.Givers {
		if rtnl.FamilyOf(g) != rtnl.FamilyOf(addresses[0]) {
			continue
		}
		w, err := d.wayTo(&k, g)
		if err == nil {
			w.addresses = addresses
			return w, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return way{}, fmt.Errorf("the giver has no address of the family of %s", addresses[0])
	}
	return way{}, errors.Join(errs...)
}

func (d *Detour) wayTo(k *rtnl.Conn, giver netip.Addr) (way, error) {
	through := 0
	if giver.IsLinkLocalUnicast() {
		l, err := k.LinkByName(d.options.Interface)
		if err != nil {
			return way{}, k.Explain("find", d.options.Interface, err)
		}
		through = l.Index
	}
	r, err := k.RouteTo(netip.Addr{}, giver, through)
	switch {
	case err != nil:
		return way{}, fmt.Errorf("look up the route to the giver, %s: %w", giver, err)
	case r.Kind == unix.RTN_LOCAL:
		return way{}, fmt.Errorf("the giver's address %s is one of this host", giver)
	case r.Kind != unix.RTN_UNICAST || r.Device == 0:
		return way{}, fmt.Errorf("no route to the giver, %s", giver)
	case r.Behind:
		return way{}, fmt.Errorf("the giver, %s, is behind a gateway: segments reach it only in a network that both are in", giver)
	}
	all, err := k.Links()
	if err != nil {
		return way{}, fmt.Errorf("list the devices: %w", err)
	}
	i := slices.IndexFunc(all, func(l rtnl.Link) bool { return l.Index == r.Device })
	if i < 0 {
		return way{}, fmt.Errorf("the device of the route to the giver, %s, is gone", giver)
	}
	return way{giver: giver, device: r.Device, name: all[i].Name}, nil
}

// GiverAddresses gives the addresses at which a taker can reach this host, the
// giver of the VIP, for DetourOptions.Givers: controller, its address in the
// spec, and then those of the interface, without those of vip. The latter are
// in the VIP's own network, which controller need not be; an IPv6 one is there
// always, its link-local address.
func GiverAddresses(iface string, controller netip.Addr, vip []netip.Prefix) (all []netip.Addr, err error) {
	var k rtnl.Conn
	defer func() { err = errors.Join(err, k.Close()) }()
	l, err := k.LinkByName(iface)
	if err != nil {
		return nil, k.Explain("find", iface, err)
	}
	on, err := k.Addresses(l.Index)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", iface, err)
	}
	if controller.IsValid() {
		all = append(all, controller)
	}
	has := func(a netip.Addr) bool {
		return slices.ContainsFunc(vip, func(p netip.Prefix) bool { return p.Addr() == a })
	}
	for _, p := range on {
		if a := p.Addr(); !p.IsSingleIP() && !has(a) && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all, nil
}

// Forwarded gives how many segments have gone to the giver since Install;
// ErrNoDetour is in the error when the rules are gone.
func (d *Detour) Forwarded(context.Context) (packets uint64, err error) {
	c, err := openNFT(0)
	if err != nil {
		return 0, fmt.Errorf("count what goes to the giver of vip %s: %w", d.options.Name, err)
	}
	for _, addresses := range byFamily(d.options.Addresses) {
		t := tableOf(tableName(d.options.Name), addresses[0])
		rules, err := c.GetRules(t, unknownChain(t))
		if err != nil {
			return 0, fmt.Errorf("count what goes to the giver of vip %s: %w", d.options.Name, explainNFT(err))
		}
		if len(rules) == 0 {
			return 0, fmt.Errorf("count what goes to the giver of vip %s: %w", d.options.Name, ErrNoDetour)
		}
		for _, r := range rules {
			for _, e := range r.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					packets += c.Packets
				}
			}
		}
	}
	return packets, nil
}

// Remove removes the rules; done also when there are none, and whether or not
// ctx has ended.
func (d *Detour) Remove(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.remove(); err != nil {
		return fmt.Errorf("remove the detour of vip %s: %w", d.options.Name, err)
	}
	return nil
}

func (d *Detour) remove() error {
	tables, err := ourTables()
	if err != nil {
		return err
	}
	if ours := tables[d.options.Name]; ours != nil {
		if err := removeTables(ours); err != nil {
			return err
		}
		delete(tables, d.options.Name)
	}
	if len(tables) > 0 {
		return nil // other VIPs need the rest
	}
	err = endNarrowNow()
	if d.own != nil {
		err = errors.Join(err, d.own.Restore())
	}
	return err
}

// Cleanup removes what an earlier agent left: the rules of the Detours
// of all VIPs but keep, and the routing rules of a Copy's End that was cut
// short, which it then ends. log may be nil.
func Cleanup(ctx context.Context, log *slog.Logger, keep ...string) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	tables, err := ourTables()
	errs := []error{err}
	for name, t := range tables {
		if slices.Contains(keep, name) {
			continue
		}
		log.Info("remove the detour of a vip that nobody needs", "vip", name)
		if err := removeTables(t); err != nil {
			errs = append(errs, fmt.Errorf("remove the detour of vip %s: %w", name, err))
		}
		delete(tables, name)
	}
	if len(tables) == 0 && err == nil {
		errs = append(errs, endNarrowNow())
	}
	if err := endSteered(ctx, log); err != nil {
		errs = append(errs, fmt.Errorf("remove left routing rules: %w", err))
	}
	return errors.Join(errs...)
}

// known are TCP connections to addresses of a VIP. Of each, remote is the end
// that connected.
type known struct {
	had  []conntrack.Ends // this host has the end that was connected to
	away []conntrack.Ends // this host has the other one only: it connected to somebody
}

// knownAt lists what this host has.
func knownAt(addresses []netip.Addr) (all known, err error) {
	var k sockdiag.Conn
	defer func() { err = errors.Join(err, k.Close()) }()
	at := map[conntrack.Ends]bool{}
	for _, a := range addresses {
		found, err := k.Sockets(sockdiag.Match{Local: netip.AddrPortFrom(a, 0)})
		if err != nil {
			return all, err
		}
		for _, s := range found {
			e := conntrack.Ends{Remote: s.Remote, Local: s.Local}
			at[e] = true
			all.had = append(all.had, e)
		}
	}
	for _, a := range addresses {
		found, err := k.Sockets(sockdiag.Match{Remote: netip.AddrPortFrom(a, 0)})
		if err != nil {
			return all, err
		}
		for _, s := range found {
			e := conntrack.Ends{Remote: s.Local, Local: s.Remote}
			if !at[e] && !slices.Contains(addresses, s.Local.Addr()) {
				all.away = append(all.away, e)
			}
		}
	}
	return all, nil
}

// liveOf gives the connections that this host has an end of.
func liveOf(all ...known) map[conntrack.Ends]bool {
	live := map[conntrack.Ends]bool{}
	for _, k := range all {
		for _, e := range slices.Concat(k.had, k.away) {
			live[e] = true
		}
	}
	return live
}
