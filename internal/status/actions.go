package status

import "slices"

// An Action says whether a person must act on a finding, and how soon.
type Action string

// The actions. What needs none heals by itself, or is only worth knowing.
const (
	ActNow  Action = "now"  // clients feel it, or nothing guards them any more: wake somebody
	ActSoon Action = "soon" // clients do not feel it, and it does not heal by itself: in working hours
	ActNone Action = "none"
)

// ActionOf gives the action that findings of a code ask for, in a running cloud; "" of codes that
// only findings of files, listings and names have.
func ActionOf(code string) Action { return actions()[code] }

// ActionFor gives the action that f itself asks for: of some codes an error is for now, and all else
// can wait.
func ActionFor(f Finding) Action {
	if f.Severity == Error && slices.Contains(graverAsErrors(), f.Code) {
		return ActNow
	}
	return ActionOf(f.Code)
}

// graverAsErrors are the codes of which an error is about what clients reach at the moment, and a
// warning about what they do not: a controller that holds no VIP, a certificate that was refused.
func graverAsErrors() []string {
	return []string{
		CodeBlind, CodeHAProxyNotRunning, CodeCertificateChain, CodeCertificateExpired, CodeCertificateFormat, CodeCertificateKey,
		CodeCertificateName, CodeCertificateNotYetValid, CodeCertificateUnreadable, CodeCertificateUsage, CodeCertificateWeak,
	}
}

func actions() map[string]Action {
	all := map[string]Action{}
	add := func(action Action, codes ...string) {
		for _, c := range codes {
			all[c] = action
		}
	}
	add(ActNow, CodeIsolated, CodeNoControllerAnswers, CodeVIPUnheld, CodeVIPHeldTwice, CodeVIPNotPresent, CodeServiceDown,
		CodeServiceLastResort, CodeVIPConflict, CodeConntrackFull, CodeOutOfFiles)
	add(ActSoon, CodeBadLink, CodeBlind, CodeControllerUnreachable, CodeWrongController, CodeAgentStalled, CodeClockDiffers,
		CodeSpecRejected, CodeSpecDiffers, CodeHAProxyNotRunning, CodeServiceLate, CodeHostDown, CodeHostDisagreement)
	add(ActSoon, CodeBGPSessionDown, CodeFileRefused, CodeDrainUnknown, CodeDrainNotKept, CodePageCrowded, CodeHeadersTooLarge, CodeHAProxyReplaced,
		CodeHAProxyLibraryReplaced, CodeHAProxyAsRoot, CodeHAProxySocketLost, CodeAdvertsBlocked, CodeNotifyFails,
		CodeDetourBlocked, CodeForeignRouter, CodeConfigRolledBack, CodeConfigNotApplied, CodeUnknownController,
		CodeLastGoodNotKept, CodeDiskFull, CodeNotListening, CodeKeyUnusable, CodeRequestsUnproven)
	add(ActSoon, CodeNotInForce, CodeCertificateChain, CodeCertificateExpired, CodeCertificateNotYetValid, CodeCertificateExpires, CodeCertificateFormat, CodeCertificateKey, CodeCertificateName,
		CodeCertificateNotLive, CodeCertificateSuperfluous, CodeCertificateUnreadable, CodeCertificateUsage, CodeCertificateWeak)
	add(ActNone, CodeServiceUnknown, CodeDrained, CodeHandover, CodeAdvertsRejected, CodeVersionsDiffer, CodeVIPMovesOften, CodeVIPsTogether, CodeHashesDiffer,
		CodeRequestsRefused, CodeClientsLimited, CodeRawLines, CodeMaintenance, CodeNotAuthenticated, CodeCertificateAlone, CodeCertificateSelfSigned)
	return all
}
