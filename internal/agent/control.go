package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/web"
)

// controlInterval is how often the agent looks whether its control socket has its name.
const controlInterval = time.Second

// controlSocket is where the agent is asked.
func (a *Agent) controlSocket() string { return filepath.Join(a.opt.RunDir, "agent.sock") }

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
			if _, err := os.Lstat(a.controlSocket()); errors.Is(err, os.ErrNotExist) && ctx.Err() == nil {
				break
			}
			select {
			case err := <-ended:
				return err
			case <-ticker.C:
			}
		}
		_ = socket.Close() // nobody can reach it
		<-ended            // that it was closed
		if socket = a.controlAgain(ctx, ticker); socket == nil {
			return nil
		}
	}
}

// controlAgain makes the control socket anew, trying until it is there; nil when
// ctx ended. The directory is for HAProxy's supervisor to make.
func (a *Agent) controlAgain(ctx context.Context, ticker *time.Ticker) net.Listener {
	a.log.Warn("the control socket's name was taken away; making it anew", "socket", a.controlSocket())
	for {
		socket, err := web.ListenControl(a.controlSocket())
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
		if !ticked(ctx, ticker) {
			return nil
		}
	}
}
