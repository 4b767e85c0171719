package haproxy

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"strings"
	"time"

	"holdfast/internal/spec"
)

// Timeouts, and the timing of health checks.
//
// HAProxy alone takes a host out at once that refuses, resets or answers wrong,
// and one that is silent after some seconds: interval + 2*patience*CheckTime. An
// agent that runs judges sooner and by more than checks, see package health: it
// takes a host out that hangs, and keeps one that is only late.
const (
	// defaultConnect leaves room for one segment that is lost: the kernel
	// sends it again after a second.
	defaultConnect = 1500 * time.Millisecond
	// usualClient is how long a client of HTTP may be silent.
	usualClient  = 60 * time.Second
	fastInterval = 50 * time.Millisecond
	downInterval = time.Second
	// checkPatience is how many times its own time a check waits for an answer.
	checkPatience = 5
	// Every controller's HAProxy checks every host, so the interval grows with
	// their number: a host answers three checks of a service in two seconds. A
	// check takes a worker, as a request does, and real requests tell more: one
	// that fails brings the next check forward, and the agent sees what stands
	// still. And it grows with the number of hosts and services: an HAProxy makes
	// at most 500 a second, which must not take the processor from the requests.
	intervalPerController = 2 * time.Second / 3
	intervalPerServer     = 2 * time.Millisecond
	minCheckInterval      = time.Second
	maxCheckInterval      = 10 * time.Second
	// acceptInterval is how often it is tried whether a host accepts at all.
	acceptInterval = 5 * time.Second
	// agentInterval is how often an agent is asked whether a host is drained, at the
	// most, and agentPerServer what each server adds to that: the agents tell each
	// other of drains at once, and this is for whom that does not reach. An HAProxy
	// asks some 30 times a second at 150 hosts of services.
	agentInterval  = 5 * time.Second
	agentPerServer = 66 * time.Millisecond
)

// defaultCheckTime is CheckTime where the spec says nothing.
const defaultCheckTime = 500 * time.Millisecond

// CheckTime gives how long a host of svc may take to answer its health check: one
// that takes longer is late.
func CheckTime(svc spec.Service) time.Duration {
	if svc.Timeout.Check > 0 {
		return svc.Timeout.Check
	}
	return defaultCheckTime
}

// retryAfter is what a client of a service without a host is told to wait, in seconds.
const retryAfter = 5

// Render gives the configuration of HAProxy for s. It is the same on every
// controller but for what l says, and has no warnings in "haproxy -c" once the
// state file that it names is there.
func Render(s *spec.Spec, l Local) *Config {
	w := &writer{}
	w.header(s, l)
	w.global(s, l)
	w.defaults(s, spec.HTTP, l)
	w.proxies(s, spec.HTTP, l)
	if hasMode(s, spec.TCP) {
		w.defaults(s, spec.TCP, l)
		w.proxies(s, spec.TCP, l)
	}
	c := &Config{Sections: w.sections}
	c.text = c.render()
	return c
}

// A writer collects the sections of a configuration, in their order.
type writer struct {
	sections []Section
	begun    bool // the banner of the tables was written
	hosts    int  // how many the service has whose backends are written
}

// section begins a section; a name that is "" is none.
func (w *writer) section(kind, name string) {
	w.sections = append(w.sections, Section{Kind: kind, Name: name})
}

// last gives the section that was begun last.
func (w *writer) last() *Section { return &w.sections[len(w.sections)-1] }

// line adds a line to the section.
func (w *writer) line(words ...string) {
	w.last().Lines = append(w.last().Lines, Line{Text: strings.Join(words, " ")})
}

// defaultServer says what is so of all servers, as pairs of a keyword and its value.
func (w *writer) defaultServer(pairs ...string) {
	w.last().Lines = append(w.last().Lines, Line{Text: "default-server", Settings: settings(pairs...)})
}

// settings makes settings of pairs of a keyword and its value; empty for none.
func settings(pairs ...string) []Setting {
	all := make([]Setting, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Setting{pairs[i], pairs[i+1]})
	}
	return all
}

// comment adds lines of prose to the section, and an empty line before them.
func (w *writer) comment(lines ...string) {
	w.line()
	w.prose(lines...)
}

// prose adds lines of prose to the section.
func (w *writer) prose(lines ...string) {
	for _, l := range lines {
		w.line("# " + l)
	}
}

// banner begins a part of the file with lines of prose.
func (w *writer) banner(lines ...string) {
	w.section("", "")
	w.prose(lines...)
}

func (w *writer) header(s *spec.Spec, l Local) {
	w.banner("HAProxy (2.4 or later) of cloud "+printable(s.Cloud)+", made by holdfast from its spec.",
		"Do not edit: the agent writes "+printable(path.Join(l.StateDir, ConfigFile))+" anew, and reloads",
		"HAProxy, when the spec changes. Apart from paths, user and maxconn it is the same on",
		"every controller, so that any of them sends a client to the same host.")
}

func (w *writer) global(s *spec.Spec, l Local) {
	maxconn := l.MaxConn
	if maxconn == 0 {
		maxconn = MaxConn(s, DefaultNoFile)
	}
	w.section(globalSection, "")
	w.prose("Runtime API, for the agent alone. expose-fd hands the listening sockets to the",
		"next worker, so that a reload refuses no connection.")
	w.line("stats socket", word(path.Join(l.RunDir, RuntimeSocket)), "mode 600 level admin expose-fd listeners")
	w.line("stats timeout 30s")
	w.line("stats maxconn 50")
	if l.User != "" {
		w.line("user", word(l.User))
	}
	if l.Group != "" {
		w.line("group", word(l.Group))
	}
	w.noChroot()
	w.comment("What fits the limit of open files: two for each connection, one for each listener",
		"and check. HAProxy does not start when it does not fit.")
	w.line("maxconn", itoa(maxconn))
	w.log(s.Log)
	w.tellAgent(s)
	w.comment("After a reload the old worker finishes what it has: an image's upload or a console may",
		"take hours. It is cut after a day, and the agent ends the oldest of more than 25, so that old workers",
		"cannot pile up. HAProxy's own bound counts reloads that failed, too, and cuts what served all the while.")
	w.line("hard-stop-after 24h")
	w.line("mworker-max-reloads", itoa(noMaxReloads))
	w.comment("The states of the servers outlive a reload or a crash: a host that was down gets no",
		"request before a check finds it up.")
	w.line("server-state-file", word(path.Join(l.RunDir, StateFile)))
	w.comment("Checks of many services of one host do not fall together.")
	w.line("spread-checks 5")
	w.headerLimit(s)
	w.uploads(s)
	w.tlsDefaults(s)
	w.rawAll(s.HAProxy.Global)
}

// noChroot says that workers stay where they are. Before 3.4 that is so where nothing
// is said, and the line would need a HAProxy that starts as root.
func (w *writer) noChroot() {
	w.comment("Workers see all files, as their user may: HAProxy looks for the log's socket anew for each line, and",
		"finds none in an empty directory. Said, since 3.4 warns of it and a later version may chroot by itself.")
	w.line(".if version_atleast(3.4)")
	w.line("chroot /")
	w.line(".endif")
}

// log says where the log goes. Where the level leaves requests out, those that failed
// are of level "err", with log-separate-errors, and so may still be in it.
func (w *writer) log(l spec.Log) {
	if l.Off {
		w.comment("Nothing goes to a log, as the spec says.")
		return
	}
	target, level := cmp.Or(l.Target, spec.DefaultLogTarget), logLevel(l)
	switch {
	case target == spec.DefaultLogTarget && level == spec.DefaultLogLevel:
		w.comment("Every request, and every server that goes up or down, to the system's log.")
	case level == spec.DefaultLogLevel || level == "debug":
		w.comment("Every request, and every server that goes up or down.")
	default:
		w.comment("What is at least as severe as the spec says: a request that failed is \"err\", any other",
			"\"info\"; a server that goes up is \"notice\", one that goes down \"alert\".")
	}
	w.line("log", word(target), "len 4096 local0", level)
}

// LogAddress gives where the agent takes HAProxy's log: the port is that of the agent's
// TCP listener for checks, of UDP. HAProxy never waits for who takes datagrams of UDP, and
// nobody's log but that is lost when he is slow: of a Unix socket, those that wait in one
// queue are counted against all that HAProxy sends to any.
func LogAddress(s *spec.Spec) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.Agent.CheckPort))
}

// logLength is how much of a line the agent gets, in octets: all but the end of a long URL.
const logLength = 512

// tellAgent has the agent on this host get the log, too: it counts what clients got.
func (w *writer) tellAgent(s *spec.Spec) {
	w.comment("Every request to the agent on this host, which counts them. Nobody waits for it: while no agent runs, or it",
		"is slow, lines are lost.")
	w.line("log", LogAddress(s).String(), "len", itoa(logLength), "format raw local0 info")
}

func logLevel(l spec.Log) string { return cmp.Or(l.Level, spec.DefaultLogLevel) }

// noMaxReloads is more reloads than there are: later versions of HAProxy have a
// bound of 50 where nothing is said.
const noMaxReloads = 1_000_000

const (
	// bufferSize is HAProxy's own size of a buffer, in octets (tune.bufsize), and
	// maxRewrite what it keeps of it for headers that are added (tune.maxrewrite).
	bufferSize, maxRewrite = 16 << 10, 1 << 10
	// headerRoom is what headers take in a buffer beside themselves: some octets each.
	headerRoom = 1 << 10
)

// HeaderLimit gives the most octets of headers that a request may have; about
// so: each header takes some octets more.
func HeaderLimit(s *spec.Spec) int {
	if s.HeaderLimit > 0 {
		return s.HeaderLimit
	}
	return bufferSize - maxRewrite
}

// headerLimit makes room for larger headers than HAProxy has room for by itself.
func (w *writer) headerLimit(s *spec.Spec) {
	if s.HeaderLimit == 0 {
		return
	}
	w.comment("Headers of a request, and of an answer, may have " + itoa(s.HeaderLimit>>10) + " KiB. Each request under way takes two such buffers.")
	w.line("tune.bufsize", itoa(s.HeaderLimit+maxRewrite+headerRoom))
}

// h2Window is how much a client may upload by HTTP/2, in octets, before it has to
// hear that it was read: what is under way at 1 Gbit/s and 50 ms of round trip.
const h2Window = 6 << 20

// h2Glitches is how much of a connection by HTTP/2 may be unusual before it is cut off
// (configuration manual 3.2): browsers and libraries have some in a day.
const h2Glitches = 1000

// uploads has uploads by HTTP/2 go as fast as others over a distance: by itself
// HAProxy lets 64 KiB of each be under way, 1.3 MB/s at 50 ms.
func (w *writer) uploads(s *spec.Spec) {
	if !hasTLS(s) || !hasMode(s, spec.HTTP) {
		return
	}
	w.comment("An upload by HTTP/2 may have as much under way as one by HTTP/1.1.")
	w.line(".if version_before(3.1)")
	w.line("tune.h2.initial-window-size", itoa(h2Window))
	w.line(".endif")
	w.line(".if version_atleast(3.1)")
	w.line("tune.h2.fe.rxbuf", itoa(h2Window))
	w.line(".endif")
	w.comment("Who plays with the protocol by HTTP/2, as with floods of resets, of settings or of headers that go on and",
		"on, is cut off. Earlier versions know some of that by themselves, and have nothing to set.")
	w.line(".if version_atleast(3.0)")
	w.line("tune.h2.fe.glitches-threshold", itoa(h2Glitches))
	w.line(".endif")
}

// writtenOut writes what some version of HAProxy does by itself and another does
// not, so that all do the same.
func (w *writer) writtenOut(mode spec.Mode) {
	w.comment("Said, since versions of HAProxy differ in what they do where nothing is said (3.3: balance, abortonclose).")
	w.line("balance roundrobin")
	if mode == spec.HTTP {
		w.line("no option abortonclose")
	}
}

// defaults writes the defaults section of all proxies of mode.
func (w *writer) defaults(s *spec.Spec, mode spec.Mode, l Local) {
	w.section(defaultsSection, "")
	w.line("mode", string(mode))
	w.line("log global")
	w.line("option", string(mode)+"log")
	if !s.Log.Off && logLevel(s.Log) != spec.DefaultLogLevel {
		w.line("option log-separate-errors")
	}
	w.line("option dontlognull")
	w.line("load-server-state-from-file global")
	if mode == spec.HTTP {
		w.httpTimeouts()
		w.httpConnections()
		w.httpErrors()
		w.errorPages(s.ErrorPages, l.StateDir)
	} else {
		w.tcpTimeouts()
	}
	w.writtenOut(mode)
	w.retries(mode)
	w.checkTiming(s, mode)
	if mode == spec.HTTP {
		w.rawAll(s.HAProxy.Defaults)
	}
}

func (w *writer) httpTimeouts() {
	w.comment("A lost packet is sent again after a second. What waits for a host that is gone does not wait",
		"that long: the agent ends it, so that the next host is tried.")
	w.line("timeout connect", duration(defaultConnect))
	w.line("timeout http-request 10s")
	w.line("timeout http-keep-alive 10s")
	w.line("timeout queue 10s")
	w.line("timeout client 60s") // usualClient
	w.line("timeout client-fin 10s")
	w.line("timeout server 60s")
	w.line("timeout server-fin 10s")
	w.line("timeout tunnel 1h")
}

func (w *writer) httpConnections() {
	w.comment("Connections are kept, to clients and, where a backend says so, to hosts.")
	w.line("option http-keep-alive")
	w.comment("On reload, tell the client of an idle connection to close it with its next answer",
		"(HAProxy 2.4.13 and later), and do not cut it while its next request is on the way.")
	w.line("option idle-close-on-response")
}

// httpErrors writes what a client gets when HAProxy has no answer to hand on:
// JSON in the form of Keystone's errors, which OpenStack clients show.
func (w *writer) httpErrors() {
	w.comment("HAProxy's own errors, in the form that OpenStack clients show to people. That of a service",
		"without a host, 503, is in its backend.")
	w.httpError(502, "Bad Gateway", "the host closed the connection before it answered; what it did is not known")
	w.httpError(504, "Gateway Timeout", "the host did not answer in time; what it did is not known")
}

// httpError writes what a client gets with code. A 503 says when to come again.
func (w *writer) httpError(code int, title, text string) {
	retry := ""
	if code == 503 {
		retry = " hdr Retry-After " + itoa(retryAfter)
	}
	w.line("http-error status", itoa(code), "content-type application/json string", word(errorBody(code, title, text))+retry)
}

// errorBody gives an error in the form of Keystone's.
func errorBody(code int, title, text string) string {
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable(s)) + `"`
	}
	return fmt.Sprintf(`{"error": {"code": %d, "title": %s, "message": %s}}`, code, quote(title), quote(text))
}

func (w *writer) tcpTimeouts() {
	w.comment("Pools of database connections idle for long; keep-alives find a dead end.")
	w.line("timeout connect", duration(defaultConnect))
	w.line("timeout queue 10s")
	w.line("timeout client 1h")
	w.line("timeout client-fin 10s")
	w.line("timeout server 1h")
	w.line("option clitcpka")
	w.line("option srvtcpka")
}

// retries says what HAProxy tries again. The response-timeout, 504 and
// junk-response keywords are left out: see the comment that is written.
func (w *writer) retries(mode spec.Mode) {
	w.comment("A host that refuses: on to another one at once.")
	w.line("retries 3")
	w.line("option redispatch 1")
	if mode != spec.HTTP {
		return
	}
	w.comment("A request that a host did not answer, or answered with its own failure, goes to another",
		"host; backends restrict this to requests that are safe to repeat, and to a tenth of all. Not on",
		"a timeout or 504: the call is long, not lost, and repeating it would double the load; what waits",
		"at a host that hangs is ended by the agent, and then counts as an empty-response.")
	w.line("retry-on conn-failure empty-response 500 502 503")
}

// checkTiming says how health checks go in proxies of mode.
func (w *writer) checkTiming(s *spec.Spec, mode spec.Mode) {
	inter, patience := checkInterval(s), checkPatience*defaultCheckTime
	w.comment("A host is down after two failed checks: at once when it refuses or answers wrong, and within",
		fmt.Sprintf("%v when it says nothing and no agent runs; an agent is quicker, and tells late from hung.", inter+2*patience+fastInterval),
		fmt.Sprintf("A check waits %d times as long as \"timeout: {check: ...}\" in the spec says. A host is up again", checkPatience),
		"after three good ones.",
		"A failed request only brings the next check forward, which then decides (on-error",
		"fastinter): one bad request, sent again and again, cannot take hosts out one by one.")
	observe := "layer7"
	if mode == spec.TCP {
		observe = "layer4"
	}
	w.line("timeout check", duration(patience))
	w.defaultServer("check", "", "inter", duration(inter), "fastinter", duration(fastInterval), "downinter", duration(min(inter, downInterval)),
		"fall", "2", "rise", "3", "observe", observe, "error-limit", "1", "on-error", "fastinter")
	w.comment("16 gives each host 256 points on the ring of the consistent hash: shares even to some",
		"per cent. The same for all that have no weight in the spec, so that only ids and health decide.")
	w.defaultServer("weight", itoa(spec.DefaultWeight))
}

// checkInterval gives the time between two checks of a host by one HAProxy.
func checkInterval(s *spec.Spec) time.Duration {
	byControllers := time.Duration(len(s.Controllers)) * intervalPerController
	return min(max(byControllers, byServers(s), minCheckInterval), maxCheckInterval).Round(time.Millisecond)
}

// agentCheckInterval gives the time between two agent checks of a host.
func agentCheckInterval(s *spec.Spec) time.Duration {
	return min(max(byServers(s)/intervalPerServer*agentPerServer, agentInterval), maxCheckInterval)
}

// byServers gives an interval that keeps the number of checks in bounds: the
// same for some hosts more or less, so that one can come without a reload.
func byServers(s *spec.Spec) time.Duration {
	const step = 25
	n := 0
	for _, svc := range s.Services {
		n += len(svc.Hosts)
	}
	return time.Duration((n+step-1)/step*step) * intervalPerServer
}

func hasMode(s *spec.Spec, mode spec.Mode) bool {
	for _, svc := range s.Services {
		if modeOf(svc) == mode {
			return true
		}
	}
	return false
}

// modeOf gives the mode of svc; the zero value is HTTP.
func modeOf(svc spec.Service) spec.Mode {
	if svc.Mode == spec.TCP {
		return spec.TCP
	}
	return spec.HTTP
}
