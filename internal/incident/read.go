package incident

import (
	"slices"
	"strings"

	"holdfast/internal/status"
)

// Facts are what one event says of the cloud.
type facts struct {
	// host is where the trouble is, not who tells of it; "" for none.
	host    string
	vip     string
	service string
	// topic brings together what controllers do alike: a reload, a certificate.
	topic string
	// opens and closes name a condition that lasts, as its teller sees it.
	opens  string
	closes []string
	// line says that the event explains others, and is no incident by itself.
	line bool
	// planned says that somebody wanted it, fault that nobody did; neither, that it depends
	// on what comes with it.
	planned, fault bool
	// given says that a VIP was handed over; why, the one who gave it tells.
	given bool
}

// read gives what e says. holder is who held its VIP before it, "" where that is not known.
func read(e status.Event, holder string) facts {
	f := facts{host: e.Controller}
	if service, host, ok := status.OfHost(e.Subject); ok {
		f.service, f.host = service, host
	}
	if name, ok := strings.CutPrefix(e.Subject, "controller "); ok {
		f.host = name
	}
	if name, ok := strings.CutPrefix(e.Subject, "vip "); ok {
		f.vip = name
	}
	switch {
	case e.Cost != nil:
		f.line = true
		if e.Subject == "spec" || e.Subject == "key" {
			f.host, f.topic = "", e.Subject
		}
	case strings.HasPrefix(e.Kind, "host-"), e.Kind == status.EventConnectionsCut:
		f.ofHost(e)
	case strings.HasPrefix(e.Kind, "haproxy-"):
		f.ofHAProxy(e)
	case strings.HasPrefix(e.Kind, "vip-"):
		f.ofVIP(e, holder)
	case strings.HasPrefix(e.Kind, "bgp-") && e.Kind != status.CodeBGPSessionDown:
		f.ofBGP(e)
	case strings.HasPrefix(e.Kind, "handover"):
		f.planned, f.fault = !e.Unasked, e.Unasked
		f.line = !slices.Contains([]string{status.EventHandover, status.EventHandoverFailed, status.EventHandoverCut}, e.Kind)
	case strings.HasPrefix(e.Kind, "agent-"):
		f.ofAgent(e)
	case strings.HasPrefix(e.Kind, "drain-"):
		f.planned = true
		f.toggle(e.Kind == status.EventDrainBegun, "drain "+e.Subject)
	case strings.HasPrefix(e.Kind, "certificate-"):
		f.host, f.topic, f.planned = "", e.Subject, e.Kind == status.EventCertificateChanged
		f.fault = !f.planned
		f.toggle(f.fault, "certificate "+e.Subject)
	case e.Subject == "spec" || e.Subject == "key":
		f.ofSpec(e)
	case e.Kind == status.EventStartFailed, e.Kind == status.EventStateMadeAnew, e.Kind == status.EventEventsLost:
		f.fault = true
	default:
		f.ofFinding(e)
	}
	return f
}

// lostBy gives the holder that a cause of a VIP's move names, who was heard no more,
// resigned, or handed it over;
// "" for none. The journal may not reach back to when it took the VIP.
func lostBy(cause string) string {
	if name, ok := strings.CutSuffix(cause, " resigned"); ok {
		return name
	}
	if name, ok := strings.CutPrefix(cause, status.HandedOverBy); ok {
		return name
	}
	rest, ok := strings.CutPrefix(cause, "no advert from ")
	name, _, _ := strings.Cut(rest, " ")
	if !ok {
		return ""
	}
	return name
}

// toggle notes that a condition begins or, if not, ends. What ends makes no incident.
func (f *facts) toggle(begins bool, condition string) {
	if begins {
		f.opens = condition
		return
	}
	f.closes, f.line = []string{condition}, true
}

func (f *facts) ofHost(e status.Event) {
	switch e.Kind {
	case status.EventHostDown, status.EventHostTakenOut:
		f.opens, f.fault = "down "+e.Subject, true
		f.closes = []string{"late " + e.Subject} // it is worse now
	case status.EventHostUp, status.EventHostDrain:
		f.toggle(false, "down "+e.Subject)
		f.closes = append(f.closes, "late "+e.Subject)
	case status.EventHostLate, status.EventHostInTime:
		f.fault = e.Kind == status.EventHostLate
		f.toggle(f.fault, "late "+e.Subject)
	default:
		f.line = true
	}
}

func (f *facts) ofHAProxy(e status.Event) {
	switch e.Kind {
	case status.EventHAProxyHung, status.EventHAProxyDown, status.EventHAProxyFailed:
		f.opens, f.fault = "haproxy", true
	case status.EventHAProxyRunning:
		f.toggle(false, "haproxy")
	case status.EventHAProxyStarting:
		f.line = true
	case status.EventHAProxyUpgraded:
		f.planned = true
	}
}

func (f *facts) ofVIP(e status.Event, holder string) {
	switch e.Kind {
	case status.EventVIPActive:
		f.host = holder // who lost it is where the trouble is
		f.closes = []string{"left " + f.vip, "unfit " + f.vip}
		f.line = holder == "" || holder == e.Controller
		f.fault = !f.line && strings.HasPrefix(e.Cause, "no advert from ")
		f.given = !f.line && strings.HasPrefix(e.Cause, status.HandedOverBy)
	case status.EventVIPLeft:
		f.opens, f.fault = "left "+f.vip, true
	case status.EventVIPInitialize:
		f.opens = "unfit " + f.vip
	case status.EventVIPBackup:
		f.toggle(false, "unfit "+f.vip)
	}
}

// ofBGP reads what becomes of a VIP that is announced by BGP. That it is withdrawn is wanted
// or not, as what brought it about. Of a session that stays down there is a finding.
func (f *facts) ofBGP(e status.Event) {
	switch e.Kind {
	case status.EventBGPWithdrawn:
		f.opens = "withdrawn " + f.vip
	case status.EventBGPAnnounced:
		f.toggle(false, "withdrawn "+f.vip)
	default:
		f.line = true
	}
}

func (f *facts) ofAgent(e status.Event) {
	f.planned = e.Kind == status.EventAgentEnded
	f.toggle(e.Kind == status.EventAgentEnded, "agent")
}

func (f *facts) ofSpec(e status.Event) {
	f.host, f.topic = "", e.Subject
	switch e.Kind {
	case status.EventReload:
		f.planned, f.closes = true, []string{"spec"}
	case status.EventReloadRejected:
		f.opens, f.fault = "spec", true
	case status.EventReloadRolledBack:
		f.fault = true
	case status.EventTrialPassed, status.EventRollbackHelped, status.EventRollbackNoHelp:
		f.line = true
	}
}

// ofFinding reads an event of a finding, which begins with its text and ends with
// "over: " and that text.
func (f *facts) ofFinding(e status.Event) {
	text, over := strings.CutPrefix(e.Text, "over: ")
	f.fault = !over
	f.toggle(!over, e.Kind+" "+text)
}
