package haproxy

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// EmptyState is a state file that says nothing. HAProxy warns of one that is
// missing or empty.
const EmptyState = "1\n"

// The columns of version 1 of the reply to "show servers state" (management
// guide 9.3). Others may follow.
const (
	stateBackend   = 1
	stateServer    = 3
	stateAddr      = 4
	statePort      = 18
	stateCheckPort = 21
	stateCheckAddr = 22
	stateAgentAddr = 23
	stateAgentPort = 24
)

// ServerStates makes the state file for cfg out of the reply to "show servers
// state". A state file overrides the ports and the agent's address that a
// configuration has, so a server that is not in cfg with the same address and
// port is left out, to begin afresh, and the rest keeps states only.
func ServerStates(reply, cfg []byte) ([]byte, error) {
	version, rows, ok := bytes.Cut(reply, []byte("\n"))
	if !ok || string(version) != "1" {
		return nil, fmt.Errorf("show servers state: version %q, want 1", excerpt(version))
	}
	if !bytes.HasSuffix(reply, []byte("\n")) {
		return nil, fmt.Errorf("show servers state: the reply is cut short")
	}
	servers := ServerAddresses(cfg)
	out := bytes.NewBufferString(EmptyState)
	for line := range strings.Lines(string(rows)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "#":
			out.WriteString(strings.Join(words, " ") + "\n")
		case len(words) <= statePort:
			return nil, fmt.Errorf("show servers state: %d columns in %q; the reply is cut short", len(words), excerpt([]byte(line)))
		case sameServer(words, servers):
			out.WriteString(strings.Join(statesOnly(words), " ") + "\n")
		}
	}
	return out.Bytes(), nil
}

func sameServer(words []string, servers map[string]netip.AddrPort) bool {
	at, ok := servers[words[stateBackend]+"/"+words[stateServer]]
	return ok && at.Addr().String() == words[stateAddr] && itoa(int(at.Port())) == words[statePort]
}

// statesOnly takes the addresses and ports out that cfg has to decide.
func statesOnly(words []string) []string {
	for i, none := range map[int]string{stateCheckPort: "0", stateCheckAddr: "-", stateAgentAddr: "-", stateAgentPort: "0"} {
		if i < len(words) {
			words[i] = none
		}
	}
	return words
}
