package doctor

import (
	"fmt"
	"strings"
)

// ProtocolVRRP is what a Way calls IP protocol 112.
const ProtocolVRRP = "ip protocol 112"

// A Way is one by which two controllers talk, and how it fared from this one to the other.
type Way struct {
	What  string `json:"what"` // "tcp 9470", ProtocolVRRP
	Reach Reach  `json:"reach"`
}

// Meeting judges the ways from this controller to another, which listens ("doctor --listen")
// or has an agent. Refused is as good as open for a filter: the host itself said so.
func Meeting(f Facts, to string, ways []Way) []Finding {
	r := &report{}
	var tcp []string
	vrrp := false
	for _, w := range ways {
		switch {
		case w.Reach != Silent && w.Reach != NoRoute, w.What == ProtocolVRRP && len(f.Spec.Announced()) == len(f.Spec.VIPs):
		case w.What == ProtocolVRRP:
			vrrp = true
		default:
			tcp = append(tcp, strings.TrimPrefix(w.What, "tcp "))
		}
	}
	on := " there, and on each controller for all others"
	if len(tcp) > 0 {
		r.error(Finding{
			Code: CodePeerFiltered, Subject: "controller " + to, Text: "TCP from here does not come through to its ports " + strings.Join(tcp, " and "),
			Evidence: "connections are neither taken nor refused", Remedy: "open them" + on,
			Command: fmt.Sprintf("nft insert rule inet filter input ip saddr { %s } tcp dport { %s } accept", controllers(f), strings.Join(tcp, ", ")),
		})
	}
	if vrrp {
		r.error(Finding{
			Code: CodePeerFiltered, Subject: "controller " + to, Text: "IP protocol 112 (VRRP) does not come through, there or back", Evidence: "what was sent is not answered",
			Remedy: "let it pass" + on, Command: fmt.Sprintf("nft insert rule inet filter input ip saddr { %s } ip protocol 112 accept", controllers(f)),
		})
	}
	return r.findings
}
