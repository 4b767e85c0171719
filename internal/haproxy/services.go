package haproxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Services tells how the services of s are, by the rows of "show stat" that
// were read at now. Services and hosts are in the order of s; a host that has
// no row is Unknown.
func Services(s *spec.Spec, rows []output.Row, now time.Time) []status.Service {
	found := make(map[[2]string]*output.Row, len(rows))
	for i := range rows {
		if rows[i].Kind == output.KindServer {
			found[[2]string{rows[i].Proxy, rows[i].Name}] = &rows[i]
		}
	}
	out := make([]status.Service, 0, len(s.Services))
	for _, svc := range s.Services {
		one := status.Service{Name: svc.Name, Type: svc.Type, Port: svc.Port, VIPs: svc.VIPs}
		for _, h := range svc.Hosts {
			told := host(s, svc, h, found[[2]string{BackendName(svc), ServerName(h)}], now)
			told.Sessions = 0
			for _, name := range serversOfHost(svc, h) {
				if r := found[name]; r != nil {
					told.Sessions += r.Sessions
				}
			}
			last := found[[2]string{BackendName(svc), LastName(h)}]
			one.LastResort = one.LastResort || last != nil && hostState(last) == status.Up
			one.Hosts = append(one.Hosts, told)
		}
		one.State = serviceState(one.Hosts)
		if one.LastResort = one.LastResort && one.State == status.Down; one.LastResort {
			one.State = status.Degraded
		}
		out = append(out, one)
	}
	return out
}

// host tells of host h of svc by its row, nil for none.
func host(s *spec.Spec, svc spec.Service, h spec.Host, r *output.Row, now time.Time) status.Host {
	out := status.Host{
		Name: h.Name, Address: svc.At(h).String(),
		State: status.Unknown, Since: now,
	}
	if r == nil {
		out.Check = "HAProxy does not have it"
		return out
	}
	out.State = hostState(r)
	out.Since = now.Add(-r.Since)
	out.Check = CheckWords(s, svc, r)
	if strings.HasPrefix(r.Status, "MAINT") {
		out.Check = "not checked while it is taken out"
	}
	out.Sessions = r.Sessions
	out.Weight = r.Weight
	return out
}

// agentNoHealth is the status of an agent check that was answered without a
// word on health: of our agents, "drain" or "maint". HAProxy shows a server
// that is drained, and fails its health checks, as DOWN (2.6), which is no
// surprise where somebody works on it.
const agentNoHealth = "CHECKED"

// Wordless gives the backends with a server that is down, and whose row does not tell
// whether it is drained: its agent does not answer, or was asked before somebody
// drained it. Whom to ask instead is HAProxy's "show servers state", see MarkDrained.
func Wordless(rows []output.Row) []string {
	var backends []string
	for i := range rows {
		r := &rows[i]
		if r.Kind != output.KindServer || r.AgentStatus == "" || r.AgentStatus == agentNoHealth || !strings.HasPrefix(r.Status, "DOWN") {
			continue
		}
		if !slices.Contains(backends, r.Proxy) {
			backends = append(backends, r.Proxy)
		}
	}
	return backends
}

// MarkDrained notes in rows what states says was drained and not put back: HAProxy
// keeps that until the agent there answers otherwise, also over a reload and
// whatever becomes of our agents, and shows of a host that is powered off only
// that it is down.
func MarkDrained(rows []output.Row, states []ServerState) {
	drained := map[[2]string]bool{}
	for _, s := range states {
		drained[[2]string{s.Backend, s.Name}] = s.Admin&adminDrain != 0
	}
	for i := range rows {
		if r := &rows[i]; r.Kind == output.KindServer && drained[[2]string{r.Proxy, r.Name}] {
			r.Drained = true
		}
	}
}

// hostState gives the state of a server by its row.
func hostState(r *output.Row) status.ServiceState {
	word, _, _ := strings.Cut(r.Status, " ")
	word, _, _ = strings.Cut(word, "(")
	switch word {
	case "UP":
		if r.CheckStatus == "INI" || r.CheckStatus == "UNK" {
			return status.Unknown // up until its first check says otherwise
		}
		return status.Up
	case "DOWN":
		if r.AgentStatus == agentNoHealth || r.Drained {
			return status.Drain
		}
		return status.Down
	case "DRAIN", "NOLB", "MAINT":
		return status.Drain
	}
	return status.Unknown
}

// serviceState gives the state of a service by those of its hosts.
func serviceState(hosts []status.Host) status.ServiceState {
	states := make([]status.ServiceState, len(hosts))
	for i, h := range hosts {
		states[i] = h.State
	}
	return status.CombineStates(states)
}

// CheckWords tells in words what the last check of r, a host of svc, found:
// "GET /healthcheck answered 503, want 200", "connection refused".
func CheckWords(s *spec.Spec, svc spec.Service, r *output.Row) string {
	request := "connect"
	if svc.Check.Layer == 7 {
		request = checkMethod(svc) + " " + svc.Check.Path
	}
	switch r.CheckStatus {
	case "INI", "UNK", "":
		return "not checked yet"
	case "L4OK":
		return "accepts connections"
	case "L7OK", "L7OKC":
		return fmt.Sprintf("%s answered %d", request, r.CheckCode)
	case "L7STS":
		return fmt.Sprintf("%s answered %d, want %s", request, r.CheckCode, codes(svc.Check.Expect)) + elsewhere(svc, r.CheckCode)
	case "L7TOUT":
		return fmt.Sprintf("%s: no answer within %v", request, checkPatience*CheckTime(svc))
	case "L7RSP":
		return fmt.Sprintf("%s: the answer is not HTTP%s", request, because(r))
	case "L4TOUT":
		return fmt.Sprintf("no connection within %v", min(checkInterval(s), connectTimeout(svc)))
	case "L4CON":
		return refused(r)
	case "SOCKERR":
		return "HAProxy could not make the check" + because(r)
	}
	return strings.ToLower(r.CheckDesc) + because(r)
}

// elsewhere names the other usual paths of svc's check, where there is nothing at its own.
func elsewhere(svc spec.Service, code int) string {
	if code != 404 || len(svc.Check.Others) == 0 {
		return ""
	}
	return fmt.Sprintf(`; in other installations it is at %s, as "check: {path: %s}" says`, strings.Join(svc.Check.Others, " or "), svc.Check.Others[0])
}

// because gives what HAProxy adds to the status of a check.
func because(r *output.Row) string {
	if r.CheckText == "" || r.CheckText == r.CheckDesc {
		return ""
	}
	return ": " + strings.ToLower(r.CheckText)
}

// refused gives why a connection failed: HAProxy has the kernel's words for
// it, with its own beside them in some versions.
func refused(r *output.Row) string {
	text := strings.TrimPrefix(r.CheckText, "Layer4 connection problem, ")
	if text == "" || text == r.CheckDesc {
		return "connection failed"
	}
	return strings.ToLower(text)
}

// connectTimeout gives how long a check waits for a connection at most, beside
// its interval.
func connectTimeout(svc spec.Service) time.Duration {
	if svc.Timeout.Connect > 0 {
		return svc.Timeout.Connect
	}
	return defaultConnect
}
