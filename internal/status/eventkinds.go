package status

// HandedOverBy is what the cause of a vip-active event begins with where the VIP came by a
// planned move; the name of the controller follows that gave it.
const HandedOverBy = "handed over by "

// The kinds of events. Each is stable over releases; docs/json.md lists them, with
// EventKinds. A finding that is journalled, as "disk-full", is so by its code.
const (
	EventAgentStarted         = "agent-started"
	EventAgentEnded           = "agent-ended"
	EventStartFailed          = "start-failed"
	EventStateMadeAnew        = "state-made-anew"
	EventEventsLost           = "events-lost"
	EventReload               = "reload"
	EventReloadRejected       = "reload-rejected"
	EventReloadRolledBack     = "reload-rolled-back"
	EventRollbackHelped       = "rollback-helped"
	EventRollbackNoHelp       = "rollback-no-help"
	EventTrialPassed          = "trial-passed"
	EventHAProxyStarting      = "haproxy-starting"
	EventHAProxyRunning       = "haproxy-running"
	EventHAProxyHung          = "haproxy-hung"
	EventHAProxyDown          = "haproxy-down"
	EventHAProxyFailed        = "haproxy-failed"
	EventHAProxyUpgraded      = "haproxy-upgraded"
	EventHAProxyUpgradeFailed = "haproxy-upgrade-failed"
	EventVIPInitialize        = "vip-initialize"
	EventVIPBackup            = "vip-backup"
	EventVIPActive            = "vip-active"
	EventVIPKept              = "vip-kept"
	EventVIPLeft              = "vip-left"
	EventHandover             = "handover"
	EventHandoverDone         = "handover-done"
	EventHandoverCut          = "handover-cut"
	EventHandoverEnded        = "handover-ended"
	EventHandoverFailed       = "handover-failed"
	EventHandoverMended       = "handover-mended"
	EventDrainBegun           = "drain-begun"
	EventDrainEnded           = "drain-ended"
	EventHostUp               = "host-up"
	EventHostDown             = "host-down"
	EventHostDrain            = "host-drain"
	EventHostUnknown          = "host-unknown"
	EventHostLate             = "host-late"
	EventHostInTime           = "host-in-time"
	EventHostTakenOut         = "host-taken-out"
	EventConnectionsCut       = "connections-cut"
	EventCertificateChanged   = "certificate-changed"
	EventCertificateRefused   = "certificate-refused"
	EventCost                 = "cost"
	EventBGPAnnounced         = "bgp-announced"
	EventBGPDraining          = "bgp-draining"
	EventBGPWithdrawn         = "bgp-withdrawn"
	EventBGPSessionUp         = "bgp-session-up"
	EventBGPSessionLost       = "bgp-session-lost"
)

// An EventKind is a kind of event, and what it says.
type EventKind struct{ Kind, Means string }

// EventKinds lists the kinds of events, but for the codes of findings.
func EventKinds() []EventKind {
	return []EventKind{
		{EventAgentStarted, "the agent has begun"},
		{EventAgentEnded, "the agent has ended; HAProxy goes on"},
		{EventStartFailed, "the first spec cannot be brought into force"},
		{EventStateMadeAnew, "the state directory was gone, and was made anew"},
		{EventEventsLost, "so many events were lost, as the disk did not take them"},
		{EventReload, "a spec has come into force"},
		{EventReloadRejected, "a spec was refused; what was in force stays so"},
		{EventReloadRolledBack, "a spec that took a service down was taken back"},
		{EventRollbackHelped, "that brought the service back"},
		{EventRollbackNoHelp, "that did not bring the service back: it was not the spec"},
		{EventTrialPassed, "the services have their hosts after a change"},
		{EventHAProxyStarting, "HAProxy is being started"},
		{EventHAProxyRunning, "HAProxy runs and answers"},
		{EventHAProxyHung, "HAProxy's process lives and does not answer"},
		{EventHAProxyDown, "HAProxy has ended"},
		{EventHAProxyFailed, "HAProxy cannot be started"},
		{EventHAProxyUpgraded, "another program of HAProxy is in use"},
		{EventHAProxyUpgradeFailed, "one that was installed could not be taken into use"},
		{EventVIPInitialize, "this controller cannot hold the VIP"},
		{EventVIPBackup, "another one is to hold the VIP"},
		{EventVIPActive, "this controller holds the VIP"},
		{EventVIPKept, "an agent that was told to end keeps the VIP, as nobody takes it"},
		{EventVIPLeft, "an agent that was told to end leaves the VIP to nobody"},
		{EventHandover, "the VIP was given to another controller"},
		{EventHandoverDone, "all connections of the move have ended"},
		{EventHandoverCut, "connections of the move were reset"},
		{EventHandoverEnded, "the taker has ended its part of the move"},
		{EventHandoverFailed, "the VIP stays: nobody took it"},
		{EventHandoverMended, "rules of the move were gone, and were put back"},
		{EventDrainBegun, "a controller, or a service on it, is out for maintenance"},
		{EventDrainEnded, "it is back"},
		{EventHostUp, "a host of a service is up"},
		{EventHostDown, "a host is down"},
		{EventHostDrain, "a host is drained"},
		{EventHostUnknown, "HAProxy does not say what becomes of the host"},
		{EventHostLate, "a host answers late, and stays in"},
		{EventHostInTime, "it does not any more"},
		{EventHostTakenOut, "the agent took a host out, by its judgement"},
		{EventConnectionsCut, "connections to a host were cut, so that their requests go elsewhere"},
		{EventCertificateChanged, "HAProxy has the new certificate"},
		{EventCertificateRefused, "a new certificate is not taken"},
		{EventCost, "what clients felt of a fault or a move"},
		{EventBGPAnnounced, "routers are told of the VIP"},
		{EventBGPDraining, "routers are told to prefer other controllers for it"},
		{EventBGPWithdrawn, "routers are not told of it any more"},
		{EventBGPSessionUp, "the session with a router is up"},
		{EventBGPSessionLost, "the session with a router is not up any more"},
	}
}
