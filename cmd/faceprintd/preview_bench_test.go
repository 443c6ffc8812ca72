package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// BenchmarkPreview reports what the kiosk's preview costs: pictures a second
// that arrive, and how much more of one core the daemon uses meanwhile than
// with the page open and no preview, in one run: the median of the rounds, and
// the least pictures of one, which tells how busy the machine was.
func BenchmarkPreview(b *testing.B) {
	models, clips, ok := real()
	if !ok {
		b.Skip("needs the models, the clips and OpenCV: make fetch")
	}
	const measured = 5 * time.Second
	d := startDaemon(b, fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n", filepath.Join(clips, clipAlice), models))
	status, err := d.client.Ready(b.Context(), time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	url := kioskURL(b, status)
	token := pageToken(b, url)
	open := func(path string) io.ReadCloser {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("X-Faceprint-Page", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %v, %v", path, resp, err)
		}
		return resp.Body
	}
	defer open("stream").Close()
	var rate, weight, cost, without []float64
	for b.Loop() {
		start := d.cpu(b)
		<-time.After(measured)
		idle := d.cpu(b) - start

		pictures := open("preview")
		start = d.cpu(b)
		n, size := 0, 0
		for began := time.Now(); time.Since(began) < measured; n++ {
			var length [4]byte
			if _, err := io.ReadFull(pictures, length[:]); err != nil {
				b.Fatal(err)
			}
			k, err := io.CopyN(io.Discard, pictures, int64(binary.BigEndian.Uint32(length[:])))
			if err != nil {
				b.Fatal(err)
			}
			size += int(k)
		}
		more := d.cpu(b) - start - idle
		pictures.Close()
		rate = append(rate, float64(n)/measured.Seconds())
		weight = append(weight, float64(size)/float64(n)/1024)
		cost = append(cost, 100*more.Seconds()/measured.Seconds())
		without = append(without, 100*idle.Seconds()/measured.Seconds())
	}
	median := func(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }
	b.ReportMetric(median(rate), "pictures/s")
	b.ReportMetric(slices.Min(rate), "pictures/s-least")
	b.ReportMetric(median(weight), "KiB/picture")
	b.ReportMetric(median(cost), "%core")
	b.ReportMetric(median(without), "%core-without")
}

var pageMeta = regexp.MustCompile(`<meta name="page" content="([^"]+)">`)

func pageToken(tb testing.TB, url string) string {
	tb.Helper()
	resp, err := http.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var page bytes.Buffer
	if _, err := page.ReadFrom(resp.Body); err != nil {
		tb.Fatal(err)
	}
	m := pageMeta.FindSubmatch(page.Bytes())
	if m == nil {
		tb.Fatalf("%s: a page without a token", resp.Status)
	}
	return string(m[1])
}
