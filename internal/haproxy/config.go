package haproxy

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Config is a configuration of HAProxy, as Render makes it. What a change of it
// takes is decided by it, and never by its text, which is for HAProxy alone. Nobody
// changes one that was made. As JSON it is kept beside its text: see ReadConfig.
type Config struct {
	Sections []Section `json:"sections"`

	text []byte
}

// The kinds of sections.
const (
	globalSection   = "global"
	defaultsSection = "defaults"
	frontendSection = "frontend"
	backendSection  = "backend"
)

// A Section is a line at the margin and those below it: first where it listens,
// last its servers. One without a kind is prose between others.
type Section struct {
	Kind    string       `json:"kind,omitempty"` // "global", "defaults", "frontend" or "backend"
	Name    string       `json:"name,omitempty"` // of a frontend or a backend
	Bind    *Bind        `json:"bind,omitempty"` // of a frontend
	Lines   []Line       `json:"lines,omitempty"`
	Servers []ServerLine `json:"servers,omitempty"` // of a backend
}

// A Bind is where a frontend listens.
type Bind struct {
	Address     netip.AddrPort `json:"address"`
	Certificate string         `json:"certificate,omitempty"` // a file; empty: no TLS
	More        []string       `json:"more,omitempty"`        // files of further certificates
	TLS13       bool           `json:"tls13,omitempty"`       // and no earlier TLS
	HTTP2       bool           `json:"http2,omitempty"`       // beside HTTP/1.1
}

// A Line is a directive or, where it begins with "#" or has nothing, prose.
type Line struct {
	Text string `json:"text,omitempty"` // quoted as HAProxy reads it
	// Settings are what a default-server line says of the servers of its section,
	// or of all sections after that of defaults. They follow the text.
	Settings []Setting `json:"settings,omitempty"`
	// Spec is the line of the spec that a raw line comes from; 0 of all others. It is
	// not kept: of a configuration that was read it is not known.
	Spec int `json:"-"`
}

// A ServerLine is a server of a backend.
type ServerLine struct {
	Name     string         `json:"name"`
	At       netip.AddrPort `json:"at"`
	Settings []Setting      `json:"settings"`
}

// A Setting is one keyword of a server and its value, as it is without quotes;
// empty for none.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// ReadConfig gives the configuration with that text, by its model: the JSON of a
// Config. A model that does not give this very text, as that of another one or of
// another release, or none, is not used; what is in it is then not known.
func ReadConfig(text, model []byte) *Config {
	var c Config
	if json.Unmarshal(model, &c) != nil || !bytes.Equal(c.render(), text) {
		c.Sections = nil
	}
	c.text = text
	return &c
}

// Known reports whether it is known what is in c, beside its text. In a nil one nothing is.
func (c *Config) Known() bool { return c != nil && len(c.Sections) > 0 }

// Bytes gives the text of c, which is not to be changed: nil of a nil one.
func (c *Config) Bytes() []byte {
	if c == nil {
		return nil
	}
	return c.text
}

// render makes the text.
func (c *Config) render() []byte {
	var b bytes.Buffer
	b.Grow(c.size())
	for i := range c.Sections {
		s := &c.Sections[i]
		if i > 0 {
			b.WriteByte('\n')
		}
		indent := ""
		if s.Kind != "" {
			indent = "    "
			b.WriteString(s.head() + "\n")
		}
		for _, line := range s.lines() {
			if line != "" {
				b.WriteString(indent)
				b.WriteString(line)
			}
			b.WriteByte('\n')
		}
		for _, one := range s.Servers {
			b.WriteString(indent)
			one.write(&b)
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// size gives about how long the text is, so that it is not copied again and again as it grows.
func (c *Config) size() int {
	n := 0
	for i := range c.Sections {
		for _, l := range c.Sections[i].Lines {
			n += len(l.Text) + 8
		}
		for _, one := range c.Sections[i].Servers {
			n += len(one.Name) + 32
			for _, x := range one.Settings {
				n += len(x.Name) + len(x.Value) + 4
			}
		}
	}
	return n + n/8
}

// head gives the line at the margin.
func (s *Section) head() string {
	if s.Name == "" {
		return s.Kind
	}
	return s.Kind + " " + s.Name
}

// lines gives the lines below the head, but for servers.
func (s *Section) lines() []string {
	lines := make([]string, 0, 1+len(s.Lines))
	if s.Bind != nil {
		lines = append(lines, s.Bind.text())
	}
	for _, l := range s.Lines {
		text := l.Text
		if len(l.Settings) > 0 {
			var b bytes.Buffer
			writeSettings(&b, l.Settings)
			text += b.String()
		}
		lines = append(lines, text)
	}
	return lines
}

func (b *Bind) text() string {
	words := []string{"bind", b.Address.String(), "transparent"}
	if b.Certificate != "" {
		words = append(words, "ssl", "crt", word(b.Certificate))
	}
	for _, file := range b.More {
		words = append(words, "crt", word(file))
	}
	if b.TLS13 {
		words = append(words, "ssl-min-ver", "TLSv1.3")
	}
	if b.HTTP2 {
		words = append(words, "alpn", "h2,http/1.1")
	}
	return strings.Join(words, " ")
}

func (s *ServerLine) write(b *bytes.Buffer) {
	b.WriteString("server ")
	b.WriteString(s.Name)
	b.WriteByte(' ')
	b.Write(s.At.AppendTo(b.AvailableBuffer()))
	writeSettings(b, s.Settings)
}

// writeSettings writes settings as they follow what they are of.
func writeSettings(b *bytes.Buffer, settings []Setting) {
	for _, s := range settings {
		b.WriteByte(' ')
		b.WriteString(s.Name)
		switch {
		case s.Value == "":
			continue
		case strings.HasSuffix(s.Value, "\n"): // a question to an agent
			b.WriteString(" " + strconv.Quote(s.Value))
		default:
			b.WriteByte(' ')
			b.WriteString(word(s.Value))
		}
	}
}

// isProse reports whether a line says nothing to HAProxy.
func isProse(line string) bool { return line == "" || line[0] == '#' }

// proper gives the sections of c that are more than prose; none where they are not known.
func (c *Config) proper() []*Section {
	if !c.Known() {
		return nil
	}
	var all []*Section
	for i := range c.Sections {
		if c.Sections[i].Kind != "" {
			all = append(all, &c.Sections[i])
		}
	}
	return all
}

// Binds gives the addresses that HAProxy listens on with c.
func (c *Config) Binds() []netip.AddrPort {
	var all []netip.AddrPort
	for _, s := range c.proper() {
		if s.Bind != nil {
			all = append(all, s.Bind.Address)
		}
	}
	return all
}

// H2Addresses gives the addresses on which HAProxy speaks HTTP/2 with c.
// Its clients leave an open connection when they get a GOAWAY, which HAProxy
// sends them in a reload only.
func (c *Config) H2Addresses() map[netip.Addr]bool {
	on := make(map[netip.Addr]bool)
	for _, s := range c.proper() {
		if s.Bind != nil && s.Bind.HTTP2 {
			on[s.Bind.Address.Addr()] = true
		}
	}
	return on
}

// HasClosingList reports whether c has the list of addresses to close: it has
// where there is an http frontend.
func (c *Config) HasClosingList() bool {
	return slices.ContainsFunc(c.proper(), func(s *Section) bool {
		return slices.ContainsFunc(s.Lines, func(l Line) bool { return strings.Contains(l.Text, "/"+ClosingList) })
	})
}

// WithStateFile gives the text of c with file as its server-state-file. "haproxy -c"
// loads the states, and warns of each server that was down: no fault of the
// configuration. Lines keep their numbers.
func (c *Config) WithStateFile(file string) []byte {
	const key = "\n    server-state-file "
	before, after, ok := bytes.Cut(c.text, []byte(key))
	if !ok {
		return c.text
	}
	_, rest, _ := bytes.Cut(after, []byte("\n"))
	return slices.Concat(before, []byte(key+word(file)+"\n"), rest)
}

// Line gives the n-th line of the text of c, from 1, without the space around it.
func (c *Config) Line(n int) string {
	for line := range strings.Lines(string(c.text)) {
		if n--; n == 0 {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// A server is a ServerLine with the backend that it is of, and what the
// default-server lines before it add.
type server struct {
	ServerLine
	backend  string
	defaults []Setting
}

// servers gives all servers of c.
func (c *Config) servers() []server {
	var all []server
	var common []Setting // of the section of defaults
	for _, s := range c.proper() {
		var own []Setting
		for _, l := range s.Lines {
			own = append(own, l.Settings...)
		}
		if s.Kind == defaultsSection {
			common = own
		}
		defaults := slices.Concat(common, own)
		for _, one := range s.Servers {
			all = append(all, server{one, s.Name, defaults})
		}
	}
	return all
}

// byPath gives servers by their paths.
func byPath(all []server) map[string]server {
	servers := make(map[string]server, len(all))
	for _, s := range all {
		servers[s.path()] = s
	}
	return servers
}

// get gives the value that a keyword has for s, and whether it is there: the
// last one counts.
func (s server) get(name string) (string, bool) {
	for _, settings := range [][]Setting{s.Settings, s.defaults} {
		for _, x := range slices.Backward(settings) {
			if x.Name == name {
				return x.Value, true
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
func (s server) host() string { return hostOfServer(s.Name) }

// path names s as the runtime API does.
func (s server) path() string { return s.backend + "/" + s.Name }
