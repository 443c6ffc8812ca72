package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/faceprint/faceprint/device/api/client"
)

// BenchmarkGrantedPage reports how long after the device's decision the page
// that says so is painted, in real Chromium, and beside it how long two frames
// of that browser take, which is the least that a change of the page can. Both
// are of this machine's clock.
func BenchmarkGrantedPage(b *testing.B) {
	k := newKiosk(b, "")
	k.alice()
	k.camera(clipAgain)
	var after, frames []float64
	for b.Loop() {
		k.sim("lift")
		k.do(chromedp.Reload())
		k.on("scan")
		painted := k.watchGrant()
		k.sim("touch alice " + aliceFinger)
		after = append(after, painted())
		took, err := chromedp.Run(k.ctx, chromedp.Evaluate[float64](
			"new Promise((done) => { const began = performance.now(); requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began))); })", chromedp.EvalAwaitPromise))
		if err != nil {
			b.Fatal(err)
		}
		frames = append(frames, took)
	}
	slices.Sort(after)
	slices.Sort(frames)
	b.ReportMetric(after[len(after)/2], "ms-median")
	b.ReportMetric(after[len(after)-1], "ms-worst")
	b.ReportMetric(frames[len(frames)/2], "ms-two-frames")
}

// watchGrant measures, in milliseconds, how long after the device's decision the
// page that says so is painted.
func (k *kioskBench) watchGrant() func() float64 {
	k.t.Helper()
	ctx, cancel := context.WithCancel(k.ctx)
	ready, decided := make(chan struct{}), make(chan time.Time, 1)
	go k.client.Events(ctx, func() { close(ready) }, func(e client.Event) error {
		if e.Kind == "decision" && e.Outcome == "granted" {
			decided <- e.At
			cancel()
		}
		return nil
	})
	<-ready
	k.do(chromedp.Evaluate[chromedp.Void](`new MutationObserver((_, o) => {
		if (document.body.dataset.screen !== 'granted') return;
		o.disconnect();
		requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.timeOrigin + performance.now(); }));
	}).observe(document.body, {attributes: true})`))
	return func() float64 {
		k.t.Helper()
		defer cancel()
		k.until("window.painted > 0")
		at := <-decided
		return js[float64](k, "window.painted") - float64(at.UnixMicro())/1000
	}
}
