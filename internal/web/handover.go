package web

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// A HandoverRequest asks for a planned move of VIPs.
type HandoverRequest struct {
	VIP string `json:"vip,omitempty"` // empty for all
	To  string `json:"to,omitempty"`  // empty for the best controller there is
	// Cause is why, in words for the journal.
	Cause string `json:"cause,omitempty"`
	// By is who asks, and where; the agent that is asked on its socket sets it.
	By string `json:"by,omitempty"`
	// Force does it although it cuts connections that an earlier handover left
	// at a third controller, or To is drained, or reaches no host of a service
	// that the holder reaches.
	Force bool `json:"force,omitempty"`
	// Unasked says that no person asked for it, nor the end or the drain of the
	// holder: the holder itself, which reaches less than To. Only the agent sets it.
	Unasked bool `json:"-"`
}

// A HandoverResult tells of each VIP that was asked for.
type HandoverResult struct {
	Handovers []Handover `json:"handovers"`
}

// A Handover is how the planned move of one VIP went.
type Handover struct {
	VIP  string `json:"vip"`
	From string `json:"from"`
	To   string `json:"to"`
	// Took is how long it took until To was heard, in JSON in nanoseconds; 0
	// when To had the VIP already.
	Took time.Duration `json:"took_ns"`
	// Kept reports whether the open connections go on; Why says why not.
	Kept bool   `json:"kept"`
	Why  string `json:"why,omitempty"`
	// Connections is how many were open, from other hosts.
	Connections int `json:"connections"`
	// Warning is what one ought to know before the next one.
	Warning string `json:"warning,omitempty"`
}

// String says h in words.
func (h Handover) String() string {
	text := fmt.Sprintf("vip %s was handed over from %s to %s", h.VIP, h.From, h.To)
	switch {
	case h.From == h.To:
		return fmt.Sprintf("vip %s is held by %s already", h.VIP, h.To)
	case !h.Kept:
		return text + "; open connections were reset: " + h.Why
	case h.Connections == 0:
		return text + "; there was no open connection"
	case h.Connections == 1:
		return text + "; 1 open connection goes on"
	}
	return fmt.Sprintf("%s; %d open connections go on", text, h.Connections)
}

// Handover asks the agent to move VIPs, and waits until it is done.
func (c *Control) Handover(ctx context.Context, req HandoverRequest) (HandoverResult, error) {
	var result HandoverResult
	err := c.Do(ctx, http.MethodPost, "/handover", req, &result)
	return result, err
}
