package haproxy

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// A Bind is an address that a configuration listens on.
type Bind struct {
	Frontend string
	Address  netip.AddrPort
	Line     int // of the configuration, from 1
}

// Binds gives the addresses that cfg, made by Render, listens on.
func Binds(cfg []byte) []Bind {
	var binds []Bind
	forLines(cfg, func(n int, section []string, words []string) {
		if len(words) < 2 || words[0] != "bind" || len(section) < 2 {
			return
		}
		if at, err := netip.ParseAddrPort(words[1]); err == nil {
			binds = append(binds, Bind{Frontend: section[1], Address: at, Line: n})
		}
	})
	return binds
}

// H2Addresses gives the addresses on which cfg, made by Render, speaks HTTP/2.
// Its clients leave an open connection when they get a GOAWAY, which HAProxy
// sends them in a reload only.
func H2Addresses(cfg []byte) map[netip.Addr]bool {
	on := make(map[netip.Addr]bool)
	forLines(cfg, func(_ int, _, words []string) {
		i := slices.Index(words, "alpn")
		if words[0] != "bind" || i < 0 || i+1 == len(words) || !slices.Contains(strings.Split(words[i+1], ","), "h2") {
			return
		}
		if at, err := netip.ParseAddrPort(words[1]); err == nil {
			on[at.Addr()] = true
		}
	})
	return on
}

// HasClosingList reports whether cfg, made by Render, has the list of
// addresses to close: it has where there is an http frontend.
func HasClosingList(cfg []byte) bool { return bytes.Contains(cfg, []byte("/"+ClosingList)) }

// forLines calls f for each line of cfg that is in a section: with its number,
// the words of the section's own line, and its words. Quoting is not looked at.
func forLines(cfg []byte, f func(n int, section, words []string)) {
	var section []string
	n := 0
	for line := range strings.Lines(string(cfg)) {
		n++
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case line[0] != ' ' && line[0] != '\t':
			section = words
		default:
			f(n, section, words)
		}
	}
}

// WithStateFile gives cfg with file as its server-state-file. "haproxy -c"
// loads the states, and warns of each server that was down: no fault of the
// configuration. Lines keep their numbers.
func WithStateFile(cfg []byte, file string) []byte {
	const key = "\n    server-state-file "
	before, after, ok := bytes.Cut(cfg, []byte(key))
	if !ok {
		return cfg
	}
	_, rest, _ := bytes.Cut(after, []byte("\n"))
	return bytes.Join([][]byte{before, []byte(key + word(file) + "\n"), rest}, nil)
}

// Line gives the n-th line of cfg, from 1, without the space around it.
func Line(cfg []byte, n int) string {
	for line := range strings.Lines(string(cfg)) {
		if n--; n == 0 {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
