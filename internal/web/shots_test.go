package web

import (
	"bytes"
	"context"
	"flag"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var shots = flag.String("shots", "", "directory to keep pictures of the page in, as docs/page")

// A shot is a state of the page that is kept as a picture.
type shot struct {
	view  string
	dark  bool
	width int64
	then  chromedp.Action[chromedp.Void]
}

func allShots() map[string]shot {
	return map[string]shot{
		"healthy":         {view: "healthy"},
		"service-down":    {view: "degraded"},
		"host-lost":       {view: "unreachable", then: chromedp.Click("#incidents summary")},
		"host-lost-dark":  {view: "unreachable", dark: true},
		"two-holders":     {view: "two-holders"},
		"nobody":          {view: "nobody"},
		"drained":         {view: "drained"},
		"several-vips":    {view: "vips"},
		"ten-controllers": {view: "ten"},
		"no-answer":       {view: "nothing"},
		"phone":           {view: "vips", width: 375},
	}
}

// shotWidth is how wide pictures are, in pixels, but for a phone's.
const shotWidth = 1200

// TestShots takes the pictures of docs/page.
func TestShots(t *testing.T) {
	if *shots == "" {
		t.Skip("for a person, with -shots DIRECTORY")
	}
	ctx := browser(t)
	shootSilence(ctx, t)
	for _, name := range slices.Sorted(maps.Keys(allShots())) {
		s := allShots()[name]
		scheme := "light"
		if s.dark {
			scheme = "dark"
		}
		if s.width == 0 {
			s.width = shotWidth
		}
		actions := []chromedp.Action[chromedp.Void]{
			chromedp.EmulateViewport(s.width, 400),
			prefer(scheme),
			chromedp.Navigate(serveDemo(t, demoViews()[s.view])),
			chromedp.WaitVisible("body.live"),
		}
		if s.then != nil {
			actions = append(actions, s.then)
		}
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		keepShot(t, name, data)
	}
}

// shootSilence takes the picture of a page whose controller says nothing any more.
func shootSilence(ctx context.Context, t *testing.T) {
	all := onStage(t, 0, 1)
	all[1].silent.Store(true)
	run(ctx, t, chromedp.EmulateViewport(shotWidth, 400), chromedp.Navigate(all[0].url), chromedp.WaitVisible("body.live"))
	all[0].silent.Store(true)
	see(ctx, t, `document.querySelector("#lost").textContent.includes("Trying cloudcontrol1004")`)
	data, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	keepShot(t, "silent", data)
}

// prefer has the page be light or dark.
func prefer(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// keepShot keeps a picture with the 28 colours that it has most of.
func keepShot(t *testing.T, name string, data []byte) {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	count := map[color.RGBA]int{}
	bounds := full.Bounds()
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			count[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] })
	var palette color.Palette
	for _, c := range most[:min(len(most), 28)] {
		palette = append(palette, c)
	}
	nearest := map[color.RGBA]uint8{}
	small := image.NewPaletted(bounds, palette)
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			c := color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)
			i, ok := nearest[c]
			if !ok {
				i = uint8(palette.Index(c))
				nearest[c] = i
			}
			small.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes, %v", name, out.Len(), bounds.Max)
}
