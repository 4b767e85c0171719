package haproxy

import (
	"bytes"
	"fmt"
	"strings"

	"holdfast/internal/haproxy/output"
)

// EmptyState is a state file that says nothing. HAProxy warns of one that is
// missing or empty.
const EmptyState = "1\n"

// The columns of version 1 of the reply to "show servers state" (management
// guide 9.3). Others may follow.
const (
	stateBackend     = 1
	stateServer      = 3
	stateAddr        = 4
	stateWeight      = 7
	stateFirstWeight = 8
	statePort        = 18
	stateSRV         = 19
	stateSSL         = 20
	stateCheckPort   = 21
	stateCheckAddr   = 22
	stateAgentAddr   = 23
	stateAgentPort   = 24
)

// ServerStates makes the state file for c out of the reply to "show servers
// state". A state file overrides the ports, the agent's address, the weight and
// whether a host is spoken to in TLS that a configuration has, so a server that is
// not in c with the same address and port is left out, to begin afresh, and the
// rest keeps states only.
func ServerStates(reply []byte, c *Config) ([]byte, error) {
	version, rows, ok := bytes.Cut(reply, []byte("\n"))
	if !ok || string(version) != "1" {
		return nil, fmt.Errorf("show servers state: version %q, want 1", output.Excerpt(version))
	}
	if !bytes.HasSuffix(reply, []byte("\n")) {
		return nil, fmt.Errorf("show servers state: the reply is cut short")
	}
	servers := byPath(c.servers())
	out := bytes.NewBufferString(EmptyState)
	for line := range strings.Lines(string(rows)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "#":
			out.WriteString(strings.Join(words, " ") + "\n")
		case len(words) <= statePort:
			return nil, fmt.Errorf("show servers state: %d columns in %q; the reply is cut short", len(words), output.Excerpt([]byte(line)))
		default:
			s, ok := servers[words[stateBackend]+"/"+words[stateServer]]
			if ok && s.At.Addr().String() == words[stateAddr] && itoa(int(s.At.Port())) == words[statePort] {
				out.WriteString(strings.Join(statesOnly(words, s), " ") + "\n")
			}
		}
	}
	return out.Bytes(), nil
}

// statesOnly takes the addresses and ports out that the configuration has to
// decide, and puts in what the configuration has: the weight of s, both the one
// that counts and the one at the start, since HAProxy takes the first where the
// second is its configuration's, and whether s has TLS.
func statesOnly(words []string, s server) []string {
	words[stateWeight], words[stateFirstWeight] = itoa(s.weight()), itoa(s.weight())
	tls := "0"
	if _, ok := s.get("ssl"); ok {
		tls = "1"
	}
	for i, word := range map[int]string{
		stateSRV: "-", stateSSL: tls, stateCheckPort: "0", stateCheckAddr: "-", stateAgentAddr: "-", stateAgentPort: "0",
	} {
		if i < len(words) {
			words[i] = word
		}
	}
	return words
}
