package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/web"
)

// controlInterval is how often the agent looks whether its control socket has its name.
const controlInterval = time.Second

// controlSocket is where the agent is asked.
func controlSocket(runDir string) string { return filepath.Join(runDir, "agent.sock") }

// serveControl answers on the control socket until ctx ends. One whose name
// was taken away, with the run directory, is made anew; what was asked on it before
// is still answered.
func (a *Agent) serveControl(ctx context.Context, control *web.ControlServer, socket net.Listener) error {
	ticker := time.NewTicker(controlInterval)
	defer ticker.Stop()
	for {
		ended := make(chan error, 1)
		go func(l net.Listener) { ended <- control.Serve(ctx, l) }(socket)
		for {
			if _, err := os.Lstat(controlSocket(a.opt.RunDir)); errors.Is(err, os.ErrNotExist) && ctx.Err() == nil {
				break
			}
			select {
			case err := <-ended:
				return err
			case <-ticker.C:
			}
		}
		_ = socket.Close() // nobody can reach it
		<-ended            //nolint:errcheck // that it was closed
		if socket = a.controlAgain(ctx, ticker); socket == nil {
			return nil
		}
	}
}

// controlAgain makes the control socket anew, trying until it is there; nil when
// ctx ended. The directory is for HAProxy's supervisor to make.
func (a *Agent) controlAgain(ctx context.Context, ticker *time.Ticker) net.Listener {
	a.log.Warn("the control socket's name was taken away; making it anew", "socket", controlSocket(a.opt.RunDir))
	for {
		socket, err := web.ListenControl(controlSocket(a.opt.RunDir))
		if err == nil {
			a.setFinding("listen-control", nil)
			a.log.Info("the control socket is there again")
			return socket
		}
		a.setFinding("listen-control", &status.Finding{
			Severity: status.Warning, Code: status.CodeNotListening, Subject: "control socket",
			Text:   fmt.Sprintf("the control socket's name was taken away, and it cannot be made anew: %v", err),
			Remedy: "the agent tries again every second; the commands that ask it do not work until then",
		})
		if !tick.Next(ctx, ticker) {
			return nil
		}
	}
}

// controls is the agent as the control socket sees it.
type controls struct{ *Agent }

// Cloud gives the cloud as this controller finds it.
func (c controls) Cloud(ctx context.Context) cloud.Cloud { return c.web.Cloud(ctx) }

// Events gives the newest n events.
func (c controls) Events(n int) []status.Event { return c.journal.Last(n) }

// Journals gives the newest n events of each controller.
func (c controls) Journals(ctx context.Context, n int) []web.Journal { return c.web.Journals(ctx, n) }

// Follow gives the events from now on.
func (c controls) Follow() (<-chan status.Event, func()) { return c.journal.Follow() }

// by names who asks on the control socket.
func (c controls) by(ctx context.Context) string {
	return cmp.Or(web.Caller(ctx), "somebody") + " on " + c.opt.Controller
}

// Drain takes a controller, or services on it, out.
func (c controls) Drain(ctx context.Context, req web.DrainRequest) (web.DrainResult, error) {
	req.By = c.by(ctx)
	return c.drains.Drain(ctx, req)
}

// Undrain puts a controller, or services on it, back.
func (c controls) Undrain(ctx context.Context, req web.DrainRequest) (web.DrainResult, error) {
	req.By = c.by(ctx)
	return c.drains.Undrain(ctx, req)
}

// Move moves VIPs.
func (c controls) Move(ctx context.Context, req web.HandoverRequest) (web.HandoverResult, error) {
	req.By = c.by(ctx)
	return c.moves.Move(ctx, req)
}

// Reload reads the spec again.
func (c controls) Reload(ctx context.Context) (web.ReloadResult, error) {
	done, err := c.rollout.Reload(ctx, "asked for by "+c.by(ctx))
	return web.ReloadResult(done), err
}

// InForce gives the spec in force.
func (c controls) InForce(context.Context) (web.InForce, error) {
	is := c.rollout.InForce()
	return web.InForce{Controller: c.opt.Controller, Digest: is.Config.Digest, Loaded: is.Config.Loaded, Text: string(is.Text)}, nil
}

// Plan tells what bringing a spec into force would do.
func (c controls) Plan(ctx context.Context, req web.PlanRequest) (web.PlanResult, error) {
	planned, err := c.rollout.Plan(ctx, []byte(req.Text))
	return web.PlanResult(planned), err
}
