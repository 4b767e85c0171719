package lab

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/spec"
)

const (
	readyPoll    = 100 * time.Millisecond
	probeTimeout = time.Second
	// hopeless is how often in a row an agent may die without having been
	// ready before the lab is not waited for any longer.
	hopeless = 5
	// tailLines is how much of a log is shown when the lab does not come up.
	tailLines = 12
)

// A probe is one service through one address of a VIP, as a client sees it.
type probe struct {
	service spec.Service
	addr    netip.AddrPort
	tls     bool
	name    string // that is asked for; empty: the address
	path    string
}

func (p probe) String() string { return fmt.Sprintf("%s at %s", p.service.Name, p.addr) }

func probes(s *spec.Spec) []probe {
	var all []probe
	for _, v := range s.VIPs {
		for _, a := range v.Addresses {
			for _, service := range s.Services {
				at := v.PlaceOf(service, "public")
				one := probe{service: service, addr: netip.AddrPortFrom(a.Addr(), uint16(at.Port)), tls: v.TLS != nil, path: at.Path + "/"}
				if _, shared := v.Route(service); shared {
					one.name = at.Name
				}
				all = append(all, one)
			}
		}
	}
	return all
}

// awaitReady returns when every agent is ready and every service has answered
// the client through every VIP, or with the reason why it does not.
func (s *server) awaitReady(ctx context.Context, tell func(progress)) error {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	client, err := s.node(s.plan.clientName())
	if err != nil {
		return err
	}
	todo := probes(s.plan.spec)
	all := len(todo)
	var why error
	for {
		if err := s.hopelessAgent(); err != nil {
			return err
		}
		if s.agentsReady() {
			before := len(todo)
			todo, why = s.probeAll(ctx, client, todo)
			if len(todo) < before {
				tell(progress{Text: fmt.Sprintf("%d of %d services answer through the VIP", all-len(todo), all)})
			}
		}
		if len(todo) == 0 {
			return nil
		}
		if Sleep(ctx, readyPoll) != nil {
			return s.lateError(todo, why)
		}
	}
}

// probeAll tries each of todo and gives those that did not answer, with the
// reason of the first.
func (s *server) probeAll(ctx context.Context, client *node, todo []probe) ([]probe, error) {
	b, why := client.boxOn()
	if why != nil {
		return todo, why
	}
	left := slices.DeleteFunc(slices.Clone(todo), func(p probe) bool {
		err := enter(b.pidfd, unix.CLONE_NEWNET, func() error { return p.try(ctx) })
		if err != nil && why == nil {
			why = fmt.Errorf("%s: %w", p, err)
		}
		return err == nil
	})
	return left, why
}

// try asks the service once. It must not leave the calling thread before it
// has its socket, which is in that thread's network namespace.
func (p probe) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	dialer := net.Dialer{FallbackDelay: -1}
	conn, err := dialer.DialContext(ctx, "tcp", p.addr.String())
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	if p.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: p.name}) // the lab made the certificate itself
	}
	if err == nil {
		err = p.talk(conn)
	}
	return errors.Join(err, conn.Close())
}

func (p probe) talk(conn net.Conn) error {
	if p.service.Mode == spec.TCP {
		if _, err := io.WriteString(conn, "hello\n"); err != nil {
			return err
		}
		_, err := bufio.NewReader(conn).ReadString('\n')
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", p.path, cmp.Or(p.name, p.addr.String())); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 500 {
		err = fmt.Errorf("HTTP status %s", resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

func (s *server) agents() map[*node]*unit {
	all := map[*node]*unit{}
	for _, n := range s.nodes {
		if u, err := n.agentUnit(); err == nil && u != nil {
			all[n] = u
		}
	}
	return all
}

func (s *server) agentsReady() bool {
	for _, u := range s.agents() {
		if !u.state().ready {
			return false
		}
	}
	return true
}

// hopelessAgent tells of an agent that only ever dies.
func (s *server) hopelessAgent() error {
	for n, u := range s.agents() {
		if state := u.state(); state.failures >= hopeless {
			return fmt.Errorf("the agent of %s dies at its start (%s); the end of its log:\n%s",
				n.plan.name, state.lastEnd, tail(s.dir.agentLog(n.plan.name)))
		}
	}
	return nil
}

// lateError tells why the lab was not ready in time, with the end of the log
// that most likely says more.
func (s *server) lateError(todo []probe, why error) error {
	for n, u := range s.agents() {
		if state := u.state(); !state.ready {
			said := ""
			if state.text != "" {
				said = fmt.Sprintf(" (%q)", state.text)
			}
			return fmt.Errorf("not ready after %v: the agent of %s is not%s; the end of its log:\n%s",
				s.wait, n.plan.name, said, tail(s.dir.agentLog(n.plan.name)))
		}
	}
	var names []string
	for _, p := range todo {
		names = append(names, p.String())
	}
	text := fmt.Sprintf("not ready after %v: no answer from %s", s.wait, strings.Join(names, ", "))
	if why != nil {
		text += fmt.Sprintf(" (%v)", why)
	}
	if n, err := s.holderNode(); err == nil {
		return fmt.Errorf("%s; the end of the log of the agent of %s, which holds the VIP:\n%s",
			text, n.plan.name, tail(s.dir.agentLog(n.plan.name)))
	}
	first := s.nodes[0].plan.name
	return fmt.Errorf("%s; nobody holds the VIP; the end of the log of the agent of %s:\n%s",
		text, first, tail(s.dir.agentLog(first)))
}

// tail gives the last lines of a log, indented.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "    " + err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return "    " + strings.Join(lines, "\n    ")
}
