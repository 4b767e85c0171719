package web

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"holdfast/internal/status"
)

// BenchmarkFaultIsShown is how long after an agent knows of a fault the page shows it in a
// browser, whose page is of the second controller: a service that fails there, a HAProxy
// that fails on another, and the holder losing power, whose VIP the second takes.
func BenchmarkFaultIsShown(b *testing.B) {
	holder, own := demoController(0, 3), demoController(1, 3)
	bad := func(s status.Snapshot) *status.Snapshot { return &s }
	ownDown := demoController(1, 3)
	ownDown.Services = slices.Clone(ownDown.Services)
	ownDown.HAProxy.State, ownDown.HAProxy.Reason = status.HAProxyHung, "no answer for 300ms"
	otherDown := demoController(0, 3)
	otherDown.HAProxy.State = status.HAProxyHung
	taken := demoController(1, 3)
	taken.VIPs = slices.Clone(taken.VIPs)
	taken.VIPs[0].State, taken.VIPs[0].Present, taken.VIPs[0].Holder = status.Active, true, taken.Controller
	for _, bb := range []struct {
		name       string
		own, other *status.Snapshot // with the fault; nil: the other says nothing any more
		shown      string
	}{
		{"here", bad(ownDown), &holder, "hung"},
		{"elsewhere", &own, bad(otherDown), "hung"},
		{"holder-lost", bad(taken), nil, "held by cloudcontrol1004"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var nowOwn, nowOther atomic.Pointer[status.Snapshot]
			nowOwn.Store(&own)
			nowOther.Store(&holder)
			other := peer(b, holder.Controller, func(w http.ResponseWriter, r *http.Request) {
				s := nowOther.Load()
				if s == nil {
					<-r.Context().Done()
					return
				}
				if r.URL.Path != "/status" {
					writeJSON(w, 200, eventsAnswer(s.Controller, nil))
					return
				}
				w.Header().Set(clockHeader, time.Now().Format(time.RFC3339Nano))
				writeJSON(w, 200, renewed(*s))
			})
			s := demoServer(view{})
			live := New(Options{
				Self: own.Controller, Log: s.opt.Log, Snapshot: func() status.Snapshot { return renewed(*nowOwn.Load()) },
				Events: func(int) []status.Event { return nil }, Controllers: func() []Target { return []Target{other, {own.Controller, "127.0.0.1:9"}} },
			})
			url := start(b, live)
			ctx := browser(b)
			run(ctx, b, chromedp.Navigate(url), chromedp.WaitVisible("body.live"))
			var took []float64
			for b.Loop() {
				nowOwn.Store(&own)
				nowOther.Store(&holder)
				see(ctx, b, fmt.Sprintf(`!document.querySelector("#map").textContent.replace(/\s+/g, " ").includes(%q)`, bb.shown))
				time.Sleep(2*time.Second + rand.N(liveInterval)) // until nothing is late, and at any moment
				seen := make(chan float64, 1)
				go func() { seen <- shownAt(ctx, b, bb.shown) }()
				time.Sleep(100 * time.Millisecond) // until it looks
				begun := float64(time.Now().UnixMicro()) / 1000
				nowOwn.Store(bb.own)
				nowOther.Store(bb.other)
				took = append(took, <-seen-begun)
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2], "ms-median")
			b.ReportMetric(took[len(took)-1], "ms-max")
		})
	}
}

// renewed gives s as of now.
func renewed(s status.Snapshot) status.Snapshot {
	s.Time = time.Now()
	return s
}

// shownAt waits until the map has a text, and gives when that was, in ms.
func shownAt(ctx context.Context, t testing.TB, text string) float64 {
	at, err := chromedp.Run(ctx, chromedp.Evaluate[float64](strings.ReplaceAll(`new Promise((done) => {
		const map = document.querySelector("#map");
		const look = () => map.textContent.replace(/\s+/g, " ").includes(TEXT) && (done(performance.timeOrigin + performance.now()), true);
		if (!look()) new MutationObserver((_, o) => look() && o.disconnect()).observe(map, {childList: true, subtree: true});
	})`, "TEXT", fmt.Sprintf("%q", text)), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Error(err)
	}
	return at
}
