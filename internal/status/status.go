// Package status holds the words the product speaks: findings with their
// severity, and the snapshot of one agent from which the page, the API, the
// command line and the metrics are all made, so that they cannot disagree.
//
// It is vocabulary only: it measures nothing, decides nothing and does no I/O.
package status

import (
	"fmt"
	"slices"
	"time"
)

// Severity says how much a Finding matters.
type Severity string

// The severities, from the one that stops a command to the one that is only worth knowing.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// A Position is a place in a file. Line and Column count from 1; the zero
// Position is nowhere.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// IsZero reports whether p names no place.
func (p Position) IsZero() bool { return p == Position{} }

// String gives p as FILE:LINE:COL, leaving out what it does not have.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// A Finding is one thing that is wrong, or worth knowing, said for a person:
// what it is, where, and what to do about it.
type Finding struct {
	Severity Severity `json:"severity"`
	// Code names the kind of finding, stable over releases: "unknown-key".
	Code string `json:"code"`
	// Where is the place in a file, for findings of one.
	Where Position `json:"where,omitzero"`
	// Subject is what the finding is about, for those of a running cloud:
	// "service nova on cloudcontrol1004".
	Subject string `json:"subject,omitempty"`
	// Text says what is wrong; lower case, no period.
	Text string `json:"text"`
	// Remedy says what to do, or what to write instead; may be empty.
	Remedy string `json:"remedy,omitempty"`
	// Line is the text of the file's line that Where points into.
	Line string `json:"line,omitempty"`

	// What follows is only set of a running cloud.

	// Brief says what is wrong in a few words, for a sentence that names several: "cloudcontrol1004
	// lost". Since is when it began, as far as anybody knows.
	Brief string    `json:"brief,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Action is whether a person must act. Command is the first thing to do, or to look at, as a
	// line for a shell on any host that reaches the controllers; empty where there is none.
	Action  Action `json:"action,omitempty"`
	Command string `json:"command,omitempty"`
	// See is where the documentation tells more: "docs/troubleshooting.md#host-down".
	See string `json:"see,omitempty"`
}

// String gives f on one line: "FILE:LINE:COL: text; remedy", or with the
// subject in place of the position. A warning says so after the position.
func (f Finding) String() string {
	s := f.Text
	if f.Remedy != "" {
		s += "; " + f.Remedy
	}
	if f.Severity == Warning || f.Severity == Info {
		s = string(f.Severity) + ": " + s
	}
	switch {
	case !f.Where.IsZero():
		return f.Where.String() + ": " + s
	case f.Subject != "":
		return f.Subject + ": " + s
	}
	return s
}

// Worst gives the most severe severity among findings, "" for none.
func Worst(findings []Finding) Severity {
	worst := Severity("")
	for _, f := range findings {
		if f.Severity == Error {
			return Error
		}
		if worst != Warning {
			worst = f.Severity
		}
	}
	return worst
}

// Errors gives those of findings that are errors.
func Errors(findings []Finding) []Finding {
	var bad []Finding
	for _, f := range findings {
		if f.Severity == Error {
			bad = append(bad, f)
		}
	}
	return bad
}

// A Snapshot is all that one agent says of itself at one moment. Its JSON form
// is the contract of docs/json.md: fields are added, never renamed or removed.
type Snapshot struct {
	Schema     int       `json:"schema"` // always 1
	Time       time.Time `json:"time"`
	Version    string    `json:"version"`
	Cloud      string    `json:"cloud"`
	Controller string    `json:"controller"`
	PID        int       `json:"pid"`
	Started    time.Time `json:"started"`
	Config     Config    `json:"config"`
	HAProxy    HAProxy   `json:"haproxy"`
	VIPs       []VIP     `json:"vips"`
	Services   []Service `json:"services"`
	Findings   []Finding `json:"findings"`
	// Drains has what of this controller is taken out for maintenance.
	Drains []Drained `json:"drains,omitempty"`
	// Paths has how this controller's connections to other hosts fare.
	Paths []Path `json:"paths,omitempty"`
	// Clients has what clients got of this controller's HAProxy in the last minute, by
	// service and VIP; those without a request are left out.
	Clients []Client `json:"clients,omitempty"`
	// BGP has the sessions with routers; empty where nothing is announced to any.
	BGP []BGPSession `json:"bgp,omitempty"`
	// Authentication has what is done with the controllers' key; nil where there is none.
	Authentication *Authentication `json:"authentication,omitempty"`
}

// Drained is a controller, or one service on it, taken out for maintenance: it
// gets no new requests, and a controller as a whole holds no VIP that another
// one can.
type Drained struct {
	Service string    `json:"service,omitempty"` // empty for the whole controller
	Since   time.Time `json:"since"`
	// Until is when it ends by itself; unset for never.
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason,omitempty"` // in the operator's words
	By     string    `json:"by,omitempty"`     // who asked for it, and where
}

// Config tells which spec file an agent runs with.
type Config struct {
	File string `json:"file"`
	// Digest is the first 12 hex digits of the SHA-256 of the spec in use;
	// two controllers with different digests run different specs.
	Digest string    `json:"digest"`
	Loaded time.Time `json:"loaded"`
	// Rejected says why the file as it is now is not the spec in use, one
	// finding a line; empty when it is.
	Rejected []Finding `json:"rejected,omitempty"`
	// TrialUntil is until when the agent watches whether the spec in use takes
	// a service down, and would go back to the one before it; unset when that
	// is over.
	TrialUntil time.Time `json:"trial_until,omitzero"`
	// RawLines is how many lines of HAProxy's configuration the spec in use has as they are.
	RawLines int `json:"raw_lines,omitempty"`
}

// HAProxyState is the condition of the HAProxy process of a controller.
type HAProxyState string

// The states of HAProxy.
const (
	HAProxyStarting HAProxyState = "starting"
	HAProxyRunning  HAProxyState = "running"
	HAProxyHung     HAProxyState = "hung"   // the process lives, but does not answer
	HAProxyDown     HAProxyState = "down"   // no process; to be started again
	HAProxyFailed   HAProxyState = "failed" // cannot start; Reason says why
)

// HAProxy tells of the HAProxy of a controller.
type HAProxy struct {
	State    HAProxyState `json:"state"`
	Reason   string       `json:"reason,omitempty"`
	Version  string       `json:"version,omitempty"`
	PID      int          `json:"pid,omitempty"` // of the master
	Since    time.Time    `json:"since"`         // in this state
	Adopted  bool         `json:"adopted"`       // found running, not started by this agent
	Restarts int          `json:"restarts"`      // since the agent started
	Reloads  int          `json:"reloads"`
	// Connections is the number of open connections of clients.
	Connections int `json:"connections"`
}

// VIPState is a VRRP state (RFC 9568 section 6.4).
type VIPState string

// The VRRP states.
const (
	Initialize VIPState = "initialize"
	Backup     VIPState = "backup"
	Active     VIPState = "active"
)

// AnnouncedState is what a controller does with a VIP that is announced by BGP.
type AnnouncedState string

// The states of an announced VIP.
const (
	Withdrawn AnnouncedState = "withdrawn" // no router is told of it
	Resuming  AnnouncedState = "resuming"  // routers keep what an agent before this one told
	Announced AnnouncedState = "announced"
	Draining  AnnouncedState = "draining"  // routers are told to prefer other controllers
	Lingering AnnouncedState = "lingering" // the route is gone, the address not yet
)

// A BGPSession is how the session with one router fares.
type BGPSession struct {
	Peer string `json:"peer"` // its address
	ASN  uint32 `json:"asn"`
	// State is that of RFC 4271 section 8.2.2, in small letters: "active", "established".
	State       string    `json:"state"`
	Established bool      `json:"established"`
	Since       time.Time `json:"since,omitzero"` // when it was established, or ended
	Routes      int       `json:"routes"`         // that the router was told
	BFD         string    `json:"bfd,omitempty"`  // "up", "down"; empty: there is none
	Reason      string    `json:"reason,omitempty"`
}

// VIP tells of one virtual IP as one controller sees it.
type VIP struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"` // with prefix length
	Hostname  string   `json:"hostname"`
	Interface string   `json:"interface"`
	// Announce is "bgp" for a VIP that is announced by BGP, and empty for one of VRRP.
	// Announced is what becomes of the former; its State is Active where routers are told of it,
	// and Initialize elsewhere.
	Announce  string         `json:"announce,omitempty"`
	Announced AnnouncedState `json:"announced,omitempty"`
	State     VIPState       `json:"state"`
	// Since is when State began, Reason what made it begin.
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
	// Holder is the controller that holds the VIP as far as this one knows;
	// empty when it knows of none.
	Holder string `json:"holder,omitempty"`
	// Priority is this controller's own VRRP priority, 1 to 254.
	Priority int `json:"priority"`
	// Prefer has all controllers in the order in which they are to have the VIP, by the
	// spec that is in force here.
	Prefer []string `json:"prefer,omitempty"`
	// Present reports whether the kernel has the addresses at this moment.
	Present     bool   `json:"present"`
	Transitions uint64 `json:"transitions"`
	AdvertsSent uint64 `json:"adverts_sent"`
	AdvertsSeen uint64 `json:"adverts_seen"`
	// Rejected counts adverts that were dropped, by reason.
	Rejected map[string]uint64 `json:"rejected,omitempty"`
	// SendErrors counts VRRP packets that could not be sent, HeldUp how often the agent
	// was held up for so long that another controller may have taken over.
	SendErrors uint64 `json:"send_errors,omitempty"`
	HeldUp     uint64 `json:"held_up,omitempty"`
	// PutBack counts addresses that somebody else had removed.
	PutBack uint64 `json:"put_back,omitempty"`
	// Claims counts the frames (ARP, neighbour advertisements) in which another machine
	// said that an address of the VIP is its own.
	Claims uint64 `json:"claims,omitempty"`
	// Certificate is what clients of the VIP get to see; nil without TLS.
	Certificate *Certificate `json:"certificate,omitempty"`
	// MoreCertificates has its others, in the order of the spec, for clients that ask for
	// another name or cannot do with its kind of key.
	MoreCertificates []Certificate `json:"more_certificates,omitempty"`
	// Giving is set while this controller, which has handed the VIP over,
	// finishes the connections that it had.
	Giving *Giving `json:"giving,omitempty"`
	// Taking is set while this controller sends on to the one before it what
	// belongs to that one's connections.
	Taking *Taking `json:"taking,omitempty"`
}

// Giving tells of what is left at a controller that has handed a VIP over.
type Giving struct {
	To    string    `json:"to"` // the controller that took it
	Since time.Time `json:"since"`
	// Until is when the connections that are still open are cut.
	Until time.Time `json:"until"`
	// Connections is the number of those from other hosts that are open.
	Connections int `json:"connections"`
}

// Taking tells of what a controller that has taken a VIP does for the one before it.
type Taking struct {
	From  string    `json:"from"` // the controller that gave it
	Since time.Time `json:"since"`
	Until time.Time `json:"until"` // when that ends at the latest
	// Forwarded is the number of segments sent on.
	Forwarded uint64 `json:"forwarded"`
}

// Certificate tells of the TLS certificate of a VIP.
type Certificate struct {
	File      string    `json:"file"`  // that the spec names
	Names     []string  `json:"names"` // DNS names and addresses that it is for
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	// NotAfter is when it ends, or the first certificate of its chain.
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint"` // SHA-256 in lower case hex digits
	// Refused reports whether File has another one now, which is not used.
	Refused bool `json:"refused"`
}

// ServiceState is the condition of one service, or of one host of it.
type ServiceState string

// The states of a service or a host.
const (
	Up       ServiceState = "up"
	Degraded ServiceState = "degraded" // of a service: some hosts are not up
	Down     ServiceState = "down"
	Drain    ServiceState = "drain" // of a host: taken out on purpose
	Unknown  ServiceState = "unknown"
)

// CombineStates gives the state of a service from those of its hosts. It is Up
// when a host is up and none is down, however many are drained or still
// unknown, and Down when it has hosts but none that takes new requests.
func CombineStates(hosts []ServiceState) ServiceState {
	has := func(s ServiceState) bool { return slices.Contains(hosts, s) }
	switch {
	case has(Up) && has(Down):
		return Degraded
	case has(Up):
		return Up
	case has(Unknown) || len(hosts) == 0:
		return Unknown
	}
	return Down
}

// A Condition is what the evidence says of a host: what HAProxy's checks found,
// what it answers to clients, and how the others of its service do. A host of
// which nothing is known, or that is drained, has none.
type Condition string

// The conditions of a host.
const (
	Well    Condition = "well"
	Late    Condition = "late"    // answers, but over the time of its check: it stays in
	Hung    Condition = "hung"    // accepts, and nothing comes back while something waits
	Dead    Condition = "dead"    // refuses, resets, or cannot be reached
	Failing Condition = "failing" // answers its check, or its clients, with failures
)

// ServiceStates are the states that a service, or a host of it, is shown with.
func ServiceStates() []ServiceState { return []ServiceState{Up, Degraded, Down, Drain, Unknown} }

// Conditions gives all of them, the best first.
func Conditions() []Condition { return []Condition{Well, Late, Failing, Hung, Dead} }

// Service tells of one service as the HAProxy of one controller sees it.
type Service struct {
	Name  string       `json:"name"`
	Type  string       `json:"type"`
	Port  int          `json:"port"`
	State ServiceState `json:"state"`
	// VIPs has the names of those that it listens on; empty: all.
	VIPs  []string `json:"vips,omitempty"`
	Hosts []Host   `json:"hosts"`
	// LastResort is set while no host passes its check and those that accept a
	// connection serve all the same.
	LastResort bool `json:"last_resort,omitempty"`
}

// On reports whether s listens on the VIP of that name.
func (s Service) On(vip string) bool { return len(s.VIPs) == 0 || slices.Contains(s.VIPs, vip) }

// HeldBy reports whether a controller with these VIPs holds one that s listens on: whether
// clients reach s by its HAProxy.
func (s Service) HeldBy(vips []VIP) bool {
	return slices.ContainsFunc(vips, func(v VIP) bool { return v.State == Active && s.On(v.Name) })
}

// Host tells of one host of a service.
type Host struct {
	Name    string       `json:"name"`
	Address string       `json:"address"` // address:port
	State   ServiceState `json:"state"`
	Since   time.Time    `json:"since"`
	// Check is the last check's result in words, with the path and the code
	// it saw: "GET /healthcheck answered 503, want 200".
	Check string `json:"check,omitempty"`
	// Condition is what the evidence says of it, Evidence the words for that.
	Condition Condition `json:"condition,omitempty"`
	Evidence  string    `json:"evidence,omitempty"`
	// ConditionSince is when it came into that.
	ConditionSince time.Time `json:"condition_since,omitzero"`
	// Sessions is the number of requests or connections it has at the moment.
	Sessions int `json:"sessions"`
	Weight   int `json:"weight"`
}

// An Event is one line of the journal: a transition, its cause, and how long it took.
type Event struct {
	Time       time.Time `json:"time"`
	Controller string    `json:"controller"`
	// Seq counts the events of a controller, from 1; its order holds whatever its clock
	// does. 0: it was written by an agent that did not count.
	Seq uint64 `json:"seq,omitempty"`
	// ClockAhead is how far the controller's clock was ahead of the middle one of all
	// controllers, as far as their agents knew; in JSON, nanoseconds.
	ClockAhead time.Duration `json:"clock_ahead_ns,omitempty"`
	// Kind is stable over releases: "vip-active", "haproxy-died", "reload".
	Kind    string `json:"kind"`
	Subject string `json:"subject"` // "vip api", "haproxy", "service nova on ctl2"
	Text    string `json:"text"`
	Cause   string `json:"cause,omitempty"`
	// By is who asked for it, and where: "alice on ctl1". Empty where nobody did.
	By string `json:"by,omitempty"`
	// Unasked says of a handover that the agent moved the VIP by itself, as the holder
	// fared badly.
	Unasked bool `json:"unasked,omitempty"`
	// Took is how long the transition took, from its cause to its end; in
	// JSON, nanoseconds. Zero where it has no length.
	Took time.Duration `json:"took_ns,omitempty"`
	// Cost is what clients felt of what has happened, of an event of the kind "cost".
	Cost *Cost `json:"cost,omitempty"`
}

// When is e's time by the middle one of the controllers' clocks, so that events of
// several can be compared.
func (e Event) When() time.Time { return e.Time.Add(-e.ClockAhead) }

// Authentication is what a controller does with the key of the controllers.
type Authentication struct {
	Mode   string `json:"mode"` // as the spec has it
	Keys   []int  `json:"keys"` // their ids, in the order of the file
	Active int    `json:"active"`
}
