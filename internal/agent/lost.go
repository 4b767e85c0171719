package agent

import (
	"context"
	"fmt"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/status"
)

// watchSockets tells when a socket of HAProxy's is lost. Its supervisor heals
// that by itself, and the VIP stays where it is.
func (a *Agent) watchSockets(ctx context.Context) {
	was := false
	for ctx.Err() == nil {
		changed := a.haproxy.Changes()
		found := lostFinding(a.haproxy.LostSocket())
		a.report(status.CodeHAProxySocketLost, found)
		a.setFinding(status.CodeHAProxySocketLost, found) // with what has become of it since
		if was && found == nil {
			a.moves.KeepAgain() // the file may have gone with the sockets
		}
		was = found != nil
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// lostFinding tells of a socket that is lost; nil for none.
func lostFinding(lost *process.LostSocket) *status.Finding {
	if lost == nil {
		return nil
	}
	f := &status.Finding{
		Severity: status.Warning, Code: status.CodeHAProxySocketLost, Subject: "haproxy",
		Text:   fmt.Sprintf("HAProxy serves, and its socket %s leads nowhere since %s: %s", lost.Path, lost.Since.Format(time.TimeOnly), lost.Why),
		Remedy: "the agent has HAProxy make it anew, by a reload; see what removed it",
	}
	if lost.Mute {
		f.Text = fmt.Sprintf("HAProxy serves, and has not answered on its socket %s since %s", lost.Path, lost.Since.Format(time.TimeOnly))
		f.Remedy = "see who has connections to it, with ss -xp; until it answers the states of the hosts are not known, and a new spec cannot be brought into force"
	}
	if lost.Trouble != "" {
		f.Text += "; healing it failed: " + lost.Trouble
		f.Remedy = "the agent tries again; put right what stands in its way, and see what removed it"
	}
	return f
}
