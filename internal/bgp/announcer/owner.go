package announcer

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"holdfast/internal/bgp"
	"holdfast/internal/bgp/speaker"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/rtnl"
	"holdfast/internal/sockdiag"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip"
)

// An owner is this controller's part in one VIP.
type owner struct {
	vip     spec.VIP
	lease   vip.Options
	address *vip.Address
	machine *bgp.Machine
	claimed bool   // the kernel has been given the address
	trouble string // why it could not, or cannot now, as was logged
	open    int    // connections, as counted last
	counted time.Time
	status  bgp.Decision
}

// limitOf gives how long a drain may last. Another daemon cannot be told that routers are to
// prefer others: there is nothing to wait for.
func limitOf(s *spec.Spec) time.Duration {
	if s.BGP.Engine == spec.EngineExternal {
		return bgp.SettleFor
	}
	return s.Agent.HandoverLimit
}

// follows reports whether o is what becomes of b: it has its name, or one of its addresses.
func (o *owner) follows(b *owner) bool {
	return o.vip.Name == b.vip.Name || slices.ContainsFunc(o.vip.Addrs(), func(at netip.Addr) bool { return slices.Contains(b.vip.Addrs(), at) })
}

// giveUp releases what o has, but what the owners of next have claimed: of that not one
// connection is to end.
func (o *owner) giveUp(next []*owner) error {
	if !o.claimed {
		return nil
	}
	o.claimed = false
	var over, moved []netip.Prefix
	for _, p := range o.lease.Addresses {
		i := slices.IndexFunc(next, func(n *owner) bool { return n.claimed && slices.Contains(n.lease.Addresses, p) })
		switch {
		case i < 0:
			over = append(over, p)
		case next[i].lease.Interface != o.lease.Interface:
			moved = append(moved, p)
		}
	}
	var errs []error
	for _, part := range []struct {
		of  []netip.Prefix
		end func(*vip.Address, context.Context) error
	}{{over, (*vip.Address).Release}, {moved, (*vip.Address).Withdraw}} {
		if len(part.of) == 0 {
			continue
		}
		lease := o.lease
		lease.Addresses = part.of
		at, err := vip.New(lease)
		if err == nil {
			err = errors.Join(part.end(at, context.Background()), at.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func sameLease(a, b vip.Options) bool {
	a.Log, b.Log = nil, nil
	return reflect.DeepEqual(a, b)
}

// begin has o begin; with an agent that has just started it looks whether the one before
// left the address.
func (o *owner) begin(now time.Time, s *spec.Spec, first bool) {
	restart := time.Duration(0)
	if first {
		if present, err := o.address.Present(); err == nil && present {
			restart = s.BGP.GracefulRestart
		}
	}
	o.machine = bgp.NewMachine(now, limitOf(s), restart)
	o.status = o.machine.Decision()
}

// facts gives what is known for o.
func (a *Announcer) facts(o *owner, now time.Time) bgp.Facts {
	f := bgp.Facts{Drained: a.opt.Drained(), Connections: -1}
	h := a.opt.HAProxy()
	if h.State != status.HAProxyRunning {
		f.Unfit = "HAProxy is " + string(h.State)
		if h.Reason == process.NotStarted {
			f.Unfit = "HAProxy is being looked for"
		} else if h.Reason != "" {
			f.Unfit += ": " + h.Reason
		}
	}
	f.Checked, f.Serves = bgp.Services(a.spec, o.vip, a.opt.Services())
	if o.status.State == bgp.Draining {
		if now.Sub(o.counted) >= lookInterval {
			o.counted = now
			o.open = a.count(o)
		}
		f.Connections = o.open
	} else {
		o.counted, o.open = time.Time{}, -1
	}
	return f
}

// count gives how many connections of other hosts are open to o; -1 when nobody knows.
func (a *Announcer) count(o *owner) int {
	var k rtnl.Conn
	own, err := k.OwnAddresses()
	var c sockdiag.Conn
	n := 0
	for _, at := range o.vip.Addrs() {
		if err != nil {
			break
		}
		var found []sockdiag.Socket
		found, err = c.Sockets(sockdiag.Match{Local: netip.AddrPortFrom(at, 0)})
		for _, s := range found {
			if !s.TimesOut() && !s.Connecting() && !own[s.Remote.Addr()] {
				n++
			}
		}
	}
	if err := errors.Join(err, k.Close(), c.Close()); err != nil {
		a.opt.Log.Warn("the connections of a vip cannot be counted: its drain lasts as long as it may", "vip", o.vip.Name, "error", err)
		return -1
	}
	return n
}

// hold has the kernel have the address of o, and reports whether it does.
func (a *Announcer) hold(ctx context.Context, o *owner) bool {
	do := o.address.Hold
	if !o.claimed {
		do = o.address.Claim
	}
	err := do(ctx)
	if err == nil {
		o.claimed = true
		if o.trouble != "" {
			o.trouble = ""
			a.opt.Report(status.CodeBGPSessionDown, "absent vip "+o.vip.Name, nil)
		}
		return true
	}
	if ctx.Err() == nil && err.Error() != o.trouble {
		o.trouble = err.Error()
		a.opt.Log.Error("the address of a vip cannot be had, so it is not announced", "vip", o.vip.Name, "error", err)
		a.opt.Report(status.CodeBGPSessionDown, "absent vip "+o.vip.Name, &status.Finding{
			Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "vip " + o.vip.Name,
			Text:   a.opt.Controller + " cannot have its address, so no router is told of it: " + o.trouble,
			Remedy: "is there an interface " + o.vip.Interface + " on " + a.opt.Controller + ", and up? see journalctl -u holdfast there",
			Brief:  "VIP " + o.vip.Name + " not on " + a.opt.Controller,
		})
	}
	return false
}

func (o *owner) release(ctx context.Context) {
	if !o.claimed {
		return
	}
	o.claimed = false
	if err := o.address.Release(context.WithoutCancel(ctx)); err != nil {
		o.trouble = err.Error()
	}
}

// untold gives why no router is told of o, which is to be announced; empty: one is, as far as
// is known. A speaker that was started just now has its time.
func (a *Announcer) untold(o *owner) string {
	switch {
	case o.trouble != "":
		return o.trouble
	case !a.wanted:
		return ""
	case a.speaker == nil:
		return a.failed
	case time.Since(a.spoke) < patience || slices.ContainsFunc(a.sessions, func(s speaker.Session) bool { return s.Established }):
		return ""
	}
	return "no router has a session with this controller"
}

// tell writes into the journal what has become of o.
func (a *Announcer) tell(o *owner, was bgp.Decision) {
	is := o.status
	if is.State == was.State {
		return
	}
	e := status.Event{Subject: "vip " + o.vip.Name, Cause: is.Reason}
	switch is.State {
	case bgp.Announced:
		e.Kind, e.Text = status.EventBGPAnnounced, "vip "+o.vip.Name+" is announced from here"
	case bgp.Draining:
		e.Kind, e.Text = status.EventBGPDraining, "routers are told to prefer other controllers for vip "+o.vip.Name
		if a.spec.BGP.Engine == spec.EngineExternal {
			e.Text = "the address of vip " + o.vip.Name + " is about to be taken away, and HAProxy asks its clients to come anew"
		}
	case bgp.Lingering, bgp.Withdrawn:
		if was.State == bgp.Lingering {
			return // that was told
		}
		e.Kind, e.Text = status.EventBGPWithdrawn, "vip "+o.vip.Name+" is not announced from here any more"
	default:
		return
	}
	a.opt.Event(e)
}
