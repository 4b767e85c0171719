package status

// The codes of findings. Each is stable over releases; docs/json.md and docs/spec.md
// list them, with FindingCodes.
const (
	// Of a running cloud, made by the merging of all controllers' Snapshots (package cloud);
	// what an agent reports of these itself is left out there. The first three explain
	// others, and so lead.
	CodeIsolated              = "controller-isolated"
	CodeBadLink               = "controller-bad-link"
	CodeBlind                 = "controller-blind"
	CodeNoControllerAnswers   = "no-controller-answers"
	CodeControllerUnreachable = "controller-unreachable"
	CodeWrongController       = "wrong-controller"
	CodeAgentStalled          = "agent-stalled"
	CodeClockDiffers          = "clock-differs"
	CodeSpecRejected          = "spec-rejected"
	CodeSpecDiffers           = "spec-differs"
	CodeHAProxyNotRunning     = "haproxy-not-running"
	CodeVIPUnheld             = "vip-unheld"
	CodeVIPHeldTwice          = "vip-held-twice"
	CodeVIPNotPresent         = "vip-not-present"
	CodeServiceDown           = "service-down"
	CodeServiceUnknown        = "service-unknown"
	CodeServiceLastResort     = "service-last-resort"
	CodeServiceLate           = "service-late"
	CodeHostDown              = "host-down"
	CodeHostDisagreement      = "host-disagreement"
	CodeDrained               = "drained"
	CodeHandover              = "handover"
	CodeAdvertsRejected       = "adverts-rejected"
	CodeVersionsDiffer        = "versions-differ"
	CodeHashesDiffer          = "hashes-differ"
	CodeBGPSessionDown        = "bgp-session-down"
	CodeVIPsTogether          = "vips-together"

	// Of what an agent reports of itself.
	CodeDrainUnknown           = "drain-unknown"
	CodeDrainNotKept           = "drain-not-kept"
	CodePageCrowded            = "page-crowded"
	CodeHeadersTooLarge        = "headers-too-large"
	CodeRequestsRefused        = "requests-refused"
	CodeClientsLimited         = "clients-limited"
	CodeRawLines               = "raw-lines"
	CodeFileRefused            = "file-refused"
	CodeMaintenance            = "maintenance"
	CodeHAProxyReplaced        = "haproxy-replaced"
	CodeHAProxyLibraryReplaced = "haproxy-library-replaced"
	CodeHAProxyAsRoot          = "haproxy-as-root"
	CodeHAProxySocketLost      = "haproxy-socket-lost"
	CodeConntrackFull          = "conntrack-full"
	CodeAdvertsBlocked         = "adverts-blocked"
	CodeNotifyFails            = "notify-fails"
	CodeDetourBlocked          = "detour-blocked"
	CodeVIPMovesOften          = "vip-moves-often"
	CodeVIPConflict            = "vip-conflict"
	CodeForeignRouter          = "foreign-router"
	CodeNotInForce             = "not-in-force"
	CodeConfigRolledBack       = "config-rolled-back"
	CodeConfigNotApplied       = "config-not-applied"
	CodeUnknownController      = "unknown-controller"
	CodeLastGoodNotKept        = "last-good-not-kept"
	CodeDiskFull               = "disk-full"
	CodeOutOfFiles             = "out-of-files"
	CodeNotListening           = "not-listening"
	CodeKeyUnusable            = "key-unusable"
	CodeNotAuthenticated       = "not-authenticated"
	CodeRequestsUnproven       = "requests-unproven"

	// Of a certificate.
	CodeCertificateAlone       = "certificate-alone"
	CodeCertificateChain       = "certificate-chain"
	CodeCertificateExpired     = "certificate-expired"
	CodeCertificateExpires     = "certificate-expires"
	CodeCertificateFormat      = "certificate-format"
	CodeCertificateKey         = "certificate-key"
	CodeCertificateName        = "certificate-name"
	CodeCertificateNotLive     = "certificate-not-live"
	CodeCertificateNotYetValid = "certificate-not-yet-valid"
	CodeCertificateSelfSigned  = "certificate-self-signed"
	CodeCertificateSuperfluous = "certificate-superfluous"
	CodeCertificateUnreadable  = "certificate-unreadable"
	CodeCertificateUsage       = "certificate-usage"
	CodeCertificateWeak        = "certificate-weak"

	// Of a spec.
	CodeACMERedirect      = "acme-redirect"
	CodeAddressForm       = "address-form"
	CodeAffinityMode      = "affinity-mode"
	CodeBadAddress        = "bad-address"
	CodeBadDuration       = "bad-duration"
	CodeBadExpect         = "bad-expect"
	CodeBadHostname       = "bad-hostname"
	CodeBadInterface      = "bad-interface"
	CodeBadInterval       = "bad-interval"
	CodeBadLimit          = "bad-limit"
	CodeBadLog            = "bad-log"
	CodeBadAnnounce       = "bad-announce"
	CodeBadASN            = "bad-asn"
	CodeBadCommunity      = "bad-community"
	CodeBadName           = "bad-name"
	CodeBadPath           = "bad-path"
	CodeBadPeer           = "bad-peer"
	CodeBadWebhook        = "bad-webhook"
	CodeBadCommand        = "bad-command"
	CodeBadPort           = "bad-port"
	CodeBadRaw            = "bad-raw"
	CodeBadRouterID       = "bad-router-id"
	CodeBadSize           = "bad-size"
	CodeBadWeight         = "bad-weight"
	CodeCheckLayer        = "check-layer"
	CodeDuplicateAddress  = "duplicate-address"
	CodeDuplicateEndpoint = "duplicate-endpoint"
	CodeDuplicateHostname = "duplicate-hostname"
	CodeDuplicateKey      = "duplicate-key"
	CodeDuplicateName     = "duplicate-name"
	CodeDuplicatePort     = "duplicate-port"
	CodeDuplicateRouterID = "duplicate-router-id"
	CodeEmpty             = "empty"
	CodeEncoding          = "encoding"
	CodeExpectFailure     = "expect-failure"
	CodeHostTLS           = "host-tls"
	CodeInternal          = "internal"
	CodeLoopback          = "loopback"
	CodeMissingKey        = "missing-key"
	CodeNoAddress         = "no-address"
	CodeNoController      = "no-controller"
	CodeNoEndpoint        = "no-endpoint"
	CodeNoHost            = "no-host"
	CodeNoPeer            = "no-peer"
	CodeNoService         = "no-service"
	CodeNoVIP             = "no-vip"
	CodeNotFilledIn       = "not-filled-in"
	CodeOneController     = "one-controller"
	CodeOneHost           = "one-host"
	CodeOutsideNetwork    = "outside-network"
	CodeOwnAddress        = "own-address"
	CodePortClash         = "port-clash"
	CodePublicAddress     = "public-address"
	CodePublicRoute       = "public-route"
	CodeRedirectPort      = "redirect-port"
	CodeRedirectTarget    = "redirect-target"
	CodeSeveralDocuments  = "several-documents"
	CodeSyntax            = "syntax"
	CodeTooLarge          = "too-large"
	CodeTooMany           = "too-many"
	CodeTwoAddresses      = "two-addresses"
	CodeUnknownKey        = "unknown-key"
	CodeUnknownRelease    = "unknown-release"
	CodeUnknownService    = "unknown-service"
	CodeUnknownValue      = "unknown-value"
	CodeUnknownVIP        = "unknown-vip"
	CodeWrongType         = "wrong-type"

	// Of the catalog of Keystone, beside those that a spec has, too.
	CodeAmbiguous        = "ambiguous"
	CodeBadURL           = "bad-url"
	CodeDisabledEndpoint = "disabled-endpoint"
	CodeDisabledService  = "disabled-service"
	CodeLosesTLS         = "loses-tls"
	CodeNoAnswer         = "no-answer"
	CodeNoRegion         = "no-region"
	CodeNewPort          = "new-port"
	CodeNoTLS            = "no-tls"
	CodeNotFillable      = "not-fillable"
	CodeNotTheVIP        = "not-the-vip"
	CodeSeveralEndpoints = "several-endpoints"
	CodeSingleController = "single-controller"
	CodeUnknownRegion    = "unknown-region"

	// Of an endpoint listing, likewise.
	CodeBadCSV          = "bad-csv"
	CodeBadJSON         = "bad-json"
	CodeHTTPS           = "https"
	CodeNoEndpoints     = "no-endpoints"
	CodeNoHeadings      = "no-headings"
	CodeNoListing       = "no-listing"
	CodeNoServiceColumn = "no-service-column"
	CodeNoURLColumn     = "no-url-column"
	CodeNotEndpointList = "not-endpoint-list"
	CodeOddValue        = "odd-value"
	CodeOtherPath       = "other-path"
	CodeOtherPort       = "other-port"
	CodeOtherRegion     = "other-region"
	CodePortTaken       = "port-taken"
	CodeSamePort        = "same-port"
	CodeSameService     = "same-service"
	CodeSecondService   = "second-service"
	CodeSeveralHosts    = "several-hosts"
	CodeSharedWebPort   = "shared-web-port"
	CodeTemplatePort    = "template-port"
	CodeTwoEndpoints    = "two-endpoints"
	CodeUnreadableRow   = "unreadable-row"
	CodeURLCut          = "url-cut"
	CodeValueFormat     = "value-format"

	// Of DNS.
	CodeAlias           = "alias"
	CodeBelowAlias      = "below-alias"
	CodeDisagree        = "disagree"
	CodeHighTTL         = "high-ttl"
	CodeKeyRefused      = "key-refused"
	CodeLame            = "lame"
	CodeMissingAddress  = "missing-address"
	CodeNoName          = "no-name"
	CodeNoRoute         = "no-route"
	CodeNoServer        = "no-server"
	CodeNoSuchFamily    = "no-such-family"
	CodeNotServed       = "not-served"
	CodeOwnCloud        = "own-cloud"
	CodeResolverFails   = "resolver-fails"
	CodeResolverStale   = "resolver-stale"
	CodeResolverUnknown = "resolver-unknown"
	CodeSerial          = "serial"
	CodeTopLevelZone    = "top-level-zone"
	CodeTwoVIPs         = "two-vips"
	CodeUnreachable     = "unreachable"
	CodeUpdateRefused   = "update-refused"
	CodeWildcard        = "wildcard"
	CodeWrongAddress    = "wrong-address"
	CodeZoneNotFound    = "zone-not-found"
)

// A FindingCode is a kind of finding.
type FindingCode struct {
	Code string
	// Severity is how grave it is; empty where that depends on what is found.
	Severity Severity
	// Action is whether a person must act, of findings of a running cloud; empty of others. Of
	// an error it may be sooner; see ActionFor.
	Action Action
}

// FindingCodes lists the kinds of findings.
func FindingCodes() []FindingCode {
	var all []FindingCode
	act := actions()
	add := func(severity Severity, codes ...string) {
		for _, c := range codes {
			all = append(all, FindingCode{c, severity, act[c]})
		}
	}
	// Of a running cloud.
	add(Error, CodeIsolated, CodeNoControllerAnswers, CodeWrongController, CodeAgentStalled, CodeVIPUnheld, CodeVIPHeldTwice, CodeVIPNotPresent,
		CodeServiceDown, CodeServiceLastResort)
	add(Warning, CodeBadLink, CodeControllerUnreachable, CodeClockDiffers, CodeSpecRejected, CodeSpecDiffers, CodeServiceUnknown, CodeServiceLate,
		CodeHostDown, CodeHostDisagreement)
	add(Info, CodeDrained, CodeHandover, CodeAdvertsRejected, CodeVersionsDiffer, CodeVIPsTogether, CodeHashesDiffer)
	add("", CodeBlind, CodeHAProxyNotRunning)
	// Of what an agent reports of itself.
	add(Error, CodeNotInForce, CodeConfigRolledBack, CodeConfigNotApplied, CodeUnknownController, CodeOutOfFiles, CodeKeyUnusable,
		CodeVIPConflict, CodeForeignRouter)
	add(Warning, CodeBGPSessionDown, CodeFileRefused, CodeDrainUnknown, CodeDrainNotKept, CodePageCrowded, CodeHeadersTooLarge, CodeHAProxyAsRoot, CodeHAProxySocketLost,
		CodeConntrackFull, CodeAdvertsBlocked, CodeDetourBlocked, CodeLastGoodNotKept, CodeDiskFull, CodeNotListening, CodeNotifyFails, CodeRequestsUnproven)
	add(Info, CodeRequestsRefused, CodeClientsLimited, CodeRawLines, CodeMaintenance, CodeHAProxyReplaced, CodeHAProxyLibraryReplaced, CodeVIPMovesOften, CodeNotAuthenticated)
	// Of a certificate.
	add(Error, CodeCertificateNotLive)
	add(Warning, CodeCertificateExpires, CodeCertificateSuperfluous)
	add(Info, CodeCertificateAlone, CodeCertificateSelfSigned)
	add("", CodeCertificateChain, CodeCertificateExpired, CodeCertificateFormat, CodeCertificateKey, CodeCertificateName,
		CodeCertificateNotYetValid, CodeCertificateUnreadable, CodeCertificateUsage, CodeCertificateWeak)
	// Of a spec.
	add(Error, CodeAffinityMode, CodeBadASN, CodeBadCommunity, CodeBadPeer, CodeBadAddress, CodeBadCommand, CodeBadWebhook, CodeBadDuration, CodeBadExpect, CodeBadHostname, CodeBadInterface, CodeBadInterval, CodeBadLimit,
		CodeBadLog, CodeBadName, CodeBadPath, CodeBadPort, CodeBadRaw, CodeBadRouterID, CodeBadSize, CodeBadWeight, CodeDuplicateAddress, CodeDuplicateKey,
		CodeDuplicateName, CodeDuplicatePort, CodeDuplicateRouterID, CodeEmpty, CodeEncoding, CodeInternal, CodeMissingKey, CodeNoAddress,
		CodeNoHost, CodeNoPeer, CodeNotFilledIn, CodeOwnAddress, CodePortClash, CodeRedirectPort, CodeRedirectTarget, CodeSeveralDocuments,
		CodeSyntax, CodeTooLarge, CodeUnknownKey, CodeUnknownRelease, CodeUnknownService, CodeUnknownValue, CodeUnknownVIP)
	add(Warning, CodeAddressForm, CodeExpectFailure, CodeLoopback, CodeOneController, CodeOneHost, CodePublicAddress,
		CodeTwoAddresses)
	add("", CodeACMERedirect, CodeBadAnnounce, CodeCheckLayer, CodeDuplicateEndpoint, CodeDuplicateHostname, CodeHostTLS, CodeNoController, CodeNoEndpoint, CodeNoService, CodeNoVIP,
		CodeOutsideNetwork, CodePublicRoute, CodeTooMany, CodeWrongType)
	// Of the catalog of Keystone.
	add(Error, CodeUnknownRegion)
	add(Warning, CodeAmbiguous, CodeDisabledService, CodeLosesTLS, CodeNoAnswer, CodeNoRegion, CodeNoTLS, CodeNotFillable, CodeNotTheVIP,
		CodeSeveralEndpoints, CodeSingleController)
	add(Info, CodeNewPort)
	add("", CodeBadURL, CodeDisabledEndpoint)
	// Of an endpoint listing.
	add(Error, CodeBadCSV, CodeBadJSON, CodeNoEndpoints, CodeNoListing, CodeNoServiceColumn, CodeNoURLColumn, CodeNotEndpointList,
		CodeValueFormat)
	add(Warning, CodeOddValue, CodeOtherPort, CodeOtherRegion, CodePortTaken, CodeSamePort, CodeSecondService,
		CodeTemplatePort, CodeTwoEndpoints, CodeUnreadableRow, CodeURLCut)
	add(Info, CodeOtherPath, CodeSameService)
	add("", CodeHTTPS, CodeNoHeadings, CodeSeveralHosts, CodeSharedWebPort)
	// Of DNS.
	add(Error, CodeBelowAlias, CodeKeyRefused, CodeMissingAddress, CodeNoName, CodeNoServer, CodeNoSuchFamily, CodeTwoVIPs, CodeUpdateRefused,
		CodeWrongAddress, CodeZoneNotFound)
	add(Warning, CodeDisagree, CodeLame, CodeNotServed, CodeOwnCloud, CodeResolverFails, CodeResolverStale, CodeResolverUnknown, CodeTopLevelZone,
		CodeUnreachable)
	add(Info, CodeHighTTL, CodeNoRoute, CodeSerial)
	add("", CodeAlias, CodeWildcard)
	return all
}
