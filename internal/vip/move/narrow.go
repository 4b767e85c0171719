package move

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"holdfast/internal/vip/conntrack"
)

// Conntrack is on or off for a whole network namespace, and a Detour's rules switch
// it on. Where nobody else has it on, tables of the name narrowName keep all but the
// connections of VIPs out of it. That is a lease, too: an agent that is gone cannot
// see that a firewall comes, whose rules know no connection that is not tracked.

const (
	narrowName = "holdfast-untracked"
	// NarrowTime is how long it lasts without KeepNarrow.
	NarrowTime = 5 * time.Second

	vipsName  = "vips"
	leaseName = "lease"
)

// untracked gives the protocols whose packets are kept out: those of which there are
// many connections, and VRRP, whose adverts pass a full table so. ICMP is not among
// them: its errors are about other packets, and neighbours' discovery is not tracked.
func untracked() []byte {
	const vrrp = 112 // RFC 9568 section 5.1.1.4
	return []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, vrrp}
}

// mayNarrow reports whether all but the connections of the VIP, and of VIPs that have
// a Detour already, can be kept out of conntrack: nobody else has this host track
// connections. Otherwise it ends that. Begun is set when this is the first Detour:
// later it is too late to find out.
func (d *Detour) mayNarrow(begun bool) (bool, error) {
	c, err := openNFT(0)
	if err != nil {
		return false, err
	}
	there, err := narrowTables(c)
	if err != nil || !begun && len(there) == 0 {
		return false, err
	}
	by, err := trackedBy()
	if err == nil && by == "" && begun {
		var on bool
		if on, err = conntrack.On(); on {
			by = "somebody"
		}
	}
	if err != nil || by != "" {
		d.log.Debug("every connection of this host is tracked", "by", by)
		return false, errors.Join(err, endNarrow(c))
	}
	return true, nil
}

// Narrow reports whether the connections of VIPs alone are tracked here.
func (d *Detour) Narrow(context.Context) (bool, error) {
	c, err := openNFT(0)
	if err != nil {
		return false, fmt.Errorf("look what is tracked for vip %s: %w", d.options.Name, err)
	}
	there, err := narrowTables(c)
	if err != nil {
		return false, fmt.Errorf("look what is tracked for vip %s: %w", d.options.Name, err)
	}
	return len(there) > 0, nil
}

// KeepNarrow has it go on for NarrowTime that the connections of VIPs alone are
// tracked, if renew is set and they are; and ends that at once when somebody else
// has come who needs the others, which it then names.
func (d *Detour) KeepNarrow(_ context.Context, renew bool) (by string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if by, err = d.keepNarrow(renew); err != nil {
		err = fmt.Errorf("have only connections of vip %s tracked: %w", d.options.Name, err)
	}
	return by, err
}

func (d *Detour) keepNarrow(renew bool) (by string, err error) {
	c, err := openNFT(0)
	if err != nil {
		return "", err
	}
	there, err := narrowTables(c)
	if err != nil || len(there) == 0 {
		return "", err
	}
	by, err = trackedBy()
	if err == nil && by == "" && renew {
		for _, t := range there {
			err = errors.Join(err, lease(c, t))
		}
		err = errors.Join(err, c.Flush())
	}
	if err != nil || by != "" {
		return by, errors.Join(err, endNarrow(c))
	}
	return "", nil
}

// narrowTables gives the tables that are there.
func narrowTables(c *nftables.Conn) (there []*nftables.Table, err error) {
	all, err := c.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list the nftables: %w", explainNFT(err))
	}
	for _, t := range all {
		if t.Name == narrowName {
			there = append(there, t)
		}
	}
	return there, nil
}

// endNarrow is done also when there is none.
func endNarrow(c *nftables.Conn) error {
	there, err := narrowTables(c)
	if err != nil || len(there) == 0 {
		return err
	}
	return removeTables(there)
}

// endNarrowNow is endNarrow on a kernel that may have no nftables.
func endNarrowNow() error {
	c, err := openNFT(0)
	if err != nil {
		return err
	}
	err = endNarrow(c)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil
	}
	return err
}

// addNarrow adds the rules of the family of addresses, and these to those whose
// connections are tracked. In the chains prerouting and output, before conntrack:
//
//	ip daddr @vips accept
//	ip saddr @vips accept
//	meta l4proto @lease notrack
func addNarrow(c *nftables.Conn, addresses []netip.Addr) error {
	t, l := tableOf(narrowName, addresses[0]), layoutOf(addresses[0])
	c.AddTable(t)
	var elements []nftables.SetElement
	for _, a := range addresses {
		elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
	}
	vips, leased := vipsOf(t, addresses[0]), leaseOf(t)
	err := errors.Join(c.AddSet(vips, nil), c.AddSet(leased, nil), addElements(c, vips, elements), lease(c, t))
	if err != nil {
		return fmt.Errorf("describe what is tracked: %w", err)
	}
	for name, hook := range map[string]*nftables.ChainHook{entryName: nftables.ChainHookPrerouting, exitName: nftables.ChainHookOutput} {
		chain := c.AddChain(&nftables.Chain{
			Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityRaw, // before conntrack
		})
		c.FlushChain(chain)
		for _, e := range [][]expr.Any{
			join(l.target(), isOneOf(vips), verdict(expr.VerdictAccept, "")),
			join(l.sender(), isOneOf(vips), verdict(expr.VerdictAccept, "")),
			join(protocol(), isOneOf(leased), []expr.Any{&expr.Notrack{}}),
		} {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: e})
		}
	}
	return nil
}

func vipsOf(t *nftables.Table, a netip.Addr) *nftables.Set {
	key := nftables.TypeIPAddr
	if a.Is6() {
		key = nftables.TypeIP6Addr
	}
	return &nftables.Set{Table: t, ID: 1, Name: vipsName, KeyType: key}
}

func leaseOf(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, ID: 2, Name: leaseName, KeyType: nftables.TypeInetProto, HasTimeout: true}
}

// lease begins the time of the rules anew: no kernel before 6.12 changes that of an
// element which is there.
func lease(c *nftables.Conn, t *nftables.Table) error {
	s := leaseOf(t)
	c.FlushSet(s)
	var elements []nftables.SetElement
	for _, p := range untracked() {
		elements = append(elements, nftables.SetElement{Key: []byte{p}, Timeout: NarrowTime})
	}
	return addElements(c, s, elements)
}

// isOneOf matches what is in the first register.
func isOneOf(s *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register1, SetID: s.ID, SetName: s.Name}}
}

func protocol() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register1}}
}

// sender and target load an address of the packet.
func (l layout) sender() []expr.Any {
	return []expr.Any{&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: l.source, Len: l.size, DestRegister: register1}}
}

func (l layout) target() []expr.Any {
	return []expr.Any{&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: l.source + l.size, Len: l.size, DestRegister: register1}}
}
