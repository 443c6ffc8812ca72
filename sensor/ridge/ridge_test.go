package ridge

import (
	"bytes"
	"testing"
)

func TestSameSeedSamePicture(t *testing.T) {
	a := New(7)
	o := a.Touch(3, 1)
	first := a.Impression(o)
	again := New(7).Impression(o)
	if !bytes.Equal(first.Pix, again.Pix) {
		t.Fatal("the same finger and touch gave two different pictures")
	}
	other := New(8).Impression(o)
	if bytes.Equal(first.Pix, other.Pix) {
		t.Fatal("two fingers gave the same picture")
	}
	o.Seed++
	if bytes.Equal(first.Pix, a.Impression(o).Pix) {
		t.Fatal("two touches gave the same picture")
	}
}

func TestEveryClassAppears(t *testing.T) {
	seen := map[Class]int{}
	for seed := range uint64(400) {
		seen[New(seed).Class()]++
	}
	for c := Arch; c <= Whorl; c++ {
		if seen[c] == 0 {
			t.Errorf("no %v among 400 fingers", c)
		}
	}
	if seen[Whorl] < seen[Arch] {
		t.Errorf("arches (%d) outnumber whorls (%d)", seen[Arch], seen[Whorl])
	}
}

// A print has about as much ridge as valley inside and none at the corners.
func TestImpressionLooksLikeAPrint(t *testing.T) {
	for seed := range uint64(5) {
		img := New(seed).Impression(ImpressionOptions{})
		b := img.Bounds()
		if b.Dx() != 300 || b.Dy() != 400 {
			t.Fatalf("default sensor is %v", b)
		}
		dark, all := 0, 0
		for y := 120; y < 280; y++ {
			for x := 90; x < 210; x++ {
				all++
				if img.GrayAt(x, y).Y < 128 {
					dark++
				}
			}
		}
		if share := float64(dark) / float64(all); share < 0.3 || share > 0.7 {
			t.Errorf("seed %d: %.0f %% of the middle is ridge", seed, 100*share)
		}
		if img.GrayAt(2, 2).Y < 180 {
			t.Errorf("seed %d: the corner is not background", seed)
		}
	}
}

func TestCoarseHasSixteenLevels(t *testing.T) {
	img := New(1).Impression(ImpressionOptions{Width: 192, Height: 192, DPI: 508, Coarse: true})
	for _, p := range img.Pix {
		if p%17 != 0 {
			t.Fatalf("grey %d is not one of 16 levels", p)
		}
	}
}

func BenchmarkGrow(b *testing.B) {
	for i := range uint64(b.N) {
		New(i).master()
	}
}

func BenchmarkImpression(b *testing.B) {
	f := New(1)
	f.master()
	for i := range uint64(b.N) {
		f.Impression(f.Touch(i, 1))
	}
}
