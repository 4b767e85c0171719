package cli

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// drainAgent is a local agent that drains, or refuses to, as it is told.
type drainAgent struct {
	liveAgent
	clouds func() cloud.Cloud
	asked  []web.DrainRequest
}

func (d *drainAgent) Cloud(context.Context) cloud.Cloud { return d.clouds() }

// serveDrains starts d, and gives its run directory.
func serveDrains(t *testing.T, d *drainAgent, answer func(web.DrainRequest) (web.DrainResult, error)) string {
	t.Helper()
	runDir := t.TempDir()
	socket, err := web.ListenControl(filepath.Join(runDir, "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := web.NewControlServer(d, slog.New(slog.DiscardHandler))
	for _, path := range []string{"/drain", "/undrain"} {
		web.Handle(server, path, func(_ context.Context, req web.DrainRequest) (web.DrainResult, error) {
			d.asked = append(d.asked, req)
			return answer(req)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return runDir
}

func TestDrainSays(t *testing.T) {
	since := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		args   string
		answer web.DrainResult
		err    error
		code   int
		out    string
		errs   string
	}{
		{
			args:   "drain ctl2 --reason x",
			answer: web.DrainResult{Controller: "ctl2", Changed: true, Drains: []status.Drained{{Since: since}}},
			out:    "ctl2 is drained: it gets no new requests; holdfast undrain ctl2 puts it back\n",
		},
		{
			args: "drain ctl2 --for 30m --service nova,glance --force",
			answer: web.DrainResult{Controller: "ctl2", Changed: true, Notes: []string{"by force: x"}, Drains: []status.Drained{
				{Since: since}, {Service: "nova", Since: since, Until: since.Add(30 * time.Minute)},
			}},
			out: "nova and glance are drained on ctl2: no new requests go there, until 2026-11-22 10:30:00 UTC; " +
				"holdfast undrain ctl2 --service nova --service glance puts it back\n",
			errs: "holdfast: by force: x\n",
		},
		{args: "drain ctl2", err: &web.ControlError{Status: http.StatusConflict, Message: "ctl2 is not drained: nova"}, code: 1, errs: "holdfast: ctl2 is not drained: nova\n"},
		{args: "drain ctl9", err: &web.ControlError{Status: http.StatusBadRequest, Message: "no controller"}, code: 2, errs: "holdfast: no controller\n"},
		{args: "undrain ctl2", answer: web.DrainResult{Controller: "ctl2", Changed: true}, out: "ctl2 takes requests again\n"},
		{args: "undrain ctl2", answer: web.DrainResult{Controller: "ctl2"}, out: "nothing is drained on ctl2\n"},
		{
			args:   "undrain ctl2 --service nova",
			answer: web.DrainResult{Controller: "ctl2", Drains: []status.Drained{{Service: "glance"}}},
			out:    "nova is not drained on ctl2\nglance is still drained there\n",
		},
		{args: "undrain ctl2 --service nova", answer: web.DrainResult{Controller: "ctl2", Changed: true}, out: "nova on ctl2 can take requests again\n"},
		{
			args:   "undrain ctl2 -o json",
			answer: web.DrainResult{Controller: "ctl2", Services: []string{}, Drains: []status.Drained{}, Notes: []string{}},
			out:    "{\n  \"controller\": \"ctl2\",\n  \"changed\": false,\n  \"services\": [],\n  \"drains\": [],\n  \"notes\": []\n}\n",
		},
	} {
		d := &drainAgent{}
		runDir := serveDrains(t, d, func(web.DrainRequest) (web.DrainResult, error) { return tt.answer, tt.err })
		code, out, errs := run(t.Context(), append(strings.Fields(tt.args), "--run-dir", runDir)...)
		if code != tt.code || out != tt.out || errs != tt.errs {
			t.Errorf("%s: exit code %d\n%q, %q\nwant %d\n%q, %q", tt.args, code, out, errs, tt.code, tt.out, tt.errs)
		}
		if len(d.asked) != 1 || d.asked[0].Controller != strings.Fields(tt.args)[1] {
			t.Errorf("%s: asked %+v", tt.args, d.asked)
		}
	}
}

// drainCloud is a cloud in which ctl2 is drained, as three HAProxys see it.
func drainCloud(change func(*cloud.Cloud)) cloud.Cloud {
	var c cloud.Cloud
	for _, name := range []string{"ctl1", "ctl2", "ctl3"} {
		s := &status.Snapshot{Controller: name, HAProxy: status.HAProxy{State: status.HAProxyRunning}, VIPs: []status.VIP{{Name: "api", State: status.Backup}}}
		for _, svc := range []string{"nova", "glance"} {
			s.Services = append(s.Services, status.Service{Name: svc, Hosts: []status.Host{
				{Name: "ctl1", Address: "10.0.0.1:1", State: status.Up, Sessions: 7}, {Name: "b", Address: "10.0.0.2:1", State: status.Drain},
			}})
		}
		c.Controllers = append(c.Controllers, cloud.Controller{Name: name, Address: "10.0.0." + name[3:] + ":9470", Reachable: true, Snapshot: s})
	}
	change(&c)
	return c
}

func TestDrainRunning(t *testing.T) {
	result := web.DrainResult{Controller: "ctl2", Services: []string{"nova", "glance"}}
	for _, tt := range []struct {
		name   string
		change func(*cloud.Cloud)
		want   string
	}{
		{"all is done", func(*cloud.Cloud) {}, ""},
		{"it holds the VIP", func(c *cloud.Cloud) { c.Controllers[1].Snapshot.VIPs[0].State = status.Active }, "it holds vip api"},
		{"another one does", func(c *cloud.Cloud) { c.Controllers[0].Snapshot.VIPs[0].State = status.Active }, ""},
		{"it finishes connections", func(c *cloud.Cloud) { c.Controllers[1].Snapshot.VIPs[0].Giving = &status.Giving{Connections: 3} }, "3 connections of vip api go on"},
		{"requests of one HAProxy", func(c *cloud.Cloud) { c.Controllers[2].Snapshot.Services[1].Hosts[1].Sessions = 2 }, "2 of glance from ctl3"},
		{"an HAProxy that has not heard", func(c *cloud.Cloud) { c.Controllers[0].Snapshot.Services[0].Hosts[1].State = status.Up }, "ctl1 still sends requests of nova"},
		{"a service that was stopped", func(c *cloud.Cloud) { c.Controllers[0].Snapshot.Services[0].Hosts[1].State = status.Down }, ""},
		{"one that does not answer", func(c *cloud.Cloud) { c.Controllers[0].Snapshot = nil }, ""},
		{"its HAProxy does not run", func(c *cloud.Cloud) {
			c.Controllers[1].Snapshot.HAProxy.State = status.HAProxyDown
			c.Controllers[1].Snapshot.Services[0].Hosts[1].State = status.Unknown
		}, ""},
		{"gone from the spec", func(c *cloud.Cloud) { c.Controllers = c.Controllers[:1] }, "controller ctl2 is not in the spec any more"},
	} {
		if got := strings.Join(running(drainCloud(tt.change), result, true), "; "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	holds := drainCloud(func(c *cloud.Cloud) { c.Controllers[1].Snapshot.VIPs[0].State = status.Active })
	if got := running(holds, result, false); got != nil {
		t.Errorf("a VIP is no matter of a service's: %q", got)
	}
	if got := strings.Join(stillOut(drainCloud(func(c *cloud.Cloud) { c.Controllers[0].Snapshot = nil }), result), "; "); got !=
		"ctl2 does not send requests of nova, glance yet; ctl3 does not send requests of nova, glance yet" {
		t.Errorf("an undrain that HAProxys have not heard of: %q", got)
	}
}

// TestDrainWaits proves that --wait takes two looks in a row, at different
// moments, that find nothing; and that Ctrl-C leaves the drain as it is.
func TestDrainWaits(t *testing.T) {
	looks := 0
	busy := func(*cloud.Cloud) {}
	d := &drainAgent{clouds: func() cloud.Cloud {
		looks++
		c := drainCloud(func(c *cloud.Cloud) {
			if looks == 2 {
				c.Controllers[0].Snapshot.Services[0].Hosts[1].Sessions = 1
			}
		})
		busy(&c)
		c.Time = time.Unix(int64(looks), 0)
		return c
	}}
	runDir := serveDrains(t, d, func(web.DrainRequest) (web.DrainResult, error) {
		return web.DrainResult{Controller: "ctl2", Changed: true, Services: []string{"nova"}}, nil
	})
	code, out, errs := run(t.Context(), "drain", "ctl2", "--wait", "--run-dir", runDir)
	if code != 0 || !strings.Contains(out, "\nnothing runs there any more, after ") || errs != "" || looks != 4 {
		t.Errorf("exit code %d after %d looks\n%s%s", code, looks, out, errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	busy = func(c *cloud.Cloud) {
		c.Controllers[1].Snapshot.VIPs[0].State = status.Active
		cancel()
	}
	code, _, errs = run(ctx, "drain", "ctl2", "--wait", "--run-dir", runDir)
	if want := "holdfast: not waited for any longer; ctl2 stays drained: holdfast undrain ctl2 puts it back\n"; code != 1 || errs != want {
		t.Errorf("exit code %d, %q, want %q", code, errs, want)
	}
}
