package haproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A section is a part of a configuration: a line that begins at the margin,
// and those below it, without comments.
type section struct {
	head    string
	lines   []string // but for servers, and what names each of them: see countsTries
	servers []server
}

// A server is a server line of a backend, with what "default-server" lines add
// to it.
type server struct {
	backend, name string
	at            netip.AddrPort
	settings      []setting // of its line
	defaults      []setting // of "default-server" lines, before its own
}

// A setting is one keyword of a server line and its value; empty for none.
type setting struct{ name, value string }

// sections reads cfg, made by Render. An error says which line is none of Render's.
func sections(cfg []byte) ([]section, error) {
	var all []section
	var common, own []setting
	for line := range strings.Lines(string(cfg)) {
		text := strings.TrimSpace(line)
		switch {
		case text == "" || text[0] == '#':
			continue
		case line[0] != ' ' && line[0] != '\t':
			all = append(all, section{head: text})
			own = nil
			if text == "defaults" {
				common = nil
			}
			continue
		case len(all) == 0:
			return nil, fmt.Errorf("%q is in no section", excerpt([]byte(text)))
		}
		s := &all[len(all)-1]
		key, rest, _ := strings.Cut(text, " ")
		switch backend, in := strings.CutPrefix(s.head, "backend "); {
		case key == "server" && in:
			one, err := readServer(backend, rest)
			if err != nil {
				return nil, err
			}
			one.defaults = append(append([]setting(nil), common...), own...)
			s.servers = append(s.servers, one)
			continue
		case key == "default-server":
			settings, err := readSettings(rest)
			if err != nil {
				return nil, err
			}
			if s.head == "defaults" {
				common = append(common, settings...)
			} else {
				own = append(own, settings...)
			}
		}
		if !strings.HasPrefix(text, countsTries) {
			s.lines = append(s.lines, text)
		}
	}
	return all, nil
}

// readServer reads a server line of backend, without its first word.
func readServer(backend, line string) (server, error) {
	name, rest, _ := strings.Cut(line, " ")
	address, rest, _ := strings.Cut(rest, " ")
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return server{}, fmt.Errorf("server %s of %s: %w", name, backend, err)
	}
	settings, err := readSettings(rest)
	if err != nil {
		return server{}, fmt.Errorf("server %s of %s: %w", name, backend, err)
	}
	return server{backend: backend, name: name, at: at, settings: settings}, nil
}

// readSettings reads the keywords of a server or default-server line.
func readSettings(line string) ([]setting, error) {
	words, ok := splitWords(line)
	if !ok {
		return nil, fmt.Errorf("%q: not understood", excerpt([]byte(line)))
	}
	var settings []setting
	for i := 0; i < len(words); i++ {
		k := keywordOf(words[i])
		if !k.known || k.value && i+1 == len(words) {
			return nil, fmt.Errorf("%q: not understood", words[i])
		}
		one := setting{name: words[i]}
		if k.value {
			i++
			one.value = words[i]
		}
		settings = append(settings, one)
	}
	return settings, nil
}

// A keyword tells of a keyword of a server line.
type keyword struct {
	known   bool // Render writes it
	value   bool // it has one
	runtime bool // "add server" takes it (HAProxy 2.6 and later)
}

// keywordOf tells of the keyword called name. TLS has "add server" too, but
// only where another server has loaded the same files before.
func keywordOf(name string) keyword {
	switch name {
	case "check", "agent-check":
		return keyword{known: true, runtime: true}
	case "inter", "fastinter", "downinter", "fall", "rise", "observe", "error-limit", "on-error", "on-marked-down",
		"slowstart", "weight", "maxconn", "id", "agent-addr", "agent-port", "agent-inter", "agent-send":
		return keyword{known: true, value: true, runtime: true}
	case "backup":
		return keyword{known: true, runtime: true}
	case "ssl", "no-check":
		return keyword{known: true}
	case "track", "cookie", "sni", "check-sni", "verify", "verifyhost", "ca-file":
		return keyword{known: true, value: true}
	}
	return keyword{}
}

// get gives the value that a keyword has for s, and whether it is there: the
// last one counts.
func (s server) get(name string) (string, bool) {
	for _, settings := range [][]setting{s.settings, s.defaults} {
		for _, x := range slices.Backward(settings) {
			if x.name == name {
				return x.value, true
			}
		}
	}
	return "", false
}

// number gives the value of a keyword that is a number, or what it is without.
func (s server) number(name string, without int) int {
	value, _ := s.get(name)
	if n, err := strconv.Atoi(value); err == nil {
		return n
	}
	return without
}

func (s server) id() int     { return s.number("id", 0) }
func (s server) weight() int { return s.number("weight", 1) } // manual 5.2: 1 unless said

// service gives the name of the service that s is a host of.
func (s server) service() string { return serviceOfBackend(s.backend) }

// host gives the name of the host that s is.
func (s server) host() string { return hostOfServer(s.name) }

// path names s as the runtime API does.
func (s server) path() string { return s.backend + "/" + s.name }

// serversOf gives the servers of all by their paths.
func serversOf(all []section) map[string]server {
	servers := make(map[string]server)
	for _, s := range all {
		for _, one := range s.servers {
			servers[one.path()] = one
		}
	}
	return servers
}
