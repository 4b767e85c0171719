package drain

import (
	"context"
	"fmt"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/web"
)

const (
	// interval is how often it is seen to that drains end in time.
	interval = time.Second
	// Pauses after attempts to hand over the VIPs that a drained controller
	// holds for want of another, and that nobody took.
	firstOffer, lastOffer = 5 * time.Second, 5 * time.Minute
	// stepDownTime bounds the handover of VIPs that is part of a drain.
	stepDownTime = 20 * time.Second
)

// Load reads what is drained. What has had its time meanwhile is over.
func (d *Drains) Load() {
	if err := d.state.load(); err != nil {
		d.opt.Log.Error("it is not known what is drained here", "error", err)
	}
	d.expire()
	d.report()
}

// Watch ends drains in time, and has a drained controller hold no VIP that another
// one can, until ctx ends.
func (d *Drains) Watch(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var next time.Time
	pause := firstOffer
	for tick.Next(ctx, ticker) {
		d.expire()
		d.report()
		if d.exchanges.due(d.state.now(), d.opt.HAProxy()) {
			d.tell(ctx)
		}
		if !d.state.last() || !d.opt.Holds() {
			next, pause = time.Time{}, firstOffer
			continue
		}
		if time.Now().After(next) && d.offer(ctx) {
			next, pause = time.Now().Add(pause), min(2*pause, lastOffer)
		}
	}
}

// offer hands over the VIPs that this drained controller has had to hold. It reports
// whether that was in vain.
func (d *Drains) offer(ctx context.Context) bool {
	_, err := d.opt.HandOver(ctx, web.HandoverRequest{Cause: d.opt.Controller + " is drained"}, true)
	if err != nil {
		d.opt.Log.Info("a drained controller goes on holding a vip", "error", err)
	}
	return err != nil
}

func (d *Drains) expire() {
	if gone := d.state.expire(); len(gone) > 0 {
		d.over(gone, "its time was over", "")
	}
}

// over says that entries are, and lets this controller take VIPs as before.
func (d *Drains) over(entries []status.Drained, cause, by string) {
	for _, e := range entries {
		d.opt.Event(ended(d.opt.Controller, e, cause, by, d.state.now()))
	}
	d.exchanges.changed(d.state.now())
	d.opt.Settle()
}

// report writes what is not on disk yet, and says what is wrong with the
// file, both as findings and in words.
func (d *Drains) report() []string {
	var notes []string
	var unknown, unkept *status.Finding
	if err := d.state.unknown(); err != nil {
		unknown = &status.Finding{
			Severity: status.Warning, Code: status.CodeDrainUnknown, Subject: "controller " + d.opt.Controller,
			Text:   fmt.Sprintf("it is not known what is drained here, so every HAProxy leaves it as it is: %v", err),
			Remedy: fmt.Sprintf("say it anew: holdfast undrain %[1]s, or holdfast drain %[1]s", d.opt.Controller),
		}
	}
	if err := d.state.keepLater(); err != nil {
		unkept = &status.Finding{
			Severity: status.Warning, Code: status.CodeDrainNotKept, Subject: "controller " + d.opt.Controller,
			Text:   fmt.Sprintf("what is drained is in force, but not kept for the next start: %v", err),
			Remedy: "it is tried again every second",
		}
		notes = append(notes, unkept.Text)
	}
	d.opt.Report(status.CodeDrainUnknown, unknown)
	d.opt.Report(status.CodeDrainNotKept, unkept)
	return notes
}

// stepDown hands over the VIPs that this controller holds, and has it be the
// last to take one from then on. It gives what the operator ought to know.
func (d *Drains) stepDown(ctx context.Context, reason, by string) []string {
	cause := d.opt.Controller + " is drained"
	if reason != "" {
		cause += ": " + reason
	}
	// The drain stands, whether the one who asked for it still listens or not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepDownTime)
	defer cancel()
	notes, err := d.opt.HandOver(ctx, web.HandoverRequest{Cause: cause, By: by}, false)
	d.state.step()
	d.opt.Settle()
	if err != nil {
		notes = append(notes, err.Error())
	}
	return notes
}
