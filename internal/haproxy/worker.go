package haproxy

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/haproxy/output"
)

// A ServerState is one row of "show servers state" (management guide 9.3).
type ServerState struct {
	Backend, Name string
	ID            int
	Address       netip.AddrPort // not valid when it is no IP address
	Weight        int
	Admin         AdminState
	Check, Agent  CheckState
	AgentAddress  netip.Addr // not valid when there is none
}

// AdminState is how a server was set by hand, configuration or agent: the bits
// of srv_admin_state.
type AdminState int

// What of an AdminState is of interest here.
const (
	adminForcedMaint    AdminState = 0x01
	adminInheritedMaint AdminState = 0x02        // from the server that it tracks
	adminDrain          AdminState = 0x08 | 0x10 // by hand or by its agent; inherited
	adminMaint                     = adminForcedMaint | adminInheritedMaint | 0x04 | 0x20
)

// CheckState is what a health or agent check does: the bits of srv_check_state
// and srv_agent_state.
type CheckState int

const (
	checkInProgress CheckState = 0x01
	checkEnabled    CheckState = 0x04
	checkPaused     CheckState = 0x08
)

// Columns of version 1 of "show servers state" that state.go has no use for.
const (
	stateID         = 2
	stateAdmin      = 6
	stateCheckState = 13
	stateAgentState = 14
)

// ParseServerStates reads the reply to "show servers state".
func ParseServerStates(reply []byte) ([]ServerState, error) {
	version, rows, _ := bytes.Cut(reply, []byte("\n"))
	if string(version) != "1" {
		return nil, fmt.Errorf("show servers state: version %q, want 1", output.Excerpt(version))
	}
	if !bytes.HasSuffix(reply, []byte("\n")) {
		return nil, fmt.Errorf("show servers state: the reply is cut short")
	}
	var all []ServerState
	for line := range strings.Lines(string(rows)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		one, err := serverState(words)
		if err != nil {
			return nil, fmt.Errorf("show servers state: %w in %q", err, output.Excerpt([]byte(line)))
		}
		all = append(all, one)
	}
	return all, nil
}

func serverState(words []string) (ServerState, error) {
	if len(words) <= statePort {
		return ServerState{}, fmt.Errorf("%d columns", len(words))
	}
	s := ServerState{Backend: words[stateBackend], Name: words[stateServer]}
	var admin, check, agent, port int
	for column, to := range map[int]*int{
		stateID: &s.ID, stateWeight: &s.Weight, stateAdmin: &admin, stateCheckState: &check, stateAgentState: &agent, statePort: &port,
	} {
		n, err := strconv.ParseUint(words[column], 10, 31)
		if err != nil {
			return ServerState{}, fmt.Errorf("column %d is %q", column+1, words[column])
		}
		*to = int(n)
	}
	s.Admin, s.Check, s.Agent = AdminState(admin), CheckState(check), CheckState(agent)
	if a, err := netip.ParseAddr(words[stateAddr]); err == nil && port <= 65535 {
		s.Address = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	if len(words) > stateAgentAddr {
		if a, err := netip.ParseAddr(words[stateAgentAddr]); err == nil {
			s.AgentAddress = a.Unmap()
		}
	}
	return s, nil
}

// A Worker is what is known of the worker that serves.
type Worker struct {
	Version string // "2.6.12-1+deb12u4"
	Servers []ServerState
}

// Quiet reports whether no agent check of the server backend/name is under
// way: an answer that comes later could undo what is set by hand.
func (w Worker) Quiet(backend, name string) bool {
	i := slices.IndexFunc(w.Servers, func(s ServerState) bool { return s.Backend == backend && s.Name == name })
	return i < 0 || w.Servers[i].Agent&checkInProgress == 0
}

// Differs tells, in words, in what the servers of w are not those of c;
// empty when they are. Those in fresh, by "backend/server", must be
// in use beside that. A server that c does not have does no harm when it is
// in maintenance and no agent can take it out of that.
func (w Worker) Differs(c *Config, fresh ...string) string {
	want := byPath(c.servers())
	for _, s := range w.Servers {
		path := s.Backend + "/" + s.Name
		one, ok := want[path]
		if !ok && (s.Admin&adminForcedMaint == 0 || s.Agent&checkEnabled != 0) {
			return path + " is in use"
		}
		if !ok {
			continue
		}
		if why := s.differs(one, want, slices.Contains(fresh, path)); why != "" {
			return path + " " + why
		}
		delete(want, path)
	}
	if len(want) > 0 {
		return slices.Min(slices.Collect(maps.Keys(want))) + " is not there"
	}
	return ""
}

// differs tells in what s is not one, of the servers in want.
func (s ServerState) differs(one server, want map[string]server, fresh bool) string {
	agent, hasAgent := one.get("agent-addr")
	if track, ok := one.get("track"); ok {
		agent, hasAgent = want[track].get("agent-addr")
		hasAgent = hasAgent && s.AgentAddress.IsValid() // where it checks for itself
	}
	_, checks := one.get("check")
	switch {
	case s.ID != one.id():
		return fmt.Sprintf("has id %d, and not %d", s.ID, one.id())
	case s.Address != one.At:
		return fmt.Sprintf("is at %v, and not at %v", s.Address, one.At)
	case s.Weight != one.weight():
		return fmt.Sprintf("has weight %d, and not %d", s.Weight, one.weight())
	case hasAgent && s.AgentAddress.String() != agent:
		return fmt.Sprintf("asks the agent at %v, and not at %s", s.AgentAddress, agent)
	case fresh && s.Admin&adminMaint != 0:
		return "is in maintenance"
	case fresh && checks && s.Check&(checkEnabled|checkPaused) != checkEnabled:
		return "is not checked"
	}
	return ""
}
