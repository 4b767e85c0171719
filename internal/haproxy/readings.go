package haproxy

import (
	"fmt"
	"net/netip"
	"strings"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/health"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Readings gives what the rows of "show stat" say of every host of s that
// HAProxy has, for a health.Judge.
func Readings(s *spec.Spec, rows []output.Row) []health.Reading {
	found := make(map[[2]string]*output.Row, len(rows))
	for i := range rows {
		if rows[i].Kind == output.KindServer {
			found[[2]string{rows[i].Proxy, rows[i].Name}] = &rows[i]
		}
	}
	var readings []health.Reading
	for _, svc := range s.Services {
		for _, h := range svc.Hosts {
			main := found[[2]string{BackendName(svc), ServerName(h)}]
			if main == nil {
				continue
			}
			r := reading(s, svc, h, main)
			for _, name := range serversOfHost(svc, h) {
				if one := found[name]; one != nil {
					r.InFlight += one.Sessions
					for _, n := range one.Responses {
						r.Answers += n
					}
				}
			}
			readings = append(readings, r)
		}
	}
	return readings
}

// serversOfHost names, as backend and server, all that requests to host h of svc go through.
func serversOfHost(svc spec.Service, h spec.Host) [][2]string {
	name, last := ServerName(h), LastName(h)
	return [][2]string{
		{BackendName(svc), name},
		{OnceName(svc), name},
		{EvenName(svc), name},
		{BackendName(svc), last},
		{OnceName(svc), last},
	}
}

// reading reads the row with the checks of a host.
func reading(s *spec.Spec, svc spec.Service, h spec.Host, r *output.Row) health.Reading {
	state := hostState(r)
	return health.Reading{
		Key:     health.Key{Service: svc.Name, Host: h.Name},
		InUse:   state == status.Up || state == status.Unknown && strings.HasPrefix(r.Status, "UP"),
		Down:    state == status.Down,
		Falling: strings.HasPrefix(r.Status, "UP ") && strings.Contains(r.Status, "/"),
		Drained: state == status.Drain,

		Checking: r.CheckRunning, Check: checkResult(r.CheckStatus), CheckTook: r.CheckDuration,
		Words: CheckWords(s, svc, r), CheckTime: CheckTime(svc),
	}
}

// checkResult gives what a check found by its status (management guide 9.1,
// check_status).
func checkResult(word string) health.CheckResult {
	switch word {
	case "L4OK", "L6OK", "L7OK", "L7OKC":
		return health.Passed
	case "L6TOUT", "L7TOUT":
		return health.Silent
	case "L4TOUT":
		return health.Unreachable
	case "L4CON":
		return health.Refused
	case "L6RSP", "L7RSP", "L7STS":
		return health.Wrong
	}
	return health.NoCheck
}

// CheckedServers names, as "backend/server", the servers of a host of a service
// that have checks of their own: one, and another that was added without a reload.
func CheckedServers(rows []output.Row, service, host string) []string {
	var names []string
	for _, r := range rows {
		if r.Kind == output.KindServer && r.CheckStatus != "" && r.Name == proxyName(host) &&
			serviceOf(r) == proxyName(service) && !strings.HasSuffix(r.Proxy, acceptsSuffix) {
			names = append(names, r.Proxy+"/"+r.Name)
		}
	}
	return names
}

// CheckRequest gives the request of the health check of svc, as HAProxy sends
// it; nothing for a service whose check only connects.
func CheckRequest(s *spec.Spec, svc spec.Service) []byte {
	if svc.Check.Layer != 7 {
		return nil
	}
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: holdfast\r\nConnection: close\r\n\r\n",
		checkMethod(svc), svc.Check.Path, CheckHost(s))
}

// ClientRequest gives what a client sends to ask svc for its health at a place on a VIP, or,
// where that is asked of another port, not by HTTP, or at a path that clients do not reach,
// for anything.
func ClientRequest(svc spec.Service, at spec.Place) []byte {
	method, path := "GET", "/"
	switch {
	case svc.Check.Layer == 7 && svc.Check.Port == 0 && at.Reaches(svc.Check.Path):
		method, path = checkMethod(svc), svc.Check.Path
	case !at.Strip:
		path = at.Path + "/"
	}
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: holdfast\r\nConnection: close\r\n\r\n", method, at.ClientPath(path), at.Name)
}

// DrainCommands gives the runtime commands that have HAProxy take the hosts of services
// at an address as states say: "ready", "drain" or "maint", by the services' names. They are
// for each server that asks an agent; the others follow these.
func DrainCommands(s *spec.Spec, rows []output.Row, at netip.Addr, states map[string]string) []string {
	var commands []string
	for _, svc := range s.Services {
		state, told := states[svc.Name]
		for _, h := range svc.Hosts {
			if !told || h.Address != at {
				continue
			}
			for _, r := range rows {
				if r.Kind == output.KindServer && r.AgentStatus != "" && r.Name == ServerName(h) && serviceOf(r) == BackendName(svc) {
					commands = append(commands, "set server "+r.Proxy+"/"+r.Name+" state "+state)
				}
			}
		}
	}
	return commands
}
