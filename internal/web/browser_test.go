package web

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium, for one test.
func browser(t testing.TB) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium here; make deps installs it")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// serveDemo serves v as the page of demoServer.
func serveDemo(t *testing.T, v view) string {
	t.Helper()
	server := httptest.NewServer(demoServer(v).Handler())
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// see waits until an expression is true on the page, whatever page that is by then. How long
// that takes is for the benchmark: what is not true after a minute never will be.
func see(ctx context.Context, t testing.TB, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		switch {
		case ok && err == nil:
			return
		case ctx.Err() != nil:
			t.Fatalf("this has not come true: %s", expression)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// run has the browser do what steps say.
func run(ctx context.Context, t testing.TB, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// A stage is a controller's page whose view, and whether it says anything, can be changed.
type stage struct {
	*Server
	url    string
	silent atomic.Bool
	view   atomic.Pointer[view]
}

// A muted connection is as one to a machine without power: what it has to say is lost.
type muted struct {
	net.Conn
	silent *atomic.Bool
}

func (m muted) Write(p []byte) (int, error) {
	if m.silent.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

func (m muted) Close() error {
	if m.silent.Load() {
		return nil // no FIN either; the test's end closes it
	}
	return m.Conn.Close()
}

type mutedListener struct {
	net.Listener
	silent *atomic.Bool
}

func (l mutedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return muted{conn, l.silent}, nil
}

// onStage starts the pages of the i-th controllers of the demonstration cloud.
func onStage(t *testing.T, names ...int) []*stage {
	t.Helper()
	var all []*stage
	var targets []Target
	for _, i := range names {
		st := &stage{Server: demoServer(view{})}
		st.Server.opt.Self = demoName(i)
		st.Server.opt.Controllers = func() []Target { return targets }
		listener := listen(t)
		targets = append(targets, Target{demoName(i), listener.Addr().String()})
		st.url = "http://" + listener.Addr().String() + "/"
		server := &http.Server{Handler: st.Handler()}
		go server.Serve(mutedListener{listener, &st.silent}) // ends with the listener
		t.Cleanup(func() { server.Close() })
		all = append(all, st)
	}
	a := demoAnswers(3)
	for i, name := range names {
		a[name].Address = targets[i].Addr
	}
	healthy := viewOf(a, demoQuiet())
	for _, st := range all {
		st.view.Store(&healthy)
		look := func(context.Context) view { return *st.view.Load() }
		st.views.load, st.live.look, st.views.age = look, look, 0
	}
	return all
}

// TestPageInBrowser proves what only a browser can: that a fault is shown without a reload,
// that what the reader has opened, and stands on, stays so, that nothing is refused by the
// page's own policy, and that nothing is wider than a phone.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	st := onStage(t, 0)[0]
	var refused atomic.Pointer[string]
	if err := chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*cdplog.EventEntryAdded); ok && e.Entry.Level == "error" {
			refused.Store(&e.Entry.Text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	run(ctx, t, chromedp.EmulateViewport(375, 700), chromedp.Navigate(st.url), chromedp.WaitVisible("body.live"))
	see(ctx, t, `document.title.startsWith("✓")`)
	run(ctx, t, chromedp.Click("#incidents summary"), chromedp.Focus("#controllers a"))
	lost := demoUnreachable()
	st.view.Store(&lost)
	see(ctx, t, `document.title.startsWith("▲") && document.querySelector("#map").textContent.includes("no answer")`)
	see(ctx, t, `document.querySelectorAll("#incidents li")[1].querySelector("details").open`)
	see(ctx, t, `document.activeElement.matches("#controllers a")`)
	see(ctx, t, `document.documentElement.scrollWidth <= 375`)
	if text := refused.Load(); text != nil {
		t.Errorf("the browser says: %s", *text)
	}
}

// TestSilence proves that a page whose controller loses power says so, and that the page of
// another one takes its place, which tells when the first is back.
func TestSilence(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	all := onStage(t, 0, 1, 2)
	all[1].silent.Store(true)
	run(ctx, t, chromedp.Navigate(all[0].url), chromedp.WaitVisible("body.live"))
	all[0].silent.Store(true)
	see(ctx, t, `document.body.classList.contains("stale")
		&& document.querySelector("#lost").textContent.includes("No word from cloudcontrol1003 since 10:42:07 UTC")
		&& document.querySelector("#lost").textContent.includes("Trying cloudcontrol1004")`)
	see(ctx, t, fmt.Sprintf(`location.href == %q && document.body.classList.contains("live")`, all[2].url))
	see(ctx, t, `document.querySelector("#came").textContent.includes("No word from cloudcontrol1003 since 10:42:07 UTC: this is the view of cloudcontrol1005.")`)
	all[0].silent.Store(false)
	see(ctx, t, `document.querySelector("#came-back").textContent == "cloudcontrol1003 answers again: go back"`)
	run(ctx, t, chromedp.Click("#came-back"))
	see(ctx, t, fmt.Sprintf(`location.href == %q && document.body.classList.contains("live")`, all[0].url))
}

// TestSilenceEnds proves that a page of which no other controller answers goes on when its
// own does again.
func TestSilenceEnds(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	st := onStage(t, 0)[0]
	run(ctx, t, chromedp.Navigate(st.url), chromedp.WaitVisible("body.live"))
	st.silent.Store(true)
	see(ctx, t, `document.body.classList.contains("stale") && document.querySelector("#lost-now").textContent == "Trying cloudcontrol1003 again…"`)
	st.silent.Store(false)
	see(ctx, t, `!document.body.classList.contains("stale") && document.querySelector("#lost").hidden`)
}
