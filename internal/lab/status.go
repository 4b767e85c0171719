package lab

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast/internal/lab/busy"
	"holdfast/internal/lab/load"
)

// A Status is all that a lab says of itself. Its JSON form is a contract:
// fields are added, never renamed or removed.
type Status struct {
	Schema  int       `json:"schema"` // always 1
	Name    string    `json:"name"`
	Dir     string    `json:"dir"`
	PID     int       `json:"-"`
	Started time.Time `json:"started"`
	// Ready reports whether all services have answered through the VIPs since
	// the start.
	Ready     bool          `json:"ready"`
	Spec      string        `json:"spec_digest"`
	VIPs      []VIPStatus   `json:"vips"`
	Endpoints []load.Target `json:"endpoints"` // the http services, by the VIPs' names
	Nodes     []Node        `json:"nodes"`
	// Partition has the sets of nodes that reach each other; empty when whole.
	Partition [][]string `json:"partition,omitempty"`
}

// A VIPStatus tells who holds one address of a VIP.
type VIPStatus struct {
	Name     string   `json:"name"`
	Hostname string   `json:"hostname"`
	Address  string   `json:"address"`
	Holders  []string `json:"holders"` // by their kernels; two for as long as a lease lasts
}

// A Node tells of one host of the lab.
type Node struct {
	Name       string      `json:"name"`
	Role       string      `json:"role"` // controller, host, client
	On         bool        `json:"on"`
	Plugged    bool        `json:"plugged"`
	Interfaces []Interface `json:"interfaces,omitempty"`
	Agent      *Agent      `json:"agent,omitempty"`
	// HAProxy has its processes; HAProxyHung tells that they are stopped.
	HAProxy     []int     `json:"haproxy_pids,omitempty"`
	HAProxyHung bool      `json:"haproxy_hung,omitempty"`
	Services    []Service `json:"services,omitempty"`
	Problem     string    `json:"problem,omitempty"` // of looking at the node
}

// An Interface has the addresses that a node's kernel has now.
type Interface struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"` // with prefix length; no link-local ones
}

// An Agent tells of the unit that runs "holdfast agent".
type Agent struct {
	State    string `json:"state"` // starting, ready, hung, stopped, dead
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	Text     string `json:"text,omitempty"` // the status it gives to its unit
	LastEnd  string `json:"last_end,omitempty"`
}

// A Service tells of one stand-in.
type Service struct {
	Name string `json:"name"`
	// State is up, dead, hung, stalled, errors, finishing (to be started again),
	// or how it behaves: late, busy, push-back, closes, or several of these with
	// a comma.
	State string `json:"state"`
	PID   int    `json:"pid,omitempty"`
}

// Holder gives the one controller that holds the first VIP.
func (s *Status) Holder() (string, error) {
	if len(s.VIPs) == 0 || len(s.VIPs[0].Holders) != 1 {
		return "", errors.New("not one controller holds the first VIP")
	}
	return s.VIPs[0].Holders[0], nil
}

// Sick says why s is not whole: an address that has not one holder, a node that is on
// and has not what it should; nil when it is.
func (s *Status) Sick() error {
	for _, v := range s.VIPs {
		if n := len(v.Holders); n != 1 {
			return fmt.Errorf("the address has %d holders", n)
		}
	}
	for _, n := range s.Nodes {
		switch {
		case n.Agent == nil:
		case n.Agent.State != "ready":
			return fmt.Errorf("the agent of %s is %s", n.Name, n.Agent.State)
		case len(n.HAProxy) == 0 || n.HAProxyHung:
			return fmt.Errorf("HAProxy of %s does not run", n.Name)
		}
	}
	return nil
}

func (s *server) status() *Status {
	s.mu.Lock()
	out := &Status{
		Schema: 1, Name: s.dir.Name(), Dir: string(s.dir), PID: os.Getpid(), Started: s.started,
		Ready: s.ready, Spec: s.plan.spec.Digest, Partition: s.partitions, Endpoints: load.TargetsOf(s.plan.spec),
	}
	s.mu.Unlock()
	for _, v := range s.plan.spec.VIPs {
		for _, a := range v.Addresses {
			out.VIPs = append(out.VIPs, VIPStatus{
				Name: v.Name, Hostname: v.Hostname, Address: a.String(), Holders: s.holder.holders(a.Addr()),
			})
		}
	}
	for _, n := range s.nodes {
		out.Nodes = append(out.Nodes, n.status())
	}
	return out
}

func (n *node) status() Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := Node{Name: n.plan.name, Role: string(n.plan.role), On: n.box != nil}
	if n.box == nil {
		return out
	}
	out.Plugged = !n.unplugged
	var err error
	if out.Interfaces, err = n.box.interfaces(); err != nil {
		out.Problem = err.Error()
	}
	for _, s := range n.services {
		out.Services = append(out.Services, s.status())
	}
	if n.agent != nil {
		out.Agent = n.agent.status()
		if out.HAProxy, err = n.box.processes("haproxy"); err != nil {
			out.Problem = err.Error()
		}
		out.HAProxyHung = len(out.HAProxy) > 0 && isStopped(out.HAProxy[0])
	}
	return out
}

func (s *standin) status() Service {
	out := Service{Name: s.at.service.Name, State: "dead"}
	if s.proc.running() {
		out.State, out.PID = "up", s.proc.pid()
		switch {
		case s.stall != nil:
			out.State = "stalled"
		case s.proc.isHung():
			out.State = "hung"
		case s.finishing == s.proc:
			out.State = "finishing"
		case s.isFailing():
			out.State = "errors"
		case s.behaviour != (busy.Behaviour{}):
			out.State = s.behaviour.String()
		}
	}
	return out
}

func (u *unit) status() *Agent {
	p, runs := u.current()
	state := u.state()
	out := &Agent{State: "dead", Restarts: state.restarts, Text: state.text, LastEnd: state.lastEnd}
	switch {
	case !runs && !state.wanted:
		out.State = "stopped"
	case !runs:
	case p.isHung():
		out.State, out.PID = "hung", p.pid()
	case state.ready:
		out.State, out.PID = "ready", p.pid()
	default:
		out.State, out.PID = "starting", p.pid()
	}
	return out
}

// interfaces asks the node's kernel for its interfaces and their addresses.
func (b *box) interfaces() ([]Interface, error) {
	links, err := b.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	var all []Interface
	for _, link := range links {
		addrs, err := b.nl.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("list the addresses: %w", err)
		}
		i := Interface{Name: link.Attrs().Name}
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() && !a.IP.IsLoopback() {
				i.Addresses = append(i.Addresses, a.IPNet.String())
			}
		}
		if link.Attrs().Index != loopback || len(i.Addresses) > 0 {
			all = append(all, i)
		}
	}
	return all, nil
}
