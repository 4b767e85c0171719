package status

// The codes of the findings that the merging of all controllers' Snapshots makes
// (package cloud).
const (
	CodeNoController      = "no-controller-answers"
	CodeUnreachable       = "controller-unreachable"
	CodeWrongController   = "wrong-controller"
	CodeClockDiffers      = "clock-differs"
	CodeSpecDiffers       = "spec-differs"
	CodeSpecRejected      = "spec-rejected"
	CodeHAProxyNotRunning = "haproxy-not-running"
	CodeVIPUnheld         = "vip-unheld"
	CodeVIPHeldTwice      = "vip-held-twice"
	CodeVIPNotPresent     = "vip-not-present"
	CodeServiceDown       = "service-down"
	CodeServiceUnknown    = "service-unknown"
	CodeServiceLastResort = "service-last-resort"
	CodeServiceLate       = "service-late"
	CodeHostDown          = "host-down"
	CodeHostDisagreement  = "host-disagreement"
	CodeDrained           = "drained"
	CodeHandover          = "handover"
	CodeAdvertsRejected   = "adverts-rejected"
	CodeVersionsDiffer    = "versions-differ"
)

// CodeAgentStalled is reported by an agent's web server of the agent's own
// loop, and by the merging of an agent whose Snapshots are old.
const CodeAgentStalled = "agent-stalled"

// Codes of the findings that explain others, and so lead.
const (
	// CodeIsolated is reported by an agent that reaches no other controller.
	CodeIsolated = "controller-isolated"
	// CodeBlind is made by the merging of a controller whose HAProxy does not reach
	// what others do.
	CodeBlind = "controller-blind"
	// CodeBadLink is made by the merging of a controller from which connections
	// to most hosts get lost or take long, and from others do not.
	CodeBadLink = "controller-bad-link"
)
