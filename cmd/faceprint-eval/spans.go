package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// spanReport is what the edges about a face alone tell of attacks, over whole
// attempts of which none is ended by a decision: a phone that is held still tells
// nothing until it moves.
type spanReport struct {
	Clips       []spanClip `json:"clips"`
	AUC         float64    `json:"auc"`         // by the edges' length; equal ones count half
	Correlation float64    `json:"correlation"` // of the edges' length with P(live), over all spans
}

// spanClip is one clip, in spans of three seconds.
type spanClip struct {
	File   string `json:"file"`
	Attack bool   `json:"attack"`
	Framed []int  `json:"framed"` // spans with edges on two sides that went with the face, and all spans

	Bezel []float64 `json:"bezel"` // by span: the edges' length, heights of the face's box
	live  []float64
}

func (r *livenessReport) playSpans(ctx context.Context, o livenessOptions, m *vision.Model, same float64) error {
	r.Spans = &spanReport{}
	for i, file := range slices.Concat(o.live, o.attack) {
		c := spanClip{File: filepath.Base(file), Attack: i >= len(o.live), Framed: []int{0, 0}}
		w := &witness{Looker: m}
		if c.Attack {
			w.bystander = float32(o.bystanders[c.File])
		}
		s := &vision.Sequence{Same: same}
		began := time.Time{}
		end := func() {
			began = time.Time{}
			cues := s.Cues()
			edges, ok := cues["bezel"]
			if live, _ := s.Live(); ok && !math.IsNaN(live) {
				c.Bezel, c.live = append(c.Bezel, edges), append(c.live, live)
				if c.Framed[1]++; s.Framed() {
					c.Framed[0]++
				}
			}
			s.Wipe()
		}
		err := opencv.ReadClip(ctx, file, time.Unix(1, 0), func(f *vision.Frame) error {
			if began.IsZero() {
				began = f.At
			}
			if _, err := s.Look(w, f); err != nil {
				return err
			}
			if f.At.Sub(began) >= attemptTime {
				end()
			}
			return nil
		})
		end() // a clip may be shorter
		if err != nil {
			return err
		}
		r.Spans.Clips = append(r.Spans.Clips, c)
	}
	r.Spans.sum()
	return nil
}

func (r *spanReport) sum() {
	var edges [2][]float64
	var all, live []float64
	for _, c := range r.Clips {
		k := 0
		if c.Attack {
			k = 1
		}
		edges[k] = append(edges[k], c.Bezel...)
		all, live = append(all, c.Bezel...), append(live, c.live...)
	}
	r.AUC, r.Correlation = areaUnder(edges[0], edges[1]), correlation(all, live)
}

// count of the spans with edges on two sides and of all, of living people or of
// attacks.
func (r *spanReport) count(attack bool) (framed, spans int) {
	for _, c := range r.Clips {
		if c.Attack == attack {
			framed, spans = framed+c.Framed[0], spans+c.Framed[1]
		}
	}
	return framed, spans
}

// areaUnder the curve: how often one of high is above one of low; half where they
// are equal.
func areaUnder(low, high []float64) float64 {
	if len(low) == 0 || len(high) == 0 {
		return 0
	}
	sum := 0.0
	for _, h := range high {
		for _, l := range low {
			switch {
			case h > l:
				sum++
			case h == l:
				sum += 0.5
			}
		}
	}
	return sum / float64(len(low)*len(high))
}

// correlation of two lists (Pearson); 0 where one does not vary.
func correlation(a, b []float64) float64 {
	var ma, mb float64
	for i := range a {
		ma, mb = ma+a[i]/float64(len(a)), mb+b[i]/float64(len(a))
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if !(aa*bb > 0) {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

func (r *spanReport) print(w io.Writer) {
	for _, c := range r.Clips {
		kind := "live"
		if c.Attack {
			kind = "attack"
		}
		most := 0.0
		for _, b := range c.Bezel {
			most = max(most, b)
		}
		fmt.Fprintf(w, "  edges   %-7s %-24s framed in %d of %d spans; at most %.2f heights of the face went with it\n", kind, c.File, c.Framed[0], c.Framed[1], most)
	}
	live, people := r.count(false)
	found, attacks := r.count(true)
	fmt.Fprintf(w, "  edges that go with the face, alone: APCER %.1f %% of %d spans (95 %%: %s), BPCER %.1f %% of %d (95 %%: %s), AUC %.3f, correlation with live %+.2f\n",
		percent(attacks-found, attacks), attacks, interval(attacks-found, attacks), percent(live, people), people, interval(live, people), r.AUC, r.Correlation)
}

// line of the README.
func (r *spanReport) line() string {
	live, people := r.count(false)
	found, attacks := r.count(true)
	return fmt.Sprintf("- By the straight edges that go with the face alone, each watched for three seconds: %d of %d spans of the attacks are in doubt (%s), as are %d of %d of the living people (%s).",
		found, attacks, interval(found, attacks), live, people, interval(live, people))
}
